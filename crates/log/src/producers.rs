//! What a partition knows of its producers, so that a batch sent twice is stored once (KIP-98) and
//! readers see finished transactions only. It follows from the batches alone: after a crash it is
//! read from the last snapshot (`snapshot.rs`) and from the headers behind it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use common::Offset;

use crate::batch::{self, Header};
use crate::error_code::ErrorCode;
use crate::records;
use crate::refusal::Refusal;

/// Batches remembered of each producer: as many as it may have in flight.
pub(crate) const SENT_MAX: usize = 5;
/// Control record types (KIP-98): the second number of a marker's key.
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// A producer as DescribeProducers shows it (KIP-664).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    pub producer_id: i64,
    pub epoch: i16,
    /// -1 when nothing of this epoch is remembered.
    pub last_sequence: i32,
    /// -1 when unknown.
    pub last_timestamp_ms: i64,
    /// First offset of its open transaction.
    pub transaction_start: Option<Offset>,
}

/// A transaction whose records nobody is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first: Offset,
    /// Where its marker is.
    pub last: Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub first_sequence: i32,
    pub last_sequence: i32,
    pub first: i64,
    pub last: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub epoch: i16,
    /// The latest batches of this epoch, oldest first.
    pub sent: VecDeque<Sent>,
    /// First offset of the open transaction.
    pub transaction: Option<i64>,
    pub last_timestamp_ms: i64,
    /// By the clock here: a producer that sends old timestamps is not idle.
    pub used_ms: i64,
}

/// A transaction whose marker is written and not yet durable: readers still wait.
#[derive(Clone, Copy, Debug)]
struct Ending {
    producer_id: i64,
    first: i64,
    marker: i64,
}

/// All producers of a partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
    /// First offsets of open transactions.
    open: BTreeMap<i64, i64>,
    ending: Vec<Ending>,
    /// Producers known from nothing but what was cut back or could not be written, by id: epoch
    /// and sequence of the first such batch. What they sent behind it, not knowing that it failed,
    /// must not be taken.
    cut: HashMap<i64, (i16, i32)>,
    /// Aborted transactions whose markers are in the segment that begins at `base`.
    pub aborted: Vec<AbortedTransaction>,
    pub base: i64,
    /// The last batch that changed anything here.
    pub changed_at: i64,
}

impl Producers {
    /// Nothing known, before the first batch of the segment at `base`.
    pub fn empty(base: i64) -> Self {
        Self { base, changed_at: -1, ..Self::default() }
    }

    /// Whether a batch continues what its producer sent. Some: it is one of the last five, sent
    /// again, and lies at these offsets (first, last).
    pub fn check(&self, header: &Header) -> Result<Option<(i64, i64)>, Refusal> {
        let (id, epoch) = (header.producer_id, header.producer_epoch);
        let refuse = |code, why: String| Err(Refusal::new(code, format!("producer {id}: {why}")));
        let (first, last) = sequences(header);
        let Some(known) = self.by_id.get(&id) else {
            return match self.cut.get(&id) {
                Some((of, from)) if *of == epoch && *from != first => {
                    let why = format!("sequence {first} does not follow, {from} is expected");
                    refuse(ErrorCode::OutOfOrderSequenceNumber, why)
                }
                // One that was forgotten may go on with any sequence (KIP-360).
                _ => Ok(None),
            };
        };
        if epoch < known.epoch {
            let why = format!("its epoch {epoch} is older than {}", known.epoch);
            return refuse(ErrorCode::InvalidProducerEpoch, why);
        }
        if epoch == known.epoch {
            let is_again = |s: &&Sent| (s.first_sequence, s.last_sequence) == (first, last);
            if let Some(sent) = known.sent.iter().find(is_again) {
                return Ok(Some((sent.first, sent.last)));
            }
        }
        let expected = match known.sent.back() {
            Some(sent) if epoch == known.epoch => after(sent.last_sequence),
            _ => 0,
        };
        if first != expected {
            let why = format!("sequence {first} does not follow, {expected} is expected");
            return refuse(ErrorCode::OutOfOrderSequenceNumber, why);
        }
        if known.transaction.is_some() && !header.is_transactional() {
            let why = "its transaction is open and the batch is not part of it".to_string();
            return refuse(ErrorCode::InvalidTxnState, why);
        }
        Ok(None)
    }

    /// Takes in a batch with its offsets; `bytes` are needed of control batches.
    pub fn saw(&mut self, header: &Header, bytes: &[u8], now_ms: i64) {
        if header.producer_id < 0 {
            return;
        }
        self.changed_at = header.base_offset;
        if header.is_control() {
            match marker_type(header, bytes) {
                Some(commit) => self.marked(header, commit, now_ms),
                None => tracing::error!(offset = header.base_offset, "a marker makes no sense"),
            }
            return;
        }
        let producer = self.producer(header, now_ms);
        if header.base_sequence >= 0 {
            let (first_sequence, last_sequence) = sequences(header);
            let (first, last) = (header.base_offset, header.last_offset().0);
            if producer.sent.len() == SENT_MAX {
                producer.sent.pop_front();
            }
            producer.sent.push_back(Sent { first_sequence, last_sequence, first, last });
        }
        if header.is_transactional() && producer.transaction.is_none() {
            producer.transaction = Some(header.base_offset);
            self.open.insert(header.base_offset, header.producer_id);
        }
    }

    fn marked(&mut self, header: &Header, commit: bool, now_ms: i64) {
        let producer_id = header.producer_id;
        let Some(first) = self.producer(header, now_ms).transaction.take() else { return };
        self.open.remove(&first);
        let marker = header.base_offset;
        self.ending.push(Ending { producer_id, first, marker });
        if !commit {
            let (first, last) = (Offset(first), Offset(marker));
            self.aborted.push(AbortedTransaction { producer_id, first, last });
        }
    }

    /// A batch could not be written.
    pub fn failed(&mut self, header: &Header) {
        let (id, epoch) = (header.producer_id, header.producer_epoch);
        if self.by_id.contains_key(&id) {
            return;
        }
        let (of, _) = *self.cut.entry(id).or_insert((epoch, header.base_sequence));
        if of < epoch {
            self.cut.insert(id, (epoch, header.base_sequence));
        }
    }

    /// Everything from `end` on was cut back; this is what was known before it. Takes over from
    /// what was known `after` it which producers have to send again.
    pub fn cut_back(mut self, after: Self, end: i64) -> Self {
        let mut cut = std::mem::take(&mut self.cut);
        for (id, producer) in after.by_id {
            if !self.by_id.contains_key(&id)
                && let Some(sent) = producer.sent.iter().find(|sent| sent.first >= end)
            {
                cut.insert(id, (producer.epoch, sent.first_sequence));
            }
        }
        cut.extend(after.cut);
        cut.retain(|id, _| !self.by_id.contains_key(id));
        Self { cut, ..self }
    }

    /// The producer of a batch, with the epoch of the batch.
    fn producer(&mut self, header: &Header, now_ms: i64) -> &mut Producer {
        self.cut.remove(&header.producer_id);
        let producer = self.by_id.entry(header.producer_id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            sent: VecDeque::new(),
            transaction: None,
            last_timestamp_ms: -1,
            used_ms: now_ms,
        });
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.sent.clear();
        }
        producer.last_timestamp_ms = header.max_timestamp_ms;
        producer.used_ms = now_ms;
        producer
    }

    /// First offset of a producer's open transaction, if this epoch may end it.
    pub fn open_transaction(&self, producer_id: i64, epoch: i16) -> Option<i64> {
        let producer = self.by_id.get(&producer_id)?;
        producer.transaction.filter(|_| producer.epoch <= epoch)
    }

    /// The marker of this producer that is written but not durable yet.
    pub fn unsettled_marker(&self, producer_id: i64) -> Option<i64> {
        self.ending.iter().rev().find(|e| e.producer_id == producer_id).map(|e| e.marker)
    }

    /// Everything below `end` is durable.
    pub fn settle(&mut self, end: i64) {
        self.ending.retain(|e| e.marker >= end);
    }

    /// Readers of finished transactions stop here; `i64::MAX` when nothing is open.
    pub fn first_unstable(&self) -> i64 {
        let ending = self.ending.iter().map(|e| e.first).min().unwrap_or(i64::MAX);
        ending.min(self.first_open())
    }

    /// As `first_unstable`, if all that is written were durable.
    pub fn first_open(&self) -> i64 {
        self.open.keys().next().copied().unwrap_or(i64::MAX)
    }

    /// A new segment begins; returns what was aborted within the one before it.
    pub fn begin_segment(&mut self, base: i64) -> Vec<AbortedTransaction> {
        self.base = base;
        std::mem::take(&mut self.aborted)
    }

    /// Forgets producers idle since `before_ms`, and the most idle ones when there are more than
    /// `max`; never one with an open transaction.
    pub fn expire(&mut self, before_ms: i64, max: usize) {
        self.by_id.retain(|_, p| p.used_ms >= before_ms || p.transaction.is_some());
        if self.cut.len() > max {
            self.cut.clear();
        }
        if self.by_id.len() <= max {
            return;
        }
        let mut used: Vec<_> = self.by_id.values().map(|p| p.used_ms).collect();
        // A tenth more than must go, or each new producer would have all of them looked at.
        let too_many = (used.len() - max + max / 10).min(used.len() - 1);
        let limit = *used.select_nth_unstable(too_many).1;
        self.by_id.retain(|_, p| p.used_ms >= limit || p.transaction.is_some());
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.by_id.iter().map(|(id, producer)| (*id, producer))
    }

    pub fn insert(&mut self, producer_id: i64, producer: Producer) {
        if let Some(first) = producer.transaction {
            self.open.insert(first, producer_id);
        }
        self.by_id.insert(producer_id, producer);
    }

    pub fn states(&self) -> Vec<ProducerState> {
        let state = |(producer_id, p): (i64, &Producer)| ProducerState {
            producer_id,
            epoch: p.epoch,
            last_sequence: p.sent.back().map_or(-1, |s| s.last_sequence),
            last_timestamp_ms: p.last_timestamp_ms,
            transaction_start: p.transaction.map(Offset),
        };
        let mut states: Vec<_> = self.iter().map(state).collect();
        states.sort_unstable_by_key(|s| s.producer_id);
        states
    }
}

/// First and last sequence number of a batch; they begin again at 0 after 2³¹−1.
fn sequences(header: &Header) -> (i32, i32) {
    let last = i64::from(header.base_sequence) + i64::from(header.last_offset_delta);
    (header.base_sequence, (last % (i64::from(i32::MAX) + 1)) as i32)
}

fn after(sequence: i32) -> i32 {
    if sequence == i32::MAX { 0 } else { sequence + 1 }
}

/// Whether a control batch commits (true) or aborts; none if it is neither.
fn marker_type(header: &Header, bytes: &[u8]) -> Option<bool> {
    if !batch::is_intact(header, bytes) {
        return None;
    }
    match i16::from_be_bytes(records::marker(bytes)?.key?.get(2..4)?.try_into().ok()?) {
        ABORT => Some(false),
        COMMIT => Some(true),
        _ => None,
    }
}

/// The key of a marker: its format's version, then its type.
pub(crate) fn marker_key(commit: bool) -> [u8; 4] {
    let [a, b] = (if commit { COMMIT } else { ABORT }).to_be_bytes();
    [0, 0, a, b]
}
