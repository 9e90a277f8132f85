//! The values of a prepared statement, each as the type of its parameter.

use arrow::datatypes::{DataType, TimeUnit};
use common::{Error, Result};
use datafusion::scalar::ScalarValue;

use crate::query::running::Whole;

/// Each value as the type of its parameter.
pub fn values_for(
    given: Vec<(ScalarValue, sql::Parameter)>,
    whole: &Whole,
) -> Result<Vec<ScalarValue>> {
    let value = |(i, (value, parameter)): (usize, (ScalarValue, sql::Parameter))| {
        let place = whole.place(parameter.span.clone());
        value_of(value, &parameter.data_type)
            .map_err(|e| e.context(format!("parameter ${}", i + 1)).at(place))
    };
    given.into_iter().enumerate().map(value).collect()
}

/// The value as the parameter's type. A decimal keeps all its digits: the column that it is
/// compared with does not round it.
fn value_of(value: ScalarValue, data_type: &DataType) -> Result<ScalarValue> {
    if value.data_type() == *data_type {
        return Ok(value);
    }
    let shown = match &value {
        ScalarValue::Utf8(Some(text)) => format!("'{text}'"),
        other => other.to_string(),
    };
    let read = match (&value, data_type) {
        (ScalarValue::Utf8(Some(text)), DataType::Decimal128(..)) => decimal(text),
        (ScalarValue::Utf8(Some(_)), DataType::Duration(TimeUnit::Microsecond)) => {
            sql::day_time(&value)
        }
        _ => value.cast_to(data_type).ok(),
    };
    read.ok_or_else(|| {
        let name = formats::types::sql_name(data_type);
        Error::invalid(format!("{shown} is not a value of type {name}"))
    })
}

/// `-12.50` or `1.25E+1` with the precision and scale that it is written with.
fn decimal(text: &str) -> Option<ScalarValue> {
    const DIGITS_MAX: i32 = 38;
    let (number, exponent) = match text.trim().split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text.trim(), 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let unscaled = format!("{whole}{fraction}");
    if !fraction.bytes().all(|b| b.is_ascii_digit()) || fraction.len() > DIGITS_MAX as usize {
        return None;
    }
    let mut value: i128 = unscaled.parse().ok()?;
    let mut scale = (fraction.len() as i32).checked_sub(exponent)?;
    if scale < 0 {
        let power = u32::try_from(-scale).ok().filter(|p| *p <= DIGITS_MAX as u32)?;
        value = value.checked_mul(10_i128.pow(power))?;
        scale = 0;
    }
    let digits = value.unsigned_abs().checked_ilog10().map_or(1, |n| n as i32 + 1).max(scale);
    if digits > DIGITS_MAX {
        return None;
    }
    Some(ScalarValue::Decimal128(Some(value), digits as u8, scale as i8))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn decimals_keep_their_digits() {
        let text = |t: &str| ScalarValue::Utf8(Some(t.into()));
        let price = DataType::Decimal128(10, 2);
        for (given, want) in [
            ("2.555", ScalarValue::Decimal128(Some(2555), 4, 3)),
            ("-0.5", ScalarValue::Decimal128(Some(-5), 1, 1)),
            ("0", ScalarValue::Decimal128(Some(0), 1, 0)),
            (".25", ScalarValue::Decimal128(Some(25), 2, 2)),
            ("0.001", ScalarValue::Decimal128(Some(1), 3, 3)),
            ("1E+2", ScalarValue::Decimal128(Some(100), 3, 0)),
            ("1.5e-3", ScalarValue::Decimal128(Some(15), 4, 4)),
        ] {
            assert_eq!(value_of(text(given), &price).unwrap(), want, "{given}");
        }
        for wrong in ["", "NaN", "1e99", "1.-2", "1e", "0x1", "--1"] {
            assert!(value_of(text(wrong), &price).is_err(), "{wrong}");
        }
        let e = value_of(text("many"), &DataType::Int32).unwrap_err();
        assert_eq!(e.message(), "'many' is not a value of type INT");
        let span = DataType::Duration(TimeUnit::Microsecond);
        let us = |us| ScalarValue::DurationMicrosecond(Some(us));
        let days = us(7 * 86_400_000_000 + 3_000_000);
        assert_eq!(value_of(text("7 days 3 seconds"), &span).unwrap(), days);
        assert_eq!(value_of(text("7 days 00:00:03"), &span).unwrap(), days);
        assert_eq!(value_of(text("1 microsecond"), &span).unwrap(), us(1));
        assert!(value_of(text("1 month"), &span).is_err());
        let none = value_of(ScalarValue::Utf8(None), &DataType::Int32).unwrap();
        assert_eq!(none, ScalarValue::Int32(None));
    }
}
