//! Random producers on random days: crashes at any write, full disks, partitions that can not be
//! written, timeouts, producers that replace each other. The oracle is what the partitions hold in
//! the end: of each transaction all or nothing, as its producer was told, with its offsets.
//! `WATERSHED_SEED` runs one seed alone.

use std::collections::{BTreeMap, BTreeSet};

use log::ErrorCode as E;
use log::groups::TxnOffsetCommitRequest;
use log::transactions::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Marker, Ran, World, all_seeds, error, fetch, offsets};

const PRODUCERS: usize = 3;
const PARTITIONS: i32 = 3;
const STEPS: usize = 150;

/// What a producer does now.
#[derive(Default)]
struct Producer {
    identity: Option<TransactionalProducer>,
    /// Number of its open transaction, 0 without one.
    open: i64,
    added: BTreeSet<i32>,
    has_offset: bool,
    /// The answer to an offset was an error: it must not commit.
    must_abort: bool,
    /// EndTxn was sent and not answered well yet.
    ending: Option<bool>,
}

/// One record: its partition, producer id and transaction, and how it ended.
struct Record {
    partition: i32,
    producer_id: i64,
    transaction: i64,
    outcome: Option<bool>,
}

struct Run {
    world: World,
    rng: StdRng,
    producers: Vec<Producer>,
    records: Vec<Record>,
    /// Outcomes that were promised.
    promised: BTreeMap<i64, bool>,
    /// Transactions with an offset: which producer's.
    with_offset: BTreeMap<i64, usize>,
    transactions: i64,
    seen: BTreeMap<&'static str, usize>,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            world: World::seeded(seed),
            rng: StdRng::seed_from_u64(seed),
            producers: (0..PRODUCERS).map(|_| Producer::default()).collect(),
            records: vec![],
            promised: BTreeMap::new(),
            with_offset: BTreeMap::new(),
            transactions: 0,
            seen: BTreeMap::new(),
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn run(mut self) -> Ran {
        for _ in 0..STEPS {
            match self.rng.random_range(0..100) {
                0..5 => {
                    let at = self.world.store.commits() + self.rng.random_range(1..6);
                    self.world.store.die_at(at, self.rng.random_bool(0.5));
                }
                5..8 => self.world.store.refuse(1),
                8..12 => self.world.partitions.refuse(self.rng.random_range(1..4)),
                12..20 => self.world.pass(self.rng.random_range(1..3_000)),
                20..22 => {
                    self.world.pass(60_001);
                    self.note("timeouts");
                }
                _ => {
                    let i = self.rng.random_range(0..PRODUCERS);
                    self.step(i);
                }
            }
            self.take_markers();
            if self.world.store.is_dead() {
                self.note("crashes");
                self.world.restart();
                self.take_markers();
            }
        }
        self.finish();
        self.check();
        (self.seen, self.world.store.trace())
    }

    /// The partitions get their markers.
    fn take_markers(&mut self) {
        for marker in self.world.partitions.take() {
            let (_, partition, producer_id, _, commit): Marker = marker;
            let open = self.records.iter_mut().filter(|r| {
                r.partition == partition && r.producer_id == producer_id && r.outcome.is_none()
            });
            open.for_each(|r| r.outcome = Some(commit));
        }
    }

    fn step(&mut self, i: usize) {
        let Some(identity) = self.producers[i].identity.clone() else { return self.init(i) };
        if let Some(commit) = self.producers[i].ending {
            return self.end(i, &identity, commit);
        }
        let is_open = !self.producers[i].added.is_empty();
        match self.rng.random_range(0..20) {
            // Another instance starts under the same transactional id.
            0 => self.init(i),
            1..5 if is_open => {
                let commit = !self.producers[i].must_abort && self.rng.random_bool(0.7);
                self.end(i, &identity, commit);
            }
            5..9 if is_open => self.offset(i, &identity),
            _ => self.append(i, &identity),
        }
    }

    fn init(&mut self, i: usize) {
        self.producers[i] = Producer::default();
        let answer = self.world.transactions().init_producer_id(&InitProducerIdRequest {
            transactional_id: Some(format!("t{i}")),
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
        });
        if answer.error_code == E::None {
            self.producers[i].identity = Some(TransactionalProducer {
                transactional_id: format!("t{i}"),
                producer_id: answer.producer_id,
                producer_epoch: answer.producer_epoch,
            });
        }
    }

    /// A fenced producer gives up.
    fn failed(&mut self, i: usize, error: E) {
        match error {
            E::None => {}
            E::CoordinatorNotAvailable => self.note("refused writes"),
            E::ConcurrentTransactions => self.note("concurrent transactions"),
            _ => {
                self.note("fenced");
                self.producers[i] = Producer::default();
            }
        }
    }

    fn append(&mut self, i: usize, identity: &TransactionalProducer) {
        let partition = self.rng.random_range(0..PARTITIONS);
        if self.producers[i].added.is_empty() && self.producers[i].open == 0 {
            self.transactions += 1;
            self.producers[i].open = self.transactions;
        }
        let place = ("orders".to_owned(), partition);
        let added = self.world.transactions().add_partitions(identity, &[place]);
        if added != E::None {
            return self.failed(i, added);
        }
        self.producers[i].added.insert(partition);
        let record = Record {
            partition,
            producer_id: identity.producer_id,
            transaction: self.producers[i].open,
            outcome: None,
        };
        let records = &mut self.records;
        let appended =
            self.world
                .running
                .transactions
                .while_open(identity, "orders", partition, || records.push(record));
        if let Err(error) = appended {
            self.failed(i, error);
        }
    }

    fn offset(&mut self, i: usize, identity: &TransactionalProducer) {
        let added = self.world.transactions().add_offsets(identity, "g");
        if added != E::None {
            return self.failed(i, added);
        }
        let number = self.producers[i].open;
        let answer = self.world.transactions().txn_offset_commit(&TxnOffsetCommitRequest {
            transactional_id: identity.transactional_id.clone(),
            group_id: "g".into(),
            producer_id: identity.producer_id,
            producer_epoch: identity.producer_epoch,
            generation_id: -1,
            topics: vec![offsets(&format!("input {i}"), 0, number)],
            ..TxnOffsetCommitRequest::default()
        });
        if error(&answer) == E::None {
            self.producers[i].has_offset = true;
            self.with_offset.insert(number, i);
        } else {
            self.producers[i].must_abort = true;
            self.failed(i, error(&answer));
        }
    }

    fn end(&mut self, i: usize, identity: &TransactionalProducer, commit: bool) {
        let error = self.world.transactions().end_transaction(identity, commit);
        let number = self.producers[i].open;
        match error {
            E::None => {
                self.promised.insert(number, commit);
                self.note(if commit { "commits" } else { "aborts" });
                let identity = self.producers[i].identity.take();
                self.producers[i] = Producer { identity, ..Producer::default() };
            }
            E::CoordinatorNotAvailable | E::ConcurrentTransactions => {
                self.producers[i].ending = Some(commit);
                self.failed(i, error);
            }
            error => self.failed(i, error),
        }
    }

    /// Everything works again, and time passes: nothing stays open.
    fn finish(&mut self) {
        self.world.partitions.refuse(0);
        self.world.restart();
        for _ in 0..2 {
            self.world.pass(60_001);
        }
        self.take_markers();
    }

    fn check(&mut self) {
        let mut outcomes: BTreeMap<i64, bool> = BTreeMap::new();
        for record in &self.records {
            let outcome = record.outcome.expect("no record stays open");
            let known = *outcomes.entry(record.transaction).or_insert(outcome);
            assert_eq!(outcome, known, "transaction {} ended both ways", record.transaction);
        }
        for (number, promised) in &self.promised {
            let outcome = outcomes.get(number).unwrap_or(promised);
            assert_eq!(outcome, promised, "transaction {number} was promised otherwise");
        }
        for i in 0..PRODUCERS {
            let committed = |number: &&i64| outcomes.get(*number) == Some(&true);
            let of_it = self.with_offset.iter().filter(|(_, owner)| **owner == i).map(|(n, _)| n);
            let expected = of_it.filter(committed).max().copied().unwrap_or(-1);
            let found = fetch(&self.world, "g", &format!("input {i}"), true);
            assert_eq!(found.error_code, E::None, "no offset stays pending");
            assert_eq!(found.committed_offset, expected, "offset of producer {i}");
        }
        if outcomes.iter().any(|(n, committed)| !committed && !self.promised.contains_key(n)) {
            self.note("aborted for the producer");
        }
    }
}

#[test]
fn a_transaction_ends_the_same_way_everywhere_whatever_happens() {
    let kinds = [
        "commits",
        "aborts",
        "crashes",
        "timeouts",
        "fenced",
        "refused writes",
        "concurrent transactions",
        "aborted for the producer",
    ];
    all_seeds(300, |seed| Run::new(seed).run(), &kinds);
}
