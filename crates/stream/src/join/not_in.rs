//! `NOT IN (SELECT …)`, with SQL's NULLs: over no rows it is true for every row; a NULL among them
//! makes it true for none; and a NULL beside any row is never outside of them.

use std::collections::HashMap;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use common::{Error, Result};

use crate::change::Change;
use crate::keyed_state::{Group, GroupState, Groups, KeyedState, Saved};
use crate::keys::Keys;
use crate::multiset::Multiset;
use crate::operator::{Operator, Out, Size};
use crate::rows::RowCodec;
use crate::snapshot::{Writer, damaged};
use graph::{Join, error};

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// What decides beside the key itself.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Others {
    rows: i64,
    nulls: i64,
}

/// The rows of the left side, and how many rows of the right side each key has.
#[derive(Default)]
struct Rows {
    /// The group of the key NULL, which is always there.
    null: u32,
    left: Multiset,
    /// The item is empty.
    right: Multiset,
    others: Others,
}

impl GroupState for Rows {
    fn reset(&mut self, group: u32) {
        self.left.reset(group);
        self.right.reset(group);
    }

    fn save(&self, group: &Group, to: &mut Writer) {
        self.left.save(group, LEFT, to);
        self.right.save(group, RIGHT, to);
    }

    fn drain(&mut self, _touched: &[u32], groups: &Groups, mut to: Option<&mut Writer>) {
        self.left.drain_to(LEFT, groups, to.as_deref_mut());
        self.right.drain_to(RIGHT, groups, to);
    }

    fn load(&mut self, group: u32, saved: Saved) -> Result<()> {
        match saved {
            Saved::Item { part: LEFT, item, count } => self.left.load(group, item, count),
            Saved::Item { part: RIGHT, item, count } => {
                let more = count - self.right.count(group, &[]);
                self.others.rows += more;
                self.others.nulls += if group == self.null { more } else { 0 };
                self.right.load(group, item, count);
            }
            _ => return Err(damaged("NOT IN keeps the rows of two sides")),
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.left.bytes() + self.right.bytes()
    }

    fn is_empty(&self, group: u32) -> bool {
        group != self.null && self.left.is_empty(group) && self.right.is_empty(group)
    }
}

pub(super) struct NotInOp {
    keys: [Keys; 2],
    codec: RowCodec,
    schema: SchemaRef,
    state: KeyedState<Rows>,
}

impl NotInOp {
    pub fn new(spec: &Join, left: &SchemaRef, schema: SchemaRef) -> Result<Self> {
        if spec.filter.is_some() || spec.left.len() != 1 {
            return Err(Error::unsupported("NOT IN with a subquery that depends on the row"));
        }
        let mut keys = [Keys::new(&spec.left)?, Keys::new(&spec.right)?];
        // A key may not go as long as rows of the other side can come.
        keys.iter_mut().for_each(Keys::never_close);
        let null = arrow::array::new_null_array(&spec.left[0].data_type, 1);
        let mut state = KeyedState::new(Rows::default());
        (state.values.null, _) = state.intern(keys[LEFT].encode(&[null])?.row(0).data());
        let codec = RowCodec::new(left.fields().iter().map(|f| f.data_type().clone()))?;
        Ok(Self { keys, codec, schema, state })
    }

    fn intern(&mut self, side: usize, batch: &RecordBatch) -> Result<Vec<u32>> {
        let mut groups = vec![];
        self.state.intern_batch(&self.keys[side], batch, &mut groups)?;
        self.state.touch_all(&groups);
        Ok(groups)
    }

    fn passes(&self, group: u32, same: i64, others: Others) -> bool {
        others.rows == 0 || (group != self.state.values.null && others.nulls == 0 && same == 0)
    }

    fn push_left(&mut self, change: &Change) -> Result<Option<Change>> {
        let groups = self.intern(LEFT, &change.batch)?;
        let rows = self.codec.encode_rows(&change.batch)?;
        let others = self.state.values.others;
        let mut keep = Vec::with_capacity(groups.len());
        for (i, group) in groups.into_iter().enumerate() {
            self.state.values.left.add(group, rows.row(i).data(), change.weight(i));
            keep.push(self.passes(group, self.state.values.right.count(group, &[]), others));
        }
        let kept = change.filter(&keep.into())?;
        Ok((kept.batch.num_rows() > 0).then_some(kept))
    }

    fn push_right(&mut self, change: &Change) -> Result<Option<Change>> {
        let groups = self.intern(RIGHT, &change.batch)?;
        let values = &mut self.state.values;
        let old = values.others;
        let mut before: HashMap<u32, i64> = HashMap::new();
        for (i, group) in groups.into_iter().enumerate() {
            let weight = change.weight(i);
            let (same, _) = values.right.add(group, &[], weight);
            before.entry(group).or_insert(same);
            values.others.rows += weight;
            values.others.nulls += if group == values.null { weight } else { 0 };
        }
        let values = &self.state.values;
        let others = values.others;
        let all = (old.rows == 0) != (others.rows == 0) || (old.nulls == 0) != (others.nulls == 0);
        let groups: Vec<u32> = match all {
            true => self.state.groups.numbers().collect(),
            false => before.keys().copied().collect(),
        };
        let (mut rows, mut weights): (Vec<&[u8]>, Vec<i8>) = (vec![], vec![]);
        for group in groups {
            let after = values.right.count(group, &[]);
            let had = self.passes(group, before.get(&group).copied().unwrap_or(after), old);
            let has = self.passes(group, after, others);
            if had == has {
                continue;
            }
            for (row, count) in values.left.items(group) {
                rows.extend(std::iter::repeat_n(row, count as usize));
                weights.resize(rows.len(), if has { 1 } else { -1 });
            }
        }
        self.output(rows, weights)
    }

    fn output(&self, rows: Vec<&[u8]>, weights: Vec<i8>) -> Result<Option<Change>> {
        if rows.is_empty() {
            return Ok(None);
        }
        let columns: Vec<ArrayRef> = self.codec.decode(rows.iter().copied())?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(error::arrow)?;
        Ok(Some(Change { batch, weights: Some(Int8Array::from(weights)) }))
    }
}

impl Operator for NotInOp {
    fn push(&mut self, port: usize, change: Change, out: &mut Out) -> Result<()> {
        out.extend(match port {
            LEFT => self.push_left(&change)?,
            _ => self.push_right(&change)?,
        });
        Ok(())
    }

    fn delta(&mut self, full: bool) -> Result<Vec<RecordBatch>> {
        self.state.delta(full)
    }

    fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        self.state.restore(&self.keys[LEFT], batch)
    }

    fn size(&self) -> Size {
        self.state.size()
    }
}
