//! Random producers with and without transactions, on a disk that fails, loses power and comes
//! back. Each behaves as a client does: up to five batches under way, and after an error all of
//! them sent again in order, with their old sequences. The oracle is obvious: every value is in
//! the log once, in the order of its producer, and a read_committed reader sees all of what was
//! committed and nothing of what was aborted or is open. `SEED=7` runs one seed, `SEEDS=5000` more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::AddAssign;
use std::sync::Arc;

use common::{Offset, Partition};
use log::{Appended, ErrorCode, Log, LogConfig, PartitionLog, TopicConfig, records};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use testkit::SimDisk;

use super::producers::{TRANSACTIONAL, committed, sent};
use super::{no_threads, try_open};

const STEPS: usize = 160;
const IN_FLIGHT: usize = 5;
const OUTCOMES: [&str; 8] = [
    "acknowledged",
    "sent again and known",
    "sent again and written",
    "committed",
    "aborted",
    "marker asked for twice",
    "restarted",
    "closed in good order",
];

#[derive(Default)]
struct Outcomes(BTreeMap<&'static str, u64>);

impl Outcomes {
    fn add(&mut self, what: &'static str) {
        assert!(OUTCOMES.contains(&what));
        self.0.entry(what).or_default().add_assign(1);
    }
}

struct InFlight {
    sequence: i32,
    value: String,
    appended: Option<Appended>,
    was_sent: bool,
}

struct Producer {
    id: i64,
    is_transactional: bool,
    next_sequence: i32,
    in_flight: VecDeque<InFlight>,
    acknowledged: Vec<String>,
    /// Values of the open transaction.
    open: Vec<String>,
    /// Decided by the coordinator, its marker not yet durable.
    ending: Option<(bool, Option<Appended>)>,
    committed: BTreeSet<String>,
    aborted: BTreeSet<String>,
}

struct Run<'a> {
    rng: SmallRng,
    disk: SimDisk,
    config: LogConfig,
    log: Arc<Log>,
    producers: Vec<Producer>,
    count: u64,
    outcomes: &'a mut Outcomes,
}

impl Run<'_> {
    fn partition(&self) -> Arc<PartitionLog> {
        self.log.topic("t").unwrap().partition(Partition(0)).unwrap()
    }

    fn step(&mut self) {
        let p = self.rng.random_range(0..self.producers.len());
        match self.rng.random_range(0..100) {
            0..50 => self.send_next(p),
            50..65 => self.log.flush(),
            65..77 => self.end(p),
            77..81 => self.check(),
            81..84 => self.disk.fail_writes(1),
            84..88 => self.disk.fail_syncs(1),
            88..90 => self.disk.cut_power_in(self.rng.random_range(0..25)),
            90..93 => self.restart(SimDisk::crash),
            93..95 => self.restart(SimDisk::kill),
            95..97 => self.disk.set_free(Some(self.rng.random_range(0..3_000))),
            97..99 => self.disk.set_free(None),
            _ => {
                self.log.close();
                let is_on = self.disk.is_on();
                if is_on {
                    self.outcomes.add("closed in good order");
                }
                self.restart(if is_on { SimDisk::kill } else { SimDisk::crash });
            }
        }
        if !self.disk.is_on() {
            self.restart(SimDisk::crash);
        }
        (0..self.producers.len()).for_each(|p| self.settle(p));
    }

    /// A new batch, if the producer may have one more under way.
    fn send_next(&mut self, p: usize) {
        let producer = &mut self.producers[p];
        if producer.in_flight.len() == IN_FLIGHT || producer.ending.is_some() {
            return;
        }
        self.count += 1;
        let padding = "x".repeat(self.rng.random_range(0..400));
        let value = format!("{}:{} {padding}", producer.id, self.count);
        let sequence = producer.next_sequence;
        producer.next_sequence += 1;
        if producer.is_transactional {
            producer.open.push(value.clone());
        }
        let new = InFlight { sequence, value, appended: None, was_sent: false };
        producer.in_flight.push_back(new);
        self.send_unsent(p);
    }

    /// Sends in order what has no answer yet, and stops at the first error.
    fn send_unsent(&mut self, p: usize) {
        let partition = self.partition();
        let producer = &mut self.producers[p];
        let attributes = if producer.is_transactional { TRANSACTIONAL } else { 0 };
        let mut cut = false;
        for batch in &mut producer.in_flight {
            if let Some(appended) = batch.appended {
                cut |= matches!(partition.outcome(appended), Some(Err(_)));
                continue;
            }
            let end = partition.end_offset();
            let bytes = sent(&[&batch.value], (producer.id, 0), batch.sequence, attributes);
            match partition.append_produced(bytes) {
                Ok(appended) => {
                    if batch.was_sent {
                        let known = appended.first < end && appended.last < end;
                        let is_known = known && partition.end_offset() == end;
                        self.outcomes.add(match is_known {
                            true => "sent again and known",
                            false => "sent again and written",
                        });
                    }
                    batch.appended = Some(appended);
                    batch.was_sent = true;
                }
                Err(refusal) if refusal.code == ErrorCode::OutOfOrderSequenceNumber => {
                    // An earlier one was cut back, and its sender has not been told yet.
                    assert!(cut, "{refusal}");
                    return;
                }
                Err(refusal) => {
                    assert_eq!(refusal.code, ErrorCode::KafkaStorageError, "{refusal}");
                    batch.was_sent = true;
                    if refusal.message.contains("takes no more appends") {
                        let is_on = self.disk.is_on();
                        self.restart(if is_on { SimDisk::kill } else { SimDisk::crash });
                    }
                    return;
                }
            }
        }
    }

    fn end(&mut self, p: usize) {
        let commit = self.rng.random_range(0..3) > 0;
        let producer = &mut self.producers[p];
        if producer.ending.is_none() {
            if producer.open.is_empty() || !producer.in_flight.is_empty() {
                return;
            }
            producer.ending = Some((commit, None));
        } else {
            self.outcomes.add("marker asked for twice");
        }
        self.write_marker(p);
    }

    fn write_marker(&mut self, p: usize) {
        let partition = self.partition();
        let producer = &mut self.producers[p];
        let Some((commit, at)) = &mut producer.ending else { return };
        // On an error the coordinator asks again later.
        let Ok(marker) = partition.end_transaction(producer.id, 0, *commit) else { return };
        match marker {
            Some(appended) => *at = Some(appended),
            None => finish(producer, self.outcomes),
        }
    }

    /// Takes in the answers there are.
    fn settle(&mut self, p: usize) {
        let partition = self.partition();
        let producer = &mut self.producers[p];
        while let Some(appended) = producer.in_flight.front().and_then(|b| b.appended) {
            match partition.outcome(appended) {
                None => break,
                Some(Ok(())) => {
                    let Some(done) = producer.in_flight.pop_front() else { break };
                    producer.acknowledged.push(done.value);
                    self.outcomes.add("acknowledged");
                }
                Some(Err(_)) => producer.in_flight.iter_mut().for_each(|b| b.appended = None),
            }
        }
        if let Some((_, at @ Some(_))) = &mut producer.ending {
            match at.and_then(|appended| partition.outcome(appended)) {
                None => {}
                Some(Ok(())) => finish(producer, self.outcomes),
                Some(Err(_)) => *at = None,
            }
        }
        self.send_unsent(p);
    }

    fn restart(&mut self, how: fn(&SimDisk)) {
        how(&self.disk);
        self.outcomes.add("restarted");
        self.disk.set_free(None);
        self.log = loop {
            match try_open(&self.disk, self.config.clone()) {
                Ok((log, _)) => break log,
                Err(_) => self.disk.crash(),
            }
        };
        for producer in &mut self.producers {
            producer.in_flight.iter_mut().for_each(|b| b.appended = None);
            if let Some((_, at)) = &mut producer.ending {
                *at = None;
            }
        }
    }

    fn check(&mut self) {
        if !self.disk.is_on() {
            return;
        }
        // Not while checking.
        self.disk.cut_power_in(u64::MAX);
        let partition = self.partition();
        let all = all_values(&partition);
        let bytes_max = self.rng.random_range(1..3_000);
        let seen = committed(&partition, bytes_max);
        for producer in &self.producers {
            let prefix = format!("{}:", producer.id);
            let own = |v: &&String| v.starts_with(&prefix);
            // What is acknowledged is there once, in order; behind it at most what is under way.
            let stored: Vec<_> = all.iter().filter(own).collect();
            let under_way = producer.in_flight.iter().map(|b| &b.value);
            let expected: Vec<_> = producer.acknowledged.iter().chain(under_way).collect();
            assert!(expected.starts_with(&stored), "{stored:?} of {expected:?}");
            assert!(stored.len() >= producer.acknowledged.len(), "acknowledged, but not there");
            self.check_committed(producer, &seen.iter().filter(own).collect::<Vec<_>>());
        }
    }

    fn check_committed(&self, producer: &Producer, seen: &[&String]) {
        if !producer.is_transactional {
            return;
        }
        let committing = matches!(producer.ending, Some((true, _)));
        for value in seen {
            let is_committed = producer.committed.contains(*value);
            let may_be = committing && producer.open.contains(value);
            assert!(is_committed || may_be, "{value} is seen, but not committed");
        }
        let open = self.producers.iter().any(|p| !p.open.is_empty());
        if !open {
            assert_eq!(seen.len(), producer.committed.len(), "all that was committed is seen");
        }
    }

    /// With a healthy disk everything gets done.
    fn finish(&mut self) {
        self.disk.set_free(None);
        self.disk.fail_writes(0);
        self.disk.fail_syncs(0);
        self.disk.cut_power_in(u64::MAX);
        if !self.disk.is_on() {
            self.restart(SimDisk::crash);
        }
        for _ in 0..3 {
            for p in 0..self.producers.len() {
                // Errors of before come to light, then a partition that stopped is opened anew.
                for _ in 0..4 {
                    self.log.flush();
                    self.settle(p);
                }
                let left = self.producers[p].in_flight.len();
                assert_eq!(left, 0, "everything is acknowledged");
                self.end(p);
                self.log.flush();
                self.settle(p);
                assert!(self.producers[p].ending.is_none() && self.producers[p].open.is_empty());
            }
            self.check();
            assert_eq!(self.partition().last_stable_offset(), self.partition().high_watermark());
            self.restart(SimDisk::crash);
            self.check();
        }
    }
}

fn finish(producer: &mut Producer, outcomes: &mut Outcomes) {
    let Some((commit, _)) = producer.ending.take() else { return };
    outcomes.add(if commit { "committed" } else { "aborted" });
    let done = std::mem::take(&mut producer.open);
    (if commit { &mut producer.committed } else { &mut producer.aborted }).extend(done);
}

fn all_values(partition: &PartitionLog) -> Vec<String> {
    let mut out = vec![];
    let mut next = partition.start_offset();
    while next < partition.high_watermark() {
        for batch in partition.read(next, 2_000).unwrap() {
            next = Offset(log::Header::parse(&batch).unwrap().last_offset().0 + 1);
            for record in records::iter(&batch).unwrap() {
                out.push(String::from_utf8_lossy(record.unwrap().value.unwrap()).into_owned());
            }
        }
    }
    out
}

fn run(seed: u64, outcomes: &mut Outcomes) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let disk = SimDisk::new(seed ^ 0xbeef);
    let config = no_threads(rng.random_range(700..6_000));
    let (log, _) = try_open(&disk, config.clone()).unwrap();
    log.create_topic("t", TopicConfig::default()).unwrap();
    let producers = (0..rng.random_range(1..5))
        .map(|id| Producer {
            id,
            is_transactional: rng.random_range(0..3) > 0,
            next_sequence: 0,
            in_flight: VecDeque::new(),
            acknowledged: vec![],
            open: vec![],
            ending: None,
            committed: BTreeSet::new(),
            aborted: BTreeSet::new(),
        })
        .collect();
    let mut run = Run { rng, disk, config, log, producers, count: 0, outcomes };
    for _ in 0..STEPS {
        run.step();
    }
    run.finish();
}

#[test]
fn every_record_is_there_once_and_transactions_are_whole() {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(200),
    };
    let all = seeds.end - seeds.start > 1;
    let mut outcomes = Outcomes::default();
    for seed in seeds {
        let _names = super::crash::Names(seed);
        run(seed, &mut outcomes);
    }
    eprintln!("{:?}", outcomes.0);
    for name in OUTCOMES.iter().filter(|_| all) {
        assert!(outcomes.0.get(name).is_some_and(|n| *n > 0), "'{name}' never happened");
    }
}
