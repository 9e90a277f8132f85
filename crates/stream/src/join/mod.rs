//! Equi-joins, kept up to date: both sides are multisets of rows by key. A row that comes or
//! goes meets the rows of the other side; outer joins also give or take the row padded with
//! NULLs when a key gets its first match or loses its last. Results are always current, so a
//! window that closes has nothing to add: its rows only leave the state.

mod filtered;
mod not_in;

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int8Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use common::{Error, Result};
use datafusion_common::JoinType;

use crate::change::Change;
use crate::group_index::NO_GROUP;
use crate::keyed_state::{Group, GroupState, Groups, KeyedState, Saved};
use crate::keys::Keys;
use crate::multiset::Multiset;
use crate::operator::{Operator, Out, Size};
use crate::operators::{Place, Spec, Upkeep};
use crate::rows::RowCodec;
use crate::snapshot::{Writer, damaged};
use crate::windows::{self, closing_key};
use graph::{Join, Key, Node, error};
use not_in::NotInOp;

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// Parts of a saved state: the rows of each side, then their numbers of matches.
const DEGREES: usize = 2;

impl Spec for Join {
    fn title(&self, _node: &Node) -> String {
        let kind = match self.kind {
            JoinType::Inner => "inner",
            JoinType::Left => "left",
            JoinType::Right => "right",
            JoinType::Full => "full",
            JoinType::LeftSemi | JoinType::RightSemi => "semi",
            JoinType::LeftMark => "mark",
            _ => "anti",
        };
        match (self.null_aware, self.text.is_empty()) {
            (true, _) => format!("not in on {}", self.text),
            (_, true) => format!("{kind} join"),
            _ => format!("{kind} join on {}", self.text),
        }
    }

    fn upkeep(&self, _place: &Place) -> Upkeep {
        let closes = closing_key(&self.left).is_some() && closing_key(&self.right).is_some();
        let bound = match (closes, self.left.is_empty()) {
            (true, _) => windows::BOUND,
            (false, false) => "grows with both inputs; join on a window of both sides to bound it",
            (false, true) => {
                "grows with both inputs, and so does the work for each row: it is compared with all \
                 of the other side; join on a column or a window of both to bound it"
            }
        };
        Upkeep::incremental("the rows of both sides, by key", bound)
    }

    fn create(&self, place: &Place) -> Result<Option<Box<dyn Operator>>> {
        let (left, schema) = (&place.input(LEFT)?.schema, place.node.schema.clone());
        if self.null_aware {
            return Ok(Some(Box::new(NotInOp::new(self, left, schema)?)));
        }
        let inputs = [left, &place.input(RIGHT)?.schema];
        Ok(Some(Box::new(JoinOp::new(self, inputs, schema)?)))
    }
}

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
    keys: Keys,
    codec: RowCodec,
    /// What stands in the place of this side beside a row without a match, and beside one that
    /// has some but is given once.
    alone: Box<[u8]>,
    once: Box<[u8]>,
}

impl Side {
    fn new(keys: &[Key], schema: &SchemaRef) -> Result<Self> {
        let codec = RowCodec::new(schema.fields().iter().map(|f| f.data_type().clone()))?;
        let null = codec.null_row()?;
        Ok(Self { keys: Keys::new(keys)?, alone: null.clone(), once: null, codec })
    }
}

/// The rows of one side.
#[derive(Default)]
struct Rows {
    items: Multiset,
    /// How many matches each row has, if a further condition decides and it matters.
    degrees: Multiset,
    /// How many there are for each key.
    totals: Vec<i64>,
}

/// Of both sides.
#[derive(Default)]
struct BothRows([Rows; 2]);

impl GroupState for BothRows {
    fn reset(&mut self, group: u32) {
        for rows in &mut self.0 {
            rows.items.reset(group);
            rows.degrees.reset(group);
            rows.totals.resize(rows.totals.len().max(group as usize + 1), 0);
            rows.totals[group as usize] = 0;
        }
    }

    fn save(&self, group: &Group, to: &mut Writer) {
        for (part, rows) in self.0.iter().enumerate() {
            rows.items.save(group, part, to);
        }
        for (part, rows) in self.0.iter().enumerate() {
            rows.degrees.save(group, DEGREES + part, to);
        }
    }

    fn drain(&mut self, _touched: &[u32], groups: &Groups, mut to: Option<&mut Writer>) {
        for (part, rows) in self.0.iter_mut().enumerate() {
            rows.items.drain_to(part, groups, to.as_deref_mut());
        }
        // After the rows, which say what groups there are.
        for (part, rows) in self.0.iter_mut().enumerate() {
            rows.degrees.drain_to(DEGREES + part, groups, to.as_deref_mut());
        }
    }

    fn load(&mut self, group: u32, saved: Saved) -> Result<()> {
        let Saved::Item { part, item, count } = saved else {
            return Err(damaged("a key of a join is its rows"));
        };
        if part >= DEGREES + 2 {
            return Err(damaged("a join has two sides"));
        }
        let rows = &mut self.0[part % DEGREES];
        if part >= DEGREES {
            rows.degrees.load(group, item, count);
            return Ok(());
        }
        rows.totals[group as usize] += count - rows.items.count(group, item);
        rows.items.load(group, item, count);
        Ok(())
    }

    fn bytes(&self) -> usize {
        let of = |r: &Rows| r.items.bytes() + r.degrees.bytes() + r.totals.capacity() * 8;
        self.0.iter().map(of).sum()
    }

    fn is_empty(&self, group: u32) -> bool {
        self.0.iter().all(|rows| rows.items.is_empty(group))
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

struct JoinOp {
    shape: Shape,
    spec: Join,
    schema: SchemaRef,
    /// The columns of both sides, which the condition reads.
    pairs: SchemaRef,
    /// Of the output's columns that stand for the right side.
    mark: Option<RowCodec>,
    sides: [Side; 2],
    state: KeyedState<BothRows>,
}

impl JoinOp {
    fn new(spec: &Join, inputs: [&SchemaRef; 2], schema: SchemaRef) -> Result<Self> {
        let mut sides = [Side::new(&spec.left, inputs[0])?, Side::new(&spec.right, inputs[1])?];
        // State closes only if the window is a key of both sides.
        if sides.iter().any(|s| !s.keys.closes()) {
            sides.iter_mut().for_each(|s| s.keys.never_close());
        }
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
            state: KeyedState::new(BothRows::default()),
        })
    }

    fn rows(&self, side: usize) -> &Rows {
        &self.state.values.0[side]
    }

    fn rows_mut(&mut self, side: usize) -> &mut Rows {
        &mut self.state.values.0[side]
    }

    fn row(&mut self, me: usize, group: u32, row: &[u8], weight: i64, out: &mut Output) {
        let other = 1 - me;
        if group == NO_GROUP {
            if self.shape.lonely[me] {
                out.pair(me, row, &self.sides[other].alone, weight);
            }
            return;
        }
        let has_match = self.rows(other).totals[group as usize] > 0;
        if self.shape.pairs {
            for (theirs, count) in self.rows(other).items.items(group) {
                out.pair(me, row, theirs, weight * count);
            }
        }
        self.single(me, row, weight, has_match, out);
        let rows = self.rows_mut(me);
        let total = &mut rows.totals[group as usize];
        let had = *total > 0;
        *total += weight;
        let has = *total > 0;
        rows.items.add(group, row, weight);
        if had != has {
            // The other side's rows have got their first match, or lost their last.
            for (theirs, count) in self.rows(other).items.items(group) {
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
            columns.extend(self.sides[LEFT].codec.decode(rows)?);
        }
        if right {
            let rows = output.parts.iter().map(|[_, mid, end]| &output.bytes[*mid..*end]);
            let codec = self.mark.as_ref().unwrap_or(&self.sides[RIGHT].codec);
            columns.extend(codec.decode(rows)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(n));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(error::arrow)?;
        let only_inserts = output.weights.iter().all(|w| *w > 0);
        let weights = (!only_inserts).then(|| Int8Array::from(output.weights));
        Ok(Some(Change { batch, weights }))
    }
}

impl Operator for JoinOp {
    fn push(&mut self, port: usize, change: Change, out: &mut Out) -> Result<()> {
        let (side, mut groups) = (&self.sides[port], vec![]);
        let skip_nulls = !self.spec.null_equals_null;
        self.state.intern_some(&side.keys, &change.batch, skip_nulls, &mut groups)?;
        self.state.touch_all(&groups);
        let rows = side.codec.encode_rows(&change.batch)?;
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
        self.sides[port].keys.columns(&change.batch).map(|_| ())
    }

    fn close(&mut self, watermark: i64) {
        self.state.close(watermark);
    }

    fn delta(&mut self, full: bool) -> Result<Vec<RecordBatch>> {
        self.state.delta(full)
    }

    fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        self.state.restore(&self.sides[LEFT].keys, batch)
    }

    fn size(&self) -> Size {
        self.state.size()
    }
}
