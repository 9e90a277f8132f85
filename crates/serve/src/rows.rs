//! Rows of the engine as JSON of the REST contract. `formats` writes the values; here are only the
//! shapes around them. Kept as text, because a parsed JSON number could not hold all digits.

use arrow::array::{Int8Array, RecordBatch};
use arrow::datatypes::Schema;
use common::{Error, Result};
use formats::json::{Shape, write_rows};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Rows written between two looks at how many bytes there are.
const ROWS_AT_ONCE: usize = 256;

/// `[{"name", "type", "nullable"}]`.
pub fn columns(schema: &Schema) -> Value {
    let fields = schema.fields().iter();
    fields
        .map(|f| {
            let kind = formats::types::sql_name(f.data_type());
            json!({ "name": f.name(), "type": kind, "nullable": f.is_nullable() })
        })
        .collect()
}

/// Rows as objects: `[{"a": 1}, …]`.
pub fn objects(batches: &[RecordBatch]) -> Result<Box<RawValue>> {
    list(batches, Shape::Objects)
}

/// Rows as arrays: `[[1], …]`, those that fit into so many bytes, and whether all did.
pub fn arrays(batches: &[RecordBatch], bytes_max: usize) -> Result<(Box<RawValue>, bool)> {
    let mut out = vec![b'['];
    for batch in batches {
        let (mut at, mut step) = (0, ROWS_AT_ONCE);
        while at < batch.num_rows() {
            let n = step.min(batch.num_rows() - at);
            let before = out.len();
            write_rows(&batch.slice(at, n), Shape::Arrays, &mut out)?;
            if out.len() > bytes_max {
                out.truncate(before);
                if n == 1 {
                    return Ok((raw(out)?, false));
                }
                step = n / 2;
            } else {
                at += n;
            }
        }
    }
    Ok((raw(out)?, true))
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
        assert_eq!(
            arrays(std::slice::from_ref(&b), 1_000).unwrap().0.get(),
            "[[9223372036854775807,12345678901234567890.123,\"a\\\"\\n\"],[-1,null,\"é\"]]"
        );
        // As many as fit, and no part of a row.
        let (some, all) = arrays(&[b], 60).unwrap();
        assert_eq!(some.get(), "[[9223372036854775807,12345678901234567890.123,\"a\\\"\\n\"]]");
        assert!(!all);
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
