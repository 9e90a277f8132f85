//! What every operator of a running job can do. Operators never wait and know neither threads
//! nor files: they are called, and their state leaves and enters as Arrow batches.

use arrow::array::RecordBatch;
use common::Result;

use crate::change::Change;

pub(crate) trait Operator: Send + Sync {
    /// Takes rows that came or went on input `port`; puts what follows at once into `out`.
    fn push(&mut self, port: usize, change: Change, out: &mut Vec<Change>) -> Result<()>;

    /// Evaluates what depends on each row alone, and changes nothing. Operators that keep no state
    /// put what they would give into `out`.
    fn probe(&self, _port: usize, _change: &Change, _out: &mut Vec<Change>) -> Result<()> {
        Ok(())
    }

    /// The epoch ends: what follows from all rows taken since the last one.
    fn flush(&mut self, _out: &mut Vec<Change>) -> Result<()> {
        Ok(())
    }

    /// State of windows that end at or before `watermark` is no longer needed.
    fn close(&mut self, _watermark: i64) -> Result<()> {
        Ok(())
    }

    /// State that changed since the last call, or all of it.
    fn delta(&mut self, _full: bool) -> Result<Option<RecordBatch>> {
        Ok(None)
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
