//! What the tests of compaction share: records with keys, batches as clients send them, and
//! reading where offsets are missing.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use common::{Offset, Partition, Result};
use log::{
    BatchBuilder, CleanupPolicy, HEADER_LEN, Header, Log, PartitionLog, TopicConfig, compression,
    records,
};

use super::T0;

/// A record as the tests compare it: offset, milliseconds after `T0`, key, value.
pub type Record = (i64, i64, String, Option<String>);

pub fn compacted() -> TopicConfig {
    TopicConfig {
        cleanup_policy: CleanupPolicy::Compact,
        min_cleanable_dirty_ratio: 0.0,
        ..TopicConfig::default()
    }
}

pub fn create(log: &Log, config: TopicConfig) -> Arc<PartitionLog> {
    log.create_topic("t", config).unwrap().partition(Partition(0)).unwrap()
}

pub fn partition(log: &Log) -> Arc<PartitionLog> {
    log.topic("t").unwrap().partition(Partition(0)).unwrap()
}

/// One batch; record `i` has the time `ms + i` after `T0`.
pub fn keyed(ms: i64, records: &[(&str, Option<&str>)]) -> Bytes {
    let mut builder = BatchBuilder::new(T0);
    for (i, (key, value)) in (0..).zip(records) {
        let value = value.map(str::as_bytes);
        builder.push(T0 + (ms + i) * 1000, Some(key.as_bytes()), value, &[("h", b"x")]);
    }
    builder.build()
}

pub fn put(p: &Arc<PartitionLog>, batch: Bytes) -> i64 {
    let appended = match Header::parse(&batch).unwrap().producer_id {
        -1 => p.append(batch).unwrap(),
        _ => p.append_produced(batch).unwrap(),
    };
    p.wait_durable(appended).unwrap();
    appended.first.0
}

/// The batch with other bytes in its header, and a checksum that fits.
pub fn changed(batch: &Bytes, change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = batch.to_vec();
    change(&mut out);
    let length = (out.len() - 12) as i32;
    out[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    out.into()
}

/// The batch as a client packs it: 1 gzip, 2 snappy, 3 LZ4, 4 zstd.
pub fn packed(batch: &Bytes, how: u8) -> Bytes {
    let records = &batch[HEADER_LEN..];
    let bytes = match how {
        0 => return batch.clone(),
        1 => {
            let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
            gzip.write_all(records).unwrap();
            gzip.finish().unwrap()
        }
        2 => snap::raw::Encoder::new().compress_vec(records).unwrap(),
        3 => {
            let mut lz4 = lz4_flex::frame::FrameEncoder::new(vec![]);
            lz4.write_all(records).unwrap();
            lz4.finish().unwrap()
        }
        _ => zstd::encode_all(records, 1).unwrap(),
    };
    changed(batch, |out| {
        out.truncate(HEADER_LEN);
        out.extend(bytes);
        out[22] |= how;
    })
}

/// The batch of an idempotent producer.
pub fn produced(batch: &Bytes, id: i64, sequence: i32) -> Bytes {
    changed(batch, |out| {
        out[43..51].copy_from_slice(&id.to_be_bytes());
        out[51..53].copy_from_slice(&0_i16.to_be_bytes());
        out[53..57].copy_from_slice(&sequence.to_be_bytes());
    })
}

/// The batch of a producer in a transaction.
pub fn transactional(batch: &Bytes, id: i64, sequence: i32) -> Bytes {
    changed(&produced(batch, id, sequence), |out| out[22] |= 0x10)
}

/// Ends a producer's transaction.
pub fn end(p: &Arc<PartitionLog>, id: i64, commit: bool) {
    let appended = p.end_transaction(id, 0, commit).unwrap().unwrap();
    p.wait_durable(appended).unwrap();
}

/// What a reader with isolation level `read_committed` sees.
pub fn committed(p: &PartitionLog, bytes_max: usize) -> Vec<Record> {
    let mut next = p.start_offset();
    let mut all = vec![];
    loop {
        let read = p.read_committed(next, bytes_max).unwrap();
        all.extend(read.batches.iter().flat_map(records_of).filter(|r| r.0 >= next.0));
        if read.next == next {
            assert_eq!(next, p.last_stable_offset(), "a reader always gets to the end");
            return all;
        }
        next = read.next;
    }
}

/// All batches from `from` on, each read going on behind the last batch of the one before.
pub fn try_batches(p: &PartitionLog, from: i64, bytes_max: usize) -> Result<Vec<Bytes>> {
    let mut next = from;
    let mut all = vec![];
    loop {
        let batches = p.read(Offset(next), bytes_max)?;
        for batch in &batches {
            let header = Header::parse(batch).unwrap();
            assert!(header.last_offset().0 >= next, "batches are read once, in order");
            next = header.last_offset().0 + 1;
        }
        if batches.is_empty() {
            assert_eq!(next, p.high_watermark().0, "a reader always gets to the end");
            return Ok(all);
        }
        all.extend(batches);
    }
}

pub fn batches(p: &PartitionLog) -> Vec<Bytes> {
    try_batches(p, p.start_offset().0, 700).unwrap()
}

pub fn records_of(batch: &Bytes) -> Vec<Record> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let batch = compression::unpacked(batch).unwrap();
    let mut all = vec![];
    for record in records::iter(&batch).unwrap() {
        let record = record.unwrap();
        assert_eq!(record.headers().count(), 1);
        let ms = record.timestamp_ms - T0 / 1000;
        let key = text(record.key.unwrap());
        all.push((record.offset.0, ms, key, record.value.map(text)));
    }
    all
}

pub fn try_records(p: &PartitionLog, from: i64, bytes_max: usize) -> Result<Vec<Record>> {
    let batches = try_batches(p, from, bytes_max)?;
    let all = batches.iter().flat_map(records_of).filter(|(offset, ..)| *offset >= from);
    Ok(all.collect())
}

pub fn records(p: &PartitionLog) -> Vec<Record> {
    try_records(p, p.start_offset().0, 700).unwrap()
}

/// What somebody knows who has read all records: the latest value of each key.
pub fn table(records: &[Record]) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for (_, _, key, value) in records {
        match value {
            Some(value) => table.insert(key.clone(), value.clone()),
            None => table.remove(key),
        };
    }
    table
}
