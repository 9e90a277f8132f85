//! Values written as plain text, as in CSV fields: the same types and reasons as JSON, but numbers
//! and booleans are text by nature here. Also base64 and the rule for timestamps, used by both.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::column::{Column, Values};
use crate::fault::{Fault, RefusedKind, shorten, with_article};
use crate::json::push_text_json;
use crate::number::{self, Misfit, Number};
use crate::time::{self, Zone};
use crate::types::sql_name;

/// Written with padding, read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The unit of a number for a timestamp shows in its size: from 1973 to 5138 seconds, milliseconds,
/// microseconds and nanoseconds since 1970 have no number in common.
const SECONDS: std::ops::Range<u64> = 100_000_000..100_000_000_000;

pub(crate) fn base64_into(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    BASE64.decode_vec(text, out).ok()
}

pub(crate) fn base64_text(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// A timestamp's text, or a remark on it.
#[inline]
pub(crate) fn timestamp_of(text: &[u8], zoned: bool) -> Result<i64, &'static str> {
    match time::parse_timestamp(text) {
        Some((_, Zone::Offset)) if !zoned => Err(", which has an offset from UTC"),
        Some((us, _)) => Ok(us),
        None => number(text).and_then(epoch),
    }
}

/// A timestamp as a number: seconds, with a fraction if they have one, milliseconds, microseconds
/// or nanoseconds since 1970.
pub(crate) fn epoch(number: Number<'_>) -> Result<i64, &'static str> {
    let n = match number.to_i64() {
        Ok(n) => n,
        Err(Misfit::NotWhole) => return seconds(number.to_f64().map_err(Misfit::note)?),
        Err(misfit) => return Err(misfit.note()),
    };
    let (size, end) = (n.unsigned_abs(), SECONDS.end);
    match size {
        _ if size < SECONDS.start => Err(TOO_SMALL),
        _ if size < end => Ok(n * 1_000_000),
        _ if size < end * 1_000 => Ok(n * 1_000),
        _ if size < end * 1_000_000 => Ok(n),
        _ => Ok(n.div_euclid(1_000)),
    }
}

const TOO_SMALL: &str =
    ", which is too small for seconds since 1970; times before 1973 have to be text";

/// To the microsecond, which is what a double of this size has.
fn seconds(n: f64) -> Result<i64, &'static str> {
    match n.abs() {
        size if size < SECONDS.start as f64 => Err(TOO_SMALL),
        size if size < SECONDS.end as f64 => Ok((n * 1e6).round() as i64),
        _ => Err(", which has a fraction and is too large for seconds"),
    }
}

/// Pushes a field. `quoted` tells an empty text from nothing.
pub(crate) fn push(column: &mut Column, field: &str, quoted: bool) -> Result<(), Fault> {
    let is_text = matches!(column.values, Values::Text(_));
    let value = if is_text { field } else { field.trim_ascii() };
    if value.is_empty() && !quoted {
        return column.push_missing(true);
    }
    if let Values::List { .. } | Values::Struct(_) | Values::Map { .. } = column.values {
        return push_text_json(column, value.as_bytes());
    }
    match push_scalar(&mut column.values, value) {
        Ok(()) => {
            column.nulls.append_non_null();
            Ok(())
        }
        Err(note) => {
            let wanted = with_article(&sql_name(&column.data_type));
            let got = shorten(field);
            let reason = format!("expected {wanted}, got the text '{got}'{note}");
            Err(Fault::new(RefusedKind::Type, reason))
        }
    }
}

fn push_scalar(values: &mut Values, text: &str) -> Result<(), &'static str> {
    let bytes = text.as_bytes();
    match values {
        Values::Text(strings) => strings.push(bytes),
        Values::Boolean(v) => v.append(boolean(text).ok_or("")?),
        Values::Int8(v) => v.push(small(number(bytes)?)?),
        Values::Int16(v) => v.push(small(number(bytes)?)?),
        Values::Int32(v) => v.push(small(number(bytes)?)?),
        Values::Int64(v) => v.push(number(bytes)?.to_i64().map_err(Misfit::note)?),
        Values::Float32(v) => v.push(number(bytes)?.to_f32().map_err(Misfit::note)?),
        Values::Float64(v) => v.push(number(bytes)?.to_f64().map_err(Misfit::note)?),
        Values::Decimal { values, precision, scale } => {
            let value = number(bytes)?.to_decimal(*precision, *scale);
            values.push(value.map_err(Misfit::note)?);
        }
        Values::Date(v) => v.push(time::parse_date(bytes).ok_or("")?),
        Values::Timestamp { values, zoned } => values.push(match number(bytes) {
            Ok(number) => epoch(number)?,
            Err(_) => timestamp_of(bytes, *zoned)?,
        }),
        Values::Binary(strings) => {
            base64_into(bytes, &mut strings.bytes).ok_or("")?;
            strings.close();
        }
        Values::List { .. } | Values::Struct(_) | Values::Map { .. } => return Err(""),
    }
    Ok(())
}

/// The whole text as a number.
pub(crate) fn number(bytes: &[u8]) -> Result<Number<'_>, &'static str> {
    match number::scan(bytes, true) {
        Ok(number) if number.raw.len() == bytes.len() => Ok(number),
        _ => Err(""),
    }
}

fn small<T: TryFrom<i64>>(number: Number<'_>) -> Result<T, &'static str> {
    let value = number.to_i64().map_err(Misfit::note)?;
    T::try_from(value).map_err(|_| Misfit::TooLarge.note())
}

fn boolean(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|w| text.eq_ignore_ascii_case(w));
    match () {
        () if is(&["true", "t", "yes", "y", "1"]) => Some(true),
        () if is(&["false", "f", "no", "n", "0"]) => Some(false),
        () => None,
    }
}
