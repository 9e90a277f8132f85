//! A folder written by format 1 stays readable for ever, and is still what we would write. The
//! files are never edited; `BLESS=1` writes them only if they are missing. `v1` was written before
//! there were producers and transactions, `v1-transactions` holds these.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use common::{Offset, Partition, SystemClock, SystemDisk};
use log::{BatchBuilder, Log, Recovery, TopicConfig, records};
use testkit::VirtualClock;

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
