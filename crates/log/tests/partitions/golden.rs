//! A folder written by format 1 stays readable for ever, and is still what we would write. The
//! files are never edited; `BLESS=1` writes them only if they are missing. `v1` was written before
//! there were producers and transactions, `v1-transactions` holds these.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use common::{Offset, Partition, SystemClock, SystemDisk};
use log::{BatchBuilder, Header, Log, Recovery, TopicConfig, records};
use testkit::VirtualClock;

use super::keyed::{self, compacted, create, keyed, produced, put};
use super::producers::{TRANSACTIONAL, sent};
use super::{T0, no_threads};

const SEGMENT_BYTES: u64 = 600;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Keys, values, headers, missing ones of each, times before and after the first.
fn batches() -> Vec<Bytes> {
    let mut all = vec![];
    for b in 0..6_i64 {
        let mut builder = BatchBuilder::new(T0 + b * 60_000_000);
        for r in 0..3_i64 {
            let at = T0 + b * 60_000_000 + (r - 1) * 1_500;
            let key = format!("machine-{r}");
            let value = format!("{{\"batch\":{b},\"record\":{r},\"temperature\":{}.5}}", 20 + r);
            match r {
                0 => builder.push(at, Some(key.as_bytes()), Some(value.as_bytes()), &[]),
                1 => builder.push(
                    at,
                    None,
                    Some(value.as_bytes()),
                    &[("source", b"host"), ("é", b"")],
                ),
                _ => builder.push(at, Some(key.as_bytes()), None, &[]),
            }
        }
        all.push(builder.build());
    }
    all
}

fn open(dir: &Path) -> (Arc<Log>, Recovery) {
    Log::open(Arc::new(SystemDisk), Arc::new(SystemClock), dir, no_threads(SEGMENT_BYTES)).unwrap()
}

fn write_log(dir: &Path) {
    let (log, _) = open(dir);
    let config = TopicConfig {
        partitions: 1,
        retention_us: Some(604_800_000_000),
        retention_bytes: None,
        segment_bytes_max: Some(SEGMENT_BYTES),
        ..TopicConfig::default()
    };
    let p = log.create_topic("readings", config).unwrap().partition(Partition(0)).unwrap();
    for batch in batches() {
        p.wait_durable(p.append(batch).unwrap()).unwrap();
    }
    log.close();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_folder_of_the_first_release_is_read() {
    let dir = tempfile::tempdir().unwrap();
    copy(&golden("v1"), dir.path());
    let (log, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::default());
    let topic = log.topic("readings").unwrap();
    assert_eq!(topic.config().retention_us, Some(604_800_000_000));
    let p = topic.partition(Partition(0)).unwrap();
    assert!(p.segment_bases().len() > 1);
    assert_eq!((p.start_offset(), p.high_watermark()), (Offset(0), Offset(18)));
    let read = p.read(Offset(0), usize::MAX).unwrap();
    let all: Vec<_> =
        read.iter().flat_map(|b| records::iter(b).unwrap()).map(|r| r.unwrap()).collect();
    assert_eq!(all.len(), 18);
    let fourth = &all[4];
    assert_eq!((fourth.offset, fourth.timestamp_ms), (Offset(4), T0 / 1000 + 60_000));
    assert_eq!(fourth.key, None);
    assert_eq!(fourth.value.unwrap(), br#"{"batch":1,"record":1,"temperature":21.5}"#);
    let headers: Vec<_> = fourth.headers().map(|(k, v)| (k.into_owned(), v.unwrap())).collect();
    assert_eq!(headers, [("source".to_string(), &b"host"[..]), ("é".to_string(), &b""[..])]);
    assert_eq!((all[5].key.unwrap(), all[5].value), (&b"machine-2"[..], None));
    assert_eq!(p.offset_for_time(T0 + 120_000_000).unwrap(), Some(Offset(7)));
}

#[test]
fn we_still_write_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path());
    assert!(same_files(&golden("v1").join("readings-0"), &dir.path().join("readings-0")) > 3);
    write_transactions(&dir.path().join("transactions"));
    let ours = dir.path().join("transactions/payments-0");
    let compared = same_files(&golden("v1-transactions").join("payments-0"), &ours);
    assert_eq!(compared, fs::read_dir(ours).unwrap().count());
}

/// Every golden file is also ours, byte for byte; returns their number.
fn same_files(golden: &Path, ours: &Path) -> usize {
    let mut compared = 0;
    for entry in fs::read_dir(golden).unwrap().flatten() {
        let ours = fs::read(ours.join(entry.file_name())).unwrap();
        assert!(fs::read(entry.path()).unwrap() == ours, "{} differs", entry.path().display());
        compared += 1;
    }
    compared
}

fn open_at(dir: &Path, now_us: i64) -> Arc<Log> {
    let clock = Arc::new(VirtualClock::new(now_us));
    Log::open(Arc::new(SystemDisk), clock, dir, no_threads(SEGMENT_BYTES)).unwrap().0
}

/// Two producers, transactions over several segments: committed, aborted, and one left open.
fn write_transactions(dir: &Path) {
    let log = open_at(dir, T0);
    let p = super::topic(&log, "payments");
    let written = |appended| p.wait_durable(appended).unwrap();
    for n in 0..6 {
        for id in [7, 8] {
            let value = format!("{{\"producer\":{id},\"n\":{n},\"note\":\"{}\"}}", "x".repeat(60));
            written(p.append_produced(sent(&[&value], (id, 0), n, TRANSACTIONAL)).unwrap());
        }
        written(p.end_transaction(7, 0, n % 2 == 0).unwrap().unwrap());
        if n == 3 {
            written(p.end_transaction(8, 0, false).unwrap().unwrap());
        }
    }
    log.close();
}

#[test]
fn transactions_of_the_first_release_are_read() {
    let name = "v1-transactions";
    if std::env::var_os("BLESS").is_some() && !golden(name).exists() {
        write_transactions(&golden(name));
    }
    let dir = tempfile::tempdir().unwrap();
    copy(&golden(name), dir.path());
    let log = open_at(dir.path(), T0);
    let p = log.topic("payments").unwrap().partition(Partition(0)).unwrap();
    assert_eq!((p.last_stable_offset(), p.high_watermark()), (Offset(14), Offset(19)));
    let aborted = p.aborted_between(Offset(0), Offset(14)).unwrap();
    let aborted: Vec<_> = aborted.iter().map(|a| (a.producer_id, a.first.0, a.last.0)).collect();
    assert_eq!(aborted, [(8, 1, 12), (7, 3, 5), (7, 9, 11)]);
    let states: Vec<_> = p.producers().iter().map(|s| (s.producer_id, s.last_sequence)).collect();
    assert_eq!(states, [(7, 5), (8, 5)]);
}

const COMPACTED: [&str; 5] = [
    "00000000000000000000-00000000000000000012-0000000001.index",
    "00000000000000000000-00000000000000000012-0000000001.log",
    "00000000000000000000-00000000000000000012-0000000001.timeindex",
    "00000000000000000000-00000000000000000012-0000000001.txn",
    "cleaned",
];

fn golden_compacted() -> PathBuf {
    golden("v2-compacted")
}

/// A compacted segment of four batches: one with a record, one with a tombstone and its horizon, an
/// empty one that is its producer's last, and an empty one that is the segment's last.
fn write_compacted(dir: &Path) {
    let clock = Arc::new(VirtualClock::new(T0 + 1_000_000));
    let disk = Arc::new(SystemDisk);
    let (log, _) = Log::open(disk, clock, dir, no_threads(1 << 20)).unwrap();
    let p = create(&log, TopicConfig { delete_retention_us: 60_000_000, ..compacted() });
    let (old, new) = (Some("old"), Some("new"));
    put(&p, keyed(0, &[("a", new), ("b", old), ("c", old)]));
    put(&p, keyed(10, &[("b", None), ("d", new), ("e", old)]));
    put(&p, produced(&keyed(20, &[("e", old), ("c", old)]), 7, 3));
    put(&p, keyed(30, &[("e", old), ("c", old), ("f", old), ("g", old)]));
    let topic = log.topic("t").unwrap();
    log.alter("t", TopicConfig { segment_bytes_max: Some(1), ..topic.config() }).unwrap();
    put(&p, keyed(40, &[("e", new), ("c", new), ("f", new), ("g", new)]));
    put(&p, keyed(50, &[("h", new)]));
    assert_eq!(p.segment_bases(), [0, 12, 16]);
    log.apply_compaction().unwrap();
    log.close();
}

#[test]
fn a_folder_with_compacted_segments_is_read() {
    if std::env::var_os("BLESS").is_some() && !golden_compacted().exists() {
        write_compacted(&golden_compacted());
    }
    let dir = tempfile::tempdir().unwrap();
    copy(&golden_compacted(), dir.path());
    let (log, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::default());
    let p = log.topic("t").unwrap().partition(Partition(0)).unwrap();
    let new = |offset, ms, key: &str| (offset, ms, key.to_string(), Some("new".to_string()));
    let expected = [
        new(0, 0, "a"),
        (3, 10, "b".to_string(), None),
        new(4, 11, "d"),
        new(12, 40, "e"),
        new(13, 41, "c"),
        new(14, 42, "f"),
        new(15, 43, "g"),
        new(16, 50, "h"),
    ];
    assert_eq!(keyed::records(&p), expected);
    let headers = keyed::batches(&p).into_iter().map(|b| Header::parse(&b).unwrap());
    let headers: Vec<_> = headers.map(|h| (h.base_offset, h.last_offset_delta, h.count)).collect();
    assert_eq!(headers[..4], [(0, 2, 1), (3, 2, 2), (6, 1, 0), (8, 3, 0)]);
}

#[test]
fn we_still_write_the_same_compacted_segments() {
    let dir = tempfile::tempdir().unwrap();
    write_compacted(dir.path());
    for name in COMPACTED {
        let ours = fs::read(dir.path().join("t-0").join(name)).unwrap();
        assert!(fs::read(golden_compacted().join("t-0").join(name)).unwrap() == ours, "{name}");
    }
}
