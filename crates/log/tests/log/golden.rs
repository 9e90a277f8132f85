//! A folder written by format 1 stays readable for ever, and is still what we would write. The
//! files are never edited; `BLESS=1` writes them only if they are missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use common::{Offset, Partition, SystemClock, SystemDisk};
use log::{BatchBuilder, Log, Recovery, TopicConfig, records};

use super::{T0, no_threads};

const SEGMENT_BYTES: u64 = 600;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
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
    if std::env::var_os("BLESS").is_some() && !golden().exists() {
        write_log(&golden());
    }
    let dir = tempfile::tempdir().unwrap();
    copy(&golden(), dir.path());
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
    let mut compared = 0;
    for entry in fs::read_dir(golden().join("readings-0")).unwrap().flatten() {
        let ours = fs::read(dir.path().join("readings-0").join(entry.file_name())).unwrap();
        assert!(fs::read(entry.path()).unwrap() == ours, "{} differs", entry.path().display());
        compared += 1;
    }
    let written = fs::read_dir(dir.path().join("readings-0")).unwrap().count();
    assert_eq!(compared, written);
}
