//! Which rows are late: all their windows ended before the batch of the log came that they are in.
//! Asked once for all branches of a graph that read the topic, and before any of them sees a row,
//! so a row is in the view wholly or not at all; what is left out goes to the dead letters.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int64Type;
use common::{Error, Offset, Result};

use crate::calc::{evaluate, truth};
use crate::job::LateRow;
use crate::watermark::Marks;
use crate::windows::column::micros;
use graph::error;
use graph::{LateRule, Source};

/// The end of the window of each late row, by row number.
pub(crate) type LateRows = BTreeMap<usize, i64>;

/// Adds the rows of `batch` (in the schema of `source`) that are late.
pub(crate) fn find(
    source: &Source,
    batch: &RecordBatch,
    marks: &Marks,
    late: &mut LateRows,
) -> Result<()> {
    let mut before = None;
    for rule in &source.late {
        if !rule.direct {
            check(rule, batch, None, marks, late)?;
            continue;
        }
        let rows = match &before {
            Some(rows) => rows,
            None => before.insert(rows_before(source, batch, marks)?),
        };
        if !rows.is_empty() {
            let some = take_record_batch(batch, rows).map_err(error::arrow)?;
            check(rule, &some, Some(rows), marks, late)?;
        }
    }
    Ok(())
}

/// Rows older than the watermark: in order they are none, and nothing else has to be looked at.
fn rows_before(source: &Source, batch: &RecordBatch, marks: &Marks) -> Result<UInt64Array> {
    let column = source.watermark.as_ref().and_then(|w| batch.column_by_name(&w.column));
    let Some(column) = column else {
        return Err(Error::internal("a source with windows lacks its event time"));
    };
    let times = micros(column)?;
    let rows = marks.rows().zip(times.iter()).enumerate();
    let old = rows.filter(|(_, (mark, time))| time.is_some() && *time < *mark);
    Ok(UInt64Array::from_iter_values(old.map(|(i, _)| i as u64)))
}

/// Evaluates a rule on rows, whether they are late or not.
pub(crate) fn probe(rule: &LateRule, batch: &RecordBatch) -> Result<()> {
    evaluate(&rule.window, batch)?;
    rule.predicate.iter().try_for_each(|p| truth(p, batch).map(|_| ()))
}

fn check(
    rule: &LateRule,
    batch: &RecordBatch,
    rows: Option<&UInt64Array>,
    marks: &Marks,
    late: &mut LateRows,
) -> Result<()> {
    let windows = evaluate(&rule.window, batch)?;
    let Some(window) = windows.as_struct_opt() else {
        return Err(Error::internal("a window is not a struct"));
    };
    let ends = micros(window.column(1))?;
    let counts: Option<BooleanArray> = match &rule.predicate {
        None => None,
        Some(predicate) => Some(truth(predicate, batch)?),
    };
    for i in 0..batch.num_rows() {
        if window.is_null(i) || ends.is_null(i) {
            continue;
        }
        let end = ends.value(i).saturating_add(rule.further_us);
        let row = rows.map_or(i, |r| r.value(i) as usize);
        if Some(end) <= marks.at(row) && counts.as_ref().is_none_or(|c| c.value(i)) {
            late.entry(row).and_modify(|e| *e = end.max(*e)).or_insert(end);
        }
    }
    Ok(())
}

/// The batch without its late rows, which are in their order.
pub(crate) fn without(batch: &RecordBatch, late: &[LateRow]) -> Result<RecordBatch> {
    let mut keep = vec![true; batch.num_rows()];
    for row in late {
        keep[row.row] = false;
    }
    arrow::compute::filter_record_batch(batch, &BooleanArray::from(keep)).map_err(error::arrow)
}

/// The log position of a row.
pub(crate) fn offset(batch: &RecordBatch, row: usize) -> Result<Offset> {
    let column = batch.column_by_name("_offset");
    match column.and_then(|c| c.as_primitive_opt::<Int64Type>()) {
        Some(offsets) => Ok(Offset(offsets.value(row))),
        None => Err(Error::internal("a batch from a topic lacks its column '_offset'")),
    }
}
