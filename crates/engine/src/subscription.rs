//! Live changes of a view: a snapshot first, then each epoch's changes. The last epochs are kept
//! so that a reader who was cut off goes on where it was; a slow one is told to start again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use common::{Epoch, Result};
use stream::Change;
use tokio::sync::broadcast;

use crate::view_store::ViewStore;

/// Epochs a reader may fall behind before it starts again from a snapshot.
const EPOCHS_KEPT: usize = 256;
/// Rows kept for readers that resume; more are dropped oldest epoch first.
const ROWS_KEPT: usize = 50_000;

/// What one epoch changed.
#[derive(Clone, Debug)]
pub struct EpochChanges {
    pub epoch: Epoch,
    pub changes: Arc<Vec<Change>>,
}

/// What a subscriber receives.
#[derive(Debug)]
pub enum Update {
    Snapshot {
        epoch: Epoch,
        batches: Vec<RecordBatch>,
    },
    Changes(EpochChanges),
    /// The reader was too slow; a snapshot follows.
    Resync,
}

struct Kept {
    epochs: VecDeque<EpochChanges>,
    rows: usize,
}

/// The publishing end, one per view.
pub struct Publisher {
    sender: broadcast::Sender<EpochChanges>,
    kept: Mutex<Kept>,
}

impl Default for Publisher {
    fn default() -> Self {
        let kept = Kept { epochs: VecDeque::new(), rows: 0 };
        Publisher { sender: broadcast::channel(EPOCHS_KEPT).0, kept: Mutex::new(kept) }
    }
}

impl Publisher {
    /// Call after the epoch was committed.
    pub fn publish(&self, epoch: Epoch, changes: Vec<Change>) {
        let n: usize = changes.iter().map(|c| c.batch.num_rows()).sum();
        let update = EpochChanges { epoch, changes: Arc::new(changes) };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.rows += n;
        kept.epochs.push_back(update.clone());
        while kept.epochs.len() > EPOCHS_KEPT || (kept.rows > ROWS_KEPT && kept.epochs.len() > 1) {
            if let Some(old) = kept.epochs.pop_front() {
                kept.rows -= old.changes.iter().map(|c| c.batch.num_rows()).sum::<usize>();
            }
        }
        // No receiver is not a fault.
        let _ = self.sender.send(update);
    }

    /// Starts after `after` when that epoch is still known, else with a snapshot.
    pub fn subscribe(&self, store: Arc<ViewStore>, after: Option<Epoch>) -> Subscription {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.sender.subscribe();
        let mut pending = VecDeque::new();
        let mut snapshot_due = true;
        if let Some(after) = after
            && kept.epochs.front().is_some_and(|e| e.epoch.0 <= after.0 + 1)
            && kept.epochs.back().is_some_and(|e| e.epoch >= after)
        {
            pending.extend(kept.epochs.iter().filter(|e| e.epoch > after).cloned());
            snapshot_due = false;
        }
        Subscription { store, receiver, pending, snapshot_due, seen: after.unwrap_or_default() }
    }
}

/// The receiving end.
pub struct Subscription {
    store: Arc<ViewStore>,
    receiver: broadcast::Receiver<EpochChanges>,
    pending: VecDeque<EpochChanges>,
    snapshot_due: bool,
    seen: Epoch,
}

impl Subscription {
    /// The next update; None when the view is gone.
    pub async fn next(&mut self) -> Option<Result<Update>> {
        if self.snapshot_due {
            self.snapshot_due = false;
            let store = self.store.clone();
            let read = tokio::task::spawn_blocking(move || {
                let snapshot = store.kv().snapshot()?;
                Ok((store.meta(&snapshot)?.epoch, store.scan(&snapshot)?))
            })
            .await
            .unwrap_or_else(|e| Err(common::Error::internal(format!("reading a view: {e}"))));
            return Some(read.map(|(epoch, batches)| {
                self.seen = epoch;
                Update::Snapshot { epoch, batches }
            }));
        }
        loop {
            if let Some(update) = self.pending.pop_front() {
                self.seen = update.epoch;
                return Some(Ok(Update::Changes(update)));
            }
            match self.receiver.recv().await {
                Ok(update) if update.epoch <= self.seen => {}
                Ok(update) => {
                    self.seen = update.epoch;
                    return Some(Ok(Update::Changes(update)));
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    self.snapshot_due = true;
                    return Some(Ok(Update::Resync));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    pub fn schema(&self) -> arrow::datatypes::SchemaRef {
        self.store.schema()
    }
}
