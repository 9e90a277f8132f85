//! Where the coordinators keep what must survive: a small keyed store the engine supplies. All
//! changes go through one queue, which gives them to the store in the order they were made and
//! joins what waits into one write (group commit): a coordinator queues under its own lock, lets
//! the lock go, and waits.
//!
//! Memory leads, the store follows: changes the store refused (a full disk) stay in the queue and
//! go along with the next write, so that both are the same again once the store takes them. Who
//! answers from memory first settles the ticket of what it read.
//!
//! Keys and values: `docs/formats/groups.md`, code in `encoding.rs`.

pub(crate) mod encoding;

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use common::{Clock, Error, Kind, Result};

use crate::groups::{GroupConfig, GroupCoordinator, TopicLookup};
use crate::lock::{lock, wait};
use crate::transactions::{Markers, TransactionConfig, TransactionCoordinator};

/// A key and its new value; None removes it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// A durable map of bytes.
pub trait CoordinatorStore: Send + Sync {
    /// All pairs, in any order.
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>>;

    /// Writes all changes or none; they are durable when it returns.
    fn commit(&self, changes: Vec<Change>) -> Result<()>;
}

/// The coordinators over one store.
pub struct Coordinators {
    pub groups: Arc<GroupCoordinator>,
    pub transactions: Arc<TransactionCoordinator>,
}

impl Coordinators {
    /// Takes over what is stored. Transactions whose end was decided are finished, so all topics
    /// must be open. `topics` is called with a group's lock held: it should look up and no more.
    pub fn open(
        store: Arc<dyn CoordinatorStore>,
        clock: Arc<dyn Clock>,
        topics: Arc<TopicLookup>,
        markers: Arc<dyn Markers>,
        group_config: GroupConfig,
        transaction_config: TransactionConfig,
    ) -> Result<Self> {
        let pairs = store.load()?;
        let queue = Arc::new(CommitQueue::new(store));
        let groups =
            GroupCoordinator::load(&pairs, queue.clone(), clock.clone(), topics, group_config)?;
        let groups = Arc::new(groups);
        let transactions = TransactionCoordinator::load(
            pairs,
            queue,
            clock,
            groups.clone(),
            markers,
            transaction_config,
        )?;
        Ok(Self { groups, transactions: Arc::new(transactions) })
    }
}

/// The one way to the store.
pub(crate) struct CommitQueue {
    store: Arc<dyn CoordinatorStore>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    batch: Ticket,
    is_writing: bool,
}

/// What a change is waited for by; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Ticket(Arc<OnceLock<Result<(), Failure>>>);

#[derive(Clone)]
struct Failure {
    kind: Kind,
    message: String,
}

impl Ticket {
    /// Of something there was nothing to write for.
    pub fn settled() -> Self {
        Self(Arc::new(OnceLock::from(Ok(()))))
    }

    fn outcome(&self) -> Option<Result<()>> {
        let outcome = self.0.get()?;
        Some(outcome.clone().map_err(|f| Error::new(f.kind, f.message)))
    }
}

impl CommitQueue {
    pub fn new(store: Arc<dyn CoordinatorStore>) -> Self {
        Self { store, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Puts changes into the next write. Calls for one key must be in order (under its owner's
    /// lock). Nothing is written until somebody waits or flushes.
    pub fn enqueue(&self, changes: impl IntoIterator<Item = Change>) -> Ticket {
        let mut state = lock(&self.state);
        state.waiting.extend(changes);
        state.batch.clone()
    }

    /// Returns when the changes are durable. Whoever comes first writes for all that wait.
    pub fn wait(&self, ticket: &Ticket) -> Result<()> {
        let mut state = lock(&self.state);
        loop {
            if let Some(outcome) = ticket.outcome() {
                return outcome;
            }
            if state.is_writing {
                state = wait(&self.changed, state);
                continue;
            }
            state.is_writing = true;
            let changes = mem::take(&mut state.waiting);
            let batch = mem::take(&mut state.batch);
            drop(state);
            let writing = Writing { queue: self, batch };
            self.write(changes, &writing.batch);
            drop(writing);
            state = lock(&self.state);
        }
    }

    fn write(&self, changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>, batch: &Ticket) {
        let outcome = if changes.is_empty() {
            Ok(())
        } else {
            self.store.commit(changes.clone().into_iter().collect())
        };
        if let Err(e) = &outcome {
            tracing::error!("groups and transactions could not be stored: {e}");
            let mut state = lock(&self.state);
            for (key, value) in changes {
                // What was changed again meanwhile is newer.
                state.waiting.entry(key).or_insert(value);
            }
        }
        let outcome = outcome.map_err(|e| Failure { kind: e.kind(), message: e.to_string() });
        // Only the writer of a batch sets its outcome, once.
        let _ = batch.0.set(outcome);
    }

    /// As `wait`, for changes whose write may have failed long ago: they are written again.
    pub fn settle(&self, ticket: &Ticket) -> Result<()> {
        match ticket.outcome() {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => self.flush(),
            None => self.wait(ticket),
        }
    }

    /// Writes what is queued.
    pub fn flush(&self) -> Result<()> {
        let ticket = {
            let state = lock(&self.state);
            if state.waiting.is_empty() && !state.is_writing {
                return Ok(());
            }
            state.batch.clone()
        };
        self.wait(&ticket)
    }
}

/// The turn of the one who writes; given up also if the store panics, or all would wait for ever.
struct Writing<'a> {
    queue: &'a CommitQueue,
    batch: Ticket,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.batch.0.get_or_init(|| {
            let message = "the store failed while it wrote".to_owned();
            Err(Failure { kind: Kind::Internal, message })
        });
        lock(&self.queue.state).is_writing = false;
        self.queue.changed.notify_all();
    }
}
