//! What every operator of a running job can do. Operators never wait and know neither threads
//! nor files: they are called, and their state leaves and enters as Arrow batches.

use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use common::{Error, Result};

use crate::change::Change;

/// An operator that has given so many rows of one push leaves the rest of it for later.
const ROWS_MAX: usize = 1 << 16;

/// Where an operator puts what it gives.
pub(crate) struct Out<'a> {
    changes: Vec<Change>,
    rows: usize,
    rest: Option<Change>,
    watermark: Option<i64>,
    hurry: &'a AtomicBool,
}

impl<'a> Out<'a> {
    pub fn new(hurry: &'a AtomicBool) -> Self {
        Self { changes: vec![], rows: 0, rest: None, watermark: None, hurry }
    }

    /// Of an epoch that ends at this watermark.
    pub fn at(self, watermark: Option<i64>) -> Self {
        Self { watermark, ..self }
    }

    /// At the end of an epoch, if all topics have one: no row comes for windows that ended by then.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    pub fn push(&mut self, change: Change) {
        self.rows += change.batch.num_rows();
        self.changes.push(change);
    }

    pub fn extend(&mut self, changes: impl IntoIterator<Item = Change>) {
        changes.into_iter().for_each(|c| self.push(c));
    }

    /// Whether so many more rows are enough for now.
    pub fn is_full(&self, more: usize) -> bool {
        self.rows + more >= ROWS_MAX
    }

    /// What was not taken yet comes again once the changes have been handed on.
    pub fn leave(&mut self, rest: Change) {
        self.rest = (rest.batch.num_rows() > 0).then_some(rest);
    }

    /// The changes, and what is to be pushed after them.
    pub fn take(&mut self) -> (Vec<Change>, Option<Change>) {
        self.rows = 0;
        (std::mem::take(&mut self.changes), self.rest.take())
    }

    /// To be asked wherever a push may take long.
    pub fn check(&self) -> Result<()> {
        match self.hurry.load(Ordering::Relaxed) {
            true => Err(Error::cancelled("the view is being stopped")),
            false => Ok(()),
        }
    }
}

pub(crate) trait Operator: Send + Sync {
    /// Takes rows that came or went on input `port`; puts what follows at once into `out`.
    fn push(&mut self, port: usize, change: Change, out: &mut Out) -> Result<()>;

    /// Evaluates what depends on each row alone, and changes nothing. Operators that keep no state
    /// put what they would give into `out`; those that add what depends on other rows put NULL
    /// there.
    fn probe(&self, _port: usize, _change: &Change, _out: &mut Out) -> Result<()> {
        Ok(())
    }

    /// The epoch ends: what follows from all rows taken since the last one.
    fn flush(&mut self, _out: &mut Out) -> Result<()> {
        Ok(())
    }

    /// State of windows that end at or before `watermark` is no longer needed.
    fn close(&mut self, _watermark: i64) {}

    /// State that changed since the last call, or all of it, in pieces to be taken up one after
    /// the other. All of it is at least one.
    fn delta(&mut self, _full: bool) -> Result<Vec<RecordBatch>> {
        Ok(vec![])
    }

    /// Takes up a batch that `delta` gave.
    fn restore(&mut self, _batch: &RecordBatch) -> Result<()> {
        Ok(())
    }

    fn size(&self) -> Size {
        Size::default()
    }
}

/// How much an operator keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub groups: usize,
    pub bytes: usize,
}
