//! What becomes of an exact sum: does it fit, and how is an average rounded. The aggregates of
//! batch (`sql/exact_sums.rs`) call the same functions, so both fail and round in the same way.

use arrow::datatypes::{Decimal128Type, DecimalType, i256};
use common::{Error, Result};

const WIDER: &str = "compute in a wider type, as in CAST(x AS DECIMAL(38,0))";

pub fn integer_sum(sum: i128) -> Result<i64> {
    i64::try_from(sum).map_err(|_| {
        Error::invalid(format!("integer overflow in sum(): {sum} does not fit into BIGINT"))
            .hint(WIDER)
    })
}

pub fn decimal_sum(sum: i128, precision: u8, scale: i8) -> Result<i128> {
    fit("sum", i256::from_i128(sum), precision, scale)
}

/// A sum above what 128 bits hold; no DECIMAL is that wide.
pub fn sum_above_all() -> Error {
    Error::invalid("overflow in sum(): the sum has more than 38 digits")
}

/// `sum / count`, rounded half up (away from zero), as Spark rounds.
pub fn average(sum: i128, count: i64, from: i8, precision: u8, scale: i8) -> Result<i128> {
    let digits = u32::from((scale - from).unsigned_abs());
    let factor = i256::from_i128(10).wrapping_pow(digits);
    // Both have at most 128 bits, so the product fits.
    let sum = i256::from_i128(sum).wrapping_mul(factor);
    let value = divide_half_up(sum, i256::from_i128(i128::from(count)));
    fit("avg", value.unwrap_or(i256::ZERO), precision, scale)
}

fn fit(function: &str, value: i256, precision: u8, scale: i8) -> Result<i128> {
    let fitting = value.to_i128();
    fitting.filter(|v| Decimal128Type::is_valid_decimal_precision(*v, precision)).ok_or_else(|| {
        let value = decimal_text(value, scale);
        let into = format!("DECIMAL({precision},{scale})");
        Error::invalid(format!("overflow in {function}(): {value} does not fit into {into}"))
    })
}

/// The nearest whole quotient, of two equally near ones the one away from zero; none if
/// `divisor` is 0.
pub fn divide_half_up(value: i256, divisor: i256) -> Option<i256> {
    let quotient = value.checked_div(divisor)?;
    let rest = value.checked_rem(divisor)?.wrapping_abs();
    // Not `2 * rest`, which might not fit.
    let up = rest >= divisor.wrapping_abs().wrapping_sub(rest);
    Some(match (up, value.is_negative() == divisor.is_negative()) {
        (false, _) => quotient,
        (true, true) => quotient.wrapping_add(i256::ONE),
        (true, false) => quotient.wrapping_sub(i256::ONE),
    })
}

/// The digits with their decimal point.
pub fn decimal_text(value: i256, scale: i8) -> String {
    let digits = value.wrapping_abs().to_string();
    let sign = if value.is_negative() { "-" } else { "" };
    let Ok(scale @ 1..) = usize::try_from(scale) else { return format!("{sign}{digits}") };
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(value: i128, divisor: i128) -> Option<i128> {
        divide_half_up(i256::from_i128(value), i256::from_i128(divisor)).and_then(i256::to_i128)
    }

    #[test]
    fn halves_go_away_from_zero() {
        let cases = [(5, 2, 3), (-5, 2, -3), (5, -2, -3), (4, 3, 1), (-5, -3, 2), (0, 7, 0)];
        for (value, divisor, expected) in cases {
            assert_eq!(divided(value, divisor), Some(expected), "{value} / {divisor}");
        }
        assert_eq!(divided(1, 0), None);
    }

    #[test]
    fn texts() {
        assert_eq!(decimal_text(i256::from_i128(-5), 3), "-0.005");
        assert_eq!(decimal_text(i256::from_i128(1200), 0), "1200");
        let e = decimal_sum(10i128.pow(38), 38, 2).map_err(|e| e.message().to_string());
        let digits = "1000000000000000000000000000000000000.00";
        assert_eq!(e, Err(format!("overflow in sum(): {digits} does not fit into DECIMAL(38,2)")));
        assert_eq!(average(5, 3, 0, 7, 4).ok(), Some(16667));
    }
}
