//! Settings of topics: what they mean, that they are kept, that old descriptions still load.

use std::path::Path;

use common::{Kind, Partition, disk};
use log::{CleanupPolicy, TimestampType, TopicConfig, TopicDurability};
use testkit::SimDisk;

use super::{DIR, T0, batch, batch_at, files, no_threads, open, put, topic, try_open, values};

#[test]
fn settings_are_kept_and_what_an_old_description_does_not_name_has_its_default() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    topic(&log, "plain");
    let all = TopicConfig {
        partitions: 2,
        retention_us: Some(1),
        retention_bytes: Some(2),
        segment_bytes_max: Some(3),
        segment_us: Some(4),
        cleanup_policy: CleanupPolicy::CompactDelete,
        max_message_bytes: Some(5),
        message_timestamp_type: TimestampType::LogAppendTime,
        min_cleanable_dirty_ratio: 0.25,
        delete_retention_us: 6,
        min_compaction_lag_us: 7,
        max_compaction_lag_us: Some(8),
        timestamp_before_max_us: Some(9),
        timestamp_after_max_us: None,
        durability: TopicDurability::PageCache,
    };
    log.create_topic("all", TopicConfig { partitions: 2, ..TopicConfig::default() }).unwrap();
    log.alter("all", all.clone()).unwrap();
    log.close();

    let folder = Path::new(DIR).join("topics");
    for name in files(&disk, &folder) {
        let text = String::from_utf8(disk::read(&disk, &folder.join(&name)).unwrap()).unwrap();
        if text.contains("\"all\"") {
            assert!(text.contains(r#""cleanup_policy": "compact,delete""#), "{text}");
            assert!(text.contains(r#""durability": "page_cache""#), "{text}");
            assert!(text.contains(r#""format": 2"#), "an older program must not read it: {text}");
            continue;
        }
        let of_old = ["format", "name", "\"id", "partitions", "retention_b", "start", "dropped"];
        let old: Vec<_> = text
            .lines()
            .filter(|line| !line.contains(':') || of_old.iter().any(|key| line.contains(key)))
            .collect();
        assert!(!old.concat().contains("cleanup_policy"), "{old:?}");
        let old = old.concat().replace(",}", "}");
        disk::write_atomically(&disk, &folder.join(name), old.as_bytes()).unwrap();
    }
    let (log, _) = open(&disk, no_threads(1 << 20));
    assert_eq!(log.topic("all").unwrap().config(), all);
    assert_eq!(log.topic("plain").unwrap().config(), TopicConfig::default());
}

#[test]
fn a_description_in_which_a_bit_rots_is_damage() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    topic(&log, "t");
    log.close();
    let folder = Path::new(DIR).join("topics");
    let path = folder.join(&files(&disk, &folder)[0]);
    let text = String::from_utf8(disk::read(&disk, &path).unwrap()).unwrap();
    let at = text.find("\"partitions\": 1").unwrap() + "\"partitions\": ".len();
    assert!(disk.flip_bit(&path, at as u64, 1));
    disk.kill();
    let e = try_open(&disk, no_threads(1 << 20)).unwrap_err();
    assert_eq!(e.kind(), Kind::Corrupt);
    assert!(e.to_string().contains("its checksum does not match"), "{e}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    let default = TopicConfig::default;
    for (config, why) in [
        (TopicConfig { min_cleanable_dirty_ratio: 1.5, ..default() }, "dirty ratio"),
        (TopicConfig { min_cleanable_dirty_ratio: f64::NAN, ..default() }, "dirty ratio"),
        (TopicConfig { delete_retention_us: -1, ..default() }, "delete retention"),
        (TopicConfig { min_compaction_lag_us: -1, ..default() }, "compaction lag"),
        (TopicConfig { max_compaction_lag_us: Some(0), ..default() }, "compaction lag"),
        (TopicConfig { timestamp_after_max_us: Some(-1), ..default() }, "timestamps"),
        (TopicConfig { segment_us: Some(0), ..default() }, "segment time"),
    ] {
        let e = log.create_topic("t", config).unwrap_err();
        assert_eq!(e.kind(), Kind::Invalid);
        assert!(e.message().contains(why), "{e}");
    }
}

#[test]
fn a_topic_grows_but_not_over_folders_of_others() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    let old = topic(&log, "readings");
    put(&old, &["zero"]);
    let readings = log.topic("readings").unwrap();
    readings.add_partitions(3).unwrap();
    put(&readings.partition(Partition(2)).unwrap(), &["two"]);
    for total in [0, 2, 3, 10_001] {
        assert_eq!(readings.add_partitions(total).unwrap_err().kind(), Kind::Invalid, "{total}");
    }
    common::Disk::create_dir_all(&disk, &Path::new(DIR).join("readings-3")).unwrap();
    assert_eq!(readings.add_partitions(4).unwrap_err().kind(), Kind::Conflict);
    log.close();
    let (log, _) = open(&disk, no_threads(1 << 20));
    let readings = log.topic("readings").unwrap();
    let kept: Vec<_> = readings.partitions().iter().map(|p| values(p).join(",")).collect();
    assert_eq!(kept, ["zero", "", "two"]);
    log.drop_topic("readings").unwrap();
    assert_eq!(readings.add_partitions(4).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn the_largest_batch_and_the_size_of_segments_change_at_once() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    let p = topic(&log, "readings");
    let large = "x".repeat(500);
    put(&p, &[&large]);
    let limits = TopicConfig {
        max_message_bytes: Some(300),
        segment_bytes_max: Some(1),
        ..TopicConfig::default()
    };
    log.alter("readings", limits).unwrap();
    let e = p.append_produced(batch(&[&large])).unwrap_err();
    assert_eq!(e.code, log::ErrorCode::MessageTooLarge);
    assert!(e.message.contains("larger than 300"), "{e}");
    put(&p, &["small"]);
    put(&p, &["small"]);
    assert_eq!(p.segment_bases(), [0, 1, 2]);
}

#[test]
fn compacted_topics_forget_nothing_by_age_or_size() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(300));
    let config = |cleanup_policy| TopicConfig {
        retention_us: Some(0),
        retention_bytes: Some(0),
        cleanup_policy,
        ..TopicConfig::default()
    };
    let p = topic(&log, "t");
    for i in 0..10 {
        p.append(batch_at(T0 - 1_000_000 + i, &["some value", &"x".repeat(200)])).unwrap();
    }
    log.flush();
    log.alter("t", config(CleanupPolicy::Compact)).unwrap();
    assert_eq!(log.apply_retention().unwrap(), 0);
    let e = p.append(batch(&["without a key"])).unwrap_err();
    assert_eq!(
        (e.kind(), e.message()),
        (Kind::Invalid, "record batch at byte 0: record 0 has no key, in a compacted topic")
    );
    log.alter("t", config(CleanupPolicy::CompactDelete)).unwrap();
    assert!(log.apply_retention().unwrap() > 5);
}
