//! Joins with a further condition: it is asked once for all pairs with equal keys, many at a time.
//! Outer, semi and anti joins then need to know of each row how many matches it has.

use arrow::array::{ArrayRef, Int8Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::row::Rows;
use common::Result;

use super::{JoinOp, LEFT, Output};
use crate::calc::truth;
use crate::change::Change;
use crate::group_index::NO_GROUP;
use crate::operator::Out;
use graph::Expr;
use graph::error;

/// How many pairs are asked for at a time.
const PAIRS: usize = 8192;

/// Row `row` of a batch beside one of the other side, which is there `count` times.
struct Pair {
    row: usize,
    group: u32,
    theirs: Box<[u8]>,
    count: i64,
}

impl JoinOp {
    pub(super) fn push_filtered(
        &mut self,
        filter: &Expr,
        me: usize,
        groups: &[u32],
        rows: &Rows,
        change: &Change,
        out: &mut Out,
    ) -> Result<()> {
        let other = 1 - me;
        let mut degrees = vec![0; groups.len()];
        let mut singles = Output::default();
        let mut pairs = vec![];
        let mut taken = groups.len();
        for (row, group) in groups.iter().enumerate() {
            let group = *group;
            if group == NO_GROUP {
                continue;
            }
            for (theirs, count) in self.rows(other).items.items(group) {
                pairs.push(Pair { row, group, theirs: theirs.into(), count });
            }
            if pairs.len() >= PAIRS {
                out.check()?;
                let pairs = std::mem::take(&mut pairs);
                self.ask(filter, me, pairs, change, &mut degrees, &mut singles, out)?;
            }
            if out.is_full(singles.weights.len()) {
                taken = row + 1;
                out.leave(change.slice(taken, groups.len() - taken));
                break;
            }
        }
        self.ask(filter, me, pairs, change, &mut degrees, &mut singles, out)?;
        for (i, group) in groups.iter().take(taken).enumerate() {
            let (row, weight) = (rows.row(i).data(), change.weight(i));
            self.single(me, row, weight, degrees[i] > 0, &mut singles);
            if *group == NO_GROUP {
                continue;
            }
            let counts = self.shape.counts(me);
            let mine = self.rows_mut(me);
            mine.totals[*group as usize] += weight;
            let (before, after) = mine.items.add(*group, row, weight);
            if counts && (before == 0) != (after == 0) {
                let sign = if after == 0 { -1 } else { 1 };
                mine.degrees.add(*group, row, sign * degrees[i]);
            }
        }
        out.extend(self.finish(singles)?);
        Ok(())
    }

    /// Gives the pairs that pass, and what their being there changes for the other side.
    #[allow(clippy::too_many_arguments)]
    fn ask(
        &mut self,
        filter: &Expr,
        me: usize,
        pairs: Vec<Pair>,
        change: &Change,
        degrees: &mut [i64],
        singles: &mut Output,
        out: &mut Out,
    ) -> Result<()> {
        if pairs.is_empty() {
            return Ok(());
        }
        let other = 1 - me;
        let batch = self.pair_batch(me, &pairs, &change.batch)?;
        let passed = truth(filter, &batch)?;
        let (mut rows, mut weights): (Vec<u32>, Vec<i8>) = (vec![], vec![]);
        for (i, pair) in pairs.iter().enumerate().filter(|(i, _)| passed.value(*i)) {
            let weight = change.weight(pair.row);
            degrees[pair.row] += pair.count;
            if self.shape.pairs {
                let copies = (weight * pair.count).unsigned_abs() as usize;
                rows.extend(std::iter::repeat_n(i as u32, copies));
                weights.extend(std::iter::repeat_n((weight * pair.count).signum() as i8, copies));
            }
            if self.shape.counts(other) {
                let degrees = &mut self.rows_mut(other).degrees;
                let (before, after) = degrees.add(pair.group, &pair.theirs, weight);
                if (before > 0) != (after > 0) {
                    self.single(other, &pair.theirs, -pair.count, before > 0, singles);
                    self.single(other, &pair.theirs, pair.count, after > 0, singles);
                }
            }
        }
        if !rows.is_empty() {
            let rows = UInt32Array::from(rows);
            let columns = batch.columns().iter().map(|c| take(c, &rows, None));
            let columns = columns.collect::<Result<Vec<_>, _>>().map_err(error::arrow)?;
            let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
            let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
                .map_err(error::arrow)?;
            let only_inserts = weights.iter().all(|w| *w > 0);
            let weights = (!only_inserts).then(|| Int8Array::from(weights));
            out.push(Change { batch, weights });
        }
        Ok(())
    }

    fn pair_batch(&self, me: usize, pairs: &[Pair], batch: &RecordBatch) -> Result<RecordBatch> {
        let rows: UInt32Array = pairs.iter().map(|p| p.row as u32).collect();
        let mine = batch.columns().iter().map(|c| take(c, &rows, None).map_err(error::arrow));
        let mine: Vec<ArrayRef> = mine.collect::<Result<_>>()?;
        let theirs = self.sides[1 - me].codec.decode(pairs.iter().map(|p| &*p.theirs))?;
        let columns = match me {
            LEFT => [mine, theirs].concat(),
            _ => [theirs, mine].concat(),
        };
        let options = RecordBatchOptions::new().with_row_count(Some(pairs.len()));
        RecordBatch::try_new_with_options(self.pairs.clone(), columns, &options)
            .map_err(error::arrow)
    }
}
