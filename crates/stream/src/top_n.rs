//! The first rows of each partition: `ROW_NUMBER() … <= n` and `ORDER BY … LIMIT n`. Of rows that
//! only come no more than `n` are kept; if rows also go, all are, since any may move up.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::SchemaRef;
use common::Result;

use crate::calc::evaluate;
use crate::change::Change;
use crate::keyed_state::{Group, GroupState, Groups, KeyedState, Saved};
use crate::keys::Keys;
use crate::multiset::Multiset;
use crate::operator::{Operator, Out, Size};
use crate::operators::{Place, Spec, Upkeep};
use crate::rows::as_type;
use crate::snapshot::{Writer, bytes, damaged};
use crate::sorted_rows::SortedRows;
use crate::windows::{self, closing_key};
use graph::{Node, TopN, error};

impl Spec for TopN {
    fn title(&self, _node: &Node) -> String {
        match self.skip {
            0 => format!("first {} by {}", self.limit, self.text),
            skip => format!("rows {} to {} by {}", skip + 1, self.last(), self.text),
        }
    }

    fn upkeep(&self, place: &Place) -> Upkeep {
        let append_only = place.reads_inserts_only();
        let state = match append_only {
            true => format!("the first {} rows of each partition", self.last()),
            false => "all rows of its input, by partition: any may move up".into(),
        };
        let closes = closing_key(&self.partition_by).is_some();
        let bound = match (closes, self.partition_by.is_empty(), append_only) {
            (true, _, _) => windows::BOUND,
            (false, true, true) => "so many rows",
            (false, false, true) => "grows with the number of partitions",
            (false, _, false) => "grows with the input",
        };
        Upkeep::incremental(state, bound)
    }

    fn create(&self, place: &Place) -> Result<Option<Box<dyn Operator>>> {
        let few = place.reads_inserts_only() && self.last() <= FEW;
        Ok(Some(Box::new(TopNOp {
            partition_by: Keys::new(&self.partition_by)?,
            codec: SortedRows::new(&self.order_by, &place.input(0)?.schema)?,
            schema: place.node.schema.clone(),
            state: KeyedState::new(TopRows::new(few, self.last())),
            old: HashMap::default(),
            spec: self.clone(),
        })))
    }
}

/// Up to so many rows a partition is saved as one; it is written whole when it changes.
const FEW: usize = 64;

/// Rows as bytes, in order.
type Items = Vec<Box<[u8]>>;

/// The rows of each partition that can stand among its first.
struct TopRows {
    limit: usize,
    rows: Rows,
}

enum Rows {
    /// The first of each partition, and the bytes of all of them.
    Few(Vec<Items>, usize),
    All(Multiset),
}

impl TopRows {
    fn new(few: bool, limit: usize) -> Self {
        let rows = if few { Rows::Few(vec![], 0) } else { Rows::All(Multiset::default()) };
        Self { limit, rows }
    }

    /// The first rows of a partition, as they are now.
    fn first(&self, group: u32) -> Items {
        match &self.rows {
            Rows::Few(tops, _) => tops[group as usize].clone(),
            Rows::All(items) => {
                let items = items.items(group);
                let each = items.flat_map(|(i, n)| std::iter::repeat_n(i, n.max(0) as usize));
                each.take(self.limit).map(Box::from).collect()
            }
        }
    }

    /// Whether a row would stand among the first of its partition.
    fn matters(&self, group: u32, item: &[u8]) -> bool {
        match &self.rows {
            Rows::Few(tops, _) => {
                let top = &tops[group as usize];
                top.len() < self.limit || top.last().is_some_and(|last| item < &**last)
            }
            Rows::All(_) => true,
        }
    }

    fn add(&mut self, group: u32, item: &[u8], weight: i64) {
        match &mut self.rows {
            Rows::All(items) => {
                items.add(group, item, weight);
            }
            Rows::Few(tops, bytes) => {
                let top = &mut tops[group as usize];
                let at = top.partition_point(|i| &**i <= item);
                top.insert(at, item.into());
                *bytes += item.len() + 16;
                if top.len() > self.limit {
                    *bytes -= top.pop().map_or(0, |i| i.len() + 16);
                }
            }
        }
    }
}

impl GroupState for TopRows {
    fn reset(&mut self, group: u32) {
        match &mut self.rows {
            Rows::All(items) => items.reset(group),
            Rows::Few(tops, bytes) => {
                let group = group as usize;
                tops.resize_with(tops.len().max(group + 1), Vec::new);
                let gone = std::mem::take(&mut tops[group]);
                *bytes -= gone.iter().map(|i| i.len() + 16).sum::<usize>();
            }
        }
    }

    fn save(&self, group: &Group, to: &mut Writer) {
        match &self.rows {
            Rows::All(items) => items.save(group, 0, to),
            Rows::Few(tops, _) => {
                let top = &tops[group.number as usize];
                let mut state = vec![];
                top.iter().for_each(|item| bytes::put_slice(&mut state, item));
                to.group(group.key, (!top.is_empty()).then_some(&state));
            }
        }
    }

    fn drain(&mut self, touched: &[u32], groups: &Groups, to: Option<&mut Writer>) {
        match (&mut self.rows, to) {
            (Rows::All(items), to) => items.drain_to(0, groups, to),
            (Rows::Few(..), None) => {}
            (Rows::Few(..), Some(to)) => {
                touched.iter().for_each(|group| self.save(&groups.get(*group), to));
            }
        }
    }

    fn load(&mut self, group: u32, saved: Saved) -> Result<()> {
        match (&mut self.rows, saved) {
            (Rows::All(items), Saved::Item { item, count, .. }) => {
                items.load(group, item, count);
            }
            (Rows::Few(..), Saved::State(mut state)) => {
                self.reset(group);
                while !state.is_empty() {
                    let item = bytes::take_slice(&mut state)?;
                    self.add(group, item, 1);
                }
            }
            _ => return Err(damaged("the first rows are saved in another way")),
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        match &self.rows {
            Rows::Few(tops, bytes) => tops.capacity() * size_of::<Items>() + bytes,
            Rows::All(items) => items.bytes(),
        }
    }

    fn is_empty(&self, group: u32) -> bool {
        match &self.rows {
            Rows::Few(tops, _) => tops[group as usize].is_empty(),
            Rows::All(items) => items.is_empty(group),
        }
    }
}

struct TopNOp {
    spec: TopN,
    schema: SchemaRef,
    partition_by: Keys,
    codec: SortedRows,
    state: KeyedState<TopRows>,
    /// The first rows that touched partitions had before.
    old: HashMap<u32, Items, ahash::RandomState>,
}

impl TopNOp {
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
}

impl Operator for TopNOp {
    fn push(&mut self, _port: usize, change: Change, _out: &mut Out) -> Result<()> {
        let mut groups = vec![];
        self.state.intern_batch(&self.partition_by, &change.batch, &mut groups)?;
        let order = self.spec.order_by.iter().map(|o| evaluate(&o.expr, &change.batch));
        let rows = self.codec.encode(order.collect::<Result<_>>()?, change.batch.columns())?;
        let mut item = vec![];
        for (row, group) in groups.into_iter().enumerate() {
            rows.item(row, &mut item);
            if !self.state.values.matters(group, &item) {
                continue;
            }
            if self.state.touch(group) {
                self.old.insert(group, self.state.values.first(group));
            }
            self.state.values.add(group, &item, change.weight(row));
        }
        Ok(())
    }

    fn probe(&self, _port: usize, change: &Change, out: &mut Out) -> Result<()> {
        self.partition_by.columns(&change.batch)?;
        for by in &self.spec.order_by {
            evaluate(&by.expr, &change.batch)?;
        }
        out.push(change.beside_nulls(&self.schema)?);
        Ok(())
    }

    fn flush(&mut self, out: &mut Out) -> Result<()> {
        let old = std::mem::take(&mut self.old);
        let mut touched = self.state.take_touched();
        touched.sort_unstable();
        let first = |group: &u32| self.state.values.first(*group);
        let new: Vec<Items> = touched.iter().map(first).collect();
        let (mut gone, mut come, skip) = (vec![], vec![], self.spec.skip);
        for (group, new) in touched.iter().zip(&new) {
            let (old, new) = (after(&old[group], skip), after(new, skip));
            difference(old, new, self.spec.numbered, &mut gone, &mut come);
        }
        let mut weights = vec![-1; gone.len()];
        weights.resize(gone.len() + come.len(), 1);
        gone.extend(come);
        if !gone.is_empty() {
            out.push(self.output(&gone, weights)?);
        }
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

/// All but the first rows.
fn after(items: &[Box<[u8]>], skip: usize) -> &[Box<[u8]>] {
    items.get(skip..).unwrap_or_default()
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
