//! Schemas for data that has none declared: inferred from JSON records or from the fields of
//! delimited text, or taken from an Arrow schema such as Parquet's. What is inferred takes every
//! record it was inferred from: where the decoder still refuses a value, its column becomes TEXT.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use common::{Error, Result};

use crate::fault::{Fault, RefusedKind};
use crate::json::{Cursor, Decoder};
use crate::types::{self, platform, sql_name};
use crate::{text, time};

/// Deeper structures are taken for TEXT.
const DEPTH_MAX: usize = 16;
/// A DOUBLE keeps so many digits of any number.
const DOUBLE_DIGITS: u32 = 17;
/// Whole numbers of more digits may lose some in a DOUBLE.
const DOUBLE_WHOLE_DIGITS: u32 = 15;
/// Digits of a DECIMAL, and of the smallest one that is inferred.
const DECIMAL_DIGITS: u32 = 38;
const DECIMAL_DIGITS_MIN: u32 = 20;

/// What is known of the type of a column's values.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Shape {
    /// Only NULLs.
    #[default]
    Unknown,
    Boolean,
    Number(Digits),
    Date,
    Timestamp,
    /// Also what has no type in common.
    Text,
    /// The type stood somewhere.
    Known(DataType),
    Array(Box<Shape>),
    Object(Vec<(String, Shape)>),
}

/// The numbers of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Digits {
    /// Most digits before and after the point.
    whole: u32,
    scale: u32,
    /// One is no BIGINT.
    beyond_bigint: bool,
    /// One has digits that a DOUBLE does not keep.
    beyond_double: bool,
    /// One is written with an exponent.
    exponent: bool,
}

impl Digits {
    /// Of a number as JSON writes it.
    fn of(raw: &[u8]) -> Digits {
        let digits = raw.strip_prefix(b"-").or(raw.strip_prefix(b"+")).unwrap_or(raw);
        let mantissa = digits.split(|b| matches!(b, b'e' | b'E')).next().unwrap_or_default();
        let mut parts = mantissa.split(|b| *b == b'.');
        let whole = parts.next().unwrap_or_default();
        let fraction = parts.next().unwrap_or_default();
        let leading = whole.iter().take_while(|b| **b == b'0').count();
        let (whole, scale) = ((whole.len() - leading) as u32, fraction.len() as u32);
        let is_bigint = || std::str::from_utf8(raw).is_ok_and(|t| t.parse::<i64>().is_ok());
        let is_whole = !mantissa.contains(&b'.');
        Digits {
            whole,
            scale,
            beyond_bigint: is_whole && whole > 18 && !is_bigint(),
            beyond_double: whole + scale > DOUBLE_DIGITS
                || scale == 0 && whole > DOUBLE_WHOLE_DIGITS,
            exponent: mantissa.len() < digits.len(),
        }
    }

    fn merge(self, other: Digits) -> Digits {
        Digits {
            whole: self.whole.max(other.whole),
            scale: self.scale.max(other.scale),
            beyond_bigint: self.beyond_bigint || other.beyond_bigint,
            beyond_double: self.beyond_double || other.beyond_double,
            exponent: self.exponent || other.exponent,
        }
    }

    fn data_type(self) -> DataType {
        let digits = self.whole + self.scale;
        match self {
            Digits { exponent: true, .. } => DataType::Float64,
            Digits { scale: 0, beyond_bigint: false, .. } => DataType::Int64,
            Digits { beyond_double: false, .. } => DataType::Float64,
            _ if digits <= DECIMAL_DIGITS => {
                let precision = digits.max(DECIMAL_DIGITS_MIN);
                DataType::Decimal128(precision as u8, self.scale as i8)
            }
            _ => DataType::Utf8,
        }
    }
}

impl Shape {
    /// What holds the values of both.
    pub fn merge(self, other: Shape) -> Shape {
        use Shape as S;
        match (self, other) {
            (S::Unknown, other) | (other, S::Unknown) => other,
            (S::Number(a), S::Number(b)) => S::Number(a.merge(b)),
            (S::Date | S::Timestamp, S::Timestamp) | (S::Timestamp, S::Date) => S::Timestamp,
            (S::Array(a), S::Array(b)) => S::Array(Box::new(a.merge(*b))),
            (S::Object(a), S::Object(b)) => S::Object(merge_members(a, b)),
            (a, b) if a == b => a,
            _ => S::Text,
        }
    }

    pub fn data_type(&self) -> DataType {
        match self {
            Shape::Unknown | Shape::Text => DataType::Utf8,
            Shape::Boolean => DataType::Boolean,
            Shape::Number(digits) => digits.data_type(),
            Shape::Date => DataType::Date32,
            Shape::Timestamp => types::timestamp(),
            Shape::Known(data_type) => data_type.clone(),
            Shape::Array(item) => types::array(item.data_type()),
            Shape::Object(members) if members.is_empty() => types::map(DataType::Utf8),
            // As one JSON text nothing is lost.
            Shape::Object(members) if !are_fields(members) => DataType::Utf8,
            Shape::Object(members) => {
                let fields = members.iter().map(|(n, s)| Field::new(n, s.data_type(), true));
                DataType::Struct(fields.collect::<Vec<_>>().into())
            }
        }
    }
}

fn merge_members(mut a: Vec<(String, Shape)>, b: Vec<(String, Shape)>) -> Vec<(String, Shape)> {
    for (name, shape) in b {
        match a.iter_mut().find(|(n, _)| *n == name) {
            Some((_, known)) => *known = std::mem::take(known).merge(shape),
            None => a.push((name, shape)),
        }
    }
    a
}

/// Whether names can be fields of one struct everywhere: in any case, and in the archive.
fn are_fields(members: &[(String, Shape)]) -> bool {
    let mut seen = HashSet::new();
    members.iter().all(|(name, _)| {
        !name.is_empty()
            && !name.contains([' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='])
            && seen.insert(name.to_lowercase())
    })
}

/// The members of these records, in the order in which they appear, with what holds all their
/// values: whole numbers are BIGINT, or DECIMAL where that is too small, others DOUBLE, or DECIMAL
/// where digits would be lost; texts that all read as times DATE or TIMESTAMP; objects STRUCT;
/// mixtures and what was always NULL TEXT. Records that are no JSON object are left out.
pub fn infer_json(records: &[&[u8]]) -> Result<Vec<(String, Shape)>> {
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
            all = all.merge(shape);
        }
    }
    let Shape::Object(mut members) = all else { return Ok(vec![]) };
    // Each turn makes at least one column TEXT, which refuses nothing.
    while let Some(refused) = refused_member(&members, records)? {
        members[refused].1 = Shape::Text;
    }
    Ok(members)
}

/// The first column that refuses one of its values.
fn refused_member(members: &[(String, Shape)], records: &[&[u8]]) -> Result<Option<usize>> {
    let fields = members.iter().map(|(n, s)| Field::new(n, s.data_type(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut decoder = Decoder::new(schema, None)?;
    for some in records.chunks(8_192) {
        for refused in decoder.decode(some)?.refused {
            let Some(path) = refused.column.filter(|_| refused.kind != RefusedKind::Parse) else {
                continue;
            };
            let is_it = |(name, shape): &&(String, Shape)| {
                let rest = path.strip_prefix(name.as_str());
                *shape != Shape::Text && rest.is_some_and(|r| r.is_empty() || r.starts_with('.'))
            };
            let longest = members.iter().filter(is_it).max_by_key(|(name, _)| name.len());
            if let Some((name, _)) = longest {
                return Ok(members.iter().position(|(n, _)| n == name));
            }
        }
    }
    Ok(None)
}

/// The platform's columns for an Arrow schema: name, type and whether NULL is allowed.
pub fn from_arrow(schema: &Schema) -> Result<Vec<(String, DataType, bool)>> {
    let column = |field: &Arc<Field>| {
        let data_type = platform(field.data_type()).ok_or_else(|| {
            let name = sql_name(field.data_type());
            Error::unsupported(format!("column '{}' has the type {name}", field.name()))
                .hint("leave it out, or cast it where the file is written")
        })?;
        Ok((field.name().clone(), data_type, field.is_nullable()))
    };
    schema.fields().iter().map(column).collect()
}

fn shape_of(cursor: &mut Cursor<'_>, depth: usize) -> Result<Shape, Fault> {
    if depth > DEPTH_MAX {
        cursor.skip()?;
        return Ok(Shape::Text);
    }
    Ok(match cursor.peek() {
        b'{' => return object(cursor, depth),
        b'[' => return array(cursor, depth),
        b'n' => {
            cursor.skip()?;
            Shape::Unknown
        }
        b'"' => shape_of_time(&cursor.string()?),
        b't' | b'f' => {
            cursor.skip()?;
            Shape::Boolean
        }
        _ => Shape::Number(Digits::of(cursor.number()?.raw)),
    })
}

fn object(cursor: &mut Cursor<'_>, depth: usize) -> Result<Shape, Fault> {
    let mut members: Vec<(String, Shape)> = vec![];
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
        item = item.merge(shape_of(cursor, depth + 1)?);
        cursor.blanks();
        if !cursor.eat(b',') {
            cursor.expect(b']', "',' or ']'")?;
            return Ok(Shape::Array(Box::new(item)));
        }
        cursor.blanks();
    }
}

fn shape_of_time(text: &[u8]) -> Shape {
    if time::parse_date(text).is_some() {
        return Shape::Date;
    }
    match time::parse_timestamp(text) {
        Some(_) => Shape::Timestamp,
        None => Shape::Text,
    }
}

/// The narrowest of one field of delimited text. What looks like a number but is a code stays
/// text: with a plus, with leading zeros, and `12E5`, which no program writes for a number.
pub fn shape_of_text(text: &str) -> Shape {
    let bytes = text.as_bytes();
    if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
        return Shape::Boolean;
    }
    let Ok(number) = text::number(bytes) else { return shape_of_time(bytes) };
    let digits = text.trim_start_matches('-');
    let zeros = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let exponent = digits.find(['e', 'E']);
    let bare = exponent.is_some_and(|at| {
        !digits[..at].contains('.') && digits[at + 1..].starts_with(|c: char| c.is_ascii_digit())
    });
    let is_code = digits.starts_with('+') || bare || zeros && exponent.is_none_or(|at| at > 1);
    match is_code || exponent.is_some() && number.to_f64().is_err() {
        true => Shape::Text,
        false => Shape::Number(Digits::of(bytes)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn inferred(records: &[&str]) -> String {
        let records: Vec<&[u8]> = records.iter().map(|r| r.as_bytes()).collect();
        let columns = infer_json(&records).unwrap();
        let shown: Vec<String> =
            columns.iter().map(|(n, s)| format!("{n} {}", sql_name(&s.data_type()))).collect();
        shown.join(", ")
    }

    #[test]
    fn json_types() {
        for (records, want) in [
            (
                &[r#"{"a":1,"b":"x","c":true}"#, r#"{"d":null,"a":2.5}"#][..],
                "a DOUBLE, b TEXT, c BOOLEAN, d TEXT",
            ),
            (&[r#"{"a":12345678901234567890}"#, r#"{"a":1}"#], "a DECIMAL(20,0)"),
            (&[r#"{"a":9007199254740993}"#, r#"{"a":-1}"#], "a BIGINT"),
            (&[r#"{"a":9007199254740993}"#, r#"{"a":0.5}"#], "a DECIMAL(20,1)"),
            (&[r#"{"a":0.30000000000000004}"#], "a DOUBLE"),
            (&[r#"{"a":1234567890123456.789}"#], "a DECIMAL(20,3)"),
            (&[r#"{"a":1e3}"#, r#"{"a":123456789012345678901}"#], "a DOUBLE"),
            (&[r#"{"a":1234567890123456789012345678901234567890}"#, r#"{"a":{"b":1}}"#], "a TEXT"),
            (&[r#"{"a":1234567890123456789012345678901234567890}"#], "a TEXT"),
            (&[r#"{"a":1.5}"#, r#"{"a":1e999}"#], "a TEXT"),
            (&[r#"{"a":"2026-01-01"}"#, r#"{"a":"2026-01-01T00:00:00Z"}"#], "a TIMESTAMP"),
            (&[r#"{"a":"2026-01-01"}"#, r#"{"a":"soon"}"#], "a TEXT"),
            (&[r#"{"a":"2026-01-31 10:00:… about"}"#], "a TEXT"),
            (&[r#"{"a":"17"}"#, r#"{"a":"18"}"#], "a TEXT"),
            (&[r#"{"a":[1,null]}"#, r#"{"a":[]}"#, r#"{"a":[2.5]}"#], "a ARRAY<DOUBLE>"),
            (
                &[r#"{"a":[]}"#, r#"{"a":[{"x":1}]}"#, r#"{"a":[{"y":true}]}"#],
                "a ARRAY<STRUCT<x: BIGINT, y: BOOLEAN>>",
            ),
            (&[r#"{"a":{"x":1}}"#, r#"{"a":{"y":"z"}}"#], "a STRUCT<x: BIGINT, y: TEXT>"),
            (&[r#"{"a":{"x y":1}}"#], "a TEXT"),
            (&[r#"{"a":{"x":1,"X":2}}"#], "a TEXT"),
            (&["nonsense", "[1]", r#"{"a":1"#, r#"{"b":1}"#], "b BIGINT"),
            (&[r#"{"a":{}}"#, r#"{"a":1}"#], "a TEXT"),
            (&[r#"{"a.b":1}"#, r#"{"a.b":"x","a":{"b":1}}"#], "a.b TEXT, a STRUCT<b: BIGINT>"),
            (&[], ""),
        ] {
            assert_eq!(inferred(records), want, "{records:?}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100), "]".repeat(100));
        assert!(inferred(&[&deep]).ends_with("TEXT>>>>>>>>>>>>>>>>"));
    }

    #[test]
    fn codes_are_no_numbers() {
        for (texts, want) in [
            (&["1", "-2"][..], "BIGINT"),
            (&["1", "2.5"], "DOUBLE"),
            (&["1.5e3", "2e-5", "1E+9"], "DOUBLE"),
            (&["12E5"], "TEXT"),
            (&["7e10"], "TEXT"),
            (&["+4915112345678"], "TEXT"),
            (&["007"], "TEXT"),
            (&["-07"], "TEXT"),
            (&["0", "0.5"], "DOUBLE"),
            (&["99999999999999999999"], "DECIMAL(20,0)"),
            (&["2026-01-01", "2026-01-01 10:00:00"], "TIMESTAMP"),
            (&["true", "FALSE"], "BOOLEAN"),
            (&["true", "1"], "TEXT"),
        ] {
            let all = texts.iter().map(|t| shape_of_text(t)).reduce(Shape::merge).unwrap();
            assert_eq!(sql_name(&all.data_type()), want, "{texts:?}");
        }
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
