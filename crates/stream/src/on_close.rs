//! `emit = 'on_close'`: rows wait, as they are now, until nothing can come for their window any
//! more. What is given then is final.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use common::{Error, Result};

use crate::change::Change;
use crate::group_index::NO_GROUP;
use crate::keyed_state::KeyedState;
use crate::keys::Keys;
use crate::multiset::Multiset;
use crate::operator::{Operator, Out, Size};
use crate::operators::{Place, Spec, Upkeep};
use crate::rows::RowCodec;
use crate::windows;
use graph::{Node, OnClose, error};

impl Spec for OnClose {
    fn title(&self, _node: &Node) -> String {
        format!("when {} closes", self.window.text)
    }

    fn upkeep(&self, _place: &Place) -> Upkeep {
        Upkeep::incremental("the rows of open windows", windows::BOUND)
    }

    fn create(&self, place: &Place) -> Result<Option<Box<dyn Operator>>> {
        let schema = place.node.schema.clone();
        Ok(Some(Box::new(OnCloseOp {
            window: Keys::new(std::slice::from_ref(&self.window))?,
            rows: RowCodec::new(schema.fields().iter().map(|f| f.data_type().clone()))?,
            schema,
            state: KeyedState::new(Multiset::default()),
        })))
    }
}

struct OnCloseOp {
    window: Keys,
    rows: RowCodec,
    schema: SchemaRef,
    /// The rows of each window.
    state: KeyedState<Multiset>,
}

impl Operator for OnCloseOp {
    fn push(&mut self, _port: usize, change: Change, _out: &mut Out) -> Result<()> {
        let mut groups = vec![];
        self.state.intern_some(&self.window, &change.batch, true, &mut groups)?;
        self.state.touch_all(&groups);
        let rows = self.rows.encode_rows(&change.batch)?;
        for (row, group) in groups.into_iter().enumerate().filter(|(_, g)| *g != NO_GROUP) {
            self.state.values.add(group, rows.row(row).data(), change.weight(row));
        }
        Ok(())
    }

    fn probe(&self, _port: usize, change: &Change, out: &mut Out) -> Result<()> {
        self.window.columns(&change.batch)?;
        out.push(change.clone());
        Ok(())
    }

    fn flush(&mut self, out: &mut Out) -> Result<()> {
        let Some(watermark) = out.watermark() else { return Ok(()) };
        let mut rows = vec![];
        for group in self.state.groups.ended(watermark) {
            for (row, count) in self.state.values.items(group) {
                if count < 0 {
                    return Err(Error::internal("a row was taken back that never came"));
                }
                rows.extend(std::iter::repeat_n(row, count as usize));
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let columns = self.rows.decode(rows.into_iter())?;
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(error::arrow)?;
        out.push(Change::insert(batch));
        Ok(())
    }

    fn close(&mut self, watermark: i64) {
        self.state.close(watermark);
    }

    fn delta(&mut self, full: bool) -> Result<Vec<RecordBatch>> {
        self.state.delta(full)
    }

    fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        self.state.restore(&self.window, batch)
    }

    fn size(&self) -> Size {
        self.state.size()
    }
}
