//! A producer as clients are: idempotent, with several batches under way, all of them sent again in
//! order after an error; perhaps within transactions. Two may share a transactional id and fence
//! each other.

use std::collections::{BTreeMap, BTreeSet};

use log::ErrorCode;
use log::transactions::TransactionalProducer;
use rand::Rng;

use super::broker::{Request, Response, TRANSACTIONAL, batch};
use super::net::{Answer, Session};
use super::oracle::{End, Sent};
use super::run::{Client, Io};

/// As `max.in.flight.requests.per.connection`.
const IN_FLIGHT: usize = 5;

type Place = (&'static str, i32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Has no producer id.
    Start,
    Initialising,
    Ready,
    Adding(Place),
    Ending(bool),
    /// Fenced, or died.
    Dead,
}

struct Batch {
    place: Place,
    values: Vec<String>,
}

pub struct Producer {
    session: Session,
    transactional_id: Option<String>,
    topics: Vec<&'static str>,
    phase: Phase,
    /// Each start of the producer is another life.
    life: usize,
    identity: (i64, i16),
    sequences: BTreeMap<Place, i32>,
    batches: BTreeMap<u64, Batch>,
    added: BTreeSet<Place>,
    transaction: Option<usize>,
}

impl Producer {
    pub fn new(client: usize, transactional_id: Option<&str>, topics: &[&'static str]) -> Self {
        Self {
            session: Session::new(client),
            transactional_id: transactional_id.map(str::to_owned),
            topics: topics.to_vec(),
            phase: Phase::Start,
            life: 0,
            identity: (-1, -1),
            sequences: BTreeMap::new(),
            batches: BTreeMap::new(),
            added: BTreeSet::new(),
            transaction: None,
        }
    }

    fn by(&self) -> Option<TransactionalProducer> {
        Some(TransactionalProducer {
            transactional_id: self.transactional_id.clone()?,
            producer_id: self.identity.0,
            producer_epoch: self.identity.1,
        })
    }

    fn init(&mut self, io: &mut Io<'_>) {
        self.life = io.next_life();
        self.sequences.clear();
        self.phase = Phase::Initialising;
        self.session.call(io.net, Request::InitProducerId(self.transactional_id.clone()));
    }

    /// Nobody hears of its requests any more; its transaction, if one is open, can only be aborted.
    fn die(&mut self, io: &mut Io<'_>) {
        self.session.forget();
        self.batches.clear();
        self.added.clear();
        if let Some(transaction) = self.transaction.take() {
            io.oracle.abandon(transaction);
        }
        self.phase = Phase::Dead;
    }

    fn next(&mut self, io: &mut Io<'_>) {
        let topic = self.topics[io.rng.random_range(0..self.topics.len())];
        let place = (topic, io.rng.random_range(0..io.partitions(topic)));
        let has_room = self.batches.len() < IN_FLIGHT;
        let Some(by) = self.by() else {
            if has_room && !io.is_draining {
                self.produce(place, io);
            }
            return;
        };
        let is_enough = self.added.len() > 2 || io.is_draining || io.rng.random_bool(0.15);
        if is_enough {
            if let Some(transaction) = self.transaction
                && self.batches.is_empty()
            {
                let commit = io.rng.random_bool(0.7);
                if commit {
                    io.oracle.ask_commit(transaction);
                }
                self.phase = Phase::Ending(commit);
                self.session.call(io.net, Request::EndTxn(by, commit));
            }
        } else if !self.added.contains(&place) {
            self.phase = Phase::Adding(place);
            self.session.call(io.net, Request::AddPartitions(by, place.0, place.1));
        } else if has_room {
            self.produce(place, io);
        }
    }

    fn produce(&mut self, place: Place, io: &mut Io<'_>) {
        let mut records = vec![];
        for _ in 0..io.rng.random_range(1..4) {
            let (number, value) = io.next_value(self.life);
            let sent = Sent { by: (self.life, number), transaction: self.transaction };
            io.oracle.values.insert(value.clone(), sent);
            let key = format!("k{}", io.rng.random_range(0..6));
            let is_keyed = place.0 == "c";
            let is_tombstone = is_keyed && io.rng.random_bool(0.2);
            records.push((is_keyed.then_some(key), value, is_tombstone));
        }
        let attributes = if self.transaction.is_some() { TRANSACTIONAL } else { 0 };
        let sequence = self.sequences.entry(place).or_default();
        let bytes = batch(io.now_us, &records, Some(self.identity), *sequence, attributes);
        *sequence += records.len() as i32;
        let values = records.into_iter().map(|(_, value, _)| value).collect();
        let (topic, partition) = place;
        let request = Request::Produce { topic, partition, batch: bytes, by: self.by() };
        let id = self.session.call(io.net, request);
        self.batches.insert(id, Batch { place, values });
    }

    fn produced(&mut self, id: u64, response: &Response, io: &mut Io<'_>) {
        let Some(batch) = self.batches.remove(&id) else { return };
        match response {
            Response::Produced { offset } => {
                let (topic, partition) = batch.place;
                io.oracle.acknowledged(topic, partition, *offset, &batch.values);
            }
            Response::Error(ErrorCode::OutOfOrderSequenceNumber) if batch.place.0 == "p" => {
                // What came before it went with the page cache: it begins anew.
                self.die(io);
            }
            other => panic!("a batch of {:?}: {other:?}", batch.place),
        }
    }

    fn ended(&mut self, commit: bool, io: &mut Io<'_>) {
        if let Some(transaction) = self.transaction.take() {
            io.oracle.end(transaction, if commit { End::Committed } else { End::Aborted });
            io.oracle.outcomes.add(if commit { "committed" } else { "aborted" });
        }
        self.added.clear();
        self.phase = Phase::Ready;
    }

    fn done(&mut self, io: &mut Io<'_>) {
        match self.phase {
            Phase::Adding(place) => {
                if self.transaction.is_none() {
                    self.transaction = Some(io.oracle.begin());
                }
                self.added.insert(place);
                self.phase = Phase::Ready;
            }
            Phase::Ending(commit) => self.ended(commit, io),
            phase => panic!("done in {phase:?}"),
        }
    }

    fn failed(&mut self, answer: &Answer, error: ErrorCode, io: &mut Io<'_>) {
        use ErrorCode as E;
        match error {
            E::CoordinatorNotAvailable | E::ConcurrentTransactions => {
                self.session.call(io.net, answer.request.clone());
            }
            E::InvalidProducerEpoch | E::ProducerFenced | E::InvalidTxnState => {
                io.oracle.outcomes.add("fenced");
                self.die(io);
            }
            error => panic!("{error:?} for {:?}", answer.request),
        }
    }
}

impl Client for Producer {
    fn act(&mut self, io: &mut Io<'_>) {
        match self.phase {
            Phase::Start => self.init(io),
            Phase::Dead if !io.is_draining && io.rng.random_bool(0.2) => self.init(io),
            Phase::Ready if !io.is_draining && io.rng.random_bool(0.01) => self.die(io),
            Phase::Ready => self.next(io),
            Phase::Dead | Phase::Initialising | Phase::Adding(_) | Phase::Ending(_) => {}
        }
    }

    fn answered(&mut self, answer: &Answer, io: &mut Io<'_>) -> bool {
        let is_batch = self.batches.contains_key(&answer.id);
        if is_batch && matches!(answer.response, Response::Error(ErrorCode::KafkaStorageError)) {
            // As after a broken connection: all that is open is sent again, in order.
            return false;
        }
        if !self.session.answered(answer.id) {
            return true;
        }
        match &answer.response {
            Response::Producer(id, epoch) => {
                self.identity = (*id, *epoch);
                self.phase = Phase::Ready;
            }
            Response::Done => self.done(io),
            Response::Error(error) if *error != ErrorCode::OutOfOrderSequenceNumber => {
                self.failed(answer, *error, io);
            }
            other => self.produced(answer.id, other, io),
        }
        true
    }

    fn resend(&mut self, io: &mut Io<'_>) {
        self.session.resend(io.net, &mut io.oracle.outcomes);
    }

    fn is_done(&self) -> bool {
        self.phase == Phase::Dead || self.session.open() == 0 && self.transaction.is_none()
    }
}
