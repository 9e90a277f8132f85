//! `GROUP BY`, kept up to date: groups by key bytes, a dense number for each, and accumulators
//! that can be read at any time. At the end of an epoch each touched group gives its old row
//! with -1 and its new row with +1. Windows that closed leave the state; their rows stay.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::SchemaRef;
use common::{Error, Result};

use crate::accumulators::{self, Accumulator, Input, Kept, kept};
use crate::calc::{evaluate, truth};
use crate::change::Change;
use crate::keyed_state::{Group, GroupState, Groups, KeyedState, Saved};
use crate::keys::Keys;
use crate::operator::{Operator, Out, Size};
use crate::operators::{Place, Spec, Upkeep};
use crate::rows::{RowCodec, as_type};
use crate::snapshot::{Writer, bytes};
use crate::windows::{self, closing_key};
use graph::error;
use graph::{Aggregate, Expr, Key, Node};

const NONE: u32 = u32::MAX;

/// As saved: the end of a window that does not close.
const NEVER: i64 = i64::MAX;

impl Spec for Aggregate {
    fn title(&self, _node: &Node) -> String {
        let names = |keys: &[Key]| texts(keys.iter().map(|k| &k.text));
        let calls = texts(self.calls.iter().map(|c| &c.text));
        match (self.calls.is_empty(), self.keys.is_empty()) {
            (true, _) => format!("distinct {}", names(&self.keys)),
            (_, true) => format!("aggregate {calls}"),
            _ => format!("aggregate {calls} by {}", names(&self.keys)),
        }
    }

    fn upkeep(&self, place: &Place) -> Upkeep {
        let append_only = place.reads_inserts_only();
        let of = |wanted: Kept| {
            let calls = self.calls.iter().filter(|c| kept(c, append_only) == wanted);
            texts(calls.map(|c| &c.text))
        };
        let (values, rows) = (of(Kept::Values), of(Kept::Rows));
        let group = if self.keys.is_empty() { "one row" } else { "a row for each group" };
        let mut parts = vec![];
        if self.calls.is_empty() {
            parts.push("how often it is there".to_string());
        }
        if self.calls.iter().any(|c| kept(c, append_only) == Kept::Fixed) {
            parts.push("counts, sums, least and greatest values".to_string());
        }
        if !values.is_empty() {
            parts.push(format!("the different values of {values}"));
        }
        if !rows.is_empty() {
            parts.push(format!("all arguments of {rows}"));
        }
        let closes = closing_key(&self.keys).is_some();
        let mut bound = match (closes, self.keys.is_empty()) {
            (true, _) => windows::BOUND,
            (false, true) => "one group",
            (false, false) => "grows with the number of groups",
        }
        .to_string();
        if !closes && (!values.is_empty() || !rows.is_empty()) {
            bound += ", and with what is kept of their values";
        }
        let mut upkeep = Upkeep::incremental(format!("{group}, with {}", parts.join("; ")), bound);
        if !rows.is_empty() {
            upkeep.kept += &format!("; {rows}: computed anew for each group that changed");
        }
        upkeep
    }

    fn create(&self, place: &Place) -> Result<Option<Box<dyn Operator>>> {
        let schema = place.node.schema.clone();
        Ok(Some(Box::new(AggregateOp::new(self, schema, place.reads_inserts_only())?)))
    }
}

fn texts<'a>(of: impl Iterator<Item = &'a String>) -> String {
    of.map(String::as_str).collect::<Vec<_>>().join(", ")
}

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
struct Count {
    /// How many input rows it has.
    rows: i64,
    /// The output has a row of it.
    shown: bool,
}

struct Aggregates {
    counts: Vec<Count>,
    calls: Vec<CallState>,
}

impl GroupState for Aggregates {
    fn reset(&mut self, group: u32) {
        if self.counts.len() <= group as usize {
            self.counts.resize(group as usize + 1, Count::default());
            return;
        }
        self.counts[group as usize] = Count::default();
        for call in &mut self.calls {
            call.accumulator.clear(group);
        }
    }

    fn save(&self, group: &Group, to: &mut Writer) {
        self.save_state(group, &mut vec![], to);
        for (part, call) in self.calls.iter().enumerate() {
            if let Some(items) = call.accumulator.multiset() {
                items.save(group, part, to);
            }
        }
    }

    fn drain(&mut self, touched: &[u32], groups: &Groups, mut to: Option<&mut Writer>) {
        if let Some(to) = to.as_deref_mut() {
            let mut state = vec![];
            for group in touched {
                self.save_state(&groups.get(*group), &mut state, to);
            }
        }
        for (part, call) in self.calls.iter_mut().enumerate() {
            if let Some(items) = call.accumulator.multiset_mut() {
                items.drain_to(part, groups, to.as_deref_mut());
            }
        }
    }

    fn load(&mut self, group: u32, saved: Saved) -> Result<()> {
        match saved {
            Saved::State(mut state) => {
                let rows = bytes::take_i64(&mut state)?;
                // When it closes follows from its key.
                let _end = bytes::take_i64(&mut state)?;
                self.counts[group as usize] = Count { rows, shown: true };
                for call in &mut self.calls {
                    call.accumulator.load(group, &mut state)?;
                }
            }
            Saved::Item { part, item, count } => {
                let call = self.calls.get_mut(part);
                if let Some(items) = call.and_then(|c| c.accumulator.multiset_mut()) {
                    items.load(group, item, count);
                }
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let calls: usize = self.calls.iter().map(|c| c.accumulator.bytes()).sum();
        self.counts.capacity() * size_of::<Count>() + calls
    }
}

impl Aggregates {
    fn save_state(&self, group: &Group, state: &mut Vec<u8>, to: &mut Writer) {
        state.clear();
        bytes::put(state, self.counts[group.number as usize].rows.to_le_bytes());
        bytes::put(state, group.end.unwrap_or(NEVER).to_le_bytes());
        for call in &self.calls {
            call.accumulator.save(group.number, state);
        }
        to.group(group.key, Some(state));
    }
}

struct AggregateOp {
    keys: Keys,
    schema: SchemaRef,
    state: KeyedState<Aggregates>,
    /// The rows that touched groups had before.
    old: Vec<(Vec<u32>, RecordBatch)>,
    scratch: Vec<u32>,
}

impl AggregateOp {
    fn new(spec: &Aggregate, schema: SchemaRef, append_only: bool) -> Result<Self> {
        let calls = spec.calls.iter().map(|call| {
            let mut args = call.args.clone();
            if kept(call, append_only) == Kept::Rows {
                args.extend(call.order_by.iter().cloned());
            }
            let accumulator = accumulators::create(call, append_only)?;
            Ok(CallState { args, filter: call.lowered.filter.clone(), accumulator })
        });
        let calls = calls.collect::<Result<Vec<_>>>()?;
        // Results are compared and may become state of the next operator, so they have to fit.
        RowCodec::new(schema.fields().iter().map(|f| f.data_type().clone()))?;
        let mut op = Self {
            keys: Keys::new(&spec.keys)?,
            schema,
            state: KeyedState::new(Aggregates { counts: vec![], calls }),
            old: vec![],
            scratch: vec![],
        };
        if op.keys.is_empty() {
            let (group, _) = op.state.intern(&[]);
            op.state.touch(group);
        }
        Ok(op)
    }

    /// Marks groups as touched, and keeps the rows they had until now.
    fn touch(&mut self, groups: &[u32]) -> Result<()> {
        let mut shown = self.state.touch_all(groups).to_vec();
        shown.retain(|g| self.state.values.counts[*g as usize].shown);
        if !shown.is_empty() {
            let rows = self.read(&shown)?;
            self.old.push((shown, rows));
        }
        Ok(())
    }

    /// The output rows of these groups.
    fn read(&mut self, groups: &[u32]) -> Result<RecordBatch> {
        let of = &self.state.groups;
        let mut columns = self.keys.decode(groups.iter().map(|g| of.key(*g)))?;
        for call in &mut self.state.values.calls {
            columns.push(call.accumulator.evaluate(groups)?);
        }
        let columns = columns.iter().zip(self.schema.fields());
        let columns: Vec<ArrayRef> =
            columns.map(|(c, f)| as_type(c, f.data_type())).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(error::arrow)
    }

    /// Of old and new rows those that differ. Both have the same keys, so the calls decide.
    fn difference(&mut self, new: &RecordBatch, alive: &[u32], out: &mut Out) -> Result<()> {
        let mut keep_new = vec![true; alive.len()];
        let mut at = vec![];
        for (groups, old) in std::mem::take(&mut self.old) {
            if at.is_empty() {
                at.resize(self.state.groups.capacity(), NONE);
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
        let width = self.schema.fields().len();
        for column in width - self.state.values.calls.len()..width {
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
}

impl Operator for AggregateOp {
    fn push(&mut self, _port: usize, change: Change, _out: &mut Out) -> Result<()> {
        let mut groups = std::mem::take(&mut self.scratch);
        self.state.intern_batch(&self.keys, &change.batch, &mut groups)?;
        self.touch(&groups)?;
        let weights = change.weights.as_ref().map(|w| &w.values()[..]);
        let total = self.state.groups.capacity();
        let Aggregates { counts, calls } = &mut self.state.values;
        match weights {
            None => groups.iter().for_each(|g| counts[*g as usize].rows += 1),
            Some(w) => {
                for (g, w) in groups.iter().zip(w) {
                    counts[*g as usize].rows += i64::from(*w);
                }
            }
        }
        for call in calls {
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
        self.keys.columns(&change.batch)?;
        let mut calls = self.state.values.calls.iter();
        calls.try_for_each(|call| call.inputs(&change.batch).map(|_| ()))
    }

    fn flush(&mut self, out: &mut Out) -> Result<()> {
        let touched = self.state.take_touched();
        if touched.is_empty() {
            return Ok(());
        }
        let global = self.keys.is_empty();
        let (mut alive, mut gone) = (vec![], vec![]);
        for group in touched {
            let count = &mut self.state.values.counts[group as usize];
            if count.rows < 0 {
                return Err(Error::internal("a row was taken back that never came"));
            }
            count.shown = global || count.rows > 0;
            if count.shown { alive.push(group) } else { gone.push(group) }
        }
        let new = self.read(&alive)?;
        self.difference(&new, &alive, out)?;
        gone.into_iter().for_each(|group| self.state.remove(group));
        Ok(())
    }

    fn close(&mut self, watermark: i64) {
        self.state.close(watermark);
    }

    fn delta(&mut self, full: bool) -> Result<Vec<RecordBatch>> {
        self.state.delta(full)
    }

    fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        self.state.restore(&self.keys, batch)
    }

    fn size(&self) -> Size {
        self.state.size()
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
