//! The first rows of each partition: `ROW_NUMBER() … <= n` and `ORDER BY … LIMIT n`. Of rows that
//! only come no more than `n` are kept; if rows also go, all are, since any may move up.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::SchemaRef;
use common::Result;

use crate::calc::evaluate;
use crate::change::Change;
use crate::keyed::Keyed;
use crate::multiset::Multiset;
use crate::operator::{Operator, Out, Size};
use crate::rows::as_type;
use crate::snapshot::{Entry, Reader, Writer, bytes, damaged};
use crate::sorted_rows::SortedRows;
use graph::TopN;
use graph::error;

/// Up to so many rows a partition is saved as one; it is written whole when it changes.
const FEW: usize = 64;

enum Rows {
    /// The first rows of each partition, in order.
    Few(Vec<Vec<Box<[u8]>>>),
    All(Multiset),
}

pub(crate) struct TopNOp {
    spec: TopN,
    schema: SchemaRef,
    partitions: Keyed,
    codec: SortedRows,
    rows: Rows,
    /// The first rows that touched partitions had before.
    old: HashMap<u32, Vec<Box<[u8]>>, ahash::RandomState>,
    unsaved: Vec<u32>,
    removed: Vec<Box<[u8]>>,
    row_bytes: usize,
}

impl TopNOp {
    pub fn new(
        spec: &TopN,
        input: &SchemaRef,
        schema: SchemaRef,
        append_only: bool,
    ) -> Result<Self> {
        let few = append_only && spec.limit <= FEW;
        Ok(Self {
            partitions: Keyed::new(&spec.partition_by)?,
            codec: SortedRows::new(&spec.order_by, input)?,
            spec: spec.clone(),
            schema,
            rows: if few { Rows::Few(vec![]) } else { Rows::All(Multiset::default()) },
            old: HashMap::default(),
            unsaved: vec![],
            removed: vec![],
            row_bytes: 0,
        })
    }

    fn grow(&mut self) {
        let groups = self.partitions.index.capacity();
        match &mut self.rows {
            Rows::Few(tops) => tops.resize_with(groups.max(tops.len()), Vec::new),
            Rows::All(items) => items.grow(groups),
        }
    }

    /// The first rows of a partition, as they are now.
    fn first(&self, group: u32) -> Vec<Box<[u8]>> {
        match &self.rows {
            Rows::Few(tops) => tops[group as usize].clone(),
            Rows::All(items) => {
                let items = items.items(group);
                let each = items.flat_map(|(i, n)| std::iter::repeat_n(i, n.max(0) as usize));
                each.take(self.spec.limit).map(Box::from).collect()
            }
        }
    }

    /// Whether a row would stand among the first of its partition.
    fn matters(&self, group: u32, item: &[u8]) -> bool {
        match &self.rows {
            Rows::Few(tops) => {
                let top = &tops[group as usize];
                top.len() < self.spec.limit || top.last().is_some_and(|last| item < &**last)
            }
            Rows::All(_) => true,
        }
    }

    fn add(&mut self, group: u32, item: &[u8], weight: i64) {
        match &mut self.rows {
            Rows::All(items) => {
                items.add(group, item, weight);
            }
            Rows::Few(tops) => {
                let top = &mut tops[group as usize];
                let at = top.partition_point(|i| &**i <= item);
                top.insert(at, item.into());
                self.row_bytes += item.len() + 16;
                if top.len() > self.spec.limit {
                    self.row_bytes -= top.pop().map_or(0, |i| i.len() + 16);
                }
            }
        }
    }

    fn is_empty(&self, group: u32) -> bool {
        match &self.rows {
            Rows::Few(tops) => tops[group as usize].is_empty(),
            Rows::All(items) => items.items(group).next().is_none(),
        }
    }

    fn remove(&mut self, group: u32) {
        match &mut self.rows {
            Rows::Few(tops) => {
                let gone = std::mem::take(&mut tops[group as usize]);
                self.row_bytes -= gone.iter().map(|i| i.len() + 16).sum::<usize>();
            }
            Rows::All(items) => items.clear(group),
        }
        let key = self.partitions.remove(group);
        self.removed.push(key);
    }

    /// Rows with their numbers, which came (+1) or went (-1).
    fn output(&self, items: &[(&[u8], u64)], weights: Vec<i8>) -> Result<Change> {
        let mut columns = self.codec.decode(items.iter().map(|(item, _)| *item))?;
        let number = |n: u64| self.spec.numbered.then_some(n);
        let numbers: UInt64Array = items.iter().map(|(_, n)| number(*n)).collect();
        if columns.len() < self.schema.fields().len() {
            columns.push(Arc::new(numbers));
        }
        let columns = columns.iter().zip(self.schema.fields());
        let columns: Vec<ArrayRef> =
            columns.map(|(c, f)| as_type(c, f.data_type())).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(items.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(error::arrow)?;
        let only_inserts = weights.iter().all(|w| *w > 0);
        Ok(Change { batch, weights: (!only_inserts).then(|| Int8Array::from(weights)) })
    }

    fn save(&self, group: u32, writer: &mut Writer) {
        if let Rows::Few(tops) = &self.rows {
            let mut state = vec![];
            tops[group as usize].iter().for_each(|item| bytes::put_slice(&mut state, item));
            writer.group(self.partitions.index.key(group), Some(&state));
        }
    }
}

impl Operator for TopNOp {
    fn push(&mut self, _port: usize, change: Change, _out: &mut Out) -> Result<()> {
        let groups = self.partitions.intern_batch(&change.batch)?;
        self.grow();
        let order = self.spec.order_by.iter().map(|o| evaluate(&o.expr, &change.batch));
        let rows = self.codec.encode(order.collect::<Result<_>>()?, change.batch.columns())?;
        let mut item = vec![];
        for (row, group) in groups.into_iter().enumerate() {
            rows.item(row, &mut item);
            if !self.matters(group, &item) {
                continue;
            }
            if !self.old.contains_key(&group) {
                self.old.insert(group, self.first(group));
            }
            self.add(group, &item, change.weight(row));
        }
        Ok(())
    }

    fn probe(&self, _port: usize, change: &Change, out: &mut Out) -> Result<()> {
        self.partitions.probe(&change.batch)?;
        for by in &self.spec.order_by {
            evaluate(&by.expr, &change.batch)?;
        }
        out.push(change.beside_nulls(&self.schema)?);
        Ok(())
    }

    fn flush(&mut self, out: &mut Out) -> Result<()> {
        let old = std::mem::take(&mut self.old);
        let mut new: Vec<(u32, Vec<Box<[u8]>>)> =
            old.keys().map(|group| (*group, self.first(*group))).collect();
        new.sort_unstable_by_key(|(group, _)| *group);
        let (mut gone, mut come) = (vec![], vec![]);
        for (group, new) in &new {
            difference(&old[group], new, self.spec.numbered, &mut gone, &mut come);
        }
        let mut weights = vec![-1; gone.len()];
        weights.resize(gone.len() + come.len(), 1);
        gone.extend(come);
        if !gone.is_empty() {
            out.push(self.output(&gone, weights)?);
        }
        for (group, _) in new {
            if self.is_empty(group) {
                self.remove(group);
            } else {
                self.unsaved.push(group);
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
        let unsaved = std::mem::take(&mut self.unsaved);
        let index = &self.partitions.index;
        match &mut self.rows {
            Rows::Few(_) if full => index.groups().for_each(|g| self.save(g, &mut writer)),
            Rows::Few(_) => {
                let live = unsaved.into_iter().filter(|g| index.is_live(*g));
                live.for_each(|g| self.save(g, &mut writer));
            }
            Rows::All(items) => items.drain(full, |group, item, count| {
                writer.item(index.key(group), 0, item, count);
            }),
        }
        writer.finish(full)
    }

    fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        for entry in Reader::new(batch)?.entries() {
            let (key, state) = match entry {
                Entry::Group { key, state } => (key, state),
                Entry::Item { key, item, count, .. } => {
                    let group = self.partitions.intern_saved(key)?;
                    self.grow();
                    let Rows::All(items) = &mut self.rows else {
                        return Err(damaged("the first rows are saved in another way"));
                    };
                    items.load(group, item, count);
                    if self.is_empty(group) {
                        self.remove(group);
                    }
                    continue;
                }
            };
            if let Some(group) = self.partitions.index.find(key) {
                self.remove(group);
            }
            let Some(mut state) = state else { continue };
            let group = self.partitions.intern_saved(key)?;
            self.grow();
            while !state.is_empty() {
                let item = bytes::take_slice(&mut state)?;
                self.add(group, item, 1);
            }
        }
        self.removed.clear();
        Ok(())
    }

    fn size(&self) -> Size {
        let rows = match &self.rows {
            Rows::Few(tops) => tops.capacity() * size_of::<Vec<Box<[u8]>>>() + self.row_bytes,
            Rows::All(items) => items.bytes(),
        };
        Size { groups: self.partitions.index.len(), bytes: self.partitions.bytes() + rows }
    }
}

/// Rows of `old` that are not in `new`, and the other way round; also those whose number changed
/// if it counts. Both are in order.
fn difference<'a>(
    old: &'a [Box<[u8]>],
    new: &'a [Box<[u8]>],
    numbered: bool,
    gone: &mut Vec<(&'a [u8], u64)>,
    come: &mut Vec<(&'a [u8], u64)>,
) {
    let (mut i, mut j) = (0, 0);
    loop {
        let order = match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) => a.cmp(b),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return,
        };
        let moved = order.is_eq() && numbered && i != j;
        if order.is_lt() || moved {
            gone.push((&old[i], i as u64 + 1));
        }
        if order.is_gt() || moved {
            come.push((&new[j], j as u64 + 1));
        }
        i += usize::from(order.is_le());
        j += usize::from(order.is_ge());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_moved_count_only_with_their_number() {
        let rows = |r: &[u8]| r.iter().map(|b| Box::from([*b])).collect::<Vec<Box<[u8]>>>();
        let (old, new) = (rows(b"bcd"), rows(b"abd"));
        for (numbered, gone_wanted, come_wanted) in [
            (false, vec![(b'c', 2)], vec![(b'a', 1)]),
            (true, vec![(b'b', 1), (b'c', 2)], vec![(b'a', 1), (b'b', 2)]),
        ] {
            let (mut gone, mut come) = (vec![], vec![]);
            difference(&old, &new, numbered, &mut gone, &mut come);
            let plain =
                |v: Vec<(&[u8], u64)>| v.iter().map(|(b, n)| (b[0], *n)).collect::<Vec<_>>();
            assert_eq!((plain(gone), plain(come)), (gone_wanted, come_wanted));
        }
    }
}
