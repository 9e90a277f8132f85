//! Rows of the engine as JSON of the REST contract. `formats` writes the values; here are only the
//! shapes around them. Kept as text, because a parsed JSON number could not hold all digits.

use arrow::array::{Int8Array, RecordBatch};
use common::{Error, Result};
use formats::json::{Shape, write_rows};
use serde_json::value::RawValue;

/// Rows written between two looks at how many bytes there are.
const ROWS_AT_ONCE: usize = 256;

/// Rows as objects: `[{"a": 1}, …]`.
pub fn objects(batches: &[RecordBatch]) -> Result<Box<RawValue>> {
    list(batches, Shape::Objects)
}

/// Rows as arrays: `[[1], …]`, as many as there is room for.
pub struct Arrays {
    out: Vec<u8>,
    bytes_max: usize,
    rows_left: usize,
}

impl Arrays {
    pub fn new(bytes_max: usize, rows_max: usize) -> Arrays {
        Arrays { out: vec![b'['], bytes_max, rows_left: rows_max }
    }

    /// False once a row did not fit.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<bool> {
        let end = batch.num_rows().min(self.rows_left);
        let (mut at, mut step) = (0, ROWS_AT_ONCE);
        while at < end {
            let n = step.min(end - at);
            let before = self.out.len();
            write_rows(&batch.slice(at, n), Shape::Arrays, &mut self.out)?;
            if self.out.len() <= self.bytes_max {
                at += n;
                continue;
            }
            self.out.truncate(before);
            if n == 1 {
                return Ok(false);
            }
            step = n / 2;
        }
        self.rows_left -= end;
        Ok(end == batch.num_rows())
    }

    pub fn finish(self) -> Result<Box<RawValue>> {
        raw(self.out)
    }
}

/// Rows as objects, commas between them, after what `out` has.
pub fn write_objects(batches: &[RecordBatch], out: &mut Vec<u8>) -> Result<()> {
    let mut rows = vec![];
    for batch in batches {
        write_rows(batch, Shape::Objects, &mut rows)?;
    }
    out.append(&mut rows);
    Ok(())
}

fn list(batches: &[RecordBatch], shape: Shape) -> Result<Box<RawValue>> {
    let mut out = vec![b'['];
    for batch in batches {
        write_rows(batch, shape, &mut out)?;
    }
    raw(out)
}

/// Changes: `[{"op": "+", "row": {…}}, …]`, one for each unit of weight.
pub fn changes<'a>(
    parts: impl IntoIterator<Item = (&'a RecordBatch, Option<&'a Int8Array>)>,
) -> Result<Box<RawValue>> {
    let mut out = vec![b'['];
    for (batch, weights) in parts {
        for row in 0..batch.num_rows() {
            let weight = weights.map_or(1, |w| w.value(row));
            let mut object = vec![b'['];
            write_rows(&batch.slice(row, 1), Shape::Objects, &mut object)?;
            for _ in 0..weight.unsigned_abs() {
                if out.len() > 1 {
                    out.push(b',');
                }
                let op = if weight > 0 { '+' } else { '-' };
                out.extend_from_slice(format!("{{\"op\":\"{op}\",\"row\":").as_bytes());
                out.extend_from_slice(&object[1..]);
                out.push(b'}');
            }
        }
    }
    raw(out)
}

fn raw(mut out: Vec<u8>) -> Result<Box<RawValue>> {
    out.push(b']');
    String::from_utf8(out).map_err(|e| Error::internal(format!("rows as JSON: {e}"))).and_then(
        |text| {
            RawValue::from_string(text).map_err(|e| Error::internal(format!("rows as JSON: {e}")))
        },
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, Decimal128Array, Int64Array, StructArray};
    use arrow::array::{StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, Fields};

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
            .unwrap()
    }

    #[test]
    fn values_keep_their_digits() {
        let decimals = Decimal128Array::from(vec![Some(12_345_678_901_234_567_890_123), None]);
        let b = batch(vec![
            ("n", Arc::new(Int64Array::from(vec![i64::MAX, -1]))),
            ("d", Arc::new(decimals.with_precision_and_scale(30, 3).unwrap())),
            ("s", Arc::new(StringArray::from(vec!["a\"\n", "é"]))),
        ]);
        let arrays = |bytes_max, rows_max| {
            let mut arrays = Arrays::new(bytes_max, rows_max);
            let all = arrays.push(&b).unwrap();
            (arrays.finish().unwrap(), all)
        };
        assert_eq!(
            arrays(1_000, 10).0.get(),
            "[[9223372036854775807,12345678901234567890.123,\"a\\\"\\n\"],[-1,null,\"é\"]]"
        );
        // As many as fit, and no part of a row.
        for (some, all) in [arrays(60, 10), arrays(1_000, 1)] {
            assert_eq!(some.get(), "[[9223372036854775807,12345678901234567890.123,\"a\\\"\\n\"]]");
            assert!(!all);
        }
        assert!(arrays(1_000, 2).1);
    }

    #[test]
    fn windows_are_objects() {
        let at = |us: i64| {
            Arc::new(TimestampMicrosecondArray::from(vec![us]).with_timezone("UTC")) as ArrayRef
        };
        let t = at(0).data_type().clone();
        let fields =
            Fields::from(vec![Field::new("start", t.clone(), true), Field::new("end", t, true)]);
        let window = StructArray::new(fields, vec![at(0), at(60_000_000)], None);
        let b = batch(vec![("w", Arc::new(window))]);
        assert_eq!(
            objects(std::slice::from_ref(&b)).unwrap().get(),
            "[{\"w\":{\"start\":\"1970-01-01T00:00:00Z\",\"end\":\"1970-01-01T00:01:00Z\"}}]"
        );
    }

    #[test]
    fn changes_show_their_sign() {
        let b = batch(vec![("n", Arc::new(Int64Array::from(vec![1, 2])))]);
        let weights = Int8Array::from(vec![-1, 2]);
        assert_eq!(
            changes([(&b, Some(&weights))]).unwrap().get(),
            "[{\"op\":\"-\",\"row\":{\"n\":1}},{\"op\":\"+\",\"row\":{\"n\":2}},\
             {\"op\":\"+\",\"row\":{\"n\":2}}]"
        );
        assert_eq!(objects(&[]).unwrap().get(), "[]");
    }
}
