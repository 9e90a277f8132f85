//! INTERVAL with Spark's two kinds: DAY TO SECOND is a number of microseconds (Arrow's Duration),
//! YEAR TO MONTH one of months. DataFusion's literals are months, days and nanoseconds beside each
//! other, which compare part by part: 30 days were less than '7 days', and 25 hours than '1 day'.

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, DurationMicrosecondArray, IntervalYearMonthArray,
};
use datafusion::arrow::compute::cast as cast_array;
use datafusion::arrow::datatypes::{
    DataType, DurationMicrosecondType, Float64Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, TimeUnit,
};
use datafusion::common::{DFSchema, Result, exec_err, plan_err};
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, binary_expr, cast, lit,
};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, DateTimeField, Value, VisitMut};
use std::sync::Arc;

use crate::walk;

const DAY_US: i64 = 86_400_000_000;
const DAY_TIME: DataType = DataType::Duration(TimeUnit::Microsecond);
const YEAR_MONTH: DataType = DataType::Interval(IntervalUnit::YearMonth);
const MIXED: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// A literal as the one or the other kind; none if it has both months and days, or parts of a
/// microsecond.
pub(crate) fn typed(i: &IntervalMonthDayNano) -> Option<ScalarValue> {
    if i.months != 0 {
        let alone = i.days == 0 && i.nanoseconds == 0;
        return alone.then_some(ScalarValue::IntervalYearMonth(Some(i.months)));
    }
    micros(i).map(|us| ScalarValue::DurationMicrosecond(Some(us)))
}

fn micros(i: &IntervalMonthDayNano) -> Option<i64> {
    let days = i64::from(i.days).checked_mul(DAY_US)?;
    let whole = i.nanoseconds % 1_000 == 0;
    days.checked_add(i.nanoseconds / 1_000).filter(|_| whole)
}

/// A text or an interval as one of days and seconds. Clients of Postgres write `7 days 01:02:03`.
pub fn day_time(value: &ScalarValue) -> Option<ScalarValue> {
    let value = match value {
        ScalarValue::Utf8(Some(text)) => {
            let (days, clock) = text.trim().rsplit_once(' ').unwrap_or(("", text.trim()));
            match spelled_out(clock, &DateTimeField::Hour, &DateTimeField::Second) {
                Some(clock) => ScalarValue::Utf8(Some(format!("{days} {clock}"))),
                None => value.clone(),
            }
        }
        value => value.clone(),
    };
    match value.cast_to(&MIXED).ok()? {
        ScalarValue::IntervalMonthDayNano(Some(i)) if i.months == 0 => typed(&i),
        _ => None,
    }
}

/// `+ - * /` with an interval or two dates; none for anything else.
pub(crate) fn arithmetic(
    op: Operator,
    (left, l): (&Expr, &DataType),
    (right, r): (&Expr, &DataType),
) -> Option<Expr> {
    use Operator::{Divide, Minus, Multiply, Plus};
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let at = |date: &Expr| cast(date.clone(), time.clone());
    let is_interval = |t: &DataType| *t == DAY_TIME || *t == YEAR_MONTH;
    let plain = || binary_expr(left.clone(), op, right.clone());
    match (op, l, r) {
        (Minus, DataType::Date32, DataType::Date32) => {
            Some(binary_expr(at(left), Minus, at(right)))
        }
        (Plus | Minus, DataType::Date32, t) if *t == DAY_TIME => Some(match whole_days(right) {
            Some(days) => moved(op, left, days),
            None => binary_expr(at(left), op, right.clone()),
        }),
        (Plus, t, DataType::Date32) if *t == DAY_TIME => Some(match whole_days(left) {
            Some(days) => moved(op, right, days),
            None => binary_expr(at(right), op, left.clone()),
        }),
        (Plus, t, DataType::Timestamp(..) | DataType::Date32) if is_interval(t) => {
            Some(binary_expr(right.clone(), op, left.clone()))
        }
        (Plus | Minus, DataType::Timestamp(..) | DataType::Date32, t) if is_interval(t) => {
            Some(plain())
        }
        (Plus | Minus, l, r) if is_interval(l) && l == r => Some(plain()),
        (Multiply | Divide, t, n) if is_interval(t) && n.is_numeric() => {
            Some(scaled(op, left, t, right))
        }
        (Multiply, n, t) if is_interval(t) && n.is_numeric() => Some(scaled(op, right, t, left)),
        _ => None,
    }
}

/// A literal of so many days and no hours moves a date to another date.
fn whole_days(e: &Expr) -> Option<i32> {
    let Expr::Literal(ScalarValue::DurationMicrosecond(Some(us)), _) = e else { return None };
    i32::try_from(us / DAY_US).ok().filter(|_| us % DAY_US == 0)
}

fn moved(op: Operator, date: &Expr, days: i32) -> Expr {
    let days = Expr::Literal(ScalarValue::Int32(Some(days)), None);
    let function = match op {
        Operator::Plus => datafusion_spark::function::datetime::date_add(),
        _ => datafusion_spark::function::datetime::date_sub(),
    };
    function.call(vec![date.clone(), days])
}

fn scaled(op: Operator, interval: &Expr, t: &DataType, number: &Expr) -> Expr {
    let scale =
        Scale { op, result: t.clone(), signature: Signature::any(2, Volatility::Immutable) };
    ScalarUDF::from(scale).call(vec![interval.clone(), number.clone()])
}

/// What can be compared as it is, or made so; days and months can't be compared with each other.
pub(crate) fn comparable(
    left: Expr,
    right: Expr,
    schema: &DFSchema,
) -> Result<Option<(Expr, Expr)>> {
    let (l, r) = (left.get_type(schema)?, right.get_type(schema)?);
    let is_interval = |t: &DataType| matches!(t, DataType::Duration(_) | DataType::Interval(_));
    if !is_interval(&l) || !is_interval(&r) {
        return Ok(None);
    }
    if (l == YEAR_MONTH) != (r == YEAR_MONTH) {
        return plan_err!("months have no length in days: the two intervals can't be compared");
    }
    let day_time = |e: Expr, t: &DataType| match *t == MIXED {
        true => ScalarUDF::from(DayTime::default()).call(vec![e]),
        false => e,
    };
    match l == MIXED || r == MIXED {
        true => Ok(Some((day_time(left, &l), day_time(right, &r)))),
        false => Ok(None),
    }
}

/// Are some of these intervals, and not all of one kind?
pub(crate) fn are_mixed<'a>(
    all: impl IntoIterator<Item = &'a Expr>,
    schema: &DFSchema,
) -> Result<bool> {
    let types = all.into_iter().map(|e| e.get_type(schema)).collect::<Result<Vec<_>>>()?;
    let is_interval = |t: &DataType| *t == YEAR_MONTH || *t == MIXED || *t == DAY_TIME;
    Ok(types.iter().any(is_interval) && types.iter().any(|t| *t != types[0]))
}

/// BETWEEN as two comparisons.
pub(crate) fn between(b: Between) -> Expr {
    let (low, high) = match b.negated {
        true => (Operator::Lt, Operator::Gt),
        false => (Operator::GtEq, Operator::LtEq),
    };
    let low = binary_expr(b.expr.as_ref().clone(), low, *b.low);
    let high = binary_expr(*b.expr, high, *b.high);
    if b.negated { low.or(high) } else { low.and(high) }
}

/// IN as comparisons.
pub(crate) fn any_of(l: InList) -> Expr {
    let same = |e| binary_expr(l.expr.as_ref().clone(), Operator::Eq, e);
    let any = l.list.into_iter().map(same).reduce(Expr::or).unwrap_or_else(|| lit(false));
    if l.negated { !any } else { any }
}

/// An interval times a number, or divided by one, rounded half up as on Spark.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Scale {
    op: Operator,
    result: DataType,
    signature: Signature,
}

impl Scale {
    fn one(&self, interval: i64, number: f64, whole: Option<i64>) -> Result<i64> {
        let fits = |value: f64| {
            let value = (value.abs() + 0.5).floor().copysign(value);
            let most = if self.result == DAY_TIME { i64::MAX as f64 } else { f64::from(i32::MAX) };
            if value.abs() < most { Some(value as i64) } else { None }
        };
        let value = match (self.op, whole) {
            (Operator::Divide, _) if number == 0.0 => {
                return exec_err!("division by zero: an interval / 0");
            }
            (Operator::Multiply, Some(n)) => {
                let small = |v: &i64| self.result == DAY_TIME || i32::try_from(*v).is_ok();
                interval.checked_mul(n).filter(small)
            }
            (Operator::Divide, Some(n)) => {
                let (quotient, rest) = (interval.checked_div(n), interval.checked_rem(n));
                let half = rest.is_some_and(|r| r.unsigned_abs() >= n.unsigned_abs().div_ceil(2));
                let away = if half { (interval.signum()) * n.signum() } else { 0 };
                quotient.and_then(|q| q.checked_add(away))
            }
            (Operator::Multiply, None) => fits(interval as f64 * number),
            (_, None) => fits(interval as f64 / number),
            (other, _) => return exec_err!("an interval {other} a number"),
        };
        match value {
            Some(value) => Ok(value),
            None => exec_err!("interval overflow in an interval {} {number}", self.op),
        }
    }
}

impl ScalarUDFImpl for Scale {
    fn name(&self) -> &str {
        "scale_interval"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [interval, number] = &args.args[..] else { return exec_err!("two values needed") };
        let intervals = interval.to_array(args.number_rows)?;
        let numbers = number.to_array(args.number_rows)?;
        let whole = match numbers.data_type().is_integer() {
            true => Some(cast_array(&numbers, &DataType::Int64)?),
            false => None,
        };
        let whole = whole.as_ref().map(|w| w.as_primitive::<Int64Type>());
        let numbers = cast_array(&numbers, &DataType::Float64)?;
        let numbers = numbers.as_primitive::<Float64Type>();
        let each = |row: usize, value: i64| match numbers.is_valid(row) {
            true => self.one(value, numbers.value(row), whole.map(|w| w.value(row))).map(Some),
            false => Ok(None),
        };
        let values: ArrayRef = match self.result == DAY_TIME {
            true => {
                let micros = intervals.as_primitive::<DurationMicrosecondType>().iter();
                let values = micros.enumerate().map(|(row, us)| match us {
                    Some(us) => each(row, us),
                    None => Ok(None),
                });
                Arc::new(values.collect::<Result<DurationMicrosecondArray>>()?)
            }
            false => {
                let months = intervals.as_primitive::<IntervalYearMonthType>().iter();
                let values = months.enumerate().map(|(row, months)| match months {
                    Some(months) => Ok(each(row, i64::from(months))?.map(|m| m as i32)),
                    None => Ok(None),
                });
                Arc::new(values.collect::<Result<IntervalYearMonthArray>>()?)
            }
        };
        Ok(ColumnarValue::Array(values))
    }
}

/// An interval of all parts as one of days and seconds; it must have no months.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DayTime {
    signature: Signature,
}

impl Default for DayTime {
    fn default() -> Self {
        DayTime { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DayTime {
    fn name(&self) -> &str {
        "day_time"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DAY_TIME)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [interval] = &args.args[..] else { return exec_err!("one value needed") };
        let values = interval.to_array(args.number_rows)?;
        let values = values.as_primitive::<IntervalMonthDayNanoType>().iter().map(|i| match i {
            None => Ok(None),
            Some(i) if i.months != 0 => {
                exec_err!("months have no length in days: the two intervals can't be compared")
            }
            Some(i) => match micros(&i) {
                Some(us) => Ok(Some(us)),
                None => exec_err!("an interval does not fit into microseconds"),
            },
        });
        Ok(ColumnarValue::Array(Arc::new(values.collect::<Result<DurationMicrosecondArray>>()?)))
    }
}

/// As `CAST(x AS TEXT)` gives it on Spark: `INTERVAL '31 00:00:00' DAY TO SECOND`.
pub(crate) fn day_time_text(us: i64) -> String {
    let (sign, us) = (if us < 0 { "-" } else { "" }, us.unsigned_abs());
    let (seconds, fraction) = (us / 1_000_000, us % 1_000_000);
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    let fraction = match fraction {
        0 => String::new(),
        f => format!(".{}", format!("{f:06}").trim_end_matches('0')),
    };
    let clock = format!("{hours:02}:{minutes:02}:{seconds:02}{fraction}");
    format!("INTERVAL '{sign}{days} {clock}' DAY TO SECOND")
}

pub(crate) fn year_month_text(months: i32) -> String {
    let (sign, months) = (if months < 0 { "-" } else { "" }, months.unsigned_abs());
    format!("INTERVAL '{sign}{}-{}' YEAR TO MONTH", months / 12, months % 12)
}

/// `INTERVAL '1-2' YEAR TO MONTH` and `INTERVAL '1 02:03:04.5' DAY TO SECOND` as DataFusion's
/// parser takes them; what is not well formed stays for its error.
pub(crate) fn spell_out<T: VisitMut>(node: &mut T) {
    walk::each_expression(node, &mut |e| {
        if let ast::Expr::Interval(interval) = e
            && let (Some(first), Some(last)) = (&interval.leading_field, &interval.last_field)
            && let ast::Expr::Value(value) = interval.value.as_mut()
            && let Value::SingleQuotedString(text) = &value.value
            && let Some(text) = spelled_out(text, first, last)
        {
            value.value = Value::SingleQuotedString(text);
            (interval.leading_field, interval.last_field) = (None, None);
        }
    });
}

fn spelled_out(text: &str, first: &DateTimeField, last: &DateTimeField) -> Option<String> {
    use DateTimeField::{Day, Hour, Minute, Month, Second, Year};
    let (negative, text) = match text.trim().strip_prefix(['-', '+']) {
        Some(rest) => (text.trim().starts_with('-'), rest),
        None => (false, text.trim()),
    };
    let sign = if negative { -1 } else { 1 };
    let number = |t: &str| t.parse::<u32>().ok().map(i64::from);
    if let (Year, Month) = (first, last) {
        let (years, months) = text.split_once('-')?;
        let months = number(months).filter(|m| *m < 12)?;
        return Some(format!("{} months", sign * (number(years)? * 12 + months)));
    }
    let fields = [(Day, 86_400), (Hour, 3_600), (Minute, 60), (Second, 1)];
    let place = |field: &DateTimeField| fields.iter().position(|(f, _)| f == field);
    let (from, to) = (place(first)?, place(last)?);
    let parts: Vec<&str> = text.split([' ', ':']).collect();
    if from >= to || parts.len() != to - from + 1 {
        return None;
    }
    let (mut days, mut us) = (0, 0);
    for (part, (field, seconds)) in parts.iter().zip(&fields[from..=to]) {
        let (whole, fraction) = part.split_once('.').unwrap_or((part, ""));
        if !fraction.is_empty() && *field != Second || fraction.len() > 6 {
            return None;
        }
        let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
        match field {
            Day => days = number(whole)?,
            _ => us += number(whole)? * seconds * 1_000_000 + fraction,
        }
    }
    let days = if days == 0 { String::new() } else { format!("{} days ", sign * days) };
    Some(format!("{days}{} microseconds", sign * us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!(day_time_text(31 * DAY_US), "INTERVAL '31 00:00:00' DAY TO SECOND");
        assert_eq!(day_time_text(-1_500_000), "INTERVAL '-0 00:00:01.5' DAY TO SECOND");
        assert_eq!(year_month_text(-14), "INTERVAL '-1-2' YEAR TO MONTH");
    }

    #[test]
    fn literals_with_a_range_of_fields() {
        use DateTimeField::{Day, Hour, Minute, Month, Second, Year};
        let cases = [
            ("1-2", Year, Month, "14 months"),
            ("-1-2", Year, Month, "-14 months"),
            ("10 05:06:07.5", Day, Second, "10 days 18367500000 microseconds"),
            ("-1 12", Day, Hour, "-1 days -43200000000 microseconds"),
            ("05:06", Hour, Minute, "18360000000 microseconds"),
            ("59:01.25", Minute, Second, "3541250000 microseconds"),
        ];
        for (text, first, last, expected) in cases {
            assert_eq!(spelled_out(text, &first, &last).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(spelled_out("1-13", &Year, &Month), None);
        assert_eq!(spelled_out("1 2", &Day, &Second), None);
        assert_eq!(spelled_out("1 2", &Hour, &Day), None);
        assert_eq!(spelled_out("1.5 2", &Day, &Hour), None);
    }
}
