//! Decimal arithmetic as Spark's `DecimalPrecision` has it: how many digits a result gets, and
//! rounding half up where it cannot have them all. DataFusion cuts digits off and has other
//! scales. Read `arithmetic.rs` for where these are called.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Datum, Decimal128Array, Int64Array};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, DecimalType, i256};
use datafusion::logical_expr::Operator;
use graph::exact::{decimal_text, divide_half_up};

const MAX_PRECISION: i32 = 38;
/// When digits have to go, this many behind the point stay as long as possible.
const MIN_SCALE: i32 = 6;

/// Precision and scale.
pub(crate) type Digits = (u8, i8);

/// What an integer type is as a decimal.
pub(crate) fn of_integer(t: &DataType) -> Option<Digits> {
    Some(match t {
        DataType::Int8 => (3, 0),
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        DataType::Int64 => (20, 0),
        _ => return None,
    })
}

/// Of the result of `left op right`.
pub(crate) fn result(op: Operator, left: Digits, right: Digits) -> Digits {
    let ((p1, s1), (p2, s2)) = (wide(left), wide(right));
    let (precision, scale) = match op {
        Operator::Plus | Operator::Minus => {
            let scale = s1.max(s2);
            ((p1 - s1).max(p2 - s2) + scale + 1, scale)
        }
        Operator::Multiply => (p1 + p2 + 1, s1 + s2),
        Operator::Divide => {
            let scale = MIN_SCALE.max(s1 + p2 + 1);
            (p1 - s1 + s2 + scale, scale)
        }
        _ => ((p1 - s1).min(p2 - s2) + s1.max(s2), s1.max(s2)),
    };
    adjusted(precision, scale)
}

fn wide((precision, scale): Digits) -> (i32, i32) {
    (i32::from(precision), i32::from(scale))
}

/// Above 38 digits those behind the point go first, down to six.
fn adjusted(precision: i32, scale: i32) -> Digits {
    let narrow = |n: i32| i8::try_from(n).unwrap_or(i8::MAX);
    if precision <= MAX_PRECISION {
        return (narrow(precision.max(1)).unsigned_abs(), narrow(scale));
    }
    let whole = precision - scale;
    let scale = (MAX_PRECISION - whole).max(scale.min(MIN_SCALE));
    (narrow(MAX_PRECISION).unsigned_abs(), narrow(scale))
}

/// Why there is no result.
pub(crate) enum Fault {
    DivisionByZero,
    /// The value, and that it does not fit.
    Overflow(String),
}

/// `left DIV right`: the quotient cut towards zero, a BIGINT.
pub(crate) fn whole_quotient(left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, Fault> {
    let (ls, rs) = (scale(left.get().0), scale(right.get().0));
    let common = i32::from(ls.max(rs));
    let value = |l: i128, r: i128| {
        if r == 0 {
            return Err(Fault::DivisionByZero);
        }
        let l = rescale(i256::from_i128(l), i32::from(ls), common);
        let r = rescale(i256::from_i128(r), i32::from(rs), common);
        let quotient = l.zip(r).and_then(|(l, r)| l.checked_div(r)).and_then(i256::to_i128);
        let fitting = quotient.and_then(|q| i64::try_from(q).ok());
        fitting.ok_or_else(|| Fault::Overflow("the quotient does not fit into BIGINT".into()))
    };
    Ok(Arc::new(Int64Array::from(each(left, right, value)?)))
}

/// A value for each row whose sides are not NULL.
fn each<T>(
    left: &dyn Datum,
    right: &dyn Datum,
    value: impl Fn(i128, i128) -> Result<T, Fault>,
) -> Result<Vec<Option<T>>, Fault> {
    let ((l, one_l), (r, one_r)) = (left.get(), right.get());
    let (l, r) = (l.as_primitive::<Decimal128Type>(), r.as_primitive::<Decimal128Type>());
    let rows = if one_l { r.len() } else { l.len() };
    let mut values = Vec::with_capacity(rows);
    for row in 0..rows {
        let (i, j) = (if one_l { 0 } else { row }, if one_r { 0 } else { row });
        values.push(match l.is_null(i) || r.is_null(j) {
            true => None,
            false => Some(value(l.value(i), r.value(j))?),
        });
    }
    Ok(values)
}

/// `left op right` for arrays (or scalars) of decimals, with the digits of `to`.
pub(crate) fn compute(
    op: Operator,
    left: &dyn Datum,
    right: &dyn Datum,
    to: Digits,
) -> Result<ArrayRef, Fault> {
    let one = Operation { op, left: scale(left.get().0), right: scale(right.get().0), to };
    let values = each(left, right, |l, r| one.value(l, r))?;
    let values = Decimal128Array::from(values).with_precision_and_scale(to.0, to.1);
    Ok(Arc::new(values.map_err(|e| Fault::Overflow(e.to_string()))?))
}

fn scale(array: &dyn Array) -> i8 {
    match array.data_type() {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    }
}

/// One operation on values of known scales.
struct Operation {
    op: Operator,
    left: i8,
    right: i8,
    to: Digits,
}

impl Operation {
    fn value(&self, left: i128, right: i128) -> Result<i128, Fault> {
        if right == 0 && matches!(self.op, Operator::Divide | Operator::Modulo) {
            return Err(Fault::DivisionByZero);
        }
        let value = match self.op {
            Operator::Divide => self.quotient(left, right),
            _ => match self.quick(left, right) {
                Some(value) => Some(i256::from_i128(value)),
                None => self.exact(left, right),
            },
        };
        // What 256 bits cannot hold is far above 38 digits.
        let Some(value) = value else {
            return Err(Fault::Overflow("the result does not fit into 38 digits".into()));
        };
        fit(value, self.to)
    }

    /// In 128 bits where that is enough, which is nearly always.
    fn quick(&self, left: i128, right: i128) -> Option<i128> {
        if self.op == Operator::Multiply {
            let exact = i16::from(self.left) + i16::from(self.right) == i16::from(self.to.1);
            return if exact { left.checked_mul(right) } else { None };
        }
        let scale = self.left.max(self.right);
        if scale != self.to.1 {
            return None;
        }
        let left = left.checked_mul(power(scale - self.left)?)?;
        let right = right.checked_mul(power(scale - self.right)?)?;
        match self.op {
            Operator::Plus => left.checked_add(right),
            Operator::Minus => left.checked_sub(right),
            _ => left.checked_rem(right),
        }
    }

    fn exact(&self, left: i128, right: i128) -> Option<i256> {
        let (l, r) = (i256::from_i128(left), i256::from_i128(right));
        if self.op == Operator::Multiply {
            let from = i32::from(self.left) + i32::from(self.right);
            return rescale(l.checked_mul(r)?, from, i32::from(self.to.1));
        }
        let scale = i32::from(self.left.max(self.right));
        let l = rescale(l, i32::from(self.left), scale)?;
        let r = rescale(r, i32::from(self.right), scale)?;
        let value = match self.op {
            Operator::Plus => l.checked_add(r)?,
            Operator::Minus => l.checked_sub(r)?,
            _ => l.checked_rem(r)?,
        };
        rescale(value, scale, i32::from(self.to.1))
    }

    fn quotient(&self, left: i128, right: i128) -> Option<i256> {
        if left == 0 {
            return Some(i256::ZERO);
        }
        let up = i32::from(self.to.1) + i32::from(self.right) - i32::from(self.left);
        let left = rescale(i256::from_i128(left), 0, up)?;
        divide_half_up(left, i256::from_i128(right))
    }
}

fn power(digits: i8) -> Option<i128> {
    10i128.checked_pow(u32::from(digits.unsigned_abs()))
}

/// The same number with another scale, rounded half up.
fn rescale(value: i256, from: i32, to: i32) -> Option<i256> {
    let factor = i256::from_i128(10).checked_pow((to - from).unsigned_abs())?;
    match to >= from {
        true => value.checked_mul(factor),
        false => divide_half_up(value, factor),
    }
}

fn fit(value: i256, (precision, scale): Digits) -> Result<i128, Fault> {
    let fitting = value.to_i128();
    let fitting = fitting.filter(|v| Decimal128Type::is_valid_decimal_precision(*v, precision));
    fitting.ok_or_else(|| {
        let value = decimal_text(value, scale);
        Fault::Overflow(format!("{value} does not fit into DECIMAL({precision},{scale})"))
    })
}

/// The digits of `round(x, places)`: one more may be needed before the point.
pub(crate) fn rounded((precision, scale): Digits, places: i32) -> Digits {
    let (precision, scale) = (i32::from(precision), i32::from(scale));
    let whole = precision - scale + 1;
    let narrow = |n: i32| i8::try_from(n.clamp(0, MAX_PRECISION)).unwrap_or_default();
    if places < 0 {
        return (narrow(whole.max(1 - places)).unsigned_abs(), 0);
    }
    let scale = scale.min(places);
    (narrow(whole + scale).unsigned_abs(), narrow(scale))
}

/// `round(values, places)`.
pub(crate) fn round(values: &Decimal128Array, places: i32, to: Digits) -> Result<ArrayRef, Fault> {
    let from = i32::from(values.scale());
    let one = |value: i128| {
        // Cut at the places asked for, then written with the digits of the result.
        let places = places.min(from);
        let value = rescale(i256::from_i128(value), from, places);
        let value = value.and_then(|v| rescale(v, places, i32::from(to.1)));
        fit(value.unwrap_or(i256::ZERO), to)
    };
    let values = values.iter().map(|v| v.map(one).transpose());
    let values = Decimal128Array::from(values.collect::<Result<Vec<_>, _>>()?);
    let values = values.with_precision_and_scale(to.0, to.1);
    Ok(Arc::new(values.map_err(|e| Fault::Overflow(e.to_string()))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_results_are_those_of_spark() {
        let cases = [
            (Operator::Plus, (6, 2), (10, 0), (13, 2)),
            (Operator::Multiply, (6, 2), (6, 2), (13, 4)),
            (Operator::Multiply, (38, 10), (38, 10), (38, 6)),
            (Operator::Divide, (6, 2), (1, 0), (10, 6)),
            (Operator::Divide, (22, 4), (20, 0), (38, 20)),
            (Operator::Divide, (38, 10), (38, 20), (38, 6)),
            (Operator::Modulo, (6, 2), (3, 1), (4, 2)),
        ];
        for (op, left, right, expected) in cases {
            assert_eq!(result(op, left, right), expected, "{left:?} {op} {right:?}");
        }
        assert_eq!(rounded((6, 2), 1), (6, 1));
        assert_eq!(rounded((6, 2), 0), (5, 0));
        assert_eq!(rounded((6, 2), -2), (5, 0));
    }

    fn computed(op: Operator, left: (i128, i8), right: (i128, i8), to: Digits) -> Option<i128> {
        Operation { op, left: left.1, right: right.1, to }.value(left.0, right.0).ok()
    }

    #[test]
    fn values_are_rounded_half_up() {
        assert_eq!(computed(Operator::Divide, (125, 2), (3, 0), (10, 6)), Some(416_667));
        assert_eq!(computed(Operator::Divide, (-125, 2), (3, 0), (10, 6)), Some(-416_667));
        assert_eq!(computed(Operator::Divide, (1, 0), (0, 0), (10, 6)), None);
        // 1.5 * 1.5 with one digit behind the point
        assert_eq!(computed(Operator::Multiply, (15, 1), (15, 1), (38, 1)), Some(23));
        assert_eq!(computed(Operator::Plus, (15, 1), (225, 2), (5, 2)), Some(375));
        assert_eq!(computed(Operator::Plus, (99, 0), (1, 0), (2, 0)), None);
        assert_eq!(computed(Operator::Modulo, (-75, 1), (2, 0), (2, 1)), Some(-15));
        let most = 10i128.pow(38) - 1;
        assert_eq!(computed(Operator::Divide, (most, 0), (1, 20), (38, 6)), None);
        assert_eq!(computed(Operator::Divide, (most, 0), (most, 0), (38, 6)), Some(1_000_000));
    }
}
