//! Compacted topics (KIP-58, KIP-534): the latest record of each key stays, in its place.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::{Disk, Kind, Offset, Partition};
use log::{Compaction, Compression, Header, Log, LogConfig, TopicConfig};
use testkit::{SimDisk, VirtualClock};

use super::keyed::*;
use super::{DIR, T0, files, no_threads, open};

const HOUR: i64 = 3_600_000_000;

fn at(disk: &SimDisk, clock: &VirtualClock, config: LogConfig) -> Arc<Log> {
    let disk = Arc::new(disk.attach());
    Log::open(disk, Arc::new(clock.clone()), Path::new(DIR), config).unwrap().0
}

fn folder() -> std::path::PathBuf {
    Path::new(DIR).join("t-0")
}

#[test]
fn the_latest_record_of_each_key_stays_in_its_place() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1_000));
    let p = create(&log, compacted());
    for i in 0..60 {
        let (a, b) = (format!("key {}", i % 7), format!("key {}", i % 3));
        let (x, y) = (format!("a {i}"), format!("b {i}"));
        put(&p, keyed(i * 10, &[(&a, Some(&x)), (&b, Some(&y)), ("once", Some("always new"))]));
    }
    let before = records(&p);
    let sealed_end = *p.segment_bases().last().unwrap();
    let done = log.apply_compaction().unwrap();
    let after = records(&p);
    assert!(after.iter().all(|record| before.contains(record)), "nothing is changed or moved");
    assert_eq!(table(&after), table(&before));
    assert_eq!(done.records_removed as usize, before.len() - after.len());
    assert_eq!((done.partitions, done.rounds), (1, 1));
    assert!(done.bytes_after < done.bytes_before / 3, "{done:?}");
    let compacted = after.iter().filter(|(offset, ..)| *offset < sealed_end).count();
    assert_eq!(compacted, 8, "one record for each key");
    assert!(after.iter().filter(|(offset, ..)| *offset >= sealed_end).count() > 3);
    for (from, bytes_max) in [(0, 0), (1, 1), (5, 300), (sealed_end - 1, 1), (100, usize::MAX)] {
        let expected: Vec<_> = after.iter().filter(|r| r.0 >= from).cloned().collect();
        assert_eq!(try_records(&p, from, bytes_max).unwrap(), expected, "from {from}");
    }
    assert_eq!(log.apply_compaction().unwrap(), Compaction::default(), "nothing is dirty now");
    log.close();

    for without_index in [false, true] {
        if without_index {
            for name in files(&disk, &folder()).iter().filter(|n| n.ends_with("index")) {
                disk.remove(&folder().join(name)).unwrap();
            }
        }
        let (log, recovery) = open(&disk, no_threads(1_000));
        assert_eq!(recovery, log::Recovery::default());
        let p = partition(&log);
        assert_eq!(records(&p), after);
        let last = after.last().unwrap().0;
        assert_eq!(p.offset_for_time(T0 + 590_000).unwrap(), Some(Offset(last - 2)));
    }
}

#[test]
fn small_neighbours_become_one() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1_000));
    let p = create(&log, compacted());
    for i in 0..100 {
        put(&p, keyed(i, &[(&format!("{}", i % 9), Some(&"x".repeat(100)))]));
    }
    let before = p.segment_bases();
    assert!(before.len() > 15);
    log.apply_compaction().unwrap();
    assert_eq!(p.segment_bases(), before, "by their sizes before");
    let small = p.segment_bases().len();
    for i in 100..110 {
        put(&p, keyed(i, &[(&format!("{}", i % 9), Some(&"x".repeat(100)))]));
    }
    let expected = records(&p);
    log.apply_compaction().unwrap();
    assert_eq!(table(&records(&p)), table(&expected));
    assert!(p.segment_bases().len() < small / 2, "{:?}", p.segment_bases());
    let files = files(&disk, &folder());
    assert_eq!(files.iter().filter(|n| n.ends_with(".log")).count(), p.segment_bases().len());
    log.close();
    let (log, _) = open(&disk, no_threads(1_000));
    assert_eq!(table(&records(&partition(&log))), table(&expected));
}

#[test]
fn only_what_is_sealed_old_enough_and_not_needed_is_compacted_when_enough_is_dirty() {
    let disk = SimDisk::new(1);
    let clock = VirtualClock::new(T0);
    let log = at(&disk, &clock, no_threads(400));
    let p = create(&log, TopicConfig { min_cleanable_dirty_ratio: 0.6, ..compacted() });
    for i in 0..40 {
        put(&p, keyed(i * 60_000, &[("key", Some(&format!("value {i}")))]));
    }
    let bases = p.segment_bases();
    p.hold_from(Offset(bases[3]));
    log.alter("t", TopicConfig { min_cleanable_dirty_ratio: 1.0, ..compacted() }).unwrap();
    assert_eq!(log.apply_compaction().unwrap(), Compaction::default(), "never more than all");
    log.alter("t", TopicConfig { min_cleanable_dirty_ratio: 0.6, ..compacted() }).unwrap();
    assert!(log.apply_compaction().unwrap().records_removed > 0);
    assert_eq!(records(&p).len() as i64, 40 - bases[3] + 1, "what is needed stays");
    p.hold_from(Offset(i64::MAX));
    let half_an_hour = TopicConfig { min_compaction_lag_us: HOUR / 2, ..compacted() };
    log.alter("t", half_an_hour).unwrap();
    clock.set(T0 + 50 * 60_000_000);
    log.apply_compaction().unwrap();
    let left = records(&p);
    let young = left.iter().filter(|r| r.1 > 20 * 60_000).count();
    assert_eq!(young, 19);
    assert!(left.len() < 24, "{left:?}");
    log.alter("t", TopicConfig { min_cleanable_dirty_ratio: 0.99, ..compacted() }).unwrap();
    assert_eq!(log.apply_compaction().unwrap(), Compaction::default());
    log.alter("t", TopicConfig::default()).unwrap();
    assert_eq!(log.apply_compaction().unwrap(), Compaction::default(), "policy delete");
    log.alter("t", compacted()).unwrap();
    log.apply_compaction().unwrap();
    let active = *p.segment_bases().last().unwrap();
    assert_eq!(records(&p).len() as i64, 40 - active + 1);
}

#[test]
fn what_has_waited_long_enough_is_compacted_however_little_it_is() {
    let disk = SimDisk::new(1);
    let clock = VirtualClock::new(T0);
    let log = at(&disk, &clock, no_threads(1 << 20));
    let lag = TopicConfig {
        min_cleanable_dirty_ratio: 1.0,
        max_compaction_lag_us: Some(HOUR),
        ..compacted()
    };
    let p = create(&log, lag);
    put(&p, keyed(0, &[("key", Some("old")), ("key", Some("new"))]));
    clock.set(T0 + HOUR - 1_000);
    log.apply_retention().unwrap();
    assert_eq!(log.apply_compaction().unwrap(), Compaction::default());
    clock.set(T0 + HOUR + 1_000);
    log.apply_retention().unwrap();
    assert_eq!(log.apply_compaction().unwrap().records_removed, 1, "nobody appended");
    assert_eq!(log.apply_compaction().unwrap(), Compaction::default(), "once");
    assert_eq!(records(&p).len(), 1);
}

#[test]
fn a_tombstone_stays_for_the_delete_retention_and_then_goes() {
    let disk = SimDisk::new(1);
    let clock = VirtualClock::new(T0);
    let log = at(&disk, &clock, no_threads(150));
    let p = create(&log, TopicConfig { delete_retention_us: HOUR, ..compacted() });
    put(&p, keyed(0, &[("gone", Some("value")), ("kept", Some("value"))]));
    put(&p, packed(&keyed(5_000, &[("gone", None), ("kept", Some("new"))]), 1));
    let dirty = |n: i64| put(&p, keyed(n, &[("other", Some(&"x".repeat(100)))]));
    dirty(10_000);
    log.apply_compaction().unwrap();
    let left = records(&p);
    assert_eq!(left[0], (2, 5_000, "gone".to_string(), None), "its time has not changed");
    assert_eq!(left[1], (3, 5_001, "kept".to_string(), Some("new".to_string())));
    let headers = batches(&p).into_iter().map(|b| Header::parse(&b).unwrap());
    let headers: Vec<_> = headers.filter(|h| h.count > 0).collect();
    assert_eq!(headers[0].delete_horizon_ms(), Some((T0 + HOUR) / 1000));
    assert_eq!(headers[0].compression(), Compression::Gzip);
    assert_eq!(headers[1].delete_horizon_ms(), None);
    clock.set(T0 + HOUR - 1_000);
    dirty(11_000);
    log.apply_compaction().unwrap();
    assert_eq!(records(&p)[0].2, "gone", "the horizon is set once, and not over yet");
    clock.advance(1_000);
    dirty(12_000);
    log.apply_compaction().unwrap();
    let left = records(&p);
    assert_eq!(left[0].2, "kept", "{left:?}");
    assert_eq!(p.offset_for_time(T0 + 5_001_000).unwrap(), Some(Offset(3)));
}

#[test]
fn a_batch_stays_packed_as_it_was_and_keeps_its_header() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(200));
    let p = create(&log, compacted());
    let all: Vec<String> = (0..50).map(|i| format!("key {i}")).collect();
    for how in 0..5 {
        let mut values: Vec<_> = all.iter().map(|k| (k.as_str(), Some("some value"))).collect();
        let own = format!("of batch {how}");
        values.rotate_left(usize::from(how));
        values.push((&own, Some("stays")));
        let sequence = 7 + 51 * i32::from(how);
        put(&p, produced(&packed(&keyed(i64::from(how) * 100, &values), how), 9, sequence));
    }
    put(&p, keyed(1_000, &[("last", Some("x"))]));
    let header = |batch: &Bytes| Header::parse(batch).unwrap();
    let before: Vec<_> = batches(&p).iter().map(header).collect();
    let expected = table(&records(&p));
    log.apply_compaction().unwrap();
    assert_eq!(table(&records(&p)), expected);
    let after: Vec<_> = batches(&p).iter().map(header).collect();
    assert_eq!(after.len(), before.len());
    for (after, before) in after.iter().zip(&before).take(4) {
        assert_eq!((after.count, before.count), (1, 51));
        let rest = Header {
            length: before.length,
            crc: before.crc,
            max_timestamp_ms: before.max_timestamp_ms,
            count: 51,
            ..*after
        };
        assert_eq!(rest, *before);
    }
    let largest = p.max_timestamp().unwrap().unwrap();
    assert_eq!(largest, (T0 / 1000 + 1_000, Offset(255)));
}

#[test]
fn a_producers_last_batch_stays_without_records() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(300));
    let p = create(&log, compacted());
    for i in 0..6 {
        put(&p, produced(&keyed(i, &[("key", Some("old"))]), 1 + i64::from(i > 2), i as i32));
    }
    for i in 0..10 {
        put(&p, keyed(10 + i, &[("key", Some(&format!("new {i}")))]));
    }
    log.apply_compaction().unwrap();
    let headers: Vec<_> = batches(&p).iter().map(|b| Header::parse(b).unwrap()).collect();
    let empty: Vec<_> = headers
        .iter()
        .filter(|h| h.count == 0 && h.producer_id >= 0)
        .map(|h| (h.producer_id, h.base_sequence, h.base_offset))
        .collect();
    assert_eq!(empty, [(1, 2, 2), (2, 5, 5)]);
    put(&p, produced(&keyed(30, &[("key", Some("again"))]), 1, 3));
    put(&p, keyed(31, &[("key", Some(&"x".repeat(300)))]));
    put(&p, keyed(32, &[("key", Some("last"))]));
    log.apply_compaction().unwrap();
    let left: Vec<_> = batches(&p).iter().map(|b| Header::parse(b).unwrap().base_offset).collect();
    assert!(!left.contains(&2) && left.contains(&5), "{left:?}");
    log.close();
    let (log, recovery) = open(&disk, no_threads(300));
    assert_eq!(recovery, log::Recovery::default());
    assert_eq!(table(&records(&partition(&log))).len(), 1);
}

#[test]
fn committed_records_are_compacted_aborted_ones_and_markers_stay() {
    let disk = SimDisk::new(1);
    let clock = VirtualClock::new(T0);
    let log = at(&disk, &clock, no_threads(350));
    let p = create(&log, TopicConfig { delete_retention_us: 0, ..compacted() });
    put(&p, keyed(0, &[("early", Some("value"))]));
    put(&p, keyed(1, &[("early", None)]));
    put(&p, transactional(&keyed(2, &[("key", Some("committed")), ("other", Some("x"))]), 5, 0));
    end(&p, 5, true);
    put(&p, transactional(&keyed(3, &[("key", Some("aborted")), ("c", Some("aborted"))]), 6, 0));
    end(&p, 6, false);
    put(&p, keyed(4, &[("key", None), ("c", Some("value"))]));
    for i in 0..3 {
        for n in 0..10 {
            put(&p, keyed(100 + i * 10 + n, &[("other", Some(&format!("{n}")))]));
        }
        clock.advance(HOUR);
        log.apply_compaction().unwrap();
        assert_eq!(table(&committed(&p, 300)).len(), 2, "key 'c' and 'other'");
    }
    let headers: Vec<_> = batches(&p).iter().map(|b| Header::parse(b).unwrap()).collect();
    let markers: Vec<_> =
        headers.iter().filter(|h| h.is_control()).map(|h| h.base_offset).collect();
    assert_eq!(markers, [4, 7]);
    let left = records(&p);
    assert!(!left.iter().any(|r| r.2 == "early"), "{left:?}");
    assert!(!left.iter().any(|r| r.3.as_deref() == Some("committed")), "{left:?}");
    assert_eq!(left.iter().filter(|r| r.3.as_deref() == Some("aborted")).count(), 2);
    assert!(left.iter().any(|r| r.2 == "key" && r.3.is_none()), "it may be about what stays");
    log.close();

    for name in files(&disk, &folder()) {
        if name.ends_with("txn") || name.ends_with("producers") {
            disk.remove(&folder().join(name)).unwrap();
        }
    }
    let log = at(&disk, &clock, no_threads(350));
    let p = partition(&log);
    assert_eq!(records(&p), left);
    assert_eq!(table(&committed(&p, 300)).len(), 2, "also with the files made anew");
    put(&p, transactional(&keyed(3, &[("c", Some("open"))]), 6, 2));
    for n in 0..30 {
        put(&p, keyed(200 + n, &[("other", Some(&format!("{n}")))]));
    }
    log.apply_compaction().unwrap();
    let others = || records(&p).iter().filter(|r| r.1 >= 200).count();
    assert_eq!(others(), 30, "nothing behind an open transaction");
    end(&p, 6, true);
    log.apply_compaction().unwrap();
    assert!(others() < 10);
    assert_eq!(table(&committed(&p, 300))["c"], "open");
}

#[test]
fn with_more_keys_than_fit_into_memory_there_are_several_rounds() {
    for keys_max in [1, 10, 35, 1_000] {
        let disk = SimDisk::new(1);
        let config = LogConfig { compaction_keys_max: keys_max, ..no_threads(2_000) };
        let (log, _) = open(&disk, config);
        let p = create(&log, TopicConfig { delete_retention_us: 0, ..compacted() });
        for i in 0..200 {
            let (a, b) = (format!("{}", i * 7 % 40), format!("{}", i % 40));
            put(&p, keyed(i, &[(&a, (i % 5 > 0).then_some("value")), (&b, Some("other"))]));
        }
        let expected = table(&records(&p));
        let done = log.apply_compaction().unwrap();
        assert_eq!(done.rounds > 1, keys_max < 40, "{done:?}");
        let left = records(&p);
        assert_eq!(table(&left), expected);
        let sealed_end = *p.segment_bases().last().unwrap();
        let compacted = left.iter().filter(|r| r.0 < sealed_end).count();
        assert!(compacted <= 40, "{compacted} of 40 keys with room for {keys_max}");
    }
}

#[test]
fn damage_stops_compaction_and_gaps_elsewhere_stay_damage() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(400));
    let p = create(&log, compacted());
    for i in 0..60 {
        put(&p, keyed(i, &[(&format!("{}", i % 20), Some(&format!("value {i}")))]));
    }
    let second = p.segment_bases()[1];
    let file = folder().join(format!("{second:020}.log"));
    assert!(disk.flip_bit(&file, 75, 1));
    let before = files(&disk, &folder());
    let e = log.apply_compaction().unwrap_err();
    assert_eq!(e.kind(), Kind::Corrupt);
    assert!(e.to_string().contains("checksum"), "{e}");
    assert_eq!(files(&disk, &folder()), before);
    assert!(disk.flip_bit(&file, 75, 1));
    log.apply_compaction().unwrap();
    let good = records(&p);
    log.close();

    let compacted = files(&disk, &folder()).into_iter().find(|n| n.len() == 56).unwrap();
    let path = folder().join(&compacted);
    let len = disk.files().iter().find(|(file, _)| *file == path).unwrap().1;
    disk.open(&path, false).unwrap().set_len(len - 20).unwrap();
    let (log, _) = open(&disk, no_threads(400));
    let p = partition(&log);
    let e = try_records(&p, 0, 10_000).unwrap_err();
    assert_eq!(e.kind(), Kind::Corrupt, "{e}");
    assert_eq!(log.apply_compaction().unwrap(), Compaction::default(), "nothing is dirty");
    let behind = *p.segment_bases().last().unwrap();
    let expected: Vec<_> = good.into_iter().filter(|r| r.0 >= behind).collect();
    assert_eq!(try_records(&p, behind, 1_000).unwrap(), expected);
}

#[test]
fn retention_and_deleting_records_work_on_compacted_segments() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1_000));
    let p = create(&log, compacted());
    for i in 0..100 {
        put(&p, keyed(i, &[(&format!("{}", i % 50), Some(&format!("value {i}")))]));
    }
    log.apply_compaction().unwrap();
    let t = log.topic("t").unwrap();
    let before = p.segment_bases()[1] + 3;
    assert_eq!(t.delete_records(Partition(0), Offset(before)).unwrap(), Offset(before));
    assert!(p.segment_bases()[0] <= before);
    let left = records(&p);
    assert!(left.iter().all(|r| r.0 >= before));
    log.close();
    let (log, _) = open(&disk, no_threads(1_000));
    let p = partition(&log);
    assert_eq!((p.start_offset(), records(&p)), (Offset(before), left));
    let both = TopicConfig {
        cleanup_policy: log::CleanupPolicy::CompactDelete,
        retention_bytes: Some(0),
        ..compacted()
    };
    log.alter("t", both).unwrap();
    assert!(log.apply_retention().unwrap() > 0);
    assert_eq!(p.segment_bases().len(), 1);
    log.apply_compaction().unwrap();
    put(&p, keyed(500, &[("next", Some("x"))]));
    log.close();
    let (log, _) = open(&disk, no_threads(1_000));
    assert_eq!(records(&partition(&log)).last().unwrap().2, "next");
}
