//! Where the coordinators keep what must survive: a small keyed store the engine supplies. All
//! changes go through one queue, which gives them to the store in the order they were made and
//! joins what waits into one write (group commit): a coordinator queues under its own lock, lets
//! the lock go, and waits.
//!
//! Keys and values: `docs/formats/groups.md`, code in `encoding.rs`.

pub(crate) mod encoding;

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use common::{Error, Kind, Result};

use crate::lock::{lock, wait};

/// A key and its new value; None removes it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// A durable map of bytes.
pub trait CoordinatorStore: Send + Sync {
    /// All pairs, in any order.
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>>;

    /// Writes all changes or none; they are durable when it returns.
    fn commit(&self, changes: Vec<Change>) -> Result<()>;
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
    fn outcome(&self) -> Option<Result<()>> {
        let outcome = self.0.get()?;
        Some(outcome.clone().map_err(|f| Error::new(f.kind, f.message)))
    }

    /// True once the store refused it.
    pub fn has_failed(&self) -> bool {
        matches!(self.0.get(), Some(Err(_)))
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
            self.write(changes, &batch);
            state = lock(&self.state);
            state.is_writing = false;
            self.changed.notify_all();
        }
    }

    fn write(&self, changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>, batch: &Ticket) {
        let outcome = if changes.is_empty() {
            Ok(())
        } else {
            self.store.commit(changes.into_iter().collect())
        };
        if let Err(e) = &outcome {
            tracing::error!("groups and transactions could not be stored: {e}");
        }
        let outcome = outcome.map_err(|e| Failure { kind: e.kind(), message: e.to_string() });
        // Only the writer of a batch sets its outcome, once.
        let _ = batch.0.set(outcome);
    }

    /// Both of it.
    pub fn commit(&self, changes: impl IntoIterator<Item = Change>) -> Result<()> {
        self.wait(&self.enqueue(changes))
    }

    /// Writes what nobody waits for.
    pub fn flush(&self) -> Result<()> {
        let ticket = {
            let state = lock(&self.state);
            if state.waiting.is_empty() {
                return Ok(());
            }
            state.batch.clone()
        };
        self.wait(&ticket)
    }
}
