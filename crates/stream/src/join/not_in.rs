//! `NOT IN (SELECT …)`, with SQL's NULLs: over no rows it is true for every row; a NULL among them
//! makes it true for none; and a NULL beside any row is never outside of them.

use std::collections::HashMap;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use common::{Error, Result};

use crate::aggregate::{key_codec, key_columns};
use crate::change::Change;
use crate::group_index::GroupIndex;
use crate::multiset::Multiset;
use crate::operator::{Operator, Out, Size};
use crate::rows::{KeyCodec, RowCodec};
use crate::snapshot::{Entry, Reader, Writer, damaged};
use graph::error;
use graph::{Join, Key};

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// What decides beside the key itself.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Others {
    rows: i64,
    nulls: i64,
}

pub(crate) struct NotInOp {
    keys: [Vec<Key>; 2],
    codecs: [KeyCodec; 2],
    rows: RowCodec,
    schema: SchemaRef,
    index: GroupIndex,
    /// The group of the key NULL.
    null: u32,
    left: Multiset,
    /// How many rows each key has; the item is empty.
    right: Multiset,
    others: Others,
}

impl NotInOp {
    pub fn new(spec: &Join, left: &SchemaRef, schema: SchemaRef) -> Result<Self> {
        if spec.filter.is_some() || spec.left.len() != 1 {
            return Err(Error::unsupported("NOT IN with a subquery that depends on the row"));
        }
        let codecs = [key_codec(&spec.left)?, key_codec(&spec.right)?];
        let null = arrow::array::new_null_array(&spec.left[0].data_type, 1);
        let mut index = GroupIndex::new();
        let (null, _) = index.intern(codecs[LEFT].encode(&[null])?.row(0).data());
        Ok(Self {
            keys: [spec.left.clone(), spec.right.clone()],
            codecs,
            rows: RowCodec::new(left.fields().iter().map(|f| f.data_type().clone()))?,
            schema,
            index,
            null,
            left: Multiset::default(),
            right: Multiset::default(),
            others: Others::default(),
        })
    }

    fn intern(&mut self, side: usize, batch: &RecordBatch) -> Result<Vec<u32>> {
        let rows = self.codecs[side].encode(&key_columns(&self.keys[side], batch)?)?;
        let mut groups = vec![];
        self.index.intern_rows(&rows, &mut groups, &mut vec![]);
        self.grow();
        Ok(groups)
    }

    fn grow(&mut self) {
        self.left.grow(self.index.capacity());
        self.right.grow(self.index.capacity());
    }

    fn passes(&self, group: u32, same: i64, others: Others) -> bool {
        others.rows == 0 || (group != self.null && others.nulls == 0 && same == 0)
    }

    fn push_left(&mut self, change: &Change) -> Result<Option<Change>> {
        let groups = self.intern(LEFT, &change.batch)?;
        let rows = self.rows.encode_rows(&change.batch)?;
        let mut keep = Vec::with_capacity(groups.len());
        for (i, group) in groups.into_iter().enumerate() {
            self.left.add(group, rows.row(i).data(), change.weight(i));
            keep.push(self.passes(group, self.right.count(group, &[]), self.others));
        }
        let kept = change.filter(&keep.into())?;
        Ok((kept.batch.num_rows() > 0).then_some(kept))
    }

    fn push_right(&mut self, change: &Change) -> Result<Option<Change>> {
        let groups = self.intern(RIGHT, &change.batch)?;
        let old = self.others;
        let mut before: HashMap<u32, i64> = HashMap::new();
        for (i, group) in groups.into_iter().enumerate() {
            let weight = change.weight(i);
            let (same, _) = self.right.add(group, &[], weight);
            before.entry(group).or_insert(same);
            self.others.rows += weight;
            self.others.nulls += if group == self.null { weight } else { 0 };
        }
        let all = (old.rows == 0) != (self.others.rows == 0)
            || (old.nulls == 0) != (self.others.nulls == 0);
        let groups: Vec<u32> = match all {
            true => self.index.groups().collect(),
            false => before.keys().copied().collect(),
        };
        let (mut rows, mut weights): (Vec<&[u8]>, Vec<i8>) = (vec![], vec![]);
        for group in groups {
            let after = self.right.count(group, &[]);
            let had = self.passes(group, before.get(&group).copied().unwrap_or(after), old);
            let has = self.passes(group, after, self.others);
            if had == has {
                continue;
            }
            for (row, count) in self.left.items(group) {
                rows.extend(std::iter::repeat_n(row, count as usize));
                weights.resize(rows.len(), if has { 1 } else { -1 });
            }
        }
        self.output(rows, weights)
    }

    fn forget_if_empty(&mut self, group: u32) {
        let empty = self.left.items(group).next().is_none() && self.right.count(group, &[]) == 0;
        if empty && group != self.null && self.index.is_live(group) {
            self.index.remove(group);
        }
    }

    fn output(&self, rows: Vec<&[u8]>, weights: Vec<i8>) -> Result<Option<Change>> {
        if rows.is_empty() {
            return Ok(None);
        }
        let columns: Vec<ArrayRef> = self.rows.decode(rows.iter().copied())?;
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

    fn delta(&mut self, full: bool) -> Result<Option<RecordBatch>> {
        let mut writer = Writer::default();
        let index = &self.index;
        let mut touched = vec![];
        for (part, items) in [&mut self.left, &mut self.right].into_iter().enumerate() {
            items.drain(full, |group, item, count| {
                writer.item(index.key(group), part, item, count);
                touched.push(group);
            });
        }
        if full {
            // The emptied ones are not among what was saved.
            touched = self.index.groups().collect();
        }
        for group in touched {
            self.forget_if_empty(group);
        }
        writer.finish(full)
    }

    fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        for entry in Reader::new(batch)?.entries() {
            let Entry::Item { key, part, item, count } = entry else {
                return Err(damaged("NOT IN has no groups"));
            };
            let (group, _) = self.index.intern(key);
            self.grow();
            match part {
                LEFT => self.left.load(group, item, count),
                RIGHT => {
                    let more = count - self.right.count(group, &[]);
                    self.others.rows += more;
                    self.others.nulls += if group == self.null { more } else { 0 };
                    self.right.load(group, item, count);
                }
                _ => return Err(damaged("a join has two sides")),
            }
            self.forget_if_empty(group);
        }
        Ok(())
    }

    fn size(&self) -> Size {
        let bytes = self.index.bytes() + self.left.bytes() + self.right.bytes();
        Size { groups: self.index.len(), bytes }
    }
}
