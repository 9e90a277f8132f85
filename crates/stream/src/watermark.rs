//! How far event time has come in a topic: per partition the greatest time seen less the delay,
//! over partitions the least of those that are not idle. It never goes back. The log is in the
//! same process, so the engine knows exactly which partition is idle and says so.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::max;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use common::{Offset, Partition, Result};

use crate::snapshot::damaged;
use crate::windows::column::micros;
use graph::Watermark;
use graph::error;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PartitionTime {
    /// Greatest event time less the delay.
    pub watermark: Option<i64>,
    pub idle: bool,
    /// To be read next.
    pub next: Option<Offset>,
}

/// One topic of a job.
#[derive(Clone, Debug)]
pub(crate) struct TopicTime {
    pub spec: Option<Watermark>,
    pub partitions: BTreeMap<Partition, PartitionTime>,
    /// In force. None: nothing is known yet.
    pub watermark: Option<i64>,
    pub changed: bool,
}

/// The watermark in force before each batch of the log, for rows that were read together: what
/// is late must not depend on how many batches were read at once.
#[derive(Debug)]
pub(crate) struct Marks {
    /// The row after each batch, and the watermark before it.
    batches: Vec<(usize, Option<i64>)>,
}

impl Marks {
    pub fn at(&self, row: usize) -> Option<i64> {
        let batch = self.batches.partition_point(|(end, _)| *end <= row);
        self.batches.get(batch).and_then(|(_, mark)| *mark)
    }

    /// One for each row, in their order.
    pub fn rows(&self) -> impl Iterator<Item = Option<i64>> + '_ {
        let starts = std::iter::once(0).chain(self.batches.iter().map(|(end, _)| *end));
        let batches = starts.zip(&self.batches);
        batches.flat_map(|(start, (end, mark))| std::iter::repeat_n(*mark, end - start))
    }

    /// Before the last batch, and so the greatest.
    pub fn last(&self) -> Option<i64> {
        self.batches.last().and_then(|(_, mark)| *mark)
    }
}

impl TopicTime {
    pub fn new(spec: Option<Watermark>, partitions: i32) -> Self {
        let partitions = (0..partitions).map(|p| (Partition(p), PartitionTime::default()));
        Self { spec, partitions: partitions.collect(), watermark: None, changed: false }
    }

    /// The watermarks in force before the batches of the log that end at the rows `ends`; all
    /// were read from one partition. A batch never makes its own rows late.
    pub fn marks(&self, partition: Partition, rows: &RecordBatch, ends: &[usize]) -> Result<Marks> {
        let column = self.spec.as_ref().and_then(|s| rows.column_by_name(&s.column));
        let times = column.map(micros).transpose()?;
        let delay = self.spec.as_ref().map_or(0, |s| s.delay_us);
        let others = self.partitions.iter().filter(|(id, p)| **id != partition && !p.idle);
        let others = others.map(|(_, p)| p.watermark).min();
        let mut own = self.partitions.get(&partition).and_then(|p| p.watermark);
        let mut mark = self.watermark;
        let mut batches = Vec::with_capacity(ends.len());
        let mut start = 0;
        for end in ends {
            batches.push((*end, mark));
            let latest = times.as_ref().and_then(|t| max(&t.slice(start, end - start)));
            own = own.max(latest.map(|t| t.saturating_sub(delay)));
            mark = mark.max(others.map_or(own, |o| o.min(own)));
            start = *end;
        }
        Ok(Marks { batches })
    }

    /// Rows were taken; call after the late ones among them were found.
    pub fn observe(
        &mut self,
        partition: Partition,
        batch: &RecordBatch,
        next: Offset,
    ) -> Result<()> {
        let state = self.partitions.entry(partition).or_default();
        state.next = Some(next);
        self.changed = true;
        if let Some(spec) = &self.spec
            && let Some(column) = batch.column_by_name(&spec.column)
            && let Some(latest) = max(&micros(column)?)
        {
            let watermark = Some(latest.saturating_sub(spec.delay_us));
            state.watermark = state.watermark.max(watermark);
        }
        self.advance();
        Ok(())
    }

    /// As if an event of that time had been seen.
    pub fn raise(&mut self, partition: Partition, event_us: i64) {
        let delay = self.spec.as_ref().map_or(0, |s| s.delay_us);
        let state = self.partitions.entry(partition).or_default();
        state.watermark = state.watermark.max(Some(event_us.saturating_sub(delay)));
        self.changed = true;
        self.advance();
    }

    pub fn set_idle(&mut self, partition: Partition, idle: bool) {
        let state = self.partitions.entry(partition).or_default();
        if state.idle != idle {
            state.idle = idle;
            self.advance();
        }
    }

    fn advance(&mut self) {
        let active = self.partitions.values().filter(|p| !p.idle);
        // A partition never seen holds everything back; if all are idle, nothing moves.
        if let Some(least) = active.map(|p| p.watermark).min()
            && least > self.watermark
        {
            self.watermark = least;
            self.changed = true;
        }
    }
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("topic", DataType::Utf8, false),
        Field::new("partition", DataType::Int32, false),
        Field::new("next", DataType::Int64, true),
        Field::new("partition_watermark", DataType::Int64, true),
        Field::new("watermark", DataType::Int64, true),
    ]))
});

/// All topics as one batch of state.
pub(crate) fn save(topics: &BTreeMap<String, TopicTime>) -> Result<RecordBatch> {
    let rows: Vec<_> = topics
        .iter()
        .flat_map(|(name, t)| t.partitions.iter().map(move |(p, s)| (name, *p, s, t.watermark)))
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.1.0))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.2.next.map(|o| o.0)))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.2.watermark))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.3))),
    ];
    RecordBatch::try_new(SCHEMA.clone(), columns).map_err(error::arrow)
}

/// Takes up what `save` gave. Topics that the graph no longer reads are left out.
pub(crate) fn load(topics: &mut BTreeMap<String, TopicTime>, batch: &RecordBatch) -> Result<()> {
    if batch.schema().fields() != SCHEMA.fields() {
        return Err(damaged("its columns are not those of watermarks"));
    }
    let long = |i: usize, row: usize| {
        let column = batch.column(i).as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let names = batch.column(0).as_string::<i32>();
    let partitions = batch.column(1).as_primitive::<Int32Type>();
    for row in 0..batch.num_rows() {
        let Some(topic) = topics.get_mut(names.value(row)) else { continue };
        let state = topic.partitions.entry(Partition(partitions.value(row))).or_default();
        state.next = long(2, row).map(Offset);
        state.watermark = long(3, row);
        topic.watermark = long(4, row);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use arrow::array::TimestampMicrosecondArray;

    fn batch(times: &[i64]) -> RecordBatch {
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
        RecordBatch::try_from_iter([("at", column)]).unwrap()
    }

    #[test]
    fn is_the_least_of_partitions_that_are_not_idle_and_never_goes_back() {
        let spec = Watermark { column: "at".into(), delay_us: 5 };
        let mut time = TopicTime::new(Some(spec), 2);
        let at = |time: &mut TopicTime, p, times: &[i64]| {
            time.observe(Partition(p), &batch(times), Offset(1)).unwrap();
            time.watermark
        };
        assert_eq!(at(&mut time, 0, &[10, 50, 20]), None, "partition 1 was never seen");
        assert_eq!(at(&mut time, 1, &[30]), Some(25));
        assert_eq!(at(&mut time, 1, &[10]), Some(25), "an old event moves nothing");
        time.set_idle(Partition(1), true);
        assert_eq!(time.watermark, Some(45));
        time.set_idle(Partition(1), false);
        assert_eq!(time.watermark, Some(45), "it never goes back");
        time.set_idle(Partition(0), true);
        time.set_idle(Partition(1), true);
        assert_eq!(time.watermark, Some(45), "all idle: it holds");
        let mut copy = BTreeMap::from([("t".to_string(), TopicTime::new(None, 2))]);
        load(&mut copy, &save(&BTreeMap::from([("t".to_string(), time)])).unwrap()).unwrap();
        assert_eq!(copy["t"].watermark, Some(45));
        assert_eq!(copy["t"].partitions[&Partition(0)].watermark, Some(45));
        assert_eq!(copy["t"].partitions[&Partition(1)].next, Some(Offset(1)));
    }
}
