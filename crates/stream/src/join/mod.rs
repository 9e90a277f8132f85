//! Equi-joins, kept up to date: both sides are multisets of rows by key. A row that comes or
//! goes meets the rows of the other side; outer joins also give or take the row padded with
//! NULLs when a key gets its first match or loses its last. Results are always current, so a
//! window that closes has nothing to add: its rows only leave the state.

mod filtered;
mod not_in;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int8Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use common::{Error, Result};
use datafusion_common::JoinType;

pub(crate) use not_in::NotInOp;

use crate::aggregate::{WindowEnds, closing_key, key_codec, key_columns};
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

/// Parts of a saved state: the rows of each side, then their numbers of matches.
const DEGREES: usize = 2;

/// What a join gives, taken apart.
#[derive(Clone, Copy)]
struct Shape {
    /// Pairs of matching rows.
    pairs: bool,
    /// Rows without a match, by side.
    lonely: [bool; 2],
    /// Each row with a match, once, by side.
    matched: [bool; 2],
    /// Instead of columns of the right side one that says whether there is a match.
    mark: bool,
}

impl Shape {
    fn of(kind: JoinType) -> Result<Self> {
        let shape = |pairs, lonely, matched| Ok(Self { pairs, lonely, matched, mark: false });
        let none = [false, false];
        let left = [true, false];
        match kind {
            JoinType::Inner => shape(true, none, none),
            JoinType::Left => shape(true, [true, false], none),
            JoinType::Right => shape(true, [false, true], none),
            JoinType::Full => shape(true, [true, true], none),
            JoinType::LeftSemi => shape(false, none, [true, false]),
            JoinType::RightSemi => shape(false, none, [false, true]),
            JoinType::LeftAnti => shape(false, [true, false], none),
            JoinType::RightAnti => shape(false, [false, true], none),
            JoinType::LeftMark => {
                Ok(Self { pairs: false, lonely: left, matched: left, mark: true })
            }
            other => Err(Error::unsupported(format!("a {other} join in a stream"))),
        }
    }

    /// Whether it matters how many matches a row of a side has.
    fn counts(self, side: usize) -> bool {
        self.lonely[side] || self.matched[side]
    }

    /// Whether the columns of each side are in the output.
    fn sides(self) -> [bool; 2] {
        match self.pairs || self.mark {
            true => [true, true],
            false => [LEFT, RIGHT].map(|s| self.counts(s)),
        }
    }
}

struct Side {
    keys: Vec<Key>,
    codec: KeyCodec,
    rows: RowCodec,
    /// What stands in the place of this side beside a row without a match, and beside one that
    /// has some but is given once.
    alone: Box<[u8]>,
    once: Box<[u8]>,
    items: Multiset,
    /// How many matches each row has, if a further condition decides and it matters.
    degrees: Multiset,
    /// Rows of each key.
    totals: Vec<i64>,
}

impl Side {
    fn new(keys: &[Key], schema: &SchemaRef) -> Result<Self> {
        let rows = RowCodec::new(schema.fields().iter().map(|f| f.data_type().clone()))?;
        let null = rows.null_row()?;
        Ok(Self {
            keys: keys.to_vec(),
            codec: key_codec(keys)?,
            alone: null.clone(),
            once: null,
            rows,
            items: Multiset::default(),
            degrees: Multiset::default(),
            totals: vec![],
        })
    }

    fn grow(&mut self, groups: usize) {
        self.items.grow(groups);
        self.degrees.grow(groups);
        self.totals.resize(groups.max(self.totals.len()), 0);
    }
}

/// Output rows in the making, as bytes.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    /// For each row where its left part starts, where its right part does, and where that ends.
    parts: Vec<[usize; 3]>,
    weights: Vec<i8>,
}

impl Output {
    fn push(&mut self, left: &[u8], right: &[u8], weight: i64) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(left);
        self.bytes.extend_from_slice(right);
        for _ in 0..weight.unsigned_abs() {
            self.parts.push([start, start + left.len(), self.bytes.len()]);
            self.weights.push(weight.signum() as i8);
        }
    }

    /// Puts the parts in order whichever side speaks.
    fn pair(&mut self, me: usize, mine: &[u8], other: &[u8], weight: i64) {
        match me {
            LEFT => self.push(mine, other, weight),
            _ => self.push(other, mine, weight),
        }
    }
}

pub(crate) struct JoinOp {
    shape: Shape,
    spec: Join,
    schema: SchemaRef,
    /// The columns of both sides, which the condition reads.
    pairs: SchemaRef,
    /// Of the output's columns that stand for the right side.
    mark: Option<RowCodec>,
    sides: [Side; 2],
    index: GroupIndex,
    /// (window end, key) of keys that can close, and the end of each.
    closing: BTreeSet<(i64, u32)>,
    ends: Vec<i64>,
    removed: Vec<Box<[u8]>>,
}

impl JoinOp {
    pub fn new(spec: &Join, inputs: [&SchemaRef; 2], schema: SchemaRef) -> Result<Self> {
        let mut sides = [Side::new(&spec.left, inputs[0])?, Side::new(&spec.right, inputs[1])?];
        let shape = Shape::of(spec.kind)?;
        let mark = shape.mark.then(|| RowCodec::new([DataType::Boolean])).transpose()?;
        if let Some(codec) = &mark {
            let marks: ArrayRef = Arc::new(BooleanArray::from(vec![false, true]));
            let marks = codec.encode(&[marks])?;
            (sides[RIGHT].alone, sides[RIGHT].once) =
                (marks.row(0).data().into(), marks.row(1).data().into());
        }
        let fields = inputs.iter().flat_map(|i| i.fields().iter().cloned());
        Ok(Self {
            shape,
            sides,
            pairs: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            mark,
            spec: spec.clone(),
            schema,
            index: GroupIndex::new(),
            closing: BTreeSet::new(),
            ends: vec![],
            removed: vec![],
        })
    }

    /// State closes only if the window is a key of both sides.
    fn closes(&self) -> bool {
        closing_key(&self.sides[LEFT].keys).is_some()
            && closing_key(&self.sides[RIGHT].keys).is_some()
    }

    fn intern_key(&mut self, key: &[u8]) -> (u32, bool) {
        let (group, new) = self.index.intern(key);
        let groups = self.index.capacity();
        self.sides.iter_mut().for_each(|s| s.grow(groups));
        self.ends.resize(groups, i64::MIN);
        (group, new)
    }

    /// The key number of each row; none where a NULL can't match.
    fn intern_batch(&mut self, side: usize, batch: &RecordBatch) -> Result<Vec<Option<u32>>> {
        if self.spec.left.is_empty() {
            return Ok(vec![Some(self.intern_key(&[]).0); batch.num_rows()]);
        }
        let keys = key_columns(&self.sides[side].keys, batch)?;
        let nulls: Vec<_> = match self.spec.null_equals_null {
            true => vec![],
            false => keys.iter().filter_map(|k| k.logical_nulls()).collect(),
        };
        let rows = self.sides[side].codec.encode(&keys)?;
        let ends = match closing_key(&self.sides[side].keys) {
            Some((at, window)) if self.closes() => Some(WindowEnds::of(&keys[at], window)?),
            _ => None,
        };
        let mut groups = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            if nulls.iter().any(|n| n.is_null(row)) {
                groups.push(None);
                continue;
            }
            let (group, new) = self.intern_key(rows.row(row).data());
            if let (true, Some(end)) = (new, ends.as_ref().and_then(|e| e.get(row))) {
                self.ends[group as usize] = end;
                self.closing.insert((end, group));
            }
            groups.push(Some(group));
        }
        Ok(groups)
    }

    fn row(&mut self, me: usize, group: Option<u32>, row: &[u8], weight: i64, out: &mut Output) {
        let other = 1 - me;
        let Some(group) = group else {
            if self.shape.lonely[me] {
                out.pair(me, row, &self.sides[other].alone, weight);
            }
            return;
        };
        let has_match = self.sides[other].totals[group as usize] > 0;
        if self.shape.pairs {
            for (theirs, count) in self.sides[other].items.items(group) {
                out.pair(me, row, theirs, weight * count);
            }
        }
        self.single(me, row, weight, has_match, out);
        let total = &mut self.sides[me].totals[group as usize];
        let had = *total > 0;
        *total += weight;
        let has = *total > 0;
        self.sides[me].items.add(group, row, weight);
        if had != has {
            // The other side's rows have got their first match, or lost their last.
            for (theirs, count) in self.sides[other].items.items(group) {
                self.single(other, theirs, -count, had, out);
                self.single(other, theirs, count, has, out);
            }
        }
    }

    /// What is given of a row beside its pairs.
    fn single(&self, me: usize, row: &[u8], weight: i64, has_match: bool, out: &mut Output) {
        let other = &self.sides[1 - me];
        if self.shape.lonely[me] && !has_match {
            out.pair(me, row, &other.alone, weight);
        }
        if self.shape.matched[me] && has_match {
            out.pair(me, row, &other.once, weight);
        }
    }

    fn finish(&self, output: Output) -> Result<Option<Change>> {
        let n = output.weights.len();
        if n == 0 {
            return Ok(None);
        }
        let [left, right] = self.shape.sides();
        let mut columns: Vec<ArrayRef> = vec![];
        if left {
            let rows = output.parts.iter().map(|[start, mid, _]| &output.bytes[*start..*mid]);
            columns.extend(self.sides[LEFT].rows.decode(rows)?);
        }
        if right {
            let rows = output.parts.iter().map(|[_, mid, end]| &output.bytes[*mid..*end]);
            let codec = self.mark.as_ref().unwrap_or(&self.sides[RIGHT].rows);
            columns.extend(codec.decode(rows)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(n));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(error::arrow)?;
        let only_inserts = output.weights.iter().all(|w| *w > 0);
        let weights = (!only_inserts).then(|| Int8Array::from(output.weights));
        Ok(Some(Change { batch, weights }))
    }

    fn is_empty(&self, group: u32) -> bool {
        self.sides.iter().all(|s| s.items.items(group).next().is_none())
    }

    fn remove(&mut self, group: u32) {
        let end = self.ends[group as usize];
        self.closing.remove(&(end, group));
        for side in &mut self.sides {
            side.items.clear(group);
            side.degrees.clear(group);
            side.totals[group as usize] = 0;
        }
        let key = self.index.remove(group);
        self.removed.push(key);
    }
}

impl Operator for JoinOp {
    fn push(&mut self, port: usize, change: Change, out: &mut Out) -> Result<()> {
        let groups = self.intern_batch(port, &change.batch)?;
        let rows = self.sides[port].rows.encode_rows(&change.batch)?;
        if let Some(filter) = self.spec.filter.clone() {
            return self.push_filtered(&filter, port, &groups, &rows, &change, out);
        }
        let mut output = Output::default();
        for (i, group) in groups.into_iter().enumerate() {
            self.row(port, group, rows.row(i).data(), change.weight(i), &mut output);
            if out.is_full(output.weights.len()) {
                out.leave(change.slice(i + 1, change.batch.num_rows() - i - 1));
                break;
            }
        }
        out.extend(self.finish(output)?);
        Ok(())
    }

    fn probe(&self, port: usize, change: &Change, _out: &mut Out) -> Result<()> {
        key_columns(&self.sides[port].keys, &change.batch).map(|_| ())
    }

    fn close(&mut self, watermark: i64) -> Result<()> {
        while let Some((end, group)) = self.closing.first().copied() {
            if end > watermark {
                break;
            }
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
        let mut empty = BTreeSet::new();
        for (part, side) in self.sides.iter_mut().enumerate() {
            let (index, totals) = (&self.index, &side.totals);
            side.items.drain(full, |group, item, count| {
                writer.item(index.key(group), part, item, count);
                if totals[group as usize] == 0 {
                    empty.insert(group);
                }
            });
        }
        // After the rows, which say what groups there are.
        for (part, side) in self.sides.iter_mut().enumerate() {
            let index = &self.index;
            side.degrees.drain(full, |group, item, count| {
                writer.item(index.key(group), DEGREES + part, item, count);
            });
        }
        if full {
            empty.extend(self.index.groups());
        }
        for group in empty {
            if self.is_empty(group) {
                self.remove(group);
            }
        }
        // What was saved already says that these have no rows.
        self.removed.clear();
        writer.finish(full)
    }

    fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        let closing = closing_key(&self.sides[LEFT].keys).filter(|_| self.closes());
        for entry in Reader::new(batch)?.entries() {
            let (key, part, item, count) = match entry {
                Entry::Item { key, part, item, count } if part < 2 => (key, part, item, count),
                Entry::Item { key, part, item, count } if part < DEGREES + 2 => {
                    if let Some(group) = self.index.find(key) {
                        self.sides[part - DEGREES].degrees.load(group, item, count);
                    }
                    continue;
                }
                Entry::Item { .. } => return Err(damaged("a join has two sides")),
                Entry::Group { key, .. } => {
                    if let Some(group) = self.index.find(key) {
                        self.remove(group);
                    }
                    continue;
                }
            };
            if count == 0 && self.index.find(key).is_none() {
                continue;
            }
            let (group, new) = self.intern_key(key);
            if let (true, Some((at, window))) = (new, closing) {
                let keys = self.sides[LEFT].codec.decode(std::iter::once(key))?;
                let end = WindowEnds::of(&keys[at], window)?.get(0);
                self.ends[group as usize] = end.unwrap_or(i64::MIN);
                self.closing.extend(end.map(|e| (e, group)));
            }
            let side = &mut self.sides[part];
            side.totals[group as usize] += count - side.items.count(group, item);
            side.items.load(group, item, count);
            if count == 0 && self.is_empty(group) {
                self.remove(group);
            }
        }
        self.removed.clear();
        Ok(())
    }

    fn size(&self) -> Size {
        let sides = self
            .sides
            .iter()
            .map(|s| s.items.bytes() + s.degrees.bytes() + s.totals.capacity() * 8);
        let sides: usize = sides.sum();
        let ends = self.ends.capacity() * 8 + self.closing.len() * 24;
        Size { groups: self.index.len(), bytes: self.index.bytes() + sides + ends }
    }
}
