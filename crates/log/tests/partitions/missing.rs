//! Segment files that are gone: at the start, in the middle, at the end, the whole folder. Each is
//! an error that names topic, partition, file and offsets; never fewer records without a word.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Disk, Error, Kind, Offset, Partition};
use log::{CleanupPolicy, Log, PartitionLog, TopicConfig};
use testkit::SimDisk;

use super::{DIR, batch, files, no_threads, open, put, topic, try_read, values};

const P: Partition = Partition(0);
const RECORDS: i64 = 100;

fn dir() -> PathBuf {
    Path::new(DIR).join("readings-0")
}

fn segment(base: i64) -> PathBuf {
    dir().join(format!("{base:020}.log"))
}

/// A log of a hundred records in many segments, and a second topic; the first offsets of the
/// segments. The process died.
fn filled(disk: &SimDisk) -> Vec<i64> {
    let (log, _) = open(disk, no_threads(1_000));
    let (p, other) = (topic(&log, "readings"), topic(&log, "other"));
    for i in 0..RECORDS {
        put(&p, &[&format!("value {i}, {}", "x".repeat(100))]);
        put(&other, &[&format!("other {i}")]);
    }
    let bases = p.segment_bases();
    assert!(bases.len() > 5);
    disk.kill();
    bases
}

fn reopened(disk: &SimDisk) -> (Arc<Log>, Arc<PartitionLog>) {
    let (log, _) = open(disk, no_threads(1_000));
    let p = log.topic("readings").unwrap().partition(P).unwrap();
    (log, p)
}

fn assert_names(e: &Error, base: i64) {
    assert_eq!(e.kind(), Kind::Corrupt, "{e}");
    let text = e.to_string();
    let file = format!("{base:020}.log");
    for part in ["'readings' partition 0", &file, &base.to_string(), "missing", "backup"] {
        assert!(text.contains(part), "'{part}' in {text}");
    }
}

/// Reads all there is, as one who counts the records does.
fn read_all(p: &PartitionLog) -> Result<usize, Error> {
    try_read(p, p.start_offset().0, 500).map(|all| all.len())
}

#[test]
fn a_missing_file_at_the_start_in_the_middle_or_at_the_end_is_named() {
    for at in ["start", "middle", "end"] {
        let disk = SimDisk::new(1);
        let bases = filled(&disk);
        let i = match at {
            "start" => 0,
            "middle" => bases.len() / 2,
            _ => bases.len() - 1,
        };
        let bytes = common::disk::read(&disk, &segment(bases[i])).unwrap();
        disk.remove(&segment(bases[i])).unwrap();
        // It is the same at each start.
        for start in 0..2 {
            let (log, p) = reopened(&disk);
            assert_names(&read_all(&p).unwrap_err(), bases[i]);
            assert_names(&p.damage().unwrap(), bases[i]);
            assert_names(&p.read(Offset(bases[i]), 100).unwrap_err(), bases[i]);
            assert_names(&p.read_committed(Offset(bases[i]), 100).unwrap_err(), bases[i]);
            assert_names(&p.offset_for_time(0).unwrap_err(), bases[i]);
            assert_names(&p.max_timestamp().unwrap_err(), bases[i]);
            assert_eq!(p.start_offset(), Offset(0));
            // Other topics go on.
            let other = log.topic("other").unwrap().partition(P).unwrap();
            assert_eq!(values(&other).len() as i64, RECORDS + start, "{at}");
            put(&other, &["more"]);
            drop((log, p));
            disk.kill();
        }
        // With the file of the backup all is well.
        let file = disk.open(&segment(bases[i]), true).unwrap();
        file.write_at(&bytes, 0).unwrap();
        let (_log, p) = reopened(&disk);
        assert_eq!(read_all(&p).unwrap(), RECORDS as usize, "{at}");
        assert!(p.damage().is_none());
        assert_eq!(put(&p, &["next"]), Offset(RECORDS));
    }
}

#[test]
fn without_its_newest_segment_a_partition_takes_nothing() {
    let disk = SimDisk::new(1);
    let bases = filled(&disk);
    let newest = *bases.last().unwrap();
    disk.remove(&segment(newest)).unwrap();
    let (log, p) = reopened(&disk);
    assert!(p.high_watermark() > Offset(newest), "who reads up to the end meets the error");
    // Its offsets would be given out twice.
    assert_names(&p.append(batch(&["more"])).unwrap_err(), newest);
    let topic = log.topic("readings").unwrap();
    assert_names(&topic.delete_records(P, Offset(newest)).unwrap_err(), newest);
    // What there is cannot be read either: nobody could tell where it ends.
    assert_names(&p.read(Offset(0), 100).unwrap_err(), newest);
    log.drop_topic("readings").unwrap();
    assert!(files(&disk, &Path::new(DIR).join("topics")).iter().all(|f| {
        let others = log.topic("other").unwrap().id().to_string();
        f.starts_with(&others)
    }));
}

#[test]
fn a_folder_that_is_gone_is_missed() {
    let disk = SimDisk::new(1);
    filled(&disk);
    disk.remove(&dir()).unwrap();
    let (_, p) = reopened(&disk);
    assert_names(&read_all(&p).unwrap_err(), 0);
    assert_eq!(p.append(batch(&["more"])).unwrap_err().kind(), Kind::Corrupt);
    // Also when its only segment was never full.
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    put(&topic(&log, "readings"), &["one"]);
    disk.remove(&dir()).unwrap();
    disk.crash();
    drop(log);
    let (_, p) = reopened(&disk);
    assert_names(&read_all(&p).unwrap_err(), 0);
}

#[test]
fn what_is_missing_stays_missing_and_can_be_given_up() {
    let disk = SimDisk::new(1);
    let bases = filled(&disk);
    let lost = bases.len() / 2;
    disk.remove(&segment(bases[lost])).unwrap();
    let (log, p) = reopened(&disk);
    // Appends go on, and begin new segments.
    for i in 0..30 {
        put(&p, &[&format!("later {i}, {}", "x".repeat(100))]);
    }
    assert!(p.segment_bases().last() > bases.last());
    assert_eq!(try_read(&p, bases[lost + 1], 500).unwrap().len() as i64, 130 - bases[lost + 1]);
    drop((log, p));
    disk.crash();
    let (log, p) = reopened(&disk);
    let e = read_all(&p).unwrap_err();
    assert_names(&e, bases[lost]);
    let before = bases[lost + 1];
    let hint = format!("delete-records readings --partition 0 --before {before}");
    assert!(e.hint_text().unwrap().contains(&hint), "{e}");
    log.topic("readings").unwrap().delete_records(P, Offset(before)).unwrap();
    assert_eq!(read_all(&p).unwrap() as i64, 130 - before);
    assert!(p.damage().is_none());
    log.close();
    let (_, p) = reopened(&disk);
    assert!(p.damage().is_none());
    assert_eq!(read_all(&p).unwrap() as i64, 130 - before);
}

#[test]
fn retention_takes_no_segment_for_a_lost_one() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1_000));
    let config = TopicConfig { retention_bytes: Some(2_000), ..TopicConfig::default() };
    let p = log.create_topic("readings", config).unwrap().partition(P).unwrap();
    for i in 0..RECORDS {
        put(&p, &[&format!("value {i}, {}", "x".repeat(100))]);
        log.apply_retention().unwrap();
    }
    let start = p.start_offset();
    assert!(start > Offset(50));
    disk.crash();
    drop((p, log));
    let (_, p) = reopened(&disk);
    assert!(p.damage().is_none());
    assert_eq!(read_all(&p).unwrap() as i64, RECORDS - start.0);
    // And what is missing from there on is missed.
    let first = p.segment_bases()[0];
    disk.remove(&segment(first)).unwrap();
    let (_, p) = reopened(&disk);
    assert_names(&read_all(&p).unwrap_err(), first);
}

#[test]
fn compaction_joins_no_segments_over_a_missing_one() {
    let disk = SimDisk::new(1);
    let bases = filled(&disk);
    let gone = bases[2];
    let (log, _) = open(&disk, no_threads(1_000));
    let compacted =
        TopicConfig { cleanup_policy: CleanupPolicy::Compact, ..TopicConfig::default() };
    log.alter("readings", compacted).unwrap();
    log.close();
    disk.remove(&segment(gone)).unwrap();
    let (log, p) = reopened(&disk);
    let before = files(&disk, &dir());
    log.apply_compaction().unwrap();
    assert_eq!(files(&disk, &dir()), before);
    assert_names(&read_all(&p).unwrap_err(), gone);
}

/// What a folder of an earlier release looks like: it has no lists.
#[test]
fn a_folder_without_lists_is_read_and_gets_them() {
    let disk = SimDisk::new(1);
    let bases = filled(&disk);
    let topics = Path::new(DIR).join("topics");
    let lists = || {
        let all = files(&disk, &topics).into_iter();
        all.filter(|f| f.ends_with(".segments")).collect::<Vec<_>>()
    };
    let contents = || -> BTreeMap<String, Vec<u8>> {
        let read = |f: &String| common::disk::read(&disk, &topics.join(f)).unwrap();
        lists().into_iter().map(|f| (f.clone(), read(&f))).collect()
    };
    let written = contents();
    assert_eq!(written.len(), 2);
    for name in lists() {
        disk.remove(&topics.join(name)).unwrap();
    }
    let (log, p) = reopened(&disk);
    assert_eq!(read_all(&p).unwrap(), RECORDS as usize);
    assert_eq!(contents(), written);
    log.close();
    // The start offset tells also without a list that the first file is gone.
    for name in lists() {
        disk.remove(&topics.join(name)).unwrap();
    }
    disk.remove(&segment(bases[0])).unwrap();
    let (_, p) = reopened(&disk);
    assert_names(&read_all(&p).unwrap_err(), 0);
    // From now on it is on the list what is there, and the start is missed all the same.
    let (_, p) = reopened(&disk);
    assert_names(&read_all(&p).unwrap_err(), 0);
}
