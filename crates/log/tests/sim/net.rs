//! The net between clients and broker. Each client has one connection, on which requests and
//! answers keep their order, as TCP has it. A connection that breaks loses answers; of its requests
//! each is lost, or done without anybody hearing of it, or (produce requests) done later, behind
//! what the client has sent meanwhile on its next connection.
//!
//! What is not produced is never that late: a late EndTxn could end the producer's next transaction.
//! Kafka's protocol up to EndTxn 4 allows that, only KIP-890's epochs per transaction do not.

use std::sync::Arc;

use log::{Appended, ErrorCode, PartitionLog};
use rand::Rng;
use rand::rngs::SmallRng;

use super::Outcomes;
use super::broker::{Broker, Handled, Request, Response};
use super::oracle::Oracle;

struct Sent {
    client: usize,
    connection: u64,
    id: u64,
    request: Request,
}

struct Waiting {
    sent: Sent,
    partition: Arc<PartitionLog>,
    appended: Appended,
}

/// An answer to the request of that number.
pub struct Answer {
    pub client: usize,
    pub id: u64,
    pub request: Request,
    pub response: Response,
}

#[derive(Default)]
pub struct Net {
    /// By client.
    connections: Vec<u64>,
    requests: Vec<Sent>,
    waiting: Vec<Waiting>,
    answers: Vec<Answer>,
}

impl Net {
    pub fn new(clients: usize) -> Self {
        Self { connections: vec![0; clients], ..Self::default() }
    }

    pub fn is_idle(&self) -> bool {
        self.requests.is_empty() && self.waiting.is_empty() && self.answers.is_empty()
    }

    pub fn send(&mut self, client: usize, id: u64, request: Request) {
        let connection = self.connections[client];
        self.requests.push(Sent { client, connection, id, request });
    }

    /// Gives the broker a request: the first one of some connection.
    pub fn deliver(&mut self, rng: &mut SmallRng, broker: &Broker, oracle: &mut Oracle) {
        if self.requests.is_empty() {
            return;
        }
        let at = rng.random_range(0..self.requests.len());
        let of = (self.requests[at].client, self.requests[at].connection);
        let first = self.requests.iter().position(|s| (s.client, s.connection) == of);
        let sent = self.requests.remove(first.unwrap());
        self.process(sent, broker, oracle);
    }

    fn process(&mut self, sent: Sent, broker: &Broker, oracle: &mut Oracle) {
        oracle.note(|| format!("{}.{} {}", sent.client, sent.id, short(&sent.request)));
        let before = oracle.before(&sent.request, broker);
        match broker.handle(&sent.request) {
            Handled::Now(response) => {
                oracle.handled(&sent.request, &response, broker);
                self.answer(sent, response, oracle);
            }
            Handled::Later(partition, appended) => {
                oracle.appended(&sent.request, before, appended.first.0);
                self.waiting.push(Waiting { sent, partition, appended });
            }
        }
    }

    fn answer(&mut self, sent: Sent, response: Response, oracle: &mut Oracle) {
        let Sent { client, connection, id, request } = sent;
        oracle.note(|| format!("{client}.{id} -> {response:?}"));
        if connection == self.connections[client] {
            self.answers.push(Answer { client, id, request, response });
        }
    }

    /// Answers produce requests that are durable, or failed.
    pub fn poll(&mut self, oracle: &mut Oracle) {
        for waiting in std::mem::take(&mut self.waiting) {
            let response = match waiting.partition.outcome(waiting.appended) {
                None => {
                    self.waiting.push(waiting);
                    continue;
                }
                Some(Ok(())) => Response::Produced { offset: waiting.appended.first.0 },
                Some(Err(_)) => {
                    oracle.outcomes.add("a sync failed under an acknowledgement");
                    Response::Error(ErrorCode::KafkaStorageError)
                }
            };
            self.answer(waiting.sent, response, oracle);
        }
    }

    /// An answer for some client: the oldest one it waits for, if that is there.
    pub fn take_answer(&mut self, rng: &mut SmallRng) -> Option<Answer> {
        if self.answers.is_empty() {
            return None;
        }
        let client = self.answers[rng.random_range(0..self.answers.len())].client;
        let mine = |s: &Sent| s.client == client && s.connection == self.connections[client];
        let open = self.waiting.iter().map(|w| &w.sent).filter(|s| mine(s)).map(|s| s.id).min();
        let of_client = self.answers.iter().enumerate().filter(|(_, a)| a.client == client);
        let (at, answer) = of_client.min_by_key(|(_, a)| a.id)?;
        if open.is_some_and(|open| open < answer.id) {
            return None;
        }
        Some(self.answers.remove(at))
    }

    /// The connection of a client breaks. It will send again what was not answered.
    pub fn cut(&mut self, client: usize, rng: &mut SmallRng, broker: &Broker, oracle: &mut Oracle) {
        oracle.note(|| format!("connection of {client} breaks"));
        self.connections[client] += 1;
        let answers = self.answers.len();
        self.answers.retain(|a| a.client != client);
        let lost = (answers - self.answers.len()) as u64;
        oracle.outcomes.add_many("answer lost", lost);
        let (broken, others) =
            std::mem::take(&mut self.requests).into_iter().partition(|s: &Sent| {
                s.client == client && s.connection + 1 == self.connections[client]
            });
        self.requests = others;
        let mut is_lost = false;
        for sent in broken {
            // What is lost of a stream of bytes is its end.
            is_lost |= rng.random_bool(0.4);
            if is_lost {
                oracle.outcomes.add("request lost");
            } else if matches!(sent.request, Request::Produce { .. }) {
                oracle.outcomes.add("request late");
                self.requests.push(sent);
            } else {
                self.process(sent, broker, oracle);
            }
        }
    }

    /// The broker is gone, and with it all connections.
    pub fn cut_all(&mut self) {
        self.connections.iter_mut().for_each(|c| *c += 1);
        self.requests.clear();
        self.waiting.clear();
        self.answers.clear();
    }
}

/// A request without the bytes of its batch.
fn short(request: &Request) -> String {
    match request {
        Request::Produce { topic, partition, batch, .. } => {
            let header = log::Header::parse(batch).unwrap();
            let (id, epoch) = (header.producer_id, header.producer_epoch);
            let (sequence, count) = (header.base_sequence, header.last_offset_delta + 1);
            format!("produce {topic}-{partition} by {id}/{epoch} sequence {sequence} + {count}")
        }
        other => format!("{other:?}"),
    }
}

/// The requests of a client that have no answer yet; sent again, in order, when its connection
/// broke.
#[derive(Default)]
pub struct Session {
    pub client: usize,
    next_id: u64,
    open: std::collections::BTreeMap<u64, Request>,
}

impl Session {
    pub fn new(client: usize) -> Self {
        Self { client, ..Self::default() }
    }

    pub fn call(&mut self, net: &mut Net, request: Request) -> u64 {
        self.next_id += 1;
        self.open.insert(self.next_id, request.clone());
        net.send(self.client, self.next_id, request);
        self.next_id
    }

    /// Whether the client still waits for this answer.
    pub fn answered(&mut self, id: u64) -> bool {
        self.open.remove(&id).is_some()
    }

    pub fn resend(&self, net: &mut Net, outcomes: &mut Outcomes) {
        for (id, request) in &self.open {
            outcomes.add("request sent twice");
            net.send(self.client, *id, request.clone());
        }
    }

    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The client dies; nobody waits for its answers.
    pub fn forget(&mut self) {
        self.open.clear();
    }
}
