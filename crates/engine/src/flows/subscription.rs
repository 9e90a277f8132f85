//! Live changes of a view: a snapshot first, then each epoch's changes. The last epochs are kept
//! once for all readers, so that one who was cut off goes on where it was; what a slow one has not
//! taken when it is no longer kept costs nothing: it is told to start again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use bytes::Bytes;
use common::{Epoch, Error, Result};
use kv::Snapshot;
use stream::Change;
use tokio::sync::{OnceCell, watch};

use crate::flows::view_store::{ReadFrom, RowPlace, ViewStore};
use crate::stores::blocking::blocking;

/// Epochs a reader may fall behind before it starts again from a snapshot.
const EPOCHS_KEPT: usize = 256;
/// Rows kept for readers that resume or are slow; more are dropped oldest epoch first.
const ROWS_KEPT: usize = 50_000;
/// Bytes kept for them, as rows and as text.
const BYTES_KEPT: usize = 32 << 20;

/// What one epoch changed.
#[derive(Clone, Debug)]
pub struct EpochChanges {
    pub epoch: Epoch,
    pub changes: Arc<Vec<Change>>,
    text: Arc<OnceCell<Bytes>>,
}

/// A part of a snapshot: a few batches of its rows, in the order of their keys.
#[derive(Debug)]
pub struct SnapshotPart {
    pub epoch: Epoch,
    pub batches: Vec<RecordBatch>,
    pub is_first: bool,
    pub is_last: bool,
}

/// What a subscriber receives.
#[derive(Debug)]
pub enum Update {
    Snapshot(SnapshotPart),
    Changes(EpochChanges),
    /// The reader was too slow, or an epoch too large; a snapshot follows.
    Resync,
}

#[derive(Default)]
struct Kept {
    epochs: VecDeque<EpochChanges>,
    rows: usize,
    /// The newest epoch that is no longer kept.
    lost: Epoch,
}

/// The publishing end, one per view.
pub struct Publisher {
    kept: Arc<Mutex<Kept>>,
    newest: watch::Sender<Epoch>,
}

impl Default for Publisher {
    fn default() -> Self {
        Publisher { kept: Arc::default(), newest: watch::Sender::new(Epoch::default()) }
    }
}

impl Publisher {
    /// Call after the epoch was committed.
    pub fn publish(&self, epoch: Epoch, changes: Vec<Change>) {
        let update = EpochChanges { epoch, changes: Arc::new(changes), text: Arc::default() };
        let mut kept = lock(&self.kept);
        kept.rows += update.rows();
        kept.epochs.push_back(update);
        kept.trim();
        drop(kept);
        self.newest.send_replace(epoch);
    }

    /// Starts after `after` when that epoch is still known, else with a snapshot. A snapshot of
    /// more than `rows_max` rows is refused.
    pub fn subscribe(
        &self,
        store: Arc<ViewStore>,
        after: Option<Epoch>,
        rows_max: u64,
    ) -> Subscription {
        let newest = self.newest.subscribe();
        let kept = lock(&self.kept);
        let is_known = |after: &Epoch| {
            kept.epochs.front().is_some_and(|e| e.epoch.0 <= after.0 + 1)
                && kept.epochs.back().is_some_and(|e| e.epoch >= *after)
        };
        let known = after.filter(is_known);
        Subscription {
            store,
            kept: self.kept.clone(),
            newest,
            rows_max,
            snapshot_due: known.is_none(),
            reading: None,
            seen: known.unwrap_or_default(),
        }
    }
}

impl Kept {
    fn trim(&mut self) {
        // Anew each time: texts are made meanwhile.
        let mut bytes: usize = self.epochs.iter().map(EpochChanges::bytes).sum();
        while (self.epochs.len() > EPOCHS_KEPT || self.rows > ROWS_KEPT || bytes > BYTES_KEPT)
            && let Some(old) = self.epochs.pop_front()
        {
            self.rows -= old.rows();
            bytes = bytes.saturating_sub(old.bytes());
            self.lost = old.epoch;
        }
    }

    /// The epoch that follows `seen`; an error when it is no longer kept.
    fn after(&self, seen: Epoch) -> Result<Option<EpochChanges>, Behind> {
        if seen < self.lost {
            return Err(Behind);
        }
        let at = self.epochs.partition_point(|e| e.epoch <= seen);
        Ok(self.epochs.get(at).cloned())
    }
}

struct Behind;

impl EpochChanges {
    fn rows(&self) -> usize {
        self.changes.iter().map(|c| c.batch.num_rows()).sum()
    }

    fn bytes(&self) -> usize {
        let rows: usize = self.changes.iter().map(|c| c.batch.get_array_memory_size()).sum();
        rows + self.text.get().map_or(0, Bytes::len)
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The receiving end.
pub struct Subscription {
    store: Arc<ViewStore>,
    kept: Arc<Mutex<Kept>>,
    newest: watch::Receiver<Epoch>,
    rows_max: u64,
    snapshot_due: bool,
    /// A snapshot that has begun.
    reading: Option<Reading>,
    seen: Epoch,
}

#[derive(Clone)]
struct Reading {
    snapshot: Snapshot,
    epoch: Epoch,
    after: Option<RowPlace>,
}

impl Subscription {
    /// The next update; None when the view is gone. A call that is given up loses nothing.
    ///
    /// # Errors
    /// `TooLarge` for a snapshot of too many rows.
    pub async fn next(&mut self) -> Option<Result<Update>> {
        if self.snapshot_due || self.reading.is_some() {
            return Some(self.part().await.map(Update::Snapshot));
        }
        loop {
            self.newest.mark_unchanged();
            let next = lock(&self.kept).after(self.seen);
            match next {
                Ok(Some(update)) => {
                    self.seen = update.epoch;
                    return Some(Ok(Update::Changes(update)));
                }
                Ok(None) => {}
                Err(Behind) => {
                    self.snapshot_due = true;
                    return Some(Ok(Update::Resync));
                }
            }
            if self.newest.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Whether more of the same snapshot follows.
    pub fn is_in_snapshot(&self) -> bool {
        self.reading.is_some()
    }

    pub fn schema(&self) -> arrow::datatypes::SchemaRef {
        self.store.schema()
    }

    /// An epoch's changes as text, made once for all subscribers.
    pub async fn text(
        &self,
        update: &EpochChanges,
        make: impl FnOnce(&EpochChanges) -> Result<Bytes> + Send + 'static,
    ) -> Result<Bytes> {
        if let Some(text) = update.text.get() {
            return Ok(text.clone());
        }
        let for_making = update.clone();
        let made = update.text.get_or_try_init(|| blocking(move || make(&for_making)));
        let text = made.await.cloned();
        lock(&self.kept).trim();
        text
    }

    async fn part(&mut self) -> Result<SnapshotPart> {
        let is_first = self.reading.is_none();
        let (store, reading, rows_max) = (self.store.clone(), self.reading.clone(), self.rows_max);
        let read = move || {
            let reading = match reading {
                Some(reading) => reading,
                None => begin(&store, rows_max)?,
            };
            read_on(&store, reading)
        };
        let (reading, batches, is_last) = blocking(read).await?;
        let epoch = reading.epoch;
        self.snapshot_due = false;
        self.seen = epoch;
        self.reading = (!is_last).then_some(reading);
        Ok(SnapshotPart { epoch, batches, is_first, is_last })
    }
}

/// The next batch, and whether it is the last.
fn read_on(store: &ViewStore, from: Reading) -> Result<(Reading, Vec<RecordBatch>, bool)> {
    let Reading { snapshot, epoch, after } = from;
    let mut from = ReadFrom { after, ..store.read_all() };
    let (mut batches, mut after) = (vec![], None);
    store.read(&snapshot, &from, &mut |batch, places| {
        batches.push(batch);
        after = places.last().cloned();
        Ok(false)
    })?;
    let mut is_last = true;
    if after.is_some() {
        from = ReadFrom { after: after.clone(), rows_per_batch: 1, ..from };
        store.read(&snapshot, &from, &mut |_, _| {
            is_last = false;
            Ok(false)
        })?;
    }
    Ok((Reading { snapshot, epoch, after }, batches, is_last))
}

fn begin(store: &ViewStore, rows_max: u64) -> Result<Reading> {
    let snapshot = store.kv().snapshot()?;
    let meta = store.meta(&snapshot)?;
    if meta.rows > rows_max {
        let what = format!("the view has {} rows, a snapshot has {rows_max} at most", meta.rows);
        return Err(Error::too_large(what).hint(
            "follow a view with fewer rows, read this one page by page (?limit=1000), or raise \
             query.rows_max",
        ));
    }
    Ok(Reading { snapshot, epoch: meta.epoch, after: None })
}
