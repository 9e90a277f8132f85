//! Values of `$1`, `$2`, … as clients send them: text, or binary in the form of the type that was
//! agreed. Texts go on as texts: the engine reads them as the type that the parameter has.

use common::Error;
use datafusion::arrow::datatypes::{DataType, Field, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use datafusion::scalar::ScalarValue;
use datafusion_postgres::pgwire::api::Type;
use datafusion_postgres::pgwire::api::portal::{Format, Portal};
use datafusion_postgres::pgwire::error::PgWireResult;

use engine::Prepared;
use formats::types::{array, timestamp, timestamp_ntz};
use postgres_types::Kind;

use crate::errors::{fault, refused};
use crate::{numeric, rows};

/// Days and microseconds from 1970 to 2000, where Postgres' time begins.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_US: i64 = 946_684_800_000_000;

/// What a type that a client declares is here; none where the client leaves it to us.
pub fn declared(kind: &Type) -> Option<DataType> {
    Some(match *kind {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 | Type::OID => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        // The value brings its own precision and scale.
        Type::NUMERIC => DataType::Decimal128(38, 18),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR => DataType::Utf8,
        Type::UUID | Type::JSON | Type::JSONB => DataType::Utf8,
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIMESTAMP => timestamp_ntz(),
        Type::TIMESTAMPTZ => timestamp(),
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => match kind.kind() {
            Kind::Array(item) => array(declared(item)?),
            _ => return None,
        },
    })
}

/// The type a client is told to send.
pub fn wire_type(data_type: &DataType) -> Type {
    rows::pg_type(&Field::new("", data_type.clone(), true).into())
}

/// The values of a portal, for the statement it was bound to.
pub fn values<S: Clone>(portal: &Portal<S>, prepared: &Prepared) -> PgWireResult<Vec<ScalarValue>> {
    let sent = portal.parameters.len();
    if let Format::Individual(codes) = &portal.parameter_format
        && codes.len() != sent
    {
        return Err(fault("08P01", format!("{} parameter formats for {sent}", codes.len())));
    }
    let types = prepared.parameters();
    let values = types.zip(&portal.parameters).enumerate().map(|(i, (data_type, bytes))| {
        let declared = portal.statement.parameter_types.get(i).cloned().flatten();
        let kind = declared.filter(|t| *t != Type::UNKNOWN).unwrap_or_else(|| wire_type(data_type));
        let Some(bytes) = bytes else {
            return ScalarValue::try_from(data_type)
                .map_err(|e| refused(&Error::internal(e.to_string()), None));
        };
        let value = match portal.parameter_format.is_binary(i) {
            true => binary(&kind, bytes),
            false => std::str::from_utf8(bytes).ok().and_then(|t| text(&kind, t)),
        };
        value.ok_or_else(|| {
            fault("22P03", format!("parameter ${} is not a value of type {}", i + 1, kind.name()))
        })
    });
    let values: Vec<ScalarValue> = values.collect::<PgWireResult<_>>()?;
    if values.len() != sent || values.len() != prepared.parameters().count() {
        let want = prepared.parameters().count();
        return Err(fault("08P01", format!("{want} parameters are needed, {sent} were sent")));
    }
    Ok(values)
}

fn text(kind: &Type, text: &str) -> Option<ScalarValue> {
    if *kind == Type::BYTEA {
        let bytes = match text.strip_prefix("\\x") {
            Some(digits) => hex(digits)?,
            None => text.as_bytes().to_vec(),
        };
        return Some(ScalarValue::Binary(Some(bytes)));
    }
    if let Kind::Array(item) = kind.kind() {
        let items = items(text)?;
        let items = items.into_iter().map(|i| match i {
            Some(i) => self::text(item, &i),
            None => Some(ScalarValue::Utf8(None)),
        });
        return Some(list(&items.collect::<Option<Vec<_>>>()?));
    }
    Some(ScalarValue::Utf8(Some(text.to_string())))
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2).map(|i| digits.get(i..i + 2));
    pairs.map(|p| u8::from_str_radix(p?, 16).ok()).collect()
}

/// `{a,"b,c",NULL}`, of one dimension.
fn items(text: &str) -> Option<Vec<Option<String>>> {
    let inside = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = vec![];
    let mut chars = inside.chars().peekable();
    while chars.peek().is_some() {
        let mut item = String::new();
        let mut plain = true;
        while let Some(c) = chars.next_if(|c| *c != ',') {
            match c {
                '"' => {
                    plain = false;
                    loop {
                        match chars.next()? {
                            '"' => break,
                            '\\' => item.push(chars.next()?),
                            c => item.push(c),
                        }
                    }
                }
                '\\' => item.push(chars.next()?),
                '{' | '}' => return None,
                c => item.push(c),
            }
        }
        let null = plain && item.eq_ignore_ascii_case("null");
        items.push((!null).then_some(item));
        if chars.next().is_some() && chars.peek().is_none() {
            return None; // a comma with nothing behind it
        }
    }
    Some(items)
}

fn list(items: &[ScalarValue]) -> ScalarValue {
    let known = items.iter().find(|i| !i.is_null()).or(items.first());
    let item = known.map_or(DataType::Utf8, ScalarValue::data_type);
    // NULLs take the type of the others.
    let items: Vec<ScalarValue> = items
        .iter()
        .map(|i| match i.is_null() {
            true => ScalarValue::try_from(&item).unwrap_or(ScalarValue::Null),
            false => i.clone(),
        })
        .collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&items, &item))
}

fn number<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn binary(kind: &Type, bytes: &[u8]) -> Option<ScalarValue> {
    use ScalarValue as V;
    let of_text = |bytes: &[u8]| Some(V::Utf8(Some(String::from_utf8(bytes.to_vec()).ok()?)));
    Some(match *kind {
        Type::BOOL => V::Boolean(Some(number::<1>(bytes)? != [0])),
        Type::INT2 => V::Int16(Some(i16::from_be_bytes(number(bytes)?))),
        Type::INT4 => V::Int32(Some(i32::from_be_bytes(number(bytes)?))),
        Type::INT8 => V::Int64(Some(i64::from_be_bytes(number(bytes)?))),
        Type::OID => V::Int64(Some(u32::from_be_bytes(number(bytes)?).into())),
        Type::FLOAT4 => V::Float32(Some(f32::from_be_bytes(number(bytes)?))),
        Type::FLOAT8 => V::Float64(Some(f64::from_be_bytes(number(bytes)?))),
        Type::NUMERIC => V::Utf8(Some(numeric::decode(bytes)?)),
        Type::BYTEA => V::Binary(Some(bytes.to_vec())),
        Type::DATE => V::Date32(i32::from_be_bytes(number(bytes)?).checked_add(EPOCH_DAYS)),
        Type::TIMESTAMP => V::TimestampMicrosecond(Some(micros(bytes)?), None),
        Type::TIMESTAMPTZ => V::TimestampMicrosecond(Some(micros(bytes)?), Some("UTC".into())),
        Type::TIME => V::Time64Microsecond(Some(i64::from_be_bytes(number(bytes)?))),
        Type::INTERVAL => interval(bytes)?,
        Type::UUID => {
            let b = number::<16>(bytes)?;
            V::Utf8(Some(uuid::Uuid::from_bytes(b).to_string()))
        }
        Type::JSONB => of_text(bytes.strip_prefix(&[1])?)?,
        _ => match kind.kind() {
            Kind::Array(item) => binary_array(item, bytes)?,
            _ => of_text(bytes)?,
        },
    })
}

fn micros(bytes: &[u8]) -> Option<i64> {
    i64::from_be_bytes(number(bytes)?).checked_add(EPOCH_US)
}

fn interval(bytes: &[u8]) -> Option<ScalarValue> {
    let us = i64::from_be_bytes(number(bytes.get(..8)?)?);
    let days = i32::from_be_bytes(number(bytes.get(8..12)?)?);
    let months = i32::from_be_bytes(number(bytes.get(12..)?)?);
    if months == 0 {
        let us = i64::from(days).checked_mul(86_400_000_000)?.checked_add(us)?;
        return Some(ScalarValue::DurationMicrosecond(Some(us)));
    }
    let value = IntervalMonthDayNano::new(months, days, us.checked_mul(1_000)?);
    Some(ScalarValue::IntervalMonthDayNano(Some(value)))
}

/// Dimensions, a flag, the type of the items, then size and lower bound and the items.
fn binary_array(item: &Type, bytes: &[u8]) -> Option<ScalarValue> {
    let dimensions = i32::from_be_bytes(number(bytes.get(..4)?)?);
    if dimensions == 0 {
        return Some(list(&[]));
    }
    if dimensions != 1 {
        return None;
    }
    let mut rest = bytes.get(20..)?;
    let count = usize::try_from(i32::from_be_bytes(number(bytes.get(12..16)?)?)).ok()?;
    let mut items = vec![];
    while !rest.is_empty() {
        let length = i32::from_be_bytes(number(rest.get(..4)?)?);
        rest = rest.get(4..)?;
        let Ok(length) = usize::try_from(length) else {
            items.push(ScalarValue::Utf8(None));
            continue;
        };
        items.push(binary(item, rest.get(..length)?)?);
        rest = rest.get(length..)?;
    }
    (items.len() == count).then(|| list(&items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_values() {
        use ScalarValue as V;
        let text = |t: &str| V::Utf8(Some(t.into()));
        let day_ms = 86_400_000_000_i64;
        let cases: Vec<(Type, Vec<u8>, V)> = vec![
            (Type::BOOL, vec![1], V::Boolean(Some(true))),
            (Type::INT2, vec![0xff, 0xfe], V::Int16(Some(-2))),
            (Type::OID, vec![0xff; 4], V::Int64(Some(4_294_967_295))),
            (Type::FLOAT8, 1.5_f64.to_be_bytes().to_vec(), V::Float64(Some(1.5))),
            (Type::NUMERIC, numeric::encode("-1.20"), text("-1.20")),
            (Type::DATE, vec![0, 0, 0, 1], V::Date32(Some(10_958))),
            (
                Type::TIMESTAMPTZ,
                day_ms.to_be_bytes().to_vec(),
                V::TimestampMicrosecond(Some(946_771_200_000_000), Some("UTC".into())),
            ),
            (Type::JSONB, b"\x01{}".to_vec(), text("{}")),
            (Type::UUID, vec![0x11; 16], text("11111111-1111-1111-1111-111111111111")),
        ];
        for (kind, bytes, want) in cases {
            assert_eq!(binary(&kind, &bytes), Some(want), "{kind}");
        }
        for (kind, bytes) in [(Type::INT4, vec![0; 3]), (Type::TEXT, vec![0xff])] {
            assert_eq!(binary(&kind, &bytes), None, "{kind}");
        }
    }

    #[test]
    fn arrays_and_bytes() {
        let one = |n: i32| [&[0, 0, 0, 4][..], &n.to_be_bytes()].concat();
        let head = [1_i32, 1, 23, 3, 1].map(i32::to_be_bytes).concat();
        let null = (-1_i32).to_be_bytes().to_vec();
        let bytes = [head, one(7), null, one(8)].concat();
        let want = [Some(7), None, Some(8)].map(ScalarValue::Int32);
        let want = ScalarValue::List(ScalarValue::new_list_nullable(&want, &DataType::Int32));
        assert_eq!(binary(&Type::INT4_ARRAY, &bytes), Some(want));
        assert_eq!(binary(&Type::INT4_ARRAY, &bytes[..30]), None);

        let own = |t: &str| Some(t.to_string());
        for (text, want) in [
            ("{}", Some(vec![])),
            ("{a,\"b,\\\"c\",NULL}", Some(vec![own("a"), own("b,\"c"), None])),
            ("{\"null\"}", Some(vec![own("null")])),
            ("{a,}", None),
            ("{{a}}", None),
            ("a", None),
        ] {
            assert_eq!(items(text), want, "{text}");
        }
        let bytes = ScalarValue::Binary(Some(vec![0, 255]));
        assert_eq!(text(&Type::BYTEA, "\\x00fF"), Some(bytes));
        assert_eq!(text(&Type::BYTEA, "\\x0é"), None);
    }
}
