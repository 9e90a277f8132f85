//! Functions with `OVER`: the rows of each partition are kept in their order. At the end of an
//! epoch the partitions that changed are computed anew by the functions that batch runs, and the
//! rows that differ from before go on.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat;
use arrow::datatypes::SchemaRef;
use common::{Error, Result};

use crate::calc::evaluate;
use crate::change::{Change, consolidate};
use crate::keyed_state::KeyedState;
use crate::keys::Keys;
use crate::multiset::Multiset;
use crate::operator::{Operator, Out, Size};
use crate::operators::{Place, Spec, Upkeep};
use crate::rows::{RowCodec, as_type};
use crate::sorted_rows::SortedRows;
use crate::windows::{self, closing_key};
use graph::{Node, Over, error};

impl Spec for Over {
    fn title(&self, _node: &Node) -> String {
        self.calls.iter().map(|c| c.text.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn upkeep(&self, _place: &Place) -> Upkeep {
        let bound = match (closing_key(&self.partition_by), self.partition_by.is_empty()) {
            (Some(_), _) => windows::BOUND,
            (None, true) => "grows with the input, and so does the work for each epoch",
            (None, false) => {
                "grows with the input; the work for an epoch with the partitions it touches"
            }
        };
        let kept = match self.partition_by.is_empty() {
            true => "computed anew for all rows in each epoch",
            false => "computed anew for each partition that changed",
        };
        let state = "all rows of its input, by partition".into();
        Upkeep { kept: kept.into(), state, bound: bound.into() }
    }

    fn create(&self, place: &Place) -> Result<Option<Box<dyn Operator>>> {
        let schema = place.node.schema.clone();
        Ok(Some(Box::new(OverOp::new(self, &place.input(0)?.schema, schema)?)))
    }
}

struct OverOp {
    spec: Over,
    input: SchemaRef,
    schema: SchemaRef,
    partition_by: Keys,
    rows: SortedRows,
    /// The rows of each partition, in their order.
    state: KeyedState<Multiset>,
    /// The rows that touched partitions had before.
    old: Vec<RecordBatch>,
}

impl OverOp {
    fn new(spec: &Over, input: &SchemaRef, schema: SchemaRef) -> Result<Self> {
        // Results are compared, so they have to fit into state.
        RowCodec::new(schema.fields().iter().map(|f| f.data_type().clone()))?;
        Ok(Self {
            partition_by: Keys::new(&spec.partition_by)?,
            rows: SortedRows::new(&spec.order_by, input)?,
            spec: spec.clone(),
            input: input.clone(),
            schema,
            state: KeyedState::new(Multiset::default()),
            old: vec![],
        })
    }

    /// Marks partitions as touched, and keeps the rows they had until now.
    fn touch(&mut self, groups: &[u32]) -> Result<()> {
        let first = self.state.touch_all(groups).to_vec();
        let old = self.read(&first)?;
        if old.num_rows() > 0 {
            self.old.push(old);
        }
        Ok(())
    }

    /// The output rows of these partitions.
    fn read(&self, groups: &[u32]) -> Result<RecordBatch> {
        let (mut rows, mut lengths) = (vec![], vec![]);
        for group in groups {
            let before = rows.len();
            for (item, count) in self.state.values.items(*group) {
                if count < 0 {
                    return Err(Error::internal("a row was taken back that never came"));
                }
                rows.extend(std::iter::repeat_n(item, count as usize));
            }
            if rows.len() > before {
                lengths.push(rows.len() - before);
            }
        }
        if rows.is_empty() {
            return Ok(RecordBatch::new_empty(self.schema.clone()));
        }
        let columns = self.rows.decode(rows.iter().copied())?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let input = RecordBatch::try_new_with_options(self.input.clone(), columns, &options)
            .map_err(error::arrow)?;
        let mut columns = input.columns().to_vec();
        for call in &self.spec.calls {
            let (mut at, mut parts) = (0, Vec::with_capacity(lengths.len()));
            for length in &lengths {
                let partition = input.slice(at, *length);
                parts.push(call.function.evaluate(&partition).map_err(error::datafusion)?);
                at += length;
            }
            let parts: Vec<_> = parts.iter().map(|p| p.as_ref()).collect();
            columns.push(concat(&parts).map_err(error::arrow)?);
        }
        let columns = columns.iter().zip(self.schema.fields());
        let columns: Vec<ArrayRef> =
            columns.map(|(c, f)| as_type(c, f.data_type())).collect::<Result<_>>()?;
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(error::arrow)
    }
}

impl Operator for OverOp {
    fn push(&mut self, _port: usize, change: Change, _out: &mut Out) -> Result<()> {
        let mut groups = vec![];
        self.state.intern_batch(&self.partition_by, &change.batch, &mut groups)?;
        self.touch(&groups)?;
        let order = self.spec.order_by.iter().map(|o| evaluate(&o.expr, &change.batch));
        let rows = self.rows.encode(order.collect::<Result<Vec<_>>>()?, change.batch.columns())?;
        let mut item = vec![];
        for (row, group) in groups.into_iter().enumerate() {
            rows.item(row, &mut item);
            self.state.values.add(group, &item, change.weight(row));
        }
        Ok(())
    }

    fn probe(&self, _port: usize, change: &Change, out: &mut Out) -> Result<()> {
        self.partition_by.columns(&change.batch)?;
        for by in &self.spec.order_by {
            evaluate(&by.expr, &change.batch)?;
        }
        for expr in self.spec.calls.iter().flat_map(|c| c.function.expressions()) {
            evaluate(&expr, &change.batch)?;
        }
        out.push(change.beside_nulls(&self.schema)?);
        Ok(())
    }

    fn flush(&mut self, out: &mut Out) -> Result<()> {
        let touched = self.state.take_touched();
        if touched.is_empty() {
            return Ok(());
        }
        let new = self.read(&touched)?;
        let mut changes: Vec<Change> =
            std::mem::take(&mut self.old).into_iter().map(Change::delete).collect();
        changes.push(Change::insert(new));
        out.extend(consolidate(&self.schema, changes)?);
        Ok(())
    }

    fn close(&mut self, watermark: i64) {
        self.state.close(watermark);
    }

    fn delta(&mut self, full: bool) -> Result<Vec<RecordBatch>> {
        self.state.delta(full)
    }

    fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        self.state.restore(&self.partition_by, batch)
    }

    fn size(&self) -> Size {
        self.state.size()
    }
}
