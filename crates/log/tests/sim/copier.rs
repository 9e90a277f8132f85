//! Reads one topic and writes another, exactly once: what it wrote and how far it has read become
//! true in one transaction. Two run under one transactional id; each start fences the other.

use log::ErrorCode;
use log::transactions::TransactionalProducer;
use rand::Rng;

use super::broker::{Request, Response, TRANSACTIONAL, batch};
use super::net::{Answer, Session};
use super::oracle::{End, Sent};
use super::run::{Client, Io};

const ID: &str = "copier";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Start,
    Initialising,
    AskingOffset,
    /// Between two transactions.
    Ready,
    Fetching,
    Adding,
    Producing,
    AddingOffsets,
    CommittingOffset,
    Ending,
    Dead,
}

pub struct Copier {
    session: Session,
    phase: Phase,
    life: usize,
    identity: (i64, i16),
    sequence: i32,
    position: i64,
    /// What was read and is to be written.
    read: Vec<String>,
    written: Vec<String>,
    next: i64,
    transaction: Option<usize>,
    is_caught_up: bool,
}

impl Copier {
    pub fn new(client: usize) -> Self {
        Self {
            session: Session::new(client),
            phase: Phase::Start,
            life: 0,
            identity: (-1, -1),
            sequence: 0,
            position: 0,
            read: vec![],
            written: vec![],
            next: 0,
            transaction: None,
            is_caught_up: false,
        }
    }

    fn by(&self) -> TransactionalProducer {
        TransactionalProducer {
            transactional_id: ID.into(),
            producer_id: self.identity.0,
            producer_epoch: self.identity.1,
        }
    }

    fn call(&mut self, phase: Phase, request: Request, io: &mut Io<'_>) {
        self.phase = phase;
        self.session.call(io.net, request);
    }

    fn start(&mut self, io: &mut Io<'_>) {
        self.life = io.next_life();
        self.sequence = 0;
        io.oracle.outcomes.add("copier replaced");
        self.call(Phase::Initialising, Request::InitProducerId(Some(ID.into())), io);
    }

    fn die(&mut self, io: &mut Io<'_>) {
        self.session.forget();
        if let Some(transaction) = self.transaction.take() {
            io.oracle.abandon(transaction);
        }
        self.phase = Phase::Dead;
    }

    fn fetch(&mut self, io: &mut Io<'_>) {
        let request = Request::Fetch { topic: "a", partition: 0, offset: self.position };
        self.call(Phase::Fetching, request, io);
    }

    fn fetched(&mut self, values: &[String], next: i64, io: &mut Io<'_>) {
        self.is_caught_up = next == self.position;
        if self.is_caught_up {
            self.phase = Phase::Ready;
            return;
        }
        (self.read, self.next) = (values.to_vec(), next);
        // Also when all of it was aborted: how far it has read is news.
        self.call(Phase::Adding, Request::AddPartitions(self.by(), "o", 0), io);
    }

    fn produce(&mut self, io: &mut Io<'_>) {
        let transaction = io.oracle.begin();
        self.transaction = Some(transaction);
        let mut records = vec![];
        for value in &self.read {
            let (number, name) = io.next_value(self.life);
            let value = format!("{name} copies {value}");
            let sent = Sent { by: (self.life, number), transaction: Some(transaction) };
            io.oracle.values.insert(value.clone(), sent);
            records.push((None, value, false));
        }
        if records.is_empty() {
            return self.call(Phase::AddingOffsets, Request::AddOffsets(self.by()), io);
        }
        let bytes = batch(io.now_us, &records, Some(self.identity), self.sequence, TRANSACTIONAL);
        self.sequence += records.len() as i32;
        self.written = records.into_iter().map(|(_, value, _)| value).collect();
        let by = Some(self.by());
        let request = Request::Produce { topic: "o", partition: 0, batch: bytes, by };
        self.call(Phase::Producing, request, io);
    }

    fn done(&mut self, io: &mut Io<'_>) {
        match self.phase {
            Phase::Adding => self.produce(io),
            Phase::AddingOffsets => {
                let request = Request::TxnOffsetCommit(self.by(), self.next);
                self.call(Phase::CommittingOffset, request, io);
            }
            Phase::CommittingOffset => {
                if let Some(transaction) = self.transaction {
                    io.oracle.ask_commit(transaction);
                }
                self.call(Phase::Ending, Request::EndTxn(self.by(), true), io);
            }
            Phase::Ending => {
                if let Some(transaction) = self.transaction.take() {
                    io.oracle.end(transaction, End::Committed);
                }
                self.position = self.next;
                self.phase = Phase::Ready;
            }
            phase => panic!("done in {phase:?}"),
        }
    }

    fn failed(&mut self, answer: &Answer, error: ErrorCode, io: &mut Io<'_>) {
        use ErrorCode as E;
        match error {
            E::CoordinatorNotAvailable
            | E::ConcurrentTransactions
            | E::KafkaStorageError
            | E::UnstableOffsetCommit => {
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

impl Client for Copier {
    fn act(&mut self, io: &mut Io<'_>) {
        match self.phase {
            Phase::Start => self.start(io),
            // In the end one of them goes on until nothing is left.
            Phase::Dead if io.is_draining && self.session.client == io.last_copier => {
                self.start(io);
            }
            Phase::Dead if io.is_draining => {}
            Phase::Dead if io.rng.random_bool(0.1) => self.start(io),
            _ if !io.is_draining && io.rng.random_bool(0.005) => self.die(io),
            _ if io.is_draining && self.session.client != io.last_copier => self.die(io),
            Phase::Ready => self.fetch(io),
            _ => {}
        }
    }

    fn answered(&mut self, answer: &Answer, io: &mut Io<'_>) -> bool {
        if !self.session.answered(answer.id) {
            return true;
        }
        match &answer.response {
            Response::Producer(id, epoch) => {
                self.identity = (*id, *epoch);
                self.call(Phase::AskingOffset, Request::OffsetFetch, io);
            }
            Response::Offset(offset) => {
                self.position = (*offset).max(0);
                self.phase = Phase::Ready;
            }
            Response::Fetched(values, next) => self.fetched(values, *next, io),
            Response::Produced { offset } => {
                let written = std::mem::take(&mut self.written);
                io.oracle.acknowledged("o", 0, *offset, &written);
                self.call(Phase::AddingOffsets, Request::AddOffsets(self.by()), io);
            }
            Response::Done => self.done(io),
            Response::Error(error) => self.failed(answer, *error, io),
            other @ Response::Heartbeat(_) => panic!("{other:?}"),
        }
        true
    }

    fn resend(&mut self, io: &mut Io<'_>) {
        self.session.resend(io.net, &mut io.oracle.outcomes);
    }

    fn is_done(&self) -> bool {
        self.phase == Phase::Dead || self.phase == Phase::Ready && self.is_caught_up
    }
}
