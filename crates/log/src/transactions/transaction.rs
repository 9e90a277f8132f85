//! What is known of a transactional id: who produces under it now, and how its transaction stands.
//!
//! ```text
//! Empty ──add partitions──▶ Ongoing ──EndTxn──▶ PrepareCommit ──markers written──▶ CompleteCommit
//!                            ▲  └─EndTxn, timeout, InitProducerId─▶ PrepareAbort ──▶ CompleteAbort
//!                            └──────────────────── add partitions ──────────────────────┘
//! ```
//! Once a *prepare* state is durable the outcome stands, whatever happens.

use std::collections::BTreeSet;

use common::Result;

use crate::coordinator_store::encoding::{Reader, Writer, kind};
use crate::coordinator_store::{Change, Ticket};
use crate::error_code::ErrorCode;

pub(crate) const NO_PRODUCER_ID: i64 = -1;
pub(crate) const NO_PRODUCER_EPOCH: i16 = -1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum TransactionState {
    #[default]
    Empty = 0,
    Ongoing = 1,
    PrepareCommit = 2,
    PrepareAbort = 3,
    CompleteCommit = 4,
    CompleteAbort = 5,
}

impl TransactionState {
    const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    /// Kafka knows two more, which no transaction is ever seen in here.
    pub fn is_name(name: &str) -> bool {
        Self::ALL.iter().any(|s| s.name() == name) || ["PrepareEpochFence", "Dead"].contains(&name)
    }

    fn from_stored(value: i8) -> Result<Self> {
        Self::ALL.into_iter().find(|s| *s as i8 == value).ok_or_else(|| {
            common::Error::corrupt(format!("a stored transaction has the unknown state {value}"))
                .hint("restore the data folder from a backup")
        })
    }

    /// How a transaction that is being ended will end.
    pub fn prepared(self) -> Option<bool> {
        match self {
            Self::PrepareCommit => Some(true),
            Self::PrepareAbort => Some(false),
            _ => None,
        }
    }
}

/// How long an end waits until it is tried again.
const RETRY_MS: i64 = 1_000;

pub(crate) struct Transaction {
    pub transactional_id: String,
    pub producer_id: i64,
    /// The id before the last rotation; -1 without one.
    pub last_producer_id: i64,
    pub producer_epoch: i16,
    /// The epoch that was replaced at its owner's wish: it may ask again if the answer was lost.
    pub last_producer_epoch: i16,
    pub timeout_ms: i32,
    pub state: TransactionState,
    pub partitions: BTreeSet<(String, i32)>,
    /// Groups whose offsets are part of it.
    pub groups: BTreeSet<String>,
    /// -1 when none is open.
    pub start_ms: i64,
    pub update_ms: i64,
    /// The last write; answers wait for it.
    pub saved: Ticket,
    /// Somebody writes its markers now.
    pub is_finishing: bool,
    /// An end that is decided is not tried again before this time.
    pub retry_ms: i64,
    /// Its place in the map is given up; look it up again.
    pub is_removed: bool,
}

impl Transaction {
    pub fn new(transactional_id: &str) -> Self {
        Self {
            transactional_id: transactional_id.to_owned(),
            producer_id: NO_PRODUCER_ID,
            last_producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            last_producer_epoch: NO_PRODUCER_EPOCH,
            timeout_ms: 0,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            start_ms: -1,
            update_ms: 0,
            saved: Ticket::settled(),
            is_finishing: false,
            retry_ms: i64::MIN,
            is_removed: false,
        }
    }

    /// One more would leave no epoch to fence with.
    pub fn is_epoch_exhausted(epoch: i16) -> bool {
        epoch >= i16::MAX - 1
    }

    /// Is this its producer, with its newest epoch?
    pub fn check(&self, producer_id: i64, producer_epoch: i16) -> Result<(), ErrorCode> {
        if self.producer_id != producer_id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if self.producer_epoch != producer_epoch {
            return Err(ErrorCode::ProducerFenced);
        }
        Ok(())
    }

    /// Opens a transaction if none is open.
    pub fn begin(&mut self, now_ms: i64) {
        if self.state != TransactionState::Ongoing {
            self.state = TransactionState::Ongoing;
            self.start_ms = now_ms;
        }
        self.update_ms = now_ms;
    }

    /// Decides how the open transaction ends.
    pub fn prepare(&mut self, commit: bool, now_ms: i64) {
        self.state = match commit {
            true => TransactionState::PrepareCommit,
            false => TransactionState::PrepareAbort,
        };
        self.update_ms = now_ms;
        self.retry_later(now_ms);
    }

    /// Whoever decides the end, or finishes it, has so long; then it is tried again.
    pub fn retry_later(&mut self, now_ms: i64) {
        self.retry_ms = now_ms.saturating_add(RETRY_MS);
    }

    /// Whether an end that is decided should be tried again. A clock that was set back does not
    /// put it off.
    pub fn must_retry(&self, now_ms: i64) -> bool {
        let is_due = self.retry_ms <= now_ms || self.retry_ms > now_ms.saturating_add(RETRY_MS);
        self.state.prepared().is_some() && is_due
    }

    /// Aborts the open transaction against its producer, which is fenced by a higher epoch.
    pub fn fence_and_abort(&mut self, now_ms: i64) {
        self.producer_epoch = self.producer_epoch.saturating_add(1);
        self.last_producer_epoch = NO_PRODUCER_EPOCH;
        self.prepare(false, now_ms);
    }

    /// All markers are written.
    pub fn complete(&mut self, commit: bool, now_ms: i64) {
        self.state = match commit {
            true => TransactionState::CompleteCommit,
            false => TransactionState::CompleteAbort,
        };
        self.partitions.clear();
        self.groups.clear();
        self.start_ms = -1;
        self.update_ms = now_ms;
    }

    pub fn key(&self) -> Vec<u8> {
        Writer::key(kind::TRANSACTION).text(&self.transactional_id).finish()
    }

    pub fn to_save(&self) -> Change {
        let value = Writer::value()
            .i64(self.producer_id)
            .i64(self.last_producer_id)
            .i16(self.producer_epoch)
            .i16(self.last_producer_epoch)
            .i32(self.timeout_ms)
            .i8(self.state as i8)
            .i64(self.start_ms)
            .i64(self.update_ms)
            .list(&self.partitions, |w, (topic, partition)| w.text(topic).i32(*partition))
            .list(&self.groups, |w, group| w.text(group));
        (self.key(), Some(value.finish()))
    }

    pub fn load(key: &[u8], value: Vec<u8>) -> Result<Self> {
        let id = Reader::key(key).text()?;
        let mut r = Reader::value(value, "transaction")?;
        Ok(Self {
            producer_id: r.i64()?,
            last_producer_id: r.i64()?,
            producer_epoch: r.i16()?,
            last_producer_epoch: r.i16()?,
            timeout_ms: r.i32()?,
            state: TransactionState::from_stored(r.i8()?)?,
            start_ms: r.i64()?,
            update_ms: r.i64()?,
            partitions: r.list(|r| Ok((r.text()?, r.i32()?)))?,
            groups: r.list(Reader::text)?,
            ..Self::new(&id)
        })
    }
}
