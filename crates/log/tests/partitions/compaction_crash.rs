//! Compaction while the disk fails and the power goes: random schedules with an oracle, and a
//! power cut at every single call. The oracle is the list of all records that were acknowledged:
//! what is read is a part of it, in its place, and makes the same table as a plain map. `SEED=7`
//! runs one seed, `SEEDS=5000` more of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::Kind;
use log::{Compaction, Log, LogConfig, PartitionLog, TopicConfig};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use testkit::{SimDisk, VirtualClock};

use super::keyed::*;
use super::{DIR, T0, files, no_threads, open};

const MINUTE: i64 = 60_000_000;

struct Run {
    rng: SmallRng,
    disk: SimDisk,
    clock: VirtualClock,
    config: LogConfig,
    log: Arc<Log>,
    /// All that was acknowledged, whether it is there still or not.
    all: Vec<Record>,
    /// Offsets of records whose transactions were aborted.
    aborted: BTreeSet<i64>,
    /// The next sequence number of each producer.
    sequences: BTreeMap<i64, i32>,
    done: Compaction,
    failures: u64,
    crashes: u64,
}

fn try_open(disk: &SimDisk, clock: &VirtualClock, config: &LogConfig) -> common::Result<Arc<Log>> {
    let disk = Arc::new(disk.attach());
    let opened = Log::open(disk, Arc::new(clock.clone()), Path::new(DIR), config.clone());
    opened.map(|(log, recovery)| {
        assert!(recovery.partitions.iter().all(|report| report.damage.is_empty()));
        log
    })
}

/// What must be true whenever somebody reads.
fn check(p: &PartitionLog, all: &[Record], aborted: &BTreeSet<i64>, bytes_max: usize) {
    let read = try_records(p, 0, bytes_max).unwrap();
    let by_offset: BTreeMap<i64, &Record> = all.iter().map(|r| (r.0, r)).collect();
    for record in &read {
        assert_eq!(Some(&record), by_offset.get(&record.0), "records do not change");
    }
    assert!(read.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let counts: Vec<_> = all.iter().filter(|r| !aborted.contains(&r.0)).cloned().collect();
    let decided = committed(p, bytes_max);
    assert!(decided.iter().all(|r| !aborted.contains(&r.0) && read.contains(r)));
    assert_eq!(table(&decided), table(&counts));
    let active = p.segment_bases().last().copied().unwrap_or(0);
    let expected = all.iter().filter(|r| r.0 >= active).count();
    assert_eq!(read.iter().filter(|r| r.0 >= active).count(), expected);
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let disk = SimDisk::new(seed ^ 0x5eed);
        let clock = VirtualClock::new(T0);
        let compaction_keys_max = if rng.random() { 1_000 } else { rng.random_range(1..20) };
        let config = LogConfig { compaction_keys_max, ..no_threads(rng.random_range(300..3_000)) };
        let log = try_open(&disk, &clock, &config).unwrap();
        let topic = TopicConfig {
            delete_retention_us: rng.random_range(0..3) * 5 * MINUTE,
            min_compaction_lag_us: rng.random_range(0..3) * MINUTE,
            min_cleanable_dirty_ratio: rng.random_range(0..3) as f64 * 0.3,
            ..compacted()
        };
        create(&log, topic);
        Self {
            rng,
            disk,
            clock,
            config,
            log,
            all: vec![],
            aborted: BTreeSet::new(),
            sequences: BTreeMap::new(),
            done: Compaction::default(),
            failures: 0,
            crashes: 0,
        }
    }

    fn step(&mut self) {
        self.clock.advance(MINUTE / 4);
        match self.rng.random_range(0..100) {
            0..70 => self.append(),
            70..90 => self.compact(),
            90..93 => {
                let bytes_max = self.rng.random_range(0..3_000);
                self.check(bytes_max);
            }
            93..95 => {
                self.log.close();
                self.restart(SimDisk::kill);
            }
            95..97 => self.restart(SimDisk::kill),
            _ => self.restart(SimDisk::crash),
        }
    }

    fn append(&mut self) {
        let ms = (common::Clock::now_us(&self.clock) - T0) / 1000;
        let records: Vec<_> = (0..self.rng.random_range(1..6))
            .map(|_| {
                let key = format!("key {}", self.rng.random_range(0..30));
                let value = (self.rng.random_range(0..4) > 0).then(|| {
                    let len = self.rng.random_range(0..200);
                    format!("{} {}", self.all.len(), "x".repeat(len))
                });
                (key, value)
            })
            .collect();
        let borrowed: Vec<_> = records.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
        let mut batch = packed(&keyed(ms, &borrowed), self.rng.random_range(0..5));
        let p = partition(&self.log);
        let kind = self.rng.random_range(0..20);
        let id = if kind == 0 { 9 } else { self.rng.random_range(0..4) };
        let sequence = self.sequences.entry(id).or_default();
        match kind {
            0 => batch = transactional(&batch, id, *sequence),
            1..6 => batch = produced(&batch, id, *sequence),
            _ => {}
        }
        *sequence += if kind < 6 { records.len() as i32 } else { 0 };
        let first = put(&p, batch);
        if kind == 0 {
            let commit = self.rng.random();
            end(&p, id, commit);
            let offsets = first..first + records.len() as i64;
            self.aborted.extend(offsets.filter(|_| !commit));
        }
        for (i, (key, value)) in (0..).zip(records) {
            self.all.push((first + i, ms + i, key, value));
        }
    }

    fn check(&self, bytes_max: usize) {
        check(&partition(&self.log), &self.all, &self.aborted, bytes_max);
    }

    /// With a fault in it, or not.
    fn compact(&mut self) {
        match self.rng.random_range(0..8) {
            0 => self.disk.fail_writes(1),
            1 => self.disk.fail_syncs(1),
            2 => self.disk.set_free(Some(self.rng.random_range(0..2_000))),
            3..6 => self.disk.cut_power_in(self.rng.random_range(0..40)),
            _ => {}
        }
        match self.log.apply_compaction() {
            Ok(done) => {
                self.done.rounds += done.rounds;
                self.done.partitions += done.partitions;
                self.done.records_removed += done.records_removed;
            }
            Err(e) => {
                assert!(matches!(e.kind(), Kind::Io | Kind::Exhausted), "{e}");
                self.failures += 1;
            }
        }
        if self.disk.is_on() {
            self.disk.cut_power_in(u64::MAX);
            self.disk.set_free(None);
            self.disk.fail_writes(0);
            self.disk.fail_syncs(0);
            self.check(1_000);
        } else {
            self.crashes += 1;
            self.restart(SimDisk::crash);
        }
    }

    fn restart(&mut self, how: fn(&SimDisk)) {
        how(&self.disk);
        if self.rng.random_range(0..4) == 0 {
            self.disk.cut_power_in(self.rng.random_range(0..8));
        }
        self.log = loop {
            match try_open(&self.disk, &self.clock, &self.config) {
                Ok(log) if self.disk.is_on() => break log,
                _ => self.disk.crash(),
            }
        };
        self.disk.cut_power_in(u64::MAX);
        self.check(700);
    }

    /// On a healthy disk everything gets compacted in the end.
    fn finish(&mut self) {
        let config = TopicConfig { delete_retention_us: 0, ..compacted() };
        self.log.alter("t", config).unwrap();
        self.append();
        self.restart(SimDisk::kill);
        self.log.apply_compaction().unwrap();
        let p = partition(&self.log);
        self.check(1_000);
        let sealed_end = p.segment_bases().last().copied().unwrap();
        let below = |r: &Record| r.0 < sealed_end && !self.aborted.contains(&r.0);
        // Behind records of aborted transactions tombstones stay.
        let stay: BTreeSet<_> = records(&p).into_iter().filter(below).map(|r| (r.2, r.0)).collect();
        let keys: BTreeSet<_> = stay.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), stay.len(), "each key is there once");
        let names = files(&self.disk, &Path::new(DIR).join("t-0"));
        let segments = names.iter().filter(|name| name.ends_with(".log")).count();
        assert_eq!(segments, p.segment_bases().len(), "nothing is left behind: {names:?}");
        assert!(!names.iter().any(|name| name.ends_with(".log.cleaned")));
    }
}

/// Prints the seed of the run that panics.
struct Names(u64);

impl Drop for Names {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with SEED={}", self.0);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_latest_value_of_each_key_is_always_that_of_a_plain_map() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(40),
    };
    let is_all = seeds.end - seeds.start > 1;
    let (mut removed, mut rounds, mut failures, mut crashes) = (0, 0, 0, 0);
    for seed in seeds {
        let _names = Names(seed);
        let mut run = Run::new(seed);
        for _ in 0..150 {
            run.step();
        }
        run.finish();
        removed += run.done.records_removed;
        rounds += run.done.rounds.saturating_sub(run.done.partitions);
        failures += run.failures;
        crashes += run.crashes;
    }
    eprintln!("{removed} removed, {rounds} more rounds, {failures} failures, {crashes} crashes");
    assert!(!is_all || removed > 1_000 && rounds > 100 && failures > 100 && crashes > 100);
}

#[test]
fn a_power_cut_at_any_call_leaves_the_old_segments_or_the_new_ones() {
    let (mut completed, mut seen) = (0, [0, 0]);
    for seed in 0..6 {
        for calls in 0..120 {
            let _names = Names(seed * 1_000 + calls);
            let disk = SimDisk::new(seed * 1_000 + calls);
            let (log, _) = open(&disk, no_threads(600));
            let p = create(&log, TopicConfig { delete_retention_us: 0, ..compacted() });
            let mut all = vec![];
            for i in 0..30 {
                let key = format!("{}", i % 5);
                let first = put(&p, keyed(i, &[(&key, (i % 4 > 0).then_some("some value"))]));
                let value = (i % 4 > 0).then(|| "some value".to_string());
                all.push((first, i, key, value));
            }
            log.apply_compaction().unwrap();
            for i in 30..50 {
                let key = format!("{}", i % 5);
                let first = put(&p, keyed(i, &[(&key, Some("another value"))]));
                all.push((first, i, key, Some("another value".to_string())));
            }
            let before = records(&p);
            disk.cut_power_in(calls);
            let outcome = log.apply_compaction();
            completed += u64::from(outcome.is_ok());
            disk.crash();
            let (log, recovery) = open(&disk, no_threads(600));
            assert_eq!(recovery, log::Recovery::default());
            let p = partition(&log);
            check(&p, &all, &BTreeSet::new(), 500);
            seen[usize::from(records(&p) != before)] += 1;
            log.apply_compaction().unwrap();
            check(&p, &all, &BTreeSet::new(), 500);
            put(&p, keyed(100, &[("next", Some("x"))]));
        }
    }
    assert!(completed > 30 && seen[0] > 15 && seen[1] > 50, "{completed} {seen:?}");
}

#[test]
fn a_failed_swap_leaves_no_ghost_and_a_dropped_topic_no_rubbish() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(300));
    let p = create(&log, compacted());
    for i in 0..40 {
        put(&p, keyed(i, &[(&format!("{}", i % 3), Some("value"))]));
    }
    let before = files(&disk, &Path::new(DIR).join("t-0"));
    disk.set_free(Some(0));
    assert_eq!(log.apply_compaction().unwrap_err().kind(), Kind::Exhausted);
    disk.set_free(None);
    assert_eq!(files(&disk, &Path::new(DIR).join("t-0")), before);
    log.apply_compaction().unwrap();
    log.drop_topic("t").unwrap();
    assert_eq!(files(&disk, Path::new(DIR)), ["topics"]);
    let mut again = vec![];
    let p = create(&log, compacted());
    for i in 0..10 {
        let first = put(&p, keyed(i, &[("key", Some("value"))]));
        again.push((first, i, "key".to_string(), Some("value".to_string())));
    }
    check(&p, &again, &BTreeSet::new(), 100);
}

#[test]
fn readers_do_not_notice_that_segments_are_replaced() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, LogConfig { handles_max: 3, ..no_threads(500) });
    let p = create(&log, compacted());
    let is_over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (p, is_over) = (p.clone(), is_over.clone());
            std::thread::spawn(move || {
                let mut reads = 0;
                while !is_over.load(Ordering::Acquire) {
                    let read = try_records_below(&p, 800);
                    assert!(read.windows(2).all(|pair| pair[0].0 < pair[1].0));
                    p.offset_for_time(T0 + 50_000).unwrap();
                    p.max_timestamp().unwrap();
                    p.read_committed(p.start_offset(), 500).unwrap();
                    p.aborted_between(p.start_offset(), p.last_stable_offset()).unwrap();
                    p.stats().unwrap();
                    reads += read.len();
                }
                reads
            })
        })
        .collect();
    for i in 0..600 {
        put(&p, keyed(i, &[(&format!("{}", i % 11), Some(&format!("value {i}")))]));
        if i % 20 == 19 {
            log.apply_compaction().unwrap();
        }
    }
    is_over.store(true, Ordering::Release);
    let reads: usize = readers.into_iter().map(|r| r.join().unwrap()).sum();
    assert!(reads > 100, "{reads}");
    assert_eq!(table(&records(&p)).len(), 11);
}

/// The records up to where the log ended when it began.
fn try_records_below(p: &PartitionLog, bytes_max: usize) -> Vec<Record> {
    let end = p.high_watermark();
    let mut next = p.start_offset();
    let mut all = vec![];
    while next < end {
        let batches = p.read(next, bytes_max).unwrap();
        assert!(!batches.is_empty(), "there is something to be read below {end}");
        for batch in batches {
            next = log::Header::parse(&batch).unwrap().last_offset().next();
            all.extend(records_of(&batch));
        }
    }
    all
}
