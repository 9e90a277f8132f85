//! Times, intervals and floats as text in the form that `CAST(x AS TEXT)` has on Spark: `2024-02-29
//! 23:59:59.5` without a zone, `1.0E10` as Java writes it. The analyzer puts it in place of
//! Arrow's cast.

use std::sync::Arc;

use chrono::DateTime;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, DurationMicrosecondType, Float32Type, Float64Type, IntervalUnit,
    IntervalYearMonthType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::analyzer::intervals::{day_time_text, year_month_text};

/// Has values of this type another text than Arrow gives them?
pub(crate) fn differs(t: &DataType) -> bool {
    let is_interval = matches!(
        t,
        DataType::Duration(TimeUnit::Microsecond) | DataType::Interval(IntervalUnit::YearMonth)
    );
    is_interval || matches!(t, DataType::Timestamp(..) | DataType::Float32 | DataType::Float64)
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TextOf {
    signature: Signature,
}

impl Default for TextOf {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for TextOf {
    fn name(&self) -> &str {
        "text_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        let inner = args.first().map(crate::words::words).unwrap_or_default();
        Ok(format!("CAST({inner} AS TEXT)"))
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(match args.args.first() {
            Some(ColumnarValue::Array(values)) => ColumnarValue::Array(text(values)?),
            Some(ColumnarValue::Scalar(value)) => {
                let text = text(&value.to_array()?)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&text, 0)?)
            }
            None => return exec_err!("text_of needs a value"),
        })
    }
}

fn text(values: &ArrayRef) -> Result<ArrayRef> {
    let texts: StringArray = match values.data_type() {
        DataType::Float64 => {
            let values = values.as_primitive::<Float64Type>();
            values.iter().map(|v| v.map(double)).collect()
        }
        DataType::Float32 => {
            let values = values.as_primitive::<Float32Type>();
            let one = |v: f32| number(&format!("{v:?}"), &format!("{v:e}"), f64::from(v));
            values.iter().map(|v| v.map(one)).collect()
        }
        DataType::Timestamp(..) => {
            let micros = cast(values, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            let micros = micros.as_primitive::<TimestampMicrosecondType>();
            micros.iter().map(|v| v.and_then(time)).collect()
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            let micros = values.as_primitive::<DurationMicrosecondType>();
            micros.iter().map(|v| v.map(day_time_text)).collect()
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            let months = values.as_primitive::<IntervalYearMonthType>();
            months.iter().map(|v| v.map(year_month_text)).collect()
        }
        _ => return Ok(cast(values, &DataType::Utf8)?),
    };
    Ok(Arc::new(texts))
}

fn double(v: f64) -> String {
    number(&format!("{v:?}"), &format!("{v:e}"), v)
}

/// Java's rule: plain from 0.001 up to ten millions, else with an exponent.
fn number(plain: &str, scientific: &str, v: f64) -> String {
    if v.is_nan() {
        return "NaN".into();
    }
    if v.is_infinite() {
        return if v > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    if v == 0.0 || (1e-3..1e7).contains(&v.abs()) {
        return plain.into();
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    match mantissa.contains('.') {
        true => format!("{mantissa}E{exponent}"),
        false => format!("{mantissa}.0E{exponent}"),
    }
}

/// Seconds with the digits they need.
fn time(micros: i64) -> Option<String> {
    let time = DateTime::from_timestamp_micros(micros)?;
    let seconds = time.format("%Y-%m-%d %H:%M:%S").to_string();
    Some(match time.timestamp_subsec_micros() {
        0 => seconds,
        fraction => format!("{seconds}.{}", format!("{fraction:06}").trim_end_matches('0')),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_java_writes_them() {
        let cases = [
            (1e10, "1.0E10"),
            (2.5, "2.5"),
            (0.001, "0.001"),
            (0.00025, "2.5E-4"),
            (9999999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (-0.0, "-0.0"),
            (f64::NEG_INFINITY, "-Infinity"),
            (-1.25e-7, "-1.25E-7"),
        ];
        for (value, expected) in cases {
            assert_eq!(double(value), expected);
        }
    }

    #[test]
    fn times_without_zone() {
        assert_eq!(time(-1), Some("1969-12-31 23:59:59.999999".into()));
        assert_eq!(time(500_000), Some("1970-01-01 00:00:00.5".into()));
        assert_eq!(time(0), Some("1970-01-01 00:00:00".into()));
    }
}
