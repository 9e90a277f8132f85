//! How fast the log takes records on this disk: 4 threads, each with a partition of its own,
//! batches of 1,000 records, each batch acknowledged (synced) before the thread's window of
//! batches in flight moves on. Run it with `--release`; arguments: folder, seconds per line.
// An example speaks to the terminal.
#![allow(clippy::print_stdout)]

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Result, SystemClock, SystemDisk};
use log::{Appended, BatchBuilder, Log, LogConfig, PartitionLog, TopicConfig};

const THREADS: u32 = 4;
const RECORDS: usize = 1_000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().map_or_else(|| std::env::temp_dir().join("append"), PathBuf::from);
    let seconds = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(3.0);
    println!("bytes/record  in flight   records/s     MB/s   ack p50    ack p99   syncs/s");
    for record_bytes in [1_000, 200] {
        for in_flight in [1, 4] {
            measure(&dir, record_bytes, in_flight, Duration::from_secs_f64(seconds))?;
        }
    }
    Ok(())
}

fn measure(dir: &PathBuf, record_bytes: usize, in_flight: usize, time: Duration) -> Result<()> {
    let _ = std::fs::remove_dir_all(dir);
    let (log, _) =
        Log::open(Arc::new(SystemDisk), Arc::new(SystemClock), dir, LogConfig::default())?;
    let config = TopicConfig { partitions: THREADS, ..TopicConfig::default() };
    let partitions = log.create_topic("bench", config)?.partitions();
    let began = Instant::now();
    let mut acks = std::thread::scope(|scope| {
        let threads: Vec<_> = partitions
            .iter()
            .map(|p| scope.spawn(move || produce(p, record_bytes, in_flight, began + time)))
            .collect();
        let mut acks = vec![];
        for thread in threads {
            acks.extend(thread.join().unwrap_or_else(|_| Ok(vec![]))?);
        }
        Result::Ok(acks)
    })?;
    let took = began.elapsed().as_secs_f64();
    let stats = log.stats()?;
    let sum = |f: fn(&log::PartitionStats) -> u64| stats.iter().map(f).sum::<u64>() as f64 / took;
    acks.sort_unstable();
    let at = |share: f64| acks[((acks.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{record_bytes:>12} {in_flight:>10} {:>11.0} {:>8.0} {:>6.1} ms {:>7.1} ms {:>9.0}",
        sum(|s| s.records_appended),
        sum(|s| s.bytes_appended) / 1e6,
        at(0.5),
        at(0.99),
        sum(|s| s.syncs),
    );
    drop(log);
    let _ = std::fs::remove_dir_all(dir);
    Ok(())
}

fn produce(
    partition: &Arc<PartitionLog>,
    record_bytes: usize,
    in_flight: usize,
    until: Instant,
) -> Result<Vec<Duration>> {
    let value = vec![b'x'; record_bytes];
    let mut acks = vec![];
    let mut waiting: VecDeque<(Appended, Instant)> = VecDeque::new();
    loop {
        let more = Instant::now() < until;
        if waiting.len() == in_flight || !more {
            let Some((appended, sent)) = waiting.pop_front() else { return Ok(acks) };
            partition.wait_durable(appended)?;
            acks.push(sent.elapsed());
        }
        if more {
            let mut builder = BatchBuilder::with_capacity(0, RECORDS * (record_bytes + 12));
            (0..RECORDS).for_each(|_| builder.push(0, None, Some(&value), &[]));
            let sent = Instant::now();
            waiting.push_back((partition.append(builder.build())?, sent));
        }
    }
}
