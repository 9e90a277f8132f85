//! Functions whose result can be far larger than what they are given: `repeat('x', 1000000000)`,
//! `sequence(1, 10000000000)`, `concat(s, s)` of `concat(s, s)`. What a call would make is reckoned
//! from its arguments first: one value may have `VALUE_BYTES_MAX`, and rows are computed some at a
//! time, up to `BATCH_BYTES_MAX` together. So a query is refused, and not the process ended.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, FieldRef, Int32Type, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

/// Bytes of one value that a function makes.
pub const VALUE_BYTES_MAX: u64 = 64 << 20;
/// Bytes that a function makes of one batch of rows.
pub const BATCH_BYTES_MAX: u64 = 256 << 20;

/// In microseconds.
const DAY: i64 = 86_400_000_000;

/// What a call makes of a row, in bytes, from the arguments there.
type Estimate = fn(&[Argument], usize) -> u64;

/// The functions that grow, and by what.
const GROWING: [(&str, Estimate); 18] = [
    ("array_concat", sum),
    ("array_repeat", |a, row| a.bytes(0, row).max(8).saturating_mul(a.number(1, row))),
    ("array_resize", |a, row| a.number(1, row).saturating_mul(a.bytes(2, row).max(8))),
    ("concat", sum),
    ("concat_ws", |a, row| sum(a, row).saturating_add(a.bytes(0, row) * a.len() as u64)),
    ("format_string", |a, row| sum(a, row).saturating_add(a.widths(0, row))),
    ("generate_series", steps),
    ("hash", |_, _| 0),
    ("lpad", |a, row| a.number(1, row).saturating_mul(4)),
    ("printf", |a, row| sum(a, row).saturating_add(a.widths(0, row))),
    ("range", steps),
    ("regexp_replace", |a, row| replaced(a, row, 1)),
    ("repeat", |a, row| a.bytes(0, row).saturating_mul(a.number(1, row))),
    ("replace", |a, row| replaced(a, row, a.bytes(1, row).max(1))),
    ("rpad", |a, row| a.number(1, row).saturating_mul(4)),
    ("sequence", steps),
    ("space", |a, row| a.number(0, row)),
    ("xxhash64", |_, _| 0),
];

/// They look for one value of an argument in each row, also where there is one for all.
const EXPANDED: [&str; 2] = ["hash", "xxhash64"];

/// The function, within bounds if it is one that grows.
pub fn bounded(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match GROWING.iter().find(|(name, _)| *name == function.name()) {
        Some((_, estimate)) => {
            Arc::new(ScalarUDF::from(Bounded { inner: function, estimate: Reckons(*estimate) }))
        }
        None => function,
    }
}

fn sum(arguments: &[Argument], row: usize) -> u64 {
    (0..arguments.len()).map(|i| arguments.bytes(i, row)).sum()
}

/// Each stretch of `from` bytes becomes the third argument.
fn replaced(arguments: &[Argument], row: usize, from: u64) -> u64 {
    let text = arguments.bytes(0, row);
    text.saturating_add((text / from + 1).saturating_mul(arguments.bytes(2, row)))
}

/// `(stop)`, `(start, stop)` or `(start, stop, step)`; a step between times is a day, if not said.
fn steps(arguments: &[Argument], row: usize) -> u64 {
    let number = |i: usize| arguments.get(i).and_then(|a| a.signed(row));
    let (start, stop) = match arguments.len() {
        1 => (Some(0), number(0)),
        _ => (number(0), number(1)),
    };
    let (Some(start), Some(stop)) = (start, stop) else { return 0 };
    let usual = if arguments.first().is_some_and(Argument::is_time) { DAY } else { 1 };
    let step = arguments.get(2).map_or(Some(usual), |a| a.signed(row).or(a.micros(row)));
    let step = step.unwrap_or(1).unsigned_abs().max(1);
    (start.abs_diff(stop) / step).saturating_add(1).saturating_mul(8)
}

/// An argument: one value for all rows, or one for each.
enum Argument {
    One(ArrayRef),
    Each(ArrayRef),
}

/// What estimates ask of their arguments; those that are not there count nothing.
trait Arguments {
    fn bytes(&self, argument: usize, row: usize) -> u64;
    /// A count; negative ones count nothing.
    fn number(&self, argument: usize, row: usize) -> u64;
    /// The widths in a format text.
    fn widths(&self, argument: usize, row: usize) -> u64;
}

impl Arguments for [Argument] {
    fn bytes(&self, argument: usize, row: usize) -> u64 {
        self.get(argument).map_or(0, |a| a.bytes(row))
    }

    fn number(&self, argument: usize, row: usize) -> u64 {
        self.get(argument).and_then(|a| a.signed(row)).map_or(0, |n| n.max(0) as u64)
    }

    fn widths(&self, argument: usize, row: usize) -> u64 {
        let Some(argument) = self.get(argument) else { return 0 };
        let (array, row) = argument.at(row);
        let Some(texts) = array.as_string_opt::<i32>().filter(|t| t.is_valid(row)) else {
            return 0;
        };
        let digits = texts.value(row).split(|c: char| !c.is_ascii_digit());
        digits.filter_map(|d| d.parse::<u64>().ok()).fold(0, u64::saturating_add)
    }
}

impl Argument {
    fn new(value: &ColumnarValue) -> Result<Argument> {
        Ok(match value {
            ColumnarValue::Array(array) => Argument::Each(array.clone()),
            ColumnarValue::Scalar(scalar) => Argument::One(scalar.to_array()?),
        })
    }

    fn is_time(&self) -> bool {
        matches!(self.at(0).0.data_type(), DataType::Date32 | DataType::Timestamp(..))
    }

    fn at(&self, row: usize) -> (&ArrayRef, usize) {
        match self {
            Argument::One(array) => (array, 0),
            Argument::Each(array) => (array, row),
        }
    }

    fn bytes(&self, row: usize) -> u64 {
        let (array, row) = self.at(row);
        if array.is_null(row) {
            return 0;
        }
        let bytes = match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().value_length(row) as usize,
            DataType::LargeUtf8 => array.as_string::<i64>().value_length(row) as usize,
            DataType::Utf8View => array.as_string_view().value(row).len(),
            DataType::Binary => array.as_binary::<i32>().value_length(row) as usize,
            DataType::LargeBinary => array.as_binary::<i64>().value_length(row) as usize,
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let items = list.values().len().max(1);
                let each = list.values().get_buffer_memory_size().div_ceil(items).max(8);
                list.value_length(row) as usize * each
            }
            _ => 24,
        };
        bytes as u64
    }

    /// A whole number, or the microseconds or days of a time.
    fn signed(&self, row: usize) -> Option<i64> {
        let (array, row) = self.at(row);
        if array.is_null(row) {
            return None;
        }
        match array.data_type() {
            DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(row)),
            DataType::Int32 => Some(i64::from(array.as_primitive::<Int32Type>().value(row))),
            DataType::Date32 | DataType::Timestamp(..) => {
                let scalar = ScalarValue::try_from_array(array, row).ok()?;
                let micros =
                    DataType::Timestamp(datafusion::arrow::datatypes::TimeUnit::Microsecond, None);
                match scalar.cast_to(&micros).ok()? {
                    ScalarValue::TimestampMicrosecond(micros, _) => micros,
                    _ => None,
                }
            }
            _ => {
                let scalar = ScalarValue::try_from_array(array, row).ok()?;
                match scalar.cast_to(&DataType::Int64).ok()? {
                    ScalarValue::Int64(number) => number,
                    _ => None,
                }
            }
        }
    }

    /// The length of an interval.
    fn micros(&self, row: usize) -> Option<i64> {
        let (array, row) = self.at(row);
        match ScalarValue::try_from_array(array, row).ok()? {
            ScalarValue::IntervalMonthDayNano(Some(i)) => {
                let days = i64::from(i.months) * 28 + i64::from(i.days);
                Some((days * DAY).saturating_add(i.nanoseconds / 1_000))
            }
            ScalarValue::IntervalDayTime(Some(i)) => {
                Some(i64::from(i.days) * DAY + i64::from(i.milliseconds) * 1_000)
            }
            ScalarValue::IntervalYearMonth(Some(months)) => Some(i64::from(months) * 28 * DAY),
            _ => None,
        }
    }
}

/// A function in front of which its result is reckoned.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    estimate: Reckons,
}

/// Which estimate it is goes with the function's name.
#[derive(Clone, Copy)]
struct Reckons(Estimate);

impl std::fmt::Debug for Reckons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reckons")
    }
}

impl PartialEq for Reckons {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Reckons {}

impl std::hash::Hash for Reckons {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl Bounded {
    /// The rows computed together: `from`, and how many.
    fn pieces(&self, args: &ScalarFunctionArgs) -> Result<Vec<(usize, usize)>> {
        let arguments = args.args.iter().map(Argument::new).collect::<Result<Vec<_>>>()?;
        let mut pieces = vec![];
        let (mut from, mut bytes, mut total) = (0, 0, 0_u64);
        for row in 0..args.number_rows {
            let one = (self.estimate.0)(&arguments, row);
            if one > VALUE_BYTES_MAX {
                return exec_err!(
                    "{}() would make a value of {one} bytes; {VALUE_BYTES_MAX} is the limit",
                    self.inner.name()
                );
            }
            if bytes + one > BATCH_BYTES_MAX / 4 && row > from {
                pieces.push((from, row - from));
                (from, bytes) = (row, 0);
            }
            bytes += one;
            total += one;
        }
        pieces.push((from, args.number_rows - from));
        if total <= BATCH_BYTES_MAX / 4 {
            pieces.clear();
        }
        Ok(pieces)
    }

    fn in_pieces(
        &self,
        args: &ScalarFunctionArgs,
        pieces: &[(usize, usize)],
    ) -> Result<ColumnarValue> {
        let (mut arrays, mut bytes) = (vec![], 0);
        for (from, n) in pieces {
            let slice = |value: &ColumnarValue| match value {
                ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(*from, *n)),
                ColumnarValue::Scalar(scalar) => ColumnarValue::Scalar(scalar.clone()),
            };
            let some = ScalarFunctionArgs {
                args: args.args.iter().map(slice).collect(),
                number_rows: *n,
                ..args.clone()
            };
            let made = self.inner.inner().invoke_with_args(some)?.into_array(*n)?;
            bytes += made.get_buffer_memory_size() as u64;
            if bytes > BATCH_BYTES_MAX {
                return exec_err!(
                    "{}() makes more than {BATCH_BYTES_MAX} bytes of {} rows",
                    self.inner.name(),
                    args.number_rows
                );
            }
            arrays.push(made);
        }
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&arrays)?))
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, args: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(args)
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        self.inner.return_type(args)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if EXPANDED.contains(&self.name()) {
            for arg in &mut args.args {
                *arg = ColumnarValue::Array(arg.to_array(args.number_rows)?);
            }
        }
        let pieces = self.pieces(&args)?;
        match pieces.len() {
            0 | 1 => self.inner.inner().invoke_with_args(args),
            _ => self.in_pieces(&args, &pieces),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::testing::{rows, state};

    #[tokio::test]
    async fn what_would_fill_the_memory_is_refused() {
        for query in [
            "SELECT repeat('x', 1000000000)",
            "SELECT repeat(repeat('x', 10000000), 100)",
            "SELECT lpad('x', 1000000000)",
            "SELECT rpad('x', 1000000000, 'y')",
            "SELECT space(2000000000)",
            "SELECT sequence(1, 100000000000)",
            "SELECT array_repeat('abc', 1000000000)",
            "SELECT array_resize(array(1), 1000000000)",
            "SELECT replace(repeat('a', 1000000), 'a', repeat('b', 1000))",
            "SELECT s || s FROM (SELECT repeat('a', 40000000) AS s)",
            "SELECT regexp_replace(repeat('a', 1000000), 'a', repeat('b', 1000))",
            "SELECT format_string('%1000000000d', 1)",
        ] {
            let e = rows(&state().await, query).await;
            assert!(e.contains("is the limit") || e.contains("makes more than"), "{query}: {e}");
        }
    }
}
