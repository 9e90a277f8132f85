//! Finding records by time, also within compressed batches.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use common::{Offset, Partition};
use log::{BatchBuilder, HEADER_LEN, PartitionLog};
use testkit::SimDisk;

use super::{T0, no_threads, open, topic};

const SECOND: i64 = 1_000_000;

/// One batch with records at these seconds after `T0`.
fn at_seconds(seconds: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new(T0);
    for s in seconds {
        builder.push(T0 + s * SECOND, Some(b"key"), Some(format!("{s}").as_bytes()), &[]);
    }
    builder.build()
}

/// The batch as a client with gzip sends it.
fn gzip(batch: &Bytes) -> Bytes {
    let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    gzip.write_all(&batch[HEADER_LEN..]).unwrap();
    with_records(batch, 1, &gzip.finish().unwrap())
}

fn with_records(batch: &Bytes, compression: u8, records: &[u8]) -> Bytes {
    let mut out = batch[..HEADER_LEN].to_vec();
    out.extend_from_slice(records);
    let length = (out.len() - 12) as i32;
    out[8..12].copy_from_slice(&length.to_be_bytes());
    out[22] = compression;
    let crc = crc32c::crc32c(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    out.into()
}

fn append(p: &Arc<PartitionLog>, batch: Bytes) {
    let appended = p.append(batch).unwrap();
    p.wait_durable(appended).unwrap();
}

#[test]
fn the_exact_record_is_found_in_a_compressed_batch() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(400));
    let p = topic(&log, "t");
    append(&p, gzip(&at_seconds(&[0, 10, 20])));
    append(&p, at_seconds(&[25, 15, 30]));
    append(&p, gzip(&at_seconds(&[40, 60, 50])));
    for (seconds, offset) in [(-1, 0), (0, 0), (1, 1), (10, 1), (11, 2), (21, 3), (26, 5), (31, 6)]
    {
        let found = p.offset_for_time(T0 + seconds * SECOND).unwrap();
        assert_eq!(found, Some(Offset(offset)), "{seconds} s");
    }
    assert_eq!(p.offset_for_time(T0 + 45 * SECOND).unwrap(), Some(Offset(7)));
    assert_eq!(p.offset_for_time(T0 + 61 * SECOND).unwrap(), None);
    // Who wants it gets it as a whole, whatever is in it.
    append(&p, with_records(&at_seconds(&[70, 80]), 1, b"no gzip"));
    assert_eq!(p.offset_for_time(T0 + 75 * SECOND).unwrap(), Some(Offset(9)));
    append(&p, with_records(&at_seconds(&[90, 100]), 0, b"no records"));
    assert_eq!(p.offset_for_time(T0 + 95 * SECOND).unwrap(), Some(Offset(11)));
    assert_eq!(p.max_timestamp().unwrap(), Some((T0 / 1000 + 100_000, Offset(11))));
}

#[test]
fn the_largest_timestamp_is_found_with_its_first_record() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(400));
    let p = topic(&log, "t");
    assert_eq!(p.max_timestamp().unwrap(), None);
    let max = |seconds: i64, offset| Some(((T0 + seconds * SECOND) / 1000, Offset(offset)));
    append(&p, gzip(&at_seconds(&[0, 90, 20])));
    assert_eq!(p.max_timestamp().unwrap(), max(90, 1));
    append(&p, at_seconds(&[25, 70, 90]));
    append(&p, gzip(&at_seconds(&[40, 60, 50, 60])));
    append(&p, at_seconds(&[1]));
    assert!(p.segment_bases().len() > 1);
    assert_eq!(p.max_timestamp().unwrap(), max(90, 1), "the first of those that bear it");
    let unsynced = p.append(at_seconds(&[100])).unwrap();
    assert_eq!(p.max_timestamp().unwrap(), max(90, 1), "only what readers see counts");
    p.wait_durable(unsynced).unwrap();
    assert_eq!(p.max_timestamp().unwrap(), max(100, 11));
    let t = log.topic("t").unwrap();
    append(&p, at_seconds(&[200, 3, 150, 2, 150]));
    for (before, expected) in [(2, max(200, 12)), (13, max(150, 14)), (15, max(150, 16))] {
        t.delete_records(Partition(0), Offset(before)).unwrap();
        assert_eq!(p.max_timestamp().unwrap(), expected, "from {before}");
    }
    t.delete_records(Partition(0), Offset(17)).unwrap();
    assert_eq!(p.max_timestamp().unwrap(), None);
}
