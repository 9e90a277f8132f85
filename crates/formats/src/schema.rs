//! Schemas for data that has none declared: inferred from JSON records, or taken from an Arrow
//! schema such as Parquet's. Used by imports into a topic that does not exist yet.

use std::borrow::Cow;

use arrow::datatypes::{DataType, Field, Schema};
use common::{Error, Result};

use crate::csv::{type_of_text, widen};
use crate::fault::Fault;
use crate::json::Cursor;
use crate::types::{self, platform, sql_name};

/// What is known of a value's type so far.
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    /// Only NULLs.
    Unknown,
    Scalar(DataType),
    Array(Box<Shape>),
    Object(Vec<(String, Shape)>),
}

/// The columns that hold these records, in the order in which they appear. Whole numbers become
/// BIGINT, other numbers DOUBLE, texts that all read as times DATE or TIMESTAMP, mixtures and what
/// was always NULL become TEXT. Records that are no JSON object are left out.
pub fn infer_json(records: &[&[u8]]) -> Vec<(String, DataType)> {
    let mut all = Shape::Unknown;
    for record in records {
        let mut cursor = Cursor::new(record);
        cursor.blanks();
        if cursor.peek() != b'{' || std::str::from_utf8(record).is_err() {
            continue;
        }
        if let Ok(shape) = shape_of(&mut cursor, 0)
            && cursor.end().is_ok()
        {
            all = merge(all, shape);
        }
    }
    match all {
        Shape::Object(members) => members.into_iter().map(|(n, s)| (n, data_type(s))).collect(),
        _ => vec![],
    }
}

/// The platform's columns for an Arrow schema: name, type and whether NULL is allowed.
pub fn from_arrow(schema: &Schema) -> Result<Vec<(String, DataType, bool)>> {
    let column = |field: &std::sync::Arc<Field>| {
        let data_type = platform(field.data_type()).ok_or_else(|| {
            let name = sql_name(field.data_type());
            Error::unsupported(format!("column '{}' has the type {name}", field.name()))
                .hint("leave it out, or cast it where the file is written")
        })?;
        Ok((field.name().clone(), data_type, field.is_nullable()))
    };
    schema.fields().iter().map(column).collect()
}

/// Deeper structures are taken for TEXT.
const DEPTH_MAX: usize = 16;

fn shape_of(cursor: &mut Cursor<'_>, depth: usize) -> Result<Shape, Fault> {
    if depth > DEPTH_MAX {
        cursor.skip()?;
        return Ok(Shape::Scalar(DataType::Utf8));
    }
    let scalar = match cursor.peek() {
        b'{' => return object(cursor, depth),
        b'[' => return array(cursor, depth),
        b'n' => {
            cursor.skip()?;
            return Ok(Shape::Unknown);
        }
        b'"' => match type_of_text(&String::from_utf8_lossy(&cursor.string()?)) {
            found @ (DataType::Date32 | DataType::Timestamp(_, _)) => found,
            _ => DataType::Utf8,
        },
        b't' | b'f' => {
            cursor.skip()?;
            DataType::Boolean
        }
        _ => {
            let number = cursor.number()?;
            let whole = !number.raw.iter().any(|b| matches!(b, b'.' | b'e' | b'E'));
            match (whole && number.to_i64().is_ok(), number.to_decimal(38, 0)) {
                (true, _) => DataType::Int64,
                (false, Ok(_)) if whole => DataType::Decimal128(38, 0),
                _ => DataType::Float64,
            }
        }
    };
    Ok(Shape::Scalar(scalar))
}

fn object(cursor: &mut Cursor<'_>, depth: usize) -> Result<Shape, Fault> {
    let mut members = vec![];
    cursor.at += 1;
    cursor.blanks();
    if cursor.eat(b'}') {
        return Ok(Shape::Object(members));
    }
    loop {
        let name: Cow<'_, [u8]> = cursor.string()?;
        let name = String::from_utf8_lossy(&name).into_owned();
        cursor.colon()?;
        let shape = shape_of(cursor, depth + 1)?;
        members.retain(|(n, _)| *n != name);
        members.push((name, shape));
        cursor.blanks();
        if !cursor.eat(b',') {
            cursor.expect(b'}', "',' or '}'")?;
            return Ok(Shape::Object(members));
        }
        cursor.blanks();
    }
}

fn array(cursor: &mut Cursor<'_>, depth: usize) -> Result<Shape, Fault> {
    let mut item = Shape::Unknown;
    cursor.at += 1;
    cursor.blanks();
    if cursor.eat(b']') {
        return Ok(Shape::Array(Box::new(item)));
    }
    loop {
        item = merge(item, shape_of(cursor, depth + 1)?);
        cursor.blanks();
        if !cursor.eat(b',') {
            cursor.expect(b']', "',' or ']'")?;
            return Ok(Shape::Array(Box::new(item)));
        }
        cursor.blanks();
    }
}

fn merge(a: Shape, b: Shape) -> Shape {
    match (a, b) {
        (Shape::Unknown, other) | (other, Shape::Unknown) => other,
        (Shape::Array(a), Shape::Array(b)) => Shape::Array(Box::new(merge(*a, *b))),
        (Shape::Object(mut a), Shape::Object(b)) => {
            for (name, shape) in b {
                match a.iter_mut().find(|(n, _)| *n == name) {
                    Some((_, known)) => {
                        *known = merge(std::mem::replace(known, Shape::Unknown), shape);
                    }
                    None => a.push((name, shape)),
                }
            }
            Shape::Object(a)
        }
        (Shape::Scalar(a), Shape::Scalar(b)) => Shape::Scalar(widen_numbers(&a, &b)),
        _ => Shape::Scalar(DataType::Utf8),
    }
}

fn widen_numbers(a: &DataType, b: &DataType) -> DataType {
    use DataType::{Decimal128, Float64, Int64};
    match (a, b) {
        (Decimal128(_, _), Int64 | Decimal128(_, _)) | (Int64, Decimal128(_, _)) => {
            Decimal128(38, 0)
        }
        (Decimal128(_, _), Float64) | (Float64, Decimal128(_, _)) => Float64,
        _ => widen(a, b),
    }
}

fn data_type(shape: Shape) -> DataType {
    match shape {
        Shape::Unknown => DataType::Utf8,
        Shape::Scalar(data_type) => data_type,
        Shape::Array(item) => types::array(data_type(*item)),
        Shape::Object(members) if members.is_empty() => types::map(DataType::Utf8),
        Shape::Object(members) => {
            let fields = members.into_iter().map(|(n, s)| Field::new(n, data_type(s), true));
            DataType::Struct(fields.collect::<Vec<_>>().into())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn inferred(records: &[&str]) -> String {
        let records: Vec<&[u8]> = records.iter().map(|r| r.as_bytes()).collect();
        let columns = infer_json(&records);
        let shown: Vec<String> =
            columns.iter().map(|(n, t)| format!("{n} {}", sql_name(t))).collect();
        shown.join(", ")
    }

    #[test]
    fn json_types() {
        for (records, want) in [
            (
                &[r#"{"a":1,"b":"x","c":true}"#, r#"{"d":null,"a":2.5}"#][..],
                "a DOUBLE, b TEXT, c BOOLEAN, d TEXT",
            ),
            (&[r#"{"a":12345678901234567890}"#, r#"{"a":1}"#], "a DECIMAL(38,0)"),
            (&[r#"{"a":"2026-01-01"}"#, r#"{"a":"2026-01-01T00:00:00Z"}"#], "a TIMESTAMP"),
            (&[r#"{"a":"2026-01-01"}"#, r#"{"a":"soon"}"#], "a TEXT"),
            (&[r#"{"a":"17"}"#, r#"{"a":"18"}"#], "a TEXT"),
            (&[r#"{"a":[1,null]}"#, r#"{"a":[]}"#, r#"{"a":[2.5]}"#], "a ARRAY<DOUBLE>"),
            (&[r#"{"a":{"x":1}}"#, r#"{"a":{"y":"z"}}"#], "a STRUCT<x: BIGINT, y: TEXT>"),
            (&["nonsense", "[1]", r#"{"a":1"#, r#"{"b":1}"#], "b BIGINT"),
            (&[r#"{"a":{}}"#, r#"{"a":1}"#], "a TEXT"),
            (&[], ""),
        ] {
            assert_eq!(inferred(records), want, "{records:?}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100), "]".repeat(100));
        assert!(inferred(&[&deep]).ends_with("TEXT>>>>>>>>>>>>>>>>"));
    }

    #[test]
    fn arrow_schemas() {
        use arrow::datatypes::{IntervalUnit, TimeUnit};
        let schema = Schema::new(vec![
            Field::new("id", DataType::UInt64, false),
            Field::new(
                "at",
                DataType::Timestamp(TimeUnit::Nanosecond, Some("+02:00".into())),
                true,
            ),
            Field::new("name", DataType::Utf8View, true),
        ]);
        let columns = from_arrow(&schema).unwrap();
        let shown: Vec<_> = columns.iter().map(|(n, t, _)| (n.as_str(), sql_name(t))).collect();
        assert_eq!(
            shown,
            [("id", "DECIMAL(20,0)"), ("at", "TIMESTAMP"), ("name", "TEXT")]
                .map(|(n, t)| (n, t.into()))
        );
        let odd = Schema::new(vec![Field::new(
            "i",
            DataType::Interval(IntervalUnit::MonthDayNano),
            true,
        )]);
        assert!(from_arrow(&odd).unwrap_err().to_string().contains("column 'i' has the type"));
    }
}
