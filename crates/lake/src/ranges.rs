//! Which offsets of a call are still to be archived: the arithmetic behind "each offset once",
//! without any I/O.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use common::{Error, Offset, Partition, Result};

/// Offsets of a partition, the second one exclusive.
pub type Range = (Partition, Offset, Offset);

/// Offsets that were never handed to the archive although later ones were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub partition: Partition,
    pub from: Offset,
    pub to: Offset,
}

/// What of some ranges is new.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    given: Vec<(i32, i64, i64)>,
    wanted: Vec<(i32, i64, i64)>,
    /// Next offset of each partition that gets rows.
    pub(crate) next: BTreeMap<Partition, Offset>,
    pub(crate) gaps: Vec<Gap>,
}

impl Plan {
    pub(crate) fn new(archived: &BTreeMap<Partition, Offset>, ranges: &[Range]) -> Self {
        let mut ranges: Vec<Range> = ranges.to_vec();
        ranges.sort();
        let mut plan = Self::default();
        for (partition, from, to) in ranges {
            if from >= to {
                continue;
            }
            plan.given.push((partition.0, from.0, to.0));
            let done = plan.next.get(&partition).or_else(|| archived.get(&partition)).copied();
            let start = done.map_or(from, |done| done.max(from));
            if start >= to {
                continue;
            }
            let done = done.unwrap_or_default();
            if done < start {
                plan.gaps.push(Gap { partition, from: done, to: start });
            }
            plan.wanted.push((partition.0, start.0, to.0));
            plan.next.insert(partition, to);
        }
        plan
    }

    /// The batch's new rows. A row outside all ranges is a fault of the caller: it might be
    /// archived a second time.
    pub(crate) fn filter(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let column = |name: &str| {
            let column = batch.column_by_name(name).filter(|c| c.null_count() == 0);
            column.ok_or_else(|| Error::internal(format!("a batch to archive has no '{name}'")))
        };
        let (partitions, offsets) = (column("_partition")?, column("_offset")?);
        let (Some(partitions), Some(offsets)) =
            (partitions.as_primitive_opt::<Int32Type>(), offsets.as_primitive_opt::<Int64Type>())
        else {
            return Err(Error::internal("'_partition' must be INT and '_offset' BIGINT"));
        };
        let within = |all: &[(i32, i64, i64)], p: i32, o: i64| {
            all.iter().any(|(partition, from, to)| p == *partition && o >= *from && o < *to)
        };
        let mut keep = Vec::with_capacity(batch.num_rows());
        for (p, o) in partitions.values().iter().zip(offsets.values()) {
            let new = within(&self.wanted, *p, *o);
            if !new && !within(&self.given, *p, *o) {
                let text = format!("offset {o} of partition {p} is in none of the ranges");
                return Err(Error::internal(text));
            }
            keep.push(new);
        }
        if keep.iter().all(|k| *k) {
            return Ok(batch.clone());
        }
        filter_record_batch(batch, &BooleanArray::from(keep))
            .map_err(|e| Error::internal("cannot filter a batch to archive").caused_by(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_offsets_are_wanted() {
        let range = |p, from, to| (Partition(p), Offset(from), Offset(to));
        let archived: BTreeMap<_, _> =
            [(Partition(0), Offset(10)), (Partition(1), Offset(5))].into();
        type Wanted = Vec<(i32, i64, i64)>;
        let check = |ranges: &[Range], wanted: Wanted, gaps: Wanted| {
            let plan = Plan::new(&archived, ranges);
            assert_eq!(plan.wanted, wanted, "{ranges:?}");
            let found = plan.gaps.iter().map(|g| (g.partition.0, g.from.0, g.to.0));
            assert_eq!(found.collect::<Vec<_>>(), gaps, "{ranges:?}");
        };
        check(&[range(0, 10, 20)], vec![(0, 10, 20)], vec![]);
        check(&[range(0, 0, 10), range(1, 2, 4)], vec![], vec![]);
        check(&[range(0, 5, 15), range(1, 5, 5)], vec![(0, 10, 15)], vec![]);
        check(&[range(0, 12, 15)], vec![(0, 12, 15)], vec![(0, 10, 12)]);
        check(&[range(2, 7, 9)], vec![(2, 7, 9)], vec![(2, 0, 7)]);
        check(&[range(2, 0, 9)], vec![(2, 0, 9)], vec![]);
        let twice = [range(0, 15, 20), range(0, 8, 15), range(0, 12, 18)];
        check(&twice, vec![(0, 10, 15), (0, 15, 18), (0, 18, 20)], vec![]);
    }
}
