//! The log as its users see it: on a simulated disk, on the real one with threads (`threads`), and
//! folders written by the first release (`golden`).

mod behave;
mod compaction;
mod compaction_crash;
mod copies;
mod crash;
mod delete_records;
mod faults;
mod golden;
mod keyed;
mod missing;
mod page_cache;
mod producers;
mod segment_time;
mod threads;
mod times;
mod topics;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::{Disk, Offset, Partition, Result};
use log::{BatchBuilder, Log, LogConfig, PartitionLog, Recovery, TopicConfig, records};
use testkit::{SimDisk, VirtualClock};

/// 2026-01-01.
const T0: i64 = 1_767_225_600_000_000;
const DIR: &str = "/data/log";

fn no_threads(segment_bytes_max: u64) -> LogConfig {
    LogConfig { segment_bytes_max, sync_threads: 0, ..LogConfig::default() }
}

fn open(disk: &SimDisk, config: LogConfig) -> (Arc<Log>, Recovery) {
    try_open(disk, config).unwrap()
}

fn try_open(disk: &SimDisk, config: LogConfig) -> Result<(Arc<Log>, Recovery)> {
    let clock = VirtualClock::new(T0);
    Log::open(Arc::new(disk.attach()), Arc::new(clock), Path::new(DIR), config)
}

fn topic(log: &Log, name: &str) -> Arc<PartitionLog> {
    let config = TopicConfig::default();
    log.create_topic(name, config).unwrap().partition(Partition(0)).unwrap()
}

fn batch_at(timestamp_us: i64, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(timestamp_us);
    for value in values {
        builder.push(timestamp_us, None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

fn batch(values: &[&str]) -> Bytes {
    batch_at(T0, values)
}

/// Appends and waits until it is durable.
fn put(partition: &Arc<PartitionLog>, values: &[&str]) -> Offset {
    let appended = partition.append(batch(values)).unwrap();
    partition.wait_durable(appended).unwrap();
    appended.first
}

/// All records from `from` on, read in steps of `bytes_max`.
fn try_read(partition: &PartitionLog, from: i64, bytes_max: usize) -> Result<Vec<(i64, String)>> {
    let mut next = from;
    let mut out = vec![];
    loop {
        let batches = partition.read(Offset(next), bytes_max)?;
        if batches.is_empty() {
            return Ok(out);
        }
        for batch in batches {
            for record in records::iter(&batch)? {
                let record = record?;
                if record.offset.0 >= next {
                    assert_eq!(record.offset.0, next, "offsets are dense");
                    let value = String::from_utf8_lossy(record.value.unwrap_or_default());
                    out.push((record.offset.0, value.into_owned()));
                    next += 1;
                }
            }
        }
    }
}

fn values(partition: &PartitionLog) -> Vec<String> {
    let start = partition.start_offset().0;
    try_read(partition, start, 1000).unwrap().into_iter().map(|(_, value)| value).collect()
}

fn files(disk: &dyn Disk, dir: &Path) -> Vec<String> {
    disk.list(dir).unwrap().into_iter().map(|(name, _)| name).collect()
}
