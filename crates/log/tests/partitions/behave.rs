//! Writing, reading, finding, forgetting; topics come, change and go.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Disk, Kind, Offset, Partition, disk};
use log::{Header, Log, TopicConfig};
use testkit::{SimDisk, VirtualClock};

use super::{DIR, T0, batch, batch_at, files, no_threads, open, put, topic, try_read, values};

#[test]
fn readers_see_what_is_durable_and_no_more() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    let p = topic(&log, "readings");
    assert!(p.read(Offset(0), 1000).unwrap().is_empty());
    let a = p.append(batch(&["a", "b"])).unwrap();
    let b = p.append(batch(&["c"])).unwrap();
    assert_eq!((a.first, a.last, b.first, b.last), (Offset(0), Offset(1), Offset(2), Offset(2)));
    assert_eq!((p.high_watermark(), p.end_offset()), (Offset(0), Offset(3)));
    assert!(p.read(Offset(0), 1000).unwrap().is_empty());
    assert!(p.outcome(a).is_none());
    log.flush();
    assert_eq!(p.high_watermark(), Offset(3));
    assert!(p.outcome(a).unwrap().is_ok() && p.outcome(b).unwrap().is_ok());
    assert_eq!(values(&p), ["a", "b", "c"]);
    let e = p.read(Offset(4), 1000).unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound);
    assert!(e.to_string().contains("does not exist yet (the next one will be 3)"), "{e}");
}

#[test]
fn a_read_begins_with_the_batch_that_contains_the_offset() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(2_000));
    let p = topic(&log, "readings");
    for i in 0..60 {
        let names: Vec<String> = (0..5).map(|n| format!("value {}", i * 5 + n)).collect();
        put(&p, &names.iter().map(String::as_str).collect::<Vec<_>>());
    }
    assert!(p.segment_bases().len() > 3, "{:?}", p.segment_bases());
    let expected: Vec<_> = (0..300).map(|n| (n, format!("value {n}"))).collect();
    for bytes_max in [0, 1, 200, 5_000, usize::MAX] {
        for from in [0, 1, 4, 5, 77, 150, 299] {
            let first = p.read(Offset(from), bytes_max).unwrap();
            assert!(Header::parse(&first[0]).unwrap().base_offset <= from);
            if bytes_max < 2 {
                assert_eq!(first.len(), 1);
            }
            let read = try_read(&p, from, bytes_max).unwrap();
            assert_eq!(read, expected[from as usize..]);
        }
    }
    let all = p.read(Offset(0), usize::MAX).unwrap();
    assert_eq!(all.len(), 60, "one read goes over all segments");
}

#[test]
fn several_batches_in_one_append_follow_each_other() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    let p = topic(&log, "readings");
    put(&p, &["zero"]);
    let both = [&batch(&["a", "b"])[..], &batch(&["c"])].concat();
    let appended = p.append(both.into()).unwrap();
    assert_eq!((appended.first, appended.last), (Offset(1), Offset(3)));
    log.flush();
    assert_eq!(values(&p), ["zero", "a", "b", "c"]);
    let e = p.append(batch(&["x"]).slice(0..65)).unwrap_err();
    assert_eq!(e.kind(), Kind::Invalid);
    assert_eq!(p.end_offset(), Offset(4));
}

#[test]
fn everything_is_there_after_a_restart_also_without_the_indexes() {
    let disk = SimDisk::new(1);
    let dir = Path::new(DIR).join("readings-0");
    let expected: Vec<String> = (0..200).map(|n| format!("a value with number {n}")).collect();
    {
        let (log, recovery) = open(&disk, no_threads(3_000));
        assert_eq!(recovery, log::Recovery::default());
        let p = topic(&log, "readings");
        for v in &expected {
            put(&p, &[v]);
        }
        log.close();
        assert_eq!(values(&p), expected, "a closed log can still be read");
        let e = p.append(batch(&["late"])).unwrap_err();
        assert_eq!((e.kind(), e.message()), (Kind::Unavailable, "the log is closed"));
    }
    let names = files(&disk, &dir);
    assert!(names.contains(&"00000000000000000000.timeindex".to_string()), "{names:?}");
    for round in 0..4 {
        for name in names.iter().filter(|n| n.ends_with("index")) {
            match round {
                0 => {}
                1 => disk.remove(&dir.join(name)).unwrap(),
                2 => assert!(disk.flip_bit(&dir.join(name), 20, 3)),
                _ => disk.open(&dir.join(name), false).unwrap().set_len(30).unwrap(),
            }
        }
        let (log, recovery) = open(&disk, no_threads(3_000));
        assert_eq!(recovery, log::Recovery::default(), "round {round}");
        let p = log.topic("readings").unwrap().partition(Partition(0)).unwrap();
        assert_eq!(values(&p), expected, "round {round}");
        assert_eq!(p.offset_for_time(T0).unwrap(), Some(Offset(0)));
        assert_eq!(p.end_offset(), Offset(200));
    }
}

#[test]
fn a_large_active_segment_is_indexed_when_closed_and_then_written_on() {
    let disk = SimDisk::new(1);
    let index = Path::new(DIR).join("readings-0/00000000000000000000.index");
    let filler = "x".repeat(20_000);
    for round in 0..3 {
        let (log, _) = open(&disk, no_threads(1 << 30));
        let p = match log.topic("readings") {
            Ok(topic) => topic.partition(Partition(0)).unwrap(),
            Err(_) => topic(&log, "readings"),
        };
        for i in 0..60 {
            let at = T0 + (round * 60 + i) * 1_000_000;
            p.append(batch_at(at, &[&format!("{round} {i} {filler}")])).unwrap();
        }
        log.flush();
        for record in [0, 59, round * 60, round * 60 + 59] {
            let (first, value) = &try_read(&p, record, 1).unwrap()[0];
            assert_eq!(*first, record);
            assert!(value.starts_with(&format!("{} {} ", record / 60, record % 60)));
            let found = p.offset_for_time(T0 + record * 1_000_000).unwrap();
            assert_eq!(found, Some(Offset(record)));
        }
        // In good order, or by a crash after which the index reaches to a part of the segment only.
        if round == 0 {
            log.close();
            assert!(disk.files().iter().any(|(path, _)| *path == index));
        }
        disk.kill();
    }
}

#[test]
fn offsets_are_found_by_time() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(100_000));
    let p = topic(&log, "readings");
    assert_eq!(p.offset_for_time(0).unwrap(), None);
    let filler = "x".repeat(900);
    for i in 0..300_i64 {
        // Each tenth comes late: the first record at or after a time counts.
        let late = if i % 10 == 9 { 5_000_000 } else { 0 };
        p.append(batch_at(T0 + i * 1_000_000 - late, &[&filler, &filler])).unwrap();
    }
    log.flush();
    assert!(p.segment_bases().len() > 3);
    for (seconds, expected) in [(-100, 0), (0, 0), (1, 2), (4, 8), (9, 20), (150, 300), (298, 596)]
    {
        let found = p.offset_for_time(T0 + seconds * 1_000_000).unwrap();
        assert_eq!(found, Some(Offset(expected)), "after {seconds} s");
    }
    assert_eq!(p.offset_for_time(T0 + 299_000_000).unwrap(), None);
}

#[test]
fn old_and_surplus_segments_go_and_stay_gone() {
    let disk = SimDisk::new(1);
    let clock = VirtualClock::new(T0);
    let reopen = || {
        let disk = Arc::new(disk.attach());
        Log::open(disk, Arc::new(clock.clone()), Path::new(DIR), no_threads(1_000)).unwrap().0
    };
    let log = reopen();
    let by_size = TopicConfig { retention_bytes: Some(3_000), ..TopicConfig::default() };
    let by_age = TopicConfig { retention_us: Some(60_000_000), ..TopicConfig::default() };
    let sized = log.create_topic("sized", by_size).unwrap().partition(Partition(0)).unwrap();
    let aged = log.create_topic("aged", by_age).unwrap().partition(Partition(0)).unwrap();
    for i in 0..100 {
        let batch = batch_at(T0 + i * 1_000_000, &["some value"]);
        sized.append(batch.clone()).unwrap();
        aged.append(batch).unwrap();
    }
    log.flush();
    clock.set(T0 + 100_000_000);
    assert!(log.apply_retention().unwrap() > 0);
    assert_eq!(log.apply_retention().unwrap(), 0);
    let stats = log.stats().unwrap();
    assert!((2_000..=3_000).contains(&stats[1].bytes), "{stats:?}");
    let start = aged.start_offset();
    assert!((30..=40).contains(&start.0), "{start}");
    assert_eq!(aged.segment_bases()[0], start.0);
    let e = aged.read(Offset(3), 1000).unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound);
    assert!(e.to_string().contains(&format!("not kept any more (the oldest is {start})")), "{e}");
    assert_eq!(try_read(&aged, start.0, 500).unwrap().len() as i64, 100 - start.0);
    assert_eq!(aged.offset_for_time(0).unwrap(), Some(start));
    log.close();

    let log = reopen();
    let aged = log.topic("aged").unwrap().partition(Partition(0)).unwrap();
    assert_eq!(aged.start_offset(), start);
    clock.advance(3_600_000_000);
    log.apply_retention().unwrap();
    assert_eq!((aged.start_offset(), aged.high_watermark()), (Offset(100), Offset(100)));
    assert!(values(&aged).is_empty(), "also the segment that never filled up goes");
    put(&aged, &["next"]);
    log.close();
    let log = reopen();
    let aged = log.topic("aged").unwrap().partition(Partition(0)).unwrap();
    assert_eq!(try_read(&aged, 100, 500).unwrap(), [(100, "next".to_string())]);
}

#[test]
fn topics_come_change_and_go() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    let three = TopicConfig { partitions: 3, ..TopicConfig::default() };
    let readings = log.create_topic("readings", three.clone()).unwrap();
    log.create_topic("plays", TopicConfig::default()).unwrap();
    let e = log.create_topic("plays", TopicConfig::default()).unwrap_err();
    assert_eq!((e.kind(), e.message()), (Kind::AlreadyExists, "topic 'plays' exists already"));
    let e = log.topic("reading").unwrap_err();
    assert_eq!(e.to_string(), "unknown topic 'reading' (did you mean 'readings'?)");
    let e = readings.partition(Partition(3)).err().unwrap();
    assert!(e.to_string().contains("its partitions are 0 to 2"), "{e}");
    put(&readings.partition(Partition(2)).unwrap(), &["two"]);

    let e = log.alter("readings", TopicConfig { partitions: 2, ..three.clone() }).unwrap_err();
    assert_eq!(e.kind(), Kind::Invalid);
    log.alter("readings", TopicConfig { partitions: 5, retention_us: Some(7), ..three }).unwrap();
    put(&readings.partition(Partition(4)).unwrap(), &["four"]);
    let id = readings.id();
    log.close();

    let (log, _) = open(&disk, no_threads(1 << 20));
    let readings = log.topic("readings").unwrap();
    assert_eq!((readings.id(), readings.config().retention_us), (id, Some(7)));
    let kept: Vec<_> = readings.partitions().iter().map(|p| values(p).join(",")).collect();
    assert_eq!(kept, ["", "", "two", "", "four"]);
    let old = readings.partition(Partition(2)).unwrap();
    log.drop_topic("readings").unwrap();
    assert_eq!(log.drop_topic("readings").unwrap_err().kind(), Kind::NotFound);
    let e = old.append(batch(&["late"])).unwrap_err();
    assert_eq!((e.kind(), e.message()), (Kind::NotFound, "topic 'readings' was dropped"));
    assert_eq!(files(&disk, Path::new(DIR)), ["topics"]);
    let again = topic(&log, "readings");
    assert_eq!(put(&again, &["new"]), Offset(0));
    let names: Vec<_> = log.topics().iter().map(|t| t.name().to_string()).collect();
    assert_eq!(names, ["plays", "readings"]);
}

#[test]
fn names_follow_kafkas_rule() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    let longest = "x".repeat(249);
    for name in ["a", "A.b_c-9", "a-1", "a.new", &longest] {
        put(&topic(&log, name), &[name]);
    }
    for name in ["", ".", "..", "a/b", "a b", "é", &"x".repeat(250)] {
        let e = log.create_topic(name, TopicConfig::default()).unwrap_err();
        assert_eq!(e.kind(), Kind::Invalid, "{name}");
    }
    for partitions in [0, 10_001] {
        let config = TopicConfig { partitions, ..TopicConfig::default() };
        assert_eq!(log.create_topic("b", config).unwrap_err().kind(), Kind::Invalid);
    }
    log.close();
    let (log, _) = open(&disk, no_threads(1 << 20));
    let p = log.topic(&longest).unwrap().partition(Partition(0)).unwrap();
    assert_eq!(values(&p), [longest]);
}

#[test]
fn a_damaged_or_newer_description_stops_the_start_and_is_named() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    topic(&log, "readings");
    log.close();
    let (path, _) =
        disk.files().into_iter().find(|(p, _)| p.extension().is_some_and(|e| e == "json")).unwrap();
    let good = disk::read(&disk, &path).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    let newer = text.replace("\"format\": 1", "\"format\": 3");
    let cases = [
        (&text[..text.len() / 2], Kind::Corrupt, "does not describe a topic"),
        (newer.as_str(), Kind::Unsupported, "has format 3, this program knows up to 2"),
    ];
    for (content, kind, why) in cases {
        disk::write_atomically(&disk, &path, content.as_bytes()).unwrap();
        let e = super::try_open(&disk, no_threads(1 << 20)).err().unwrap();
        assert_eq!(e.kind(), kind);
        assert!(e.message().contains(why) && e.message().contains(".json"), "{e}");
    }
    disk::write_atomically(&disk, &path, &good).unwrap();
    open(&disk, no_threads(1 << 20));
}

#[test]
fn a_folder_of_nobody_is_left_alone_and_not_taken_over() {
    let disk = SimDisk::new(1);
    let stranger = Path::new(DIR).join("orders-0");
    disk.create_dir_all(&stranger).unwrap();
    let (log, recovery) = open(&disk, no_threads(1 << 20));
    assert_eq!(recovery.strangers, [stranger]);
    let e = log.create_topic("orders", TopicConfig::default()).unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict);
    assert!(e.to_string().contains("orders-0"), "{e}");
}

#[test]
fn commits_wake_threads_and_tasks() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    let p = topic(&log, "readings");
    let commits = log.commits();
    let mut watch = commits.subscribe();
    let seen = commits.count();
    assert_eq!(commits.wait(seen, Duration::from_millis(5)), seen, "nothing happens");
    assert!(!watch.has_changed().unwrap());
    let waiting = std::thread::spawn({
        let commits = log.commits();
        move || commits.wait(seen, Duration::from_secs(10))
    });
    put(&p, &["a"]);
    assert_eq!(waiting.join().unwrap(), seen + 1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        watch.changed().await.unwrap();
        let appended = p.append(batch(&["b"])).unwrap();
        let durable = p.durable(appended);
        tokio::spawn(durable).await.unwrap().unwrap();
    });
    assert_eq!(values(&p), ["a", "b"]);
}

#[test]
fn a_thousand_partitions_share_a_few_handles() {
    let disk = SimDisk::new(1);
    let config = || log::LogConfig { handles_max: 40, ..no_threads(600) };
    let (log, _) = open(&disk, config());
    let many = TopicConfig { partitions: 1_000, ..TopicConfig::default() };
    let partitions = log.create_topic("many", many).unwrap().partitions();
    for round in 0..3 {
        for p in &partitions {
            p.append(batch(&[&format!("{round}"), &"x".repeat(300)])).unwrap();
        }
        log.flush();
        assert!(log.handles() <= 40, "{}", log.handles());
    }
    log.close();
    let (log, _) = open(&disk, config());
    for p in log.topic("many").unwrap().partitions() {
        assert_eq!(values(&p).len(), 6);
    }
    assert!(log.handles() <= 40, "{}", log.handles());
}
