//! Topics with `durability = page_cache`: acknowledged at the write, kept when the process dies, a
//! prefix kept when the power goes. The oracle is the list of what was appended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Offset, Partition};
use log::{Log, LogConfig, PartitionLog, TopicConfig, TopicDurability};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use testkit::SimDisk;

use super::{batch, no_threads, open, topic, values};

fn lazy() -> TopicConfig {
    TopicConfig { durability: TopicDurability::PageCache, ..TopicConfig::default() }
}

fn lazy_topic(log: &Log) -> Arc<PartitionLog> {
    log.create_topic("t", lazy()).unwrap().partition(Partition(0)).unwrap()
}

fn only_partition(log: &Log) -> Arc<PartitionLog> {
    log.topic("t").unwrap().partition(Partition(0)).unwrap()
}

#[test]
fn an_append_is_acknowledged_and_visible_at_once() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    let p = lazy_topic(&log);
    let seen = log.commits().count();
    let appended = p.append(batch(&["a", "b"])).unwrap();
    assert!(p.outcome(appended).unwrap().is_ok());
    p.wait_durable(appended).unwrap();
    assert_eq!((p.high_watermark(), p.end_offset()), (Offset(2), Offset(2)));
    assert_eq!(values(&p), ["a", "b"]);
    assert!(log.commits().count() > seen, "who waits for records is woken");
    assert_eq!(log.stats().unwrap()[0].syncs, 0);
    disk.kill();
    let (log, recovery) = open(&disk, no_threads(1 << 20));
    assert_eq!(recovery.partitions, []);
    assert_eq!(values(&only_partition(&log)), ["a", "b"]);
}

#[test]
fn it_is_synced_within_a_second_at_a_roll_and_at_a_close() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, LogConfig { sync_threads: 2, ..LogConfig::default() });
    let p = lazy_topic(&log);
    let began = Instant::now();
    p.append(batch(&["a"])).unwrap();
    p.append(batch(&["b"])).unwrap();
    while log.stats().unwrap()[0].syncs == 0 {
        assert!(began.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() > Duration::from_millis(500), "not with each append");
    disk.crash();
    let (log, recovery) = open(&disk, no_threads(200));
    assert_eq!(recovery.partitions, []);
    let p = only_partition(&log);
    assert_eq!(values(&p), ["a", "b"]);
    for value in ["c", "d", "e"] {
        p.append(batch(&[value, &"x".repeat(200)])).unwrap();
    }
    disk.crash();
    let (log, _) = open(&disk, no_threads(200));
    let p = only_partition(&log);
    assert!(values(&p).len() >= 6, "closed segments are synced");
    p.append(batch(&["last"])).unwrap();
    log.close();
    disk.crash();
    let (log, _) = open(&disk, no_threads(200));
    assert_eq!(values(&only_partition(&log)).last().unwrap(), "last");
}

#[test]
fn a_failed_sync_takes_nothing_back_and_is_repeated() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let (log, _) = open(&disk, no_threads(1 << 20));
        let p = lazy_topic(&log);
        p.append(batch(&["a"])).unwrap();
        disk.fail_syncs(1);
        log.flush();
        p.append(batch(&["b"])).unwrap();
        assert_eq!(values(&p), ["a", "b"]);
        assert_eq!(log.stats().unwrap()[0].sync_failures, 1);
        log.flush();
        disk.crash();
        let (log, recovery) = open(&disk, no_threads(1 << 20));
        assert_eq!(recovery.partitions, []);
        assert_eq!(values(&only_partition(&log)), ["a", "b"]);
    }
}

#[test]
fn what_a_power_cut_took_is_reported_as_perhaps_acknowledged() {
    let mut reports = 0;
    for seed in 0..60 {
        let disk = SimDisk::new(seed);
        let (log, _) = open(&disk, no_threads(1 << 20));
        let p = lazy_topic(&log);
        for i in 0..5 {
            p.append(batch(&[&format!("{i}"), &"x".repeat(700)])).unwrap();
        }
        disk.crash();
        let (_log, recovery) = open(&disk, no_threads(1 << 20));
        for report in recovery.partitions {
            assert!(report.may_be_acknowledged && report.truncated_bytes > 0, "{report:?}");
            assert_eq!(report.damage, []);
            reports += 1;
        }
    }
    assert!(reports > 10, "{reports}");
}

#[test]
fn the_setting_changes_at_once() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    let p = topic(&log, "t");
    let first = p.append(batch(&["a"])).unwrap();
    assert!(p.outcome(first).is_none());
    log.alter("t", lazy()).unwrap();
    p.append(batch(&["b"])).unwrap();
    assert!(p.outcome(first).unwrap().is_ok(), "it is written before one that is acknowledged");
    log.alter("t", TopicConfig::default()).unwrap();
    assert_eq!(log.stats().unwrap()[0].syncs, 1);
    let last = p.append(batch(&["c"])).unwrap();
    assert!(p.outcome(last).is_none());
    disk.fail_syncs(1);
    assert!(p.wait_durable(last).is_err());
    assert_eq!(values(&p), ["a", "b"]);
}

#[test]
fn a_prefix_survives_whatever_the_disk_does() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..200 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let disk = SimDisk::new(seed);
        let segment_bytes = rng.random_range(300..4_000);
        let (mut log, _) = open(&disk, no_threads(segment_bytes));
        lazy_topic(&log);
        let mut all: Vec<String> = vec![];
        let mut synced = 0;
        for step in 0..60 {
            let p = only_partition(&log);
            match rng.random_range(0..20) {
                0..12 => {
                    let value = format!("{seed} {step} {}", "x".repeat(rng.random_range(0..400)));
                    if p.append(batch(&[&value])).is_ok() {
                        all.push(value);
                    }
                }
                12 => disk.fail_syncs(1),
                13 => disk.fail_writes(1),
                14 | 15 => {
                    let failures = log.stats().unwrap()[0].sync_failures;
                    log.flush();
                    if log.stats().unwrap()[0].sync_failures == failures {
                        synced = all.len();
                    }
                }
                power => {
                    assert_eq!(values(&p), all, "seed {seed}");
                    let process_only = power < 18;
                    if process_only {
                        disk.kill()
                    } else {
                        disk.crash()
                    }
                    log = open(&disk, no_threads(segment_bytes)).0;
                    let found = values(&only_partition(&log));
                    assert!(all.starts_with(&found), "seed {seed}");
                    let least = if process_only { all.len() } else { synced };
                    assert!(found.len() >= least, "seed {seed}");
                    lost += all.len() - found.len();
                    kept += found.len() - synced.min(found.len());
                    all = found;
                    synced = all.len();
                }
            }
        }
    }
    assert!(lost > 50 && kept > 50, "lost {lost}, kept {kept}");
}
