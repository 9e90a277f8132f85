//! Rows that a view leaves out become dead letters, with the bytes they came as: those that are
//! late, and (see `uncomputable.rs`) those that its query can't compute.

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Schema;
use bytes::Bytes;
use common::{Error, Offset, Result};
use stream::LateRow;

use crate::topics::dead_letters::DeadLetter;
use crate::topics::rows::for_each_record;

/// So many late rows end an epoch: they wait in memory for its commit.
pub const LATE_MAX: usize = 10_000;

/// Letters of rows that were late for `view`; `raw` has one value for each.
pub fn letters(view: &str, now_us: i64, late: Vec<LateRow>, raw: Vec<Vec<u8>>) -> Vec<DeadLetter> {
    let letter = |(row, raw): (LateRow, Vec<u8>)| DeadLetter {
        at: now_us,
        topic: row.topic,
        view: Some(view.to_string()),
        partition: Some(row.partition.0),
        offset: Some(row.offset.0),
        kind: "late".into(),
        reason: format!(
            "its window ended at {}, the watermark was {}",
            crate::stores::text::rfc3339(row.window_end_us),
            crate::stores::text::rfc3339(row.watermark_us)
        ),
        raw,
        ..DeadLetter::default()
    };
    late.into_iter().zip(raw).map(letter).collect()
}

/// The values of the records at these offsets, which ascend, in the batches they were read from.
pub fn raw_of_log(batches: &[Bytes], offsets: &[Offset]) -> Result<Vec<Vec<u8>>> {
    let mut raw = Vec::with_capacity(offsets.len());
    for_each_record(batches, |record| {
        if offsets.get(raw.len()) == Some(&record.offset) {
            raw.push(record.value.unwrap_or_default().to_vec());
        }
    })?;
    if raw.len() != offsets.len() {
        return Err(Error::internal("rows left out are not among the records they were read from"));
    }
    Ok(raw)
}

/// These rows as JSON, for what came from the archive, which keeps columns and not bytes.
pub fn raw_of_archive(
    declared: &Schema,
    rows: &RecordBatch,
    numbers: &[usize],
) -> Result<Vec<Vec<u8>>> {
    let bad = |e: arrow::error::ArrowError| Error::internal(format!("rows left out as JSON: {e}"));
    let declared: Vec<usize> =
        declared.fields().iter().filter_map(|f| rows.schema().index_of(f.name()).ok()).collect();
    let numbers = UInt64Array::from_iter_values(numbers.iter().map(|n| *n as u64));
    let some =
        rows.project(&declared).and_then(|r| take_record_batch(&r, &numbers)).map_err(bad)?;
    let mut text = vec![];
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut text);
    writer.write(&some).and_then(|()| writer.finish()).map_err(bad)?;
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    Ok(lines.map(<[u8]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};

    #[test]
    fn of_the_log_are_the_bytes_as_they_came() {
        let mut builder = log::BatchBuilder::new(0);
        for value in ["{\"a\":1}", "{\"a\": 2}", "{\"a\":3}"] {
            builder.push(0, None, Some(value.as_bytes()), &[]);
        }
        let batches = [builder.build()];
        let raw = raw_of_log(&batches, &[Offset(1), Offset(2)]).unwrap();
        assert_eq!(raw, [b"{\"a\": 2}".to_vec(), b"{\"a\":3}".to_vec()]);
        assert!(raw_of_log(&batches, &[Offset(7)]).is_err());
    }

    #[test]
    fn of_the_archive_are_the_declared_columns() {
        let a: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let b: ArrayRef = Arc::new(StringArray::from(vec![Some("x\ny"), None]));
        let rows = RecordBatch::try_from_iter([("a", a.clone()), ("b", b), ("_o", a)]).unwrap();
        let declared = Schema::new(rows.schema().fields()[..2].to_vec());
        let raw = raw_of_archive(&declared, &rows, &[0, 1]).unwrap();
        assert_eq!(raw, [br#"{"a":1,"b":"x\ny"}"#.to_vec(), br#"{"a":2}"#.to_vec()]);
    }
}
