//! `__significant(x, digits)`: a number with so many significant decimal digits, the rest rounded
//! half away from zero. Approximate percentiles are exact ones over these: there are few such
//! values however many rows come, and each is at most half a digit from the value it stands for.
//! What is no number stays what it is.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

pub(crate) const SIGNIFICANT: &str = "__significant";

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Significant {
    signature: Signature,
}

impl Default for Significant {
    fn default() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Significant {
    fn name(&self) -> &str {
        SIGNIFICANT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        args.first().cloned().map_or_else(|| plan_err!("{SIGNIFICANT} takes a value"), Ok)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [values, ColumnarValue::Scalar(digits)] = args.args.as_slice() else {
            return exec_err!("the number of digits is a literal");
        };
        let ScalarValue::Int64(Some(digits)) = digits.cast_to(&DataType::Int64)? else {
            return exec_err!("the number of digits is not NULL");
        };
        let digits = digits.clamp(1, 15) as u32;
        let values = values.to_array(args.number_rows)?;
        let int = |v: i64| integer(v.into(), digits);
        let rounded: ArrayRef = match values.data_type() {
            DataType::Float64 => {
                let round = |v| float(v, digits as i32);
                Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(round))
            }
            DataType::Float32 => {
                let round = |v| float(f64::from(v), digits as i32) as f32;
                Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(round))
            }
            // Near its ends a type has no room to round up: the value stays.
            DataType::Int64 => {
                let round = |v| i64::try_from(int(v)).unwrap_or(v);
                Arc::new(values.as_primitive::<Int64Type>().unary::<_, Int64Type>(round))
            }
            DataType::Int32 => {
                let round = |v| i32::try_from(int(i64::from(v))).unwrap_or(v);
                Arc::new(values.as_primitive::<Int32Type>().unary::<_, Int32Type>(round))
            }
            DataType::Int16 => {
                let round = |v| i16::try_from(int(i64::from(v))).unwrap_or(v);
                Arc::new(values.as_primitive::<Int16Type>().unary::<_, Int16Type>(round))
            }
            DataType::Decimal128(precision, scale) => {
                let most = 10i128.pow(u32::from(*precision));
                let fits = |v: &i128| v.abs() < most;
                let round = |v| Some(integer(v, digits)).filter(fits).unwrap_or(v);
                let decimals = values.as_primitive::<Decimal128Type>();
                let rounded = decimals.unary::<_, Decimal128Type>(round);
                Arc::new(rounded.with_precision_and_scale(*precision, *scale)?)
            }
            _ => values,
        };
        Ok(ColumnarValue::Array(rounded))
    }
}

fn integer(value: i128, digits: u32) -> i128 {
    let has = value.unsigned_abs().checked_ilog10().map_or(1, |l| l + 1);
    if has <= digits {
        return value;
    }
    let unit = 10i128.pow(has - digits);
    let rest = value % unit;
    let down = value - rest;
    match rest.abs() >= unit - rest.abs() {
        true => down.saturating_add(unit * value.signum()),
        false => down,
    }
}

/// 1e-290 to 1e308, each the double that is nearest to it.
static POWERS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    (LEAST..=308).filter_map(|exponent| format!("1e{exponent}").parse().ok()).collect()
});
const LEAST: i32 = -290;

/// Each step is one operation of IEEE 754, so that every machine gives the same bits.
fn float(value: f64, digits: i32) -> f64 {
    let exponent = POWERS.partition_point(|p| *p <= value.abs()) as i32 - 1 + LEAST;
    if !value.is_finite() || exponent < LEAST {
        return value;
    }
    let shift = digits - 1 - exponent;
    let unit = POWERS[(shift.abs() - LEAST) as usize];
    let rounded = match shift >= 0 {
        true => (value * unit).round() / unit,
        false => (value / unit).round() * unit,
    };
    if rounded.is_finite() { rounded } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_first_digits() {
        let floats = [
            (12_345.678, 12_350.0),
            (-0.000123456, -0.0001235),
            (0.1, 0.1),
            (9_999.6, 10_000.0),
            (1e300, 1e300),
            (f64::MAX, f64::MAX),
            (5e-324, 5e-324),
            (0.0, 0.0),
        ];
        for (from, to) in floats {
            assert_eq!(float(from, 4), to);
        }
        assert!(float(f64::NAN, 4).is_nan());
        assert_eq!(float(f64::INFINITY, 4), f64::INFINITY);
        for (from, to) in [(1_234_567, 1_235_000), (-12_345, -12_350), (9_999, 9_999), (0, 0)] {
            assert_eq!(integer(from, 4), to);
        }
        assert_eq!(integer(i128::from(i64::MIN), 1), -9_000_000_000_000_000_000);
    }
}
