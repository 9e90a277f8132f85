//! One seed: what happens next, to whom, until nothing is left to do.

use std::collections::BTreeMap;

use common::{Clock, Offset, Partition};
use log::transactions::ListTransactionsRequest;
use log::{CleanupPolicy, LogConfig, TopicConfig, TopicDurability};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use testkit::{Counts, SimDisk, VirtualClock};

use super::Outcomes;
use super::broker::Broker;
use super::copier::Copier;
use super::member::Member;
use super::net::{Answer, Net};
use super::oracle::Oracle;
use super::producer::Producer;

/// 2026-01-01.
const T0: i64 = 1_767_225_600_000_000;
const HOUR: i64 = 3_600_000_000;
const STEPS: usize = 1_500;
const ROUNDS: usize = 2_000;
const TOPICS: [(&str, i32); 6] = [("a", 3), ("b", 1), ("c", 1), ("o", 1), ("p", 1), ("s", 1)];
const COPIER: usize = 6;

/// What a client does. It is a state machine: it acts when it is its turn, and takes answers.
pub trait Client {
    fn act(&mut self, io: &mut Io<'_>);

    /// False if the client gives up the connection and sends again what is open.
    fn answered(&mut self, answer: &Answer, io: &mut Io<'_>) -> bool;

    /// On a new connection.
    fn resend(&mut self, io: &mut Io<'_>);

    /// Nothing is open that somebody must wait for.
    fn is_done(&self) -> bool;
}

/// What a client has of the world.
pub struct Io<'a> {
    pub net: &'a mut Net,
    pub rng: &'a mut SmallRng,
    pub oracle: &'a mut Oracle,
    pub is_draining: bool,
    pub now_us: i64,
    /// The one that goes on to the end.
    pub last_copier: usize,
    partitions: &'a BTreeMap<&'static str, i32>,
    names: &'a mut Names,
}

#[derive(Default)]
struct Names {
    lives: usize,
    values: u64,
}

impl Io<'_> {
    pub fn next_life(&mut self) -> usize {
        self.names.lives += 1;
        self.names.lives
    }

    /// A value that no other record has, and its number.
    pub fn next_value(&mut self, life: usize) -> (u64, String) {
        self.names.values += 1;
        let padding = "x".repeat(self.rng.random_range(0..60));
        (self.names.values, format!("{life}:{}{padding}", self.names.values))
    }

    pub fn partitions(&self, topic: &str) -> i32 {
        self.partitions[topic]
    }
}

/// What a run leaves behind.
pub struct RunEnd {
    pub counts: Counts,
    pub trace: u64,
}

struct Run {
    rng: SmallRng,
    broker: Broker,
    net: Net,
    oracle: Oracle,
    clients: Vec<Box<dyn Client>>,
    partitions: BTreeMap<&'static str, i32>,
    names: Names,
    is_draining: bool,
}

fn topic_config(name: &str, partitions: i32, rng: &mut SmallRng) -> TopicConfig {
    // The clock jumps back by more than the default: what was sent before is "ahead" then.
    let timestamp_after_max_us = None;
    let partitions = partitions as u32;
    let config = TopicConfig { partitions, timestamp_after_max_us, ..TopicConfig::default() };
    match name {
        "c" => TopicConfig {
            cleanup_policy: CleanupPolicy::Compact,
            min_cleanable_dirty_ratio: 0.1,
            delete_retention_us: rng.random_range(0..3) * HOUR,
            ..config
        },
        "p" => TopicConfig { durability: TopicDurability::PageCache, ..config },
        "s" => TopicConfig {
            retention_bytes: Some(rng.random_range(500..4_000)),
            segment_bytes_max: Some(400),
            ..config
        },
        _ => config,
    }
}

/// Runs one seed; `is_loud` prints more of what happened before a failure.
pub fn run(seed: u64, outcomes: &mut Outcomes, is_loud: bool) -> RunEnd {
    let _seed = Seed(seed);
    let mut run = Run::new(seed, is_loud);
    run.oracle.outcomes = std::mem::take(outcomes);
    for _ in 0..STEPS {
        run.step();
    }
    run.finish();
    super::rot::run(&mut run.rng, &mut run.broker, &mut run.oracle);
    *outcomes = std::mem::take(&mut run.oracle.outcomes);
    RunEnd { counts: run.broker.disk.counts(), trace: run.oracle.trace() }
}

struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with SEED={}", self.0);
        }
    }
}

impl Run {
    fn new(seed: u64, is_loud: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let config = LogConfig {
            segment_bytes_max: rng.random_range(600..5_000),
            compaction_keys_max: if rng.random() { 100 } else { 3 },
            sync_threads: 0,
            ..LogConfig::default()
        };
        let disk = SimDisk::new(seed ^ 0xd15c);
        let broker = Broker::open(disk, VirtualClock::new(T0), config).unwrap();
        for (name, partitions) in TOPICS {
            let config = topic_config(name, partitions, &mut rng);
            broker.log.create_topic(name, config).unwrap();
        }
        let clients: Vec<Box<dyn Client>> = vec![
            Box::new(Producer::new(0, None, &["a", "b", "s"])),
            Box::new(Producer::new(1, None, &["p"])),
            Box::new(Producer::new(2, None, &["c"])),
            Box::new(Producer::new(3, Some("t"), &["a", "b"])),
            Box::new(Producer::new(4, Some("t"), &["a", "b"])),
            Box::new(Producer::new(5, Some("u"), &["a", "b", "s"])),
            Box::new(Copier::new(COPIER)),
            Box::new(Copier::new(COPIER + 1)),
            Box::new(Member::new(8)),
            Box::new(Member::new(9)),
            Box::new(Member::new(10)),
        ];
        Self {
            rng,
            broker,
            net: Net::new(clients.len()),
            oracle: Oracle::new(&TOPICS, is_loud),
            clients,
            partitions: TOPICS.into_iter().collect(),
            names: Names::default(),
            is_draining: false,
        }
    }

    /// Lets a client do something with the world.
    fn with<T>(
        &mut self,
        client: usize,
        work: impl FnOnce(&mut dyn Client, &mut Io<'_>) -> T,
    ) -> T {
        let mut io = Io {
            net: &mut self.net,
            rng: &mut self.rng,
            oracle: &mut self.oracle,
            is_draining: self.is_draining,
            now_us: self.broker.clock.now_us(),
            last_copier: COPIER,
            partitions: &self.partitions,
            names: &mut self.names,
        };
        work(&mut *self.clients[client], &mut io)
    }

    fn step(&mut self) {
        match self.rng.random_range(0..1_000) {
            0..380 => {
                let client = self.rng.random_range(0..self.clients.len());
                self.with(client, |client, io| client.act(io));
            }
            380..620 => self.net.deliver(&mut self.rng, &self.broker, &mut self.oracle),
            620..790 => self.answer(),
            790..880 => self.sync(),
            880..930 => {
                let us = self.rng.random_range(1..400_000);
                self.pass(us);
            }
            930..945 => self.cut_connection(),
            945..957 => self.maintain(),
            957..965 => self.check(),
            965..969 => self.broker.disk.fail_writes(1),
            969..975 => self.broker.disk.fail_syncs(1),
            975..977 => self.broker.disk.fail_cuts(1),
            977..982 => self.broker.disk.cut_power_in(self.rng.random_range(0..40)),
            982..985 => self.kill(),
            985..988 => self.restart(SimDisk::crash),
            988..991 => self.broker.disk.set_free(Some(self.rng.random_range(0..2_000))),
            991..995 => self.broker.disk.set_free(None),
            995..997 => self.jump(),
            _ => self.close(),
        }
        if !self.broker.disk.is_on() {
            self.restart(SimDisk::crash);
        } else if self.broker.is_stopped() {
            self.oracle.outcomes.add("broker restarted after a failed sync");
            self.restart(SimDisk::kill);
        }
    }

    fn answer(&mut self) {
        let Some(answer) = self.net.take_answer(&mut self.rng) else { return };
        let client = answer.client;
        if !self.with(client, |client, io| client.answered(&answer, io)) {
            self.net.cut(client, &mut self.rng, &self.broker, &mut self.oracle);
            self.with(client, |client, io| client.resend(io));
        }
    }

    fn cut_connection(&mut self) {
        let client = self.rng.random_range(0..self.clients.len());
        self.net.cut(client, &mut self.rng, &self.broker, &mut self.oracle);
        self.with(client, |client, io| client.resend(io));
    }

    fn sync(&mut self) {
        self.broker.log.flush();
        self.net.poll(&mut self.oracle);
    }

    /// Time passes, and what is due is done.
    fn pass(&mut self, us: i64) {
        self.broker.clock.advance(us);
        let now_us = self.broker.clock.now_us();
        let coordinators = &self.broker.coordinators;
        let ongoing = ListTransactionsRequest {
            state_filters: vec!["Ongoing".into()],
            producer_id_filters: vec![],
            duration_filter: -1,
        };
        let open =
            || coordinators.transactions.list_transactions(&ongoing).transaction_states.len();
        let before = open();
        coordinators.groups.tick(now_us);
        coordinators.transactions.tick(now_us);
        self.oracle.outcomes.add_many("aborted by timeout", (before - open()) as u64);
    }

    fn jump(&mut self) {
        let us = self.rng.random_range(-2 * HOUR..2 * HOUR);
        let name = if us < 0 { "clock jumped backwards" } else { "clock jumped forwards" };
        self.oracle.outcomes.add(name);
        self.pass(us);
    }

    /// What an operator, or the engine now and then, asks of the log.
    fn maintain(&mut self) {
        match self.rng.random_range(0..10) {
            0..3 => {
                if self.broker.log.apply_retention().is_ok_and(|n| n > 0) {
                    self.oracle.outcomes.add("retention removed segments");
                }
            }
            3..6 => {
                if let Ok(done) = self.broker.log.apply_compaction() {
                    let removed = done.records_removed;
                    self.oracle.outcomes.add_many("compaction removed records", removed);
                }
            }
            6..9 => self.delete_records(),
            _ => self.add_partition(),
        }
    }

    fn delete_records(&mut self) {
        let log = self.broker.partition("s", 0);
        let before = self.rng.random_range(log.start_offset().0..=log.high_watermark().0);
        let topic = self.broker.log.topic("s").unwrap();
        if let Ok(start) = topic.delete_records(Partition(0), Offset(before)) {
            assert!(start.0 >= before);
            self.oracle.outcomes.add("records deleted");
        }
    }

    fn add_partition(&mut self) {
        let total = self.partitions["b"] + 1;
        let topic = self.broker.log.topic("b").unwrap();
        // After an error it may be there or not.
        if total < 4 && topic.add_partitions(total as u32).is_ok() {
            self.oracle.outcomes.add("partitions added");
            self.partitions.insert("b", total);
            self.oracle.add_place("b", total - 1);
        }
    }

    fn kill(&mut self) {
        self.oracle.outcomes.add("process killed");
        self.restart(SimDisk::kill);
    }

    fn close(&mut self) {
        self.broker.log.close();
        if self.broker.disk.is_on() {
            self.oracle.outcomes.add("closed in good order");
            self.restart(SimDisk::kill);
        }
    }

    fn restart(&mut self, how: fn(&SimDisk)) {
        let cuts = self.broker.disk.counts().power_cuts;
        how(&self.broker.disk);
        self.broker.disk.set_free(None);
        self.net.cut_all();
        while self.broker.restart().is_err() {
            // Whatever was in its way: the machine is switched off and on again.
            self.broker.disk.crash();
        }
        let recovered = &self.broker.recovery.partitions;
        assert!(recovered.iter().all(|p| p.damage.is_empty()), "{recovered:?}");
        if self.broker.disk.counts().power_cuts > cuts {
            self.oracle.outcomes.add("power cut");
            let end = self.broker.partition("p", 0).high_watermark().0;
            self.oracle.page_cache_lost("p", 0, end);
        }
        self.oracle.note(|| "restarted".to_owned());
        for client in 0..self.clients.len() {
            self.with(client, |client, io| client.resend(io));
        }
    }

    fn check(&mut self) {
        if self.broker.disk.is_on() {
            // Not while checking.
            self.broker.disk.cut_power_in(u64::MAX);
            let bytes_max = self.rng.random_range(1..3_000);
            self.oracle.check(&self.broker, bytes_max);
        }
    }

    /// On a healthy disk, with a clock that goes on, everything gets done.
    fn finish(&mut self) {
        let disk = self.broker.disk.clone();
        disk.set_free(None);
        disk.fail_writes(0);
        disk.fail_syncs(0);
        disk.fail_cuts(0);
        disk.cut_power_in(u64::MAX);
        self.is_draining = true;
        let mut rounds = 0;
        while !self.is_done() {
            rounds += 1;
            assert!(rounds < ROUNDS, "it does not come to an end");
            for client in 0..self.clients.len() {
                self.with(client, |client, io| client.act(io));
                self.net.deliver(&mut self.rng, &self.broker, &mut self.oracle);
            }
            self.sync();
            (0..self.clients.len()).for_each(|_| self.answer());
            // Now and then so long that nothing can stay open.
            self.pass(if rounds % 50 == 0 { 4 * HOUR } else { 10_000 });
            if self.broker.is_stopped() {
                self.restart(SimDisk::kill);
            }
        }
        self.check();
        self.oracle.check_end(&self.broker);
        self.restart(SimDisk::crash);
        self.check();
        self.oracle.check_end(&self.broker);
    }

    fn is_done(&self) -> bool {
        let is_decided = |(topic, partition): &(&'static str, i32)| {
            let log = self.broker.partition(topic, *partition);
            log.last_stable_offset() == log.end_offset()
        };
        self.net.is_idle()
            && self.clients.iter().all(|c| c.is_done())
            && self.oracle.places().iter().all(is_decided)
            && self.oracle.is_copied(&self.broker)
    }
}
