//! `GROUP BY`, kept up to date: groups by key bytes, a dense number for each, and accumulators
//! that can be read at any time. At the end of an epoch each touched group gives its old row
//! with -1 and its new row with +1. Windows that closed leave the state; their rows stay.

use std::collections::BTreeSet;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::SchemaRef;
use common::{Error, Result};

use crate::accumulators::{self, Accumulator, Input, Kept};
use crate::calc::{evaluate, truth};
use crate::change::Change;
use crate::group_index::GroupIndex;
use crate::operator::{Operator, Out, Size};
use crate::rows::{KeyCodec, RowCodec, as_type, micros};
use crate::snapshot::{Entry, Reader, Writer, bytes};
use graph::error;
use graph::{Aggregate, Expr, Key, KeyWindow, WindowPart};

const NONE: u32 = u32::MAX;

/// As saved: the end of a window that does not close.
const NEVER: i64 = i64::MAX;

struct CallState {
    args: Vec<graph::Arg>,
    filter: Option<Expr>,
    accumulator: Box<dyn Accumulator>,
}

impl CallState {
    /// Its arguments for each row, and which rows it counts if not all.
    fn inputs(&self, batch: &RecordBatch) -> Result<(Vec<ArrayRef>, Option<BooleanBuffer>)> {
        let args = self.args.iter();
        let args = args.map(|a| as_type(&evaluate(&a.expr, batch)?, &a.data_type));
        let mask = match &self.filter {
            None => None,
            Some(filter) => Some(truth(filter, batch)?.values().clone()),
        };
        Ok((args.collect::<Result<_>>()?, mask))
    }
}

/// What is kept for a group beside its accumulators.
#[derive(Clone, Copy, Default)]
struct Group {
    /// How many input rows it has.
    rows: i64,
    /// End of its window, if that can close.
    end: Option<i64>,
    /// Touched since the last flush.
    dirty: bool,
    /// The output has a row of it.
    shown: bool,
}

pub(crate) struct AggregateOp {
    keys: Vec<Key>,
    codec: KeyCodec,
    calls: Vec<CallState>,
    schema: SchemaRef,
    index: GroupIndex,
    groups: Vec<Group>,
    /// (window end, group) of groups that can close.
    ends: BTreeSet<(i64, u32)>,
    dirty: Vec<u32>,
    /// The rows that touched groups had before.
    old: Vec<(Vec<u32>, RecordBatch)>,
    /// Groups and keys of removed groups to be saved with the next delta.
    unsaved: Vec<u32>,
    removed: Vec<Box<[u8]>>,
    scratch: Vec<u32>,
}

impl AggregateOp {
    pub fn new(spec: &Aggregate, schema: SchemaRef, append_only: bool) -> Result<Self> {
        let calls = spec.calls.iter().map(|call| {
            let mut args = call.args.clone();
            if accumulators::kept(call, append_only) == Kept::Rows {
                args.extend(call.order_by.iter().cloned());
            }
            let accumulator = accumulators::create(call, append_only)?;
            Ok(CallState { args, filter: call.lowered.filter.clone(), accumulator })
        });
        let calls = calls.collect::<Result<Vec<_>>>()?;
        // Results are compared and may become state of the next operator, so they have to fit.
        RowCodec::new(schema.fields().iter().map(|f| f.data_type().clone()))?;
        let mut op = Self {
            codec: key_codec(&spec.keys)?,
            keys: spec.keys.clone(),
            calls,
            schema,
            index: GroupIndex::new(),
            groups: vec![],
            ends: BTreeSet::new(),
            dirty: vec![],
            old: vec![],
            unsaved: vec![],
            removed: vec![],
            scratch: vec![],
        };
        if op.keys.is_empty() {
            op.intern_key(&[]);
            op.groups[0].dirty = true;
            op.dirty.push(0);
        }
        Ok(op)
    }

    fn intern_key(&mut self, key: &[u8]) -> u32 {
        let (group, new) = self.index.intern(key);
        self.groups.resize(self.index.capacity(), Group::default());
        if new {
            self.groups[group as usize] = Group::default();
        }
        group
    }

    /// The group of each row of a batch.
    fn intern_batch(&mut self, batch: &RecordBatch, groups: &mut Vec<u32>) -> Result<()> {
        if self.keys.is_empty() {
            groups.clear();
            groups.resize(batch.num_rows(), 0);
            return Ok(());
        }
        let keys = key_columns(&self.keys, batch)?;
        let rows = self.codec.encode(&keys)?;
        let mut new = vec![];
        self.index.intern_rows(&rows, groups, &mut new);
        self.groups.resize(self.index.capacity(), Group::default());
        for (group, _) in &new {
            self.groups[*group as usize] = Group::default();
        }
        let Some((at, window)) = closing_key(&self.keys) else { return Ok(()) };
        if !new.is_empty() {
            let ends = WindowEnds::of(&keys[at], window)?;
            for (group, row) in new {
                let end = ends.get(row);
                self.groups[group as usize].end = end;
                self.ends.extend(end.map(|e| (e, group)));
            }
        }
        Ok(())
    }

    /// Marks groups as touched, and keeps the rows they had until now.
    fn touch(&mut self, groups: &[u32]) -> Result<()> {
        let mut shown = vec![];
        for group in groups {
            let state = &mut self.groups[*group as usize];
            if !state.dirty {
                state.dirty = true;
                self.dirty.push(*group);
                if state.shown {
                    shown.push(*group);
                }
            }
        }
        if !shown.is_empty() {
            let rows = self.read(&shown)?;
            self.old.push((shown, rows));
        }
        Ok(())
    }

    /// The output rows of these groups.
    fn read(&mut self, groups: &[u32]) -> Result<RecordBatch> {
        let mut columns = match self.keys.is_empty() {
            true => vec![],
            false => self.codec.decode(groups.iter().map(|g| self.index.key(*g)))?,
        };
        for call in &mut self.calls {
            columns.push(call.accumulator.evaluate(groups)?);
        }
        let columns = columns.iter().zip(self.schema.fields());
        let columns: Vec<ArrayRef> =
            columns.map(|(c, f)| as_type(c, f.data_type())).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(error::arrow)
    }

    /// Forgets a group; its number may be used again.
    fn remove(&mut self, group: u32) {
        for call in &mut self.calls {
            call.accumulator.clear(group);
        }
        if let Some(end) = self.groups[group as usize].end {
            self.ends.remove(&(end, group));
        }
        self.groups[group as usize] = Group::default();
        let key = self.index.remove(group);
        self.removed.push(key);
    }

    /// Of old and new rows those that differ. Both have the same keys, so the calls decide.
    fn difference(&mut self, new: &RecordBatch, alive: &[u32], out: &mut Out) -> Result<()> {
        let mut keep_new = vec![true; alive.len()];
        let mut at = vec![];
        for (groups, old) in std::mem::take(&mut self.old) {
            if at.is_empty() {
                at.resize(self.index.capacity(), NONE);
                for (i, group) in alive.iter().enumerate() {
                    at[*group as usize] = i as u32;
                }
            }
            let places = groups.iter().map(|g| Some(at[*g as usize]).filter(|at| *at != NONE));
            let places: UInt32Array = places.collect();
            let equal = self.equal(&old, new, &places)?;
            let mut keep_old = Vec::with_capacity(groups.len());
            for (i, same) in equal.iter().enumerate() {
                let same = same && places.is_valid(i);
                if same {
                    keep_new[places.value(i) as usize] = false;
                }
                keep_old.push(!same);
            }
            push_kept(&old, &BooleanArray::from(keep_old), Change::delete, out)?;
        }
        push_kept(new, &BooleanArray::from(keep_new), Change::insert, out)
    }

    /// Where the values of `old` are those of `new` at `places`.
    fn equal(
        &self,
        old: &RecordBatch,
        new: &RecordBatch,
        at: &UInt32Array,
    ) -> Result<BooleanBuffer> {
        let mut equal = BooleanBuffer::new_set(old.num_rows());
        for column in self.keys.len()..self.schema.fields().len() {
            let new = take(new.column(column), at, None).map_err(error::arrow)?;
            let old = old.column(column);
            let same = match old.data_type().is_nested() {
                false => not_distinct(old, &new).map_err(error::arrow)?.values().clone(),
                true => {
                    let codec = RowCodec::new([old.data_type().clone()])?;
                    let old = codec.encode(std::slice::from_ref(old))?;
                    let new = codec.encode(&[new])?;
                    old.iter().zip(new.iter()).map(|(a, b)| a == b).collect()
                }
            };
            equal = &equal & &same;
        }
        Ok(equal)
    }

    fn save_group(&self, group: u32, state: &mut Vec<u8>, writer: &mut Writer) {
        state.clear();
        let Group { rows, end, .. } = self.groups[group as usize];
        bytes::put(state, rows.to_le_bytes());
        bytes::put(state, end.unwrap_or(NEVER).to_le_bytes());
        for call in &self.calls {
            call.accumulator.save(group, state);
        }
        writer.group(self.index.key(group), Some(state));
    }

    fn load_group(&mut self, key: &[u8], mut state: &[u8]) -> Result<()> {
        let group = self.intern_key(key);
        let rows = bytes::take_i64(&mut state)?;
        let end = Some(bytes::take_i64(&mut state)?).filter(|e| *e != NEVER);
        self.groups[group as usize] = Group { rows, end, dirty: false, shown: true };
        self.ends.extend(end.map(|e| (e, group)));
        for call in &mut self.calls {
            call.accumulator.load(group, &mut state)?;
        }
        Ok(())
    }
}

impl Operator for AggregateOp {
    fn push(&mut self, _port: usize, change: Change, _out: &mut Out) -> Result<()> {
        let mut groups = std::mem::take(&mut self.scratch);
        self.intern_batch(&change.batch, &mut groups)?;
        self.touch(&groups)?;
        let weights = change.weights.as_ref().map(|w| &w.values()[..]);
        match weights {
            None => groups.iter().for_each(|g| self.groups[*g as usize].rows += 1),
            Some(w) => {
                for (g, w) in groups.iter().zip(w) {
                    self.groups[*g as usize].rows += i64::from(*w);
                }
            }
        }
        let total = self.index.capacity();
        for call in &mut self.calls {
            let (args, mask) = call.inputs(&change.batch)?;
            let mask = mask.as_ref();
            call.accumulator.update(&Input {
                groups: &groups,
                weights,
                args: &args,
                mask,
                total,
            })?;
        }
        self.scratch = groups;
        Ok(())
    }

    fn probe(&self, _port: usize, change: &Change, _out: &mut Out) -> Result<()> {
        key_columns(&self.keys, &change.batch)?;
        self.calls.iter().try_for_each(|call| call.inputs(&change.batch).map(|_| ()))
    }

    fn flush(&mut self, out: &mut Out) -> Result<()> {
        let dirty = std::mem::take(&mut self.dirty);
        if dirty.is_empty() {
            return Ok(());
        }
        let global = self.keys.is_empty();
        let mut alive = vec![];
        for group in &dirty {
            let state = &mut self.groups[*group as usize];
            state.dirty = false;
            if state.rows < 0 {
                return Err(Error::internal("a row was taken back that never came"));
            }
            state.shown = global || state.rows > 0;
            if state.shown {
                alive.push(*group);
            }
        }
        let new = self.read(&alive)?;
        self.difference(&new, &alive, out)?;
        for group in dirty {
            if !self.groups[group as usize].shown {
                self.remove(group);
            }
        }
        self.unsaved.extend(alive);
        Ok(())
    }

    fn close(&mut self, watermark: i64) -> Result<()> {
        while let Some((end, group)) = self.ends.first().copied() {
            if end > watermark {
                break;
            }
            self.remove(group);
        }
        Ok(())
    }

    fn delta(&mut self, full: bool) -> Result<Option<RecordBatch>> {
        let (mut writer, mut state) = (Writer::default(), vec![]);
        let removed = std::mem::take(&mut self.removed);
        let unsaved = std::mem::take(&mut self.unsaved);
        if full {
            for group in self.index.groups() {
                self.save_group(group, &mut state, &mut writer);
            }
        } else {
            for key in removed {
                writer.group(&key, None);
            }
            for group in unsaved.into_iter().filter(|g| self.index.is_live(*g)) {
                self.save_group(group, &mut state, &mut writer);
            }
        }
        let index = &self.index;
        for (part, call) in self.calls.iter_mut().enumerate() {
            if let Some(items) = call.accumulator.multiset() {
                items.drain(full, |group, item, count| {
                    writer.item(index.key(group), part, item, count);
                });
            }
        }
        writer.finish(full)
    }

    fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        self.dirty.clear();
        for group in &mut self.groups {
            group.dirty = false;
        }
        for entry in Reader::new(batch)?.entries() {
            match entry {
                Entry::Group { key, state: Some(state) } => self.load_group(key, state)?,
                Entry::Group { key, state: None } => {
                    if let Some(group) = self.index.find(key) {
                        self.remove(group);
                    }
                }
                Entry::Item { key, part, item, count } => {
                    let Some(group) = self.index.find(key) else { continue };
                    let call = self.calls.get_mut(part);
                    if let Some(items) = call.and_then(|c| c.accumulator.multiset()) {
                        items.load(group, item, count);
                    }
                }
            }
        }
        self.removed.clear();
        Ok(())
    }

    fn size(&self) -> Size {
        let calls: usize = self.calls.iter().map(|c| c.accumulator.bytes()).sum();
        let groups = self.groups.capacity() * size_of::<Group>() + self.ends.len() * 24;
        Size { groups: self.index.len(), bytes: self.index.bytes() + groups + calls }
    }
}

fn push_kept(
    batch: &RecordBatch,
    keep: &BooleanArray,
    change: fn(RecordBatch) -> Change,
    out: &mut Out,
) -> Result<()> {
    match keep.true_count() {
        0 => {}
        n if n == batch.num_rows() => out.push(change(batch.clone())),
        _ => out.push(change(filter_record_batch(batch, keep).map_err(error::arrow)?)),
    }
    Ok(())
}

pub(crate) fn key_codec(keys: &[Key]) -> Result<KeyCodec> {
    let size = |k: &Key| k.window.filter(|w| w.part == WindowPart::Whole).map(|w| w.size_us);
    KeyCodec::new(
        keys.iter().map(|k| k.data_type.clone()).collect(),
        keys.iter().map(size).collect(),
    )
}

pub(crate) fn key_columns(keys: &[Key], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    keys.iter().map(|k| as_type(&evaluate(&k.expr, batch)?, &k.data_type)).collect()
}

/// The key column by which groups close, if there is one.
pub(crate) fn closing_key(keys: &[Key]) -> Option<(usize, KeyWindow)> {
    keys.iter().enumerate().find_map(|(i, k)| Some((i, k.window.filter(|w| w.closes)?)))
}

/// When the windows in a key column close.
pub(crate) struct WindowEnds {
    times: arrow::array::TimestampMicrosecondArray,
    add: i64,
}

impl WindowEnds {
    pub fn of(column: &ArrayRef, window: KeyWindow) -> Result<Self> {
        let start_or_end = match (window.part, column.as_struct_opt()) {
            (WindowPart::Whole, Some(w)) => w.column(0).clone(),
            (WindowPart::Whole, None) => return Err(Error::internal("a window is not a struct")),
            _ => column.clone(),
        };
        let size = if window.part == WindowPart::End { 0 } else { window.size_us };
        Ok(Self { times: micros(&start_or_end)?, add: size + window.grace_us })
    }

    pub fn get(&self, row: usize) -> Option<i64> {
        self.times.is_valid(row).then(|| self.times.value(row).saturating_add(self.add))
    }
}
