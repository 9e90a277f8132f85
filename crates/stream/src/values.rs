//! Rows that stand in the query: they come once, in the first epoch.

use arrow::array::RecordBatch;
use common::Result;
use graph::{Node, Values};

use crate::change::Change;
use crate::operator::{Operator, Out};
use crate::operators::{Place, Spec, Upkeep};
use crate::snapshot::Writer;

impl Spec for Values {
    fn title(&self, _node: &Node) -> String {
        match self.rows.num_rows() {
            1 => "one row of the query".into(),
            n => format!("{n} rows of the query"),
        }
    }

    fn upkeep(&self, _place: &Place) -> Upkeep {
        Upkeep::incremental("that they have come", "a few bytes")
    }

    fn create(&self, _place: &Place) -> Result<Option<Box<dyn Operator>>> {
        Ok(Some(Box::new(ValuesOp { rows: self.rows.clone(), came: false, saved: false })))
    }
}

struct ValuesOp {
    rows: RecordBatch,
    came: bool,
    /// It is saved that they came.
    saved: bool,
}

impl Operator for ValuesOp {
    fn push(&mut self, _port: usize, _change: Change, _out: &mut Out) -> Result<()> {
        Ok(())
    }

    fn flush(&mut self, out: &mut Out) -> Result<()> {
        if !std::mem::replace(&mut self.came, true) && self.rows.num_rows() > 0 {
            out.push(Change::insert(self.rows.clone()));
        }
        Ok(())
    }

    fn delta(&mut self, full: bool) -> Result<Vec<RecordBatch>> {
        let mut writer = Writer::default();
        if self.came && (full || !self.saved) {
            writer.group(&[], Some(&[]));
            self.saved = true;
        }
        writer.finish(full)
    }

    fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        self.came = batch.num_rows() > 0;
        self.saved = self.came;
        Ok(())
    }
}
