//! Random schedules of appends, syncs, faults, power cuts and restarts, hundreds of seeds. The
//! oracle is a map from offset to value: what was acknowledged is there once, in its place; what
//! was not may be there or not, but nothing else is, and offsets are dense. The run fails if a
//! kind of fault or outcome never happened. `SEED=7` runs one seed, `SEEDS=5000` more of them.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

use common::{Kind, Offset, Partition};
use log::{Appended, Log, LogConfig, PartitionLog, TopicConfig};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use testkit::{Counts, SimDisk};

use super::{batch, no_threads, try_open, try_read};

const STEPS: usize = 100;

#[derive(Default)]
struct Outcomes(BTreeMap<&'static str, u64>);

impl Outcomes {
    const ALL: [&str; 10] = [
        "acknowledged",
        "append refused",
        "sync failed, told to the waiter",
        "unacknowledged, but survived",
        "unacknowledged, and gone",
        "torn tail cut off",
        "partition stopped",
        "segments removed by retention",
        "start failed and was repeated",
        "closed in good order",
    ];

    fn add(&mut self, what: &'static str, n: usize) {
        assert!(Self::ALL.contains(&what));
        self.0.entry(what).or_default().add_assign(n as u64);
    }
}

/// What must be true of one partition.
#[derive(Default)]
struct Model {
    acknowledged: BTreeMap<i64, String>,
    /// What may be at an offset: appends that failed or that a crash caught.
    unsure: BTreeMap<i64, Vec<String>>,
    pending: Vec<(Appended, Vec<String>)>,
}

impl Model {
    fn doubt(&mut self, first: i64, values: Vec<String>) {
        for (offset, value) in (first..).zip(values) {
            self.unsure.entry(offset).or_default().push(value);
        }
    }

    /// Asks what became of the appends so far.
    fn settle(&mut self, partition: &PartitionLog, outcomes: &mut Outcomes) {
        for (appended, values) in std::mem::take(&mut self.pending) {
            match partition.outcome(appended) {
                None => self.pending.push((appended, values)),
                Some(Ok(())) => {
                    outcomes.add("acknowledged", values.len());
                    for (offset, value) in (appended.first.0..).zip(values) {
                        let before = self.acknowledged.insert(offset, value);
                        assert_eq!(before, None, "offset {offset} was given out twice");
                    }
                }
                Some(Err(_)) => {
                    outcomes.add("sync failed, told to the waiter", 1);
                    self.doubt(appended.first.0, values);
                }
            }
        }
    }

    /// Reads everything that readers can see and compares.
    fn check(
        &mut self,
        disk: &SimDisk,
        partition: &PartitionLog,
        bytes_max: usize,
        outcomes: &mut Outcomes,
    ) {
        let (start, end) = (partition.start_offset().0, partition.high_watermark().0);
        let read = match try_read(partition, start, bytes_max) {
            // A read may store an index that it had to rebuild, and the power be cut in that.
            Err(_) if !disk.is_on() => return,
            other => other.unwrap(),
        };
        assert_eq!(read.len() as i64, end - start, "from {start} to {end}");
        for (offset, value) in &read {
            match self.acknowledged.get(offset) {
                Some(expected) => assert_eq!(value, expected, "at offset {offset}"),
                None => {
                    let possible = self.unsure.get(offset);
                    let known = possible.is_some_and(|p| p.contains(value));
                    assert!(known, "at offset {offset}: '{value}', possible is {possible:?}");
                    outcomes.add("unacknowledged, but survived", 1);
                }
            }
        }
        if let Some((last, _)) = self.acknowledged.last_key_value() {
            assert!(*last < end, "offset {last} was acknowledged, the log ends at {end}");
        }
        // What was shown to a reader counts as promised.
        self.acknowledged.extend(read);
        let gone = self.unsure.keys().filter(|o| !self.acknowledged.contains_key(o)).count();
        outcomes.add("unacknowledged, and gone", gone);
    }
}

struct Run<'a> {
    rng: SmallRng,
    disk: SimDisk,
    config: LogConfig,
    log: Arc<Log>,
    models: Vec<Model>,
    count: u64,
    outcomes: &'a mut Outcomes,
}

impl Run<'_> {
    fn partition(&self, p: usize) -> Arc<PartitionLog> {
        self.log.topic("t").unwrap().partition(Partition(p as i32)).unwrap()
    }

    fn step(&mut self) {
        let p = self.rng.random_range(0..self.models.len());
        match self.rng.random_range(0..100) {
            0..45 => self.append(p),
            45..60 => self.log.flush(),
            60..66 => self.wait(p),
            66..74 => {
                self.settle();
                let bytes_max = self.rng.random_range(0..4_000);
                let partition = self.partition(p);
                self.models[p].check(&self.disk, &partition, bytes_max, self.outcomes);
            }
            74..77 => self.disk.set_free(Some(self.rng.random_range(0..3_000))),
            77..82 => self.disk.set_free(None),
            82..84 => self.disk.fail_writes(1),
            84..87 => self.disk.fail_syncs(1),
            87..89 => self.disk.fail_cuts(1),
            89..92 => self.disk.cut_power_in(self.rng.random_range(0..25)),
            92..95 => {
                let removed = self.log.apply_retention().unwrap_or(0);
                self.outcomes.add("segments removed by retention", removed);
            }
            95..97 => self.restart(SimDisk::crash),
            97..99 => self.restart(SimDisk::kill),
            _ => {
                self.log.close();
                let is_on = self.disk.is_on();
                self.outcomes.add("closed in good order", usize::from(is_on));
                self.restart(if is_on { SimDisk::kill } else { SimDisk::crash });
            }
        }
        if !self.disk.is_on() {
            self.restart(SimDisk::crash);
        }
    }

    fn append(&mut self, p: usize) {
        let partition = self.partition(p);
        let values: Vec<String> = (0..self.rng.random_range(1..6))
            .map(|_| {
                self.count += 1;
                let len = if self.rng.random() { 20 } else { self.rng.random_range(0..1500) };
                format!("{} {}", self.count, "x".repeat(len))
            })
            .collect();
        let end = partition.end_offset().0;
        let result =
            partition.append(batch(&values.iter().map(String::as_str).collect::<Vec<_>>()));
        match result {
            Ok(appended) => {
                // A failed sync before a roll may have cut the end back.
                assert!(appended.first.0 <= end);
                self.models[p].pending.push((appended, values));
            }
            Err(e) => {
                assert!(matches!(e.kind(), Kind::Io | Kind::Exhausted), "{e}");
                self.outcomes.add("append refused", 1);
                let end = partition.end_offset().0;
                self.models[p].doubt(end, values);
                if e.message().contains("takes no more appends") {
                    self.outcomes.add("partition stopped", 1);
                    let is_on = self.disk.is_on();
                    self.restart(if is_on { SimDisk::kill } else { SimDisk::crash });
                }
            }
        }
    }

    fn wait(&mut self, p: usize) {
        let partition = self.partition(p);
        if let Some((appended, _)) = self.models[p].pending.first() {
            let _ = partition.wait_durable(*appended);
        }
    }

    fn settle(&mut self) {
        for p in 0..self.models.len() {
            let partition = self.partition(p);
            self.models[p].settle(&partition, self.outcomes);
        }
    }

    fn restart(&mut self, how: fn(&SimDisk)) {
        self.settle();
        for model in &mut self.models {
            for (appended, values) in std::mem::take(&mut model.pending) {
                model.doubt(appended.first.0, values);
            }
        }
        how(&self.disk);
        if self.rng.random_range(0..4) == 0 {
            self.disk.cut_power_in(self.rng.random_range(0..6));
        }
        let recovery = loop {
            match try_open(&self.disk, self.config.clone()) {
                Ok((log, recovery)) => {
                    self.log = log;
                    break recovery;
                }
                Err(e) => {
                    assert!(matches!(e.kind(), Kind::Io | Kind::Exhausted), "{e}");
                    self.outcomes.add("start failed and was repeated", 1);
                    self.disk.crash();
                    self.disk.set_free(None);
                }
            }
        };
        self.outcomes.add("torn tail cut off", recovery.partitions.len());
        for report in &recovery.partitions {
            assert_eq!(report.damage, [], "nothing that was synced is damaged");
        }
        // Not while checking.
        self.disk.cut_power_in(u64::MAX);
        for p in 0..self.models.len() {
            let partition = self.partition(p);
            self.models[p].check(&self.disk, &partition, 700, self.outcomes);
            self.models[p].unsure.clear();
        }
    }

    /// With a healthy disk again everything works, without a restart.
    fn finish(&mut self) {
        self.disk.set_free(None);
        self.disk.fail_writes(0);
        self.disk.fail_syncs(0);
        self.disk.fail_cuts(0);
        self.disk.cut_power_in(u64::MAX);
        self.log.flush();
        for p in 0..self.models.len() {
            let partition = self.partition(p);
            self.append(p);
            self.log.flush();
            self.models[p].settle(&partition, self.outcomes);
            assert_eq!(self.models[p].pending, [], "everything is decided");
            let partition = self.partition(p);
            self.models[p].check(&self.disk, &partition, 10_000, self.outcomes);
        }
        self.restart(SimDisk::crash);
    }
}

fn run(seed: u64, outcomes: &mut Outcomes) -> Counts {
    let mut rng = SmallRng::seed_from_u64(seed);
    let disk = SimDisk::new(seed ^ 0x5eed);
    let config = no_threads(rng.random_range(1_000..12_000));
    let partitions = rng.random_range(1..4);
    let (log, _) = try_open(&disk, config.clone()).unwrap();
    let retention_bytes = rng.random::<bool>().then_some(20_000);
    let topic = TopicConfig { partitions, retention_bytes, ..TopicConfig::default() };
    log.create_topic("t", topic).unwrap();
    let models = (0..partitions).map(|_| Model::default()).collect();
    let mut run = Run { rng, disk, config, log, models, count: 0, outcomes };
    for _ in 0..STEPS {
        run.step();
    }
    run.finish();
    run.disk.counts()
}

/// Prints the seed of the run that panics.
pub struct Names(pub u64);

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
fn nothing_acknowledged_is_lost_or_doubled_whatever_the_disk_does() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(300),
    };
    let all = seeds.end - seeds.start > 1;
    let mut outcomes = Outcomes::default();
    let mut counts = Counts::default();
    for seed in seeds {
        let _names = Names(seed);
        counts = counts.plus(run(seed, &mut outcomes));
    }
    eprintln!("{:?}\n{counts:?}", outcomes.0);
    let flips = |name: &&str| *name != "bits flipped";
    if all {
        for (name, n) in counts.all().iter().filter(|(name, _)| flips(name)) {
            assert!(*n > 0, "the fault '{name}' never happened");
        }
        for name in Outcomes::ALL {
            assert!(outcomes.0.get(name).is_some_and(|n| *n > 0), "'{name}' never happened");
        }
    }
}

#[test]
fn a_power_cut_at_any_call_leaves_topics_there_or_not() {
    let mut seen = [0, 0];
    for seed in 0..10 {
        for calls in 0..45 {
            let _names = Names(seed * 1000 + calls);
            let disk = SimDisk::new(seed * 1000 + calls);
            let (log, _) = try_open(&disk, no_threads(1_000)).unwrap();
            let a = super::topic(&log, "a");
            super::put(&a, &["kept"]);
            disk.cut_power_in(calls);
            let _ = change_topics(&log);
            disk.crash();
            drop((a, log));
            let (log, _) = try_open(&disk, no_threads(1_000)).unwrap();
            assert_eq!(super::values(&log.topic("a").unwrap().partitions()[0]), ["kept"]);
            let exists = log.topic("b").is_ok();
            seen[usize::from(exists)] += 1;
            if exists {
                log.drop_topic("b").unwrap();
            }
            let b = super::topic(&log, "b");
            assert_eq!(super::put(&b, &["new"]), Offset(0));
        }
    }
    assert!(seen[0] > 50 && seen[1] > 50, "{seen:?}");
}

fn change_topics(log: &Log) -> common::Result<()> {
    let two = TopicConfig { partitions: 2, ..TopicConfig::default() };
    let topic = log.create_topic("b", two.clone())?;
    for p in topic.partitions() {
        p.append(batch(&["old"]))?;
    }
    log.flush();
    log.alter("b", TopicConfig { partitions: 3, ..two })?;
    log.drop_topic("b")
}
