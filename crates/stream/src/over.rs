//! Functions with `OVER`: the rows of each partition are kept in their order. At the end of an
//! epoch the partitions that changed are computed anew by the functions that batch runs, and the
//! rows that differ from before go on.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat;
use arrow::datatypes::SchemaRef;
use common::{Error, Result};

use crate::calc::evaluate;
use crate::change::{Change, consolidate};
use crate::keyed::Keyed;
use crate::multiset::Multiset;
use crate::operator::{Operator, Out, Size};
use crate::rows::{RowCodec, as_type};
use crate::snapshot::{Entry, Reader, Writer};
use crate::sorted_rows::SortedRows;
use graph::Over;
use graph::error;

pub(crate) struct OverOp {
    spec: Over,
    input: SchemaRef,
    schema: SchemaRef,
    partitions: Keyed,
    rows: SortedRows,
    items: Multiset,
    dirty: Vec<bool>,
    touched: Vec<u32>,
    /// The rows that touched partitions had before.
    old: Vec<RecordBatch>,
    removed: Vec<Box<[u8]>>,
}

impl OverOp {
    pub fn new(spec: &Over, input: &SchemaRef, schema: SchemaRef) -> Result<Self> {
        // Results are compared, so they have to fit into state.
        RowCodec::new(schema.fields().iter().map(|f| f.data_type().clone()))?;
        Ok(Self {
            partitions: Keyed::new(&spec.partition_by)?,
            rows: SortedRows::new(&spec.order_by, input)?,
            spec: spec.clone(),
            input: input.clone(),
            schema,
            items: Multiset::default(),
            dirty: vec![],
            touched: vec![],
            old: vec![],
            removed: vec![],
        })
    }

    /// Marks partitions as touched, and keeps the rows they had until now.
    fn touch(&mut self, groups: &[u32]) -> Result<()> {
        self.items.grow(self.partitions.index.capacity());
        self.dirty.resize(self.partitions.index.capacity(), false);
        let mut first = vec![];
        for group in groups {
            if !std::mem::replace(&mut self.dirty[*group as usize], true) {
                first.push(*group);
            }
        }
        let old = self.read(&first)?;
        if old.num_rows() > 0 {
            self.old.push(old);
        }
        self.touched.extend(first);
        Ok(())
    }

    /// The output rows of these partitions.
    fn read(&self, groups: &[u32]) -> Result<RecordBatch> {
        let (mut rows, mut lengths) = (vec![], vec![]);
        for group in groups {
            let before = rows.len();
            for (item, count) in self.items.items(*group) {
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

    fn remove(&mut self, group: u32) {
        self.items.clear(group);
        let key = self.partitions.remove(group);
        self.removed.push(key);
    }

    fn is_empty(&self, group: u32) -> bool {
        self.items.items(group).next().is_none()
    }
}

impl Operator for OverOp {
    fn push(&mut self, _port: usize, change: Change, _out: &mut Out) -> Result<()> {
        let groups = self.partitions.intern_batch(&change.batch)?;
        self.touch(&groups)?;
        let order = self.spec.order_by.iter().map(|o| evaluate(&o.expr, &change.batch));
        let rows = self.rows.encode(order.collect::<Result<Vec<_>>>()?, change.batch.columns())?;
        let mut item = vec![];
        for (row, group) in groups.into_iter().enumerate() {
            rows.item(row, &mut item);
            self.items.add(group, &item, change.weight(row));
        }
        Ok(())
    }

    fn probe(&self, _port: usize, change: &Change, out: &mut Out) -> Result<()> {
        self.partitions.probe(&change.batch)?;
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
        let touched = std::mem::take(&mut self.touched);
        if touched.is_empty() {
            return Ok(());
        }
        let new = self.read(&touched)?;
        let mut changes: Vec<Change> =
            std::mem::take(&mut self.old).into_iter().map(Change::delete).collect();
        changes.push(Change::insert(new));
        out.extend(consolidate(&self.schema, changes)?);
        for group in touched {
            self.dirty[group as usize] = false;
            if self.is_empty(group) {
                self.remove(group);
            }
        }
        Ok(())
    }

    fn close(&mut self, watermark: i64) -> Result<()> {
        while let Some(group) = self.partitions.ended(watermark) {
            self.remove(group);
        }
        Ok(())
    }

    fn delta(&mut self, full: bool) -> Result<Option<RecordBatch>> {
        let mut writer = Writer::default();
        for key in std::mem::take(&mut self.removed) {
            if !full {
                writer.group(&key, None);
            }
        }
        let index = &self.partitions.index;
        self.items.drain(full, |group, item, count| {
            writer.item(index.key(group), 0, item, count);
        });
        writer.finish(full)
    }

    fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        for entry in Reader::new(batch)?.entries() {
            match entry {
                Entry::Item { key, item, count, .. } => {
                    let group = self.partitions.intern_saved(key)?;
                    self.items.load(group, item, count);
                    if count == 0 && self.is_empty(group) {
                        self.remove(group);
                    }
                }
                Entry::Group { key, .. } => {
                    if let Some(group) = self.partitions.index.find(key) {
                        self.remove(group);
                    }
                }
            }
        }
        self.items.grow(self.partitions.index.capacity());
        self.dirty.resize(self.partitions.index.capacity(), false);
        self.removed.clear();
        Ok(())
    }

    fn size(&self) -> Size {
        let dirty = self.dirty.capacity();
        let bytes = self.partitions.bytes() + self.items.bytes() + dirty;
        Size { groups: self.partitions.index.len(), bytes }
    }
}
