//! Texts read as times by Spark's datetime patterns: `to_timestamp(text, pattern)`, `to_date(text,
//! pattern)` and their `try_` kin. In ANSI mode what does not fit is an error, or NULL with `try_`.

use std::sync::Arc;

use chrono::{Days, NaiveDate, NaiveDateTime};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Date32Builder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::date_format::quoted;

/// Reads by a pattern; with one argument the function of the same name without it answers.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ByPattern {
    name: &'static str,
    date: bool,
    /// What does not fit is NULL.
    tries: bool,
    plain: Option<Arc<ScalarUDF>>,
    signature: Signature,
}

impl ByPattern {
    /// `to_timestamp` over what reads without a pattern, and `try_to_timestamp`.
    pub fn timestamps(plain: ScalarUDF) -> [ScalarUDF; 2] {
        [
            Self::udf("to_timestamp", false, false, Some(Arc::new(plain))),
            Self::udf("try_to_timestamp", false, true, None),
        ]
    }

    /// `to_date` over what reads without a pattern, and `try_to_date`.
    pub fn dates(plain: Arc<ScalarUDF>) -> [ScalarUDF; 2] {
        [Self::udf("to_date", true, false, Some(plain)), Self::udf("try_to_date", true, true, None)]
    }

    fn udf(
        name: &'static str,
        date: bool,
        tries: bool,
        plain: Option<Arc<ScalarUDF>>,
    ) -> ScalarUDF {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::from(Self { name, date, tries, plain, signature })
    }

    fn read(&self, text: &str, pattern: &str) -> Result<Option<NaiveDateTime>> {
        match parse(text, pattern) {
            Ok(time) => Ok(Some(time)),
            Err(_) if self.tries => Ok(None),
            Err(why) => exec_err!("{}(): '{text}' does not fit '{pattern}': {why}", self.name),
        }
    }
}

impl ScalarUDFImpl for ByPattern {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> Result<Vec<DataType>> {
        match (args, &self.plain) {
            (
                [DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null, _],
                _,
            ) => Ok(vec![DataType::Utf8, DataType::Utf8]),
            ([other, _], _) => {
                let is = formats::types::sql_name(other);
                plan_err!("{}() reads TEXT by a pattern, got {is}", self.name)
            }
            ([arg], Some(plain)) => {
                datafusion::logical_expr::type_coercion::functions::fields_with_udf(
                    &[Arc::new(datafusion::arrow::datatypes::Field::new("", arg.clone(), true))],
                    plain.as_ref(),
                )
                .map(|fields| fields.iter().map(|f| f.data_type().clone()).collect())
            }
            (others, _) => plan_err!(
                "{}() takes a text and a pattern, got {} arguments",
                self.name,
                others.len()
            ),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.date { DataType::Date32 } else { formats::types::timestamp() })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let (1, Some(plain)) = (args.args.len(), &self.plain) {
            return plain.invoke_with_args(args);
        }
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let [texts, patterns] = columns.as_slice() else {
            return exec_err!("{} needs a text and a pattern", self.name);
        };
        let (texts, patterns) = (texts.as_string::<i32>(), patterns.as_string::<i32>());
        let mut times = vec![];
        for row in 0..texts.len() {
            times.push(match texts.is_null(row) || patterns.is_null(row) {
                true => None,
                false => self.read(texts.value(row), patterns.value(row))?,
            });
        }
        Ok(ColumnarValue::Array(if self.date { dates(&times) } else { timestamps(&times) }))
    }
}

fn dates(times: &[Option<NaiveDateTime>]) -> ArrayRef {
    let mut dates = Date32Builder::new();
    let epoch = NaiveDate::default();
    for time in times {
        let days = time.map(|t| t.date().signed_duration_since(epoch).num_days());
        dates.append_option(days.and_then(|d| i32::try_from(d).ok()));
    }
    Arc::new(dates.finish())
}

fn timestamps(times: &[Option<NaiveDateTime>]) -> ArrayRef {
    let mut micros = TimestampMicrosecondBuilder::new();
    times.iter().for_each(|t| micros.append_option(t.map(|t| t.and_utc().timestamp_micros())));
    Arc::new(micros.finish().with_timezone("UTC"))
}

/// What was read of a text.
#[derive(Default)]
struct Fields {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: Option<u32>,
    hour12: Option<u32>,
    afternoon: Option<bool>,
    minute: Option<u32>,
    second: Option<u32>,
    nanos: Option<u32>,
    /// Seconds east of Greenwich.
    offset: i64,
}

type Read<T> = std::result::Result<T, String>;

fn parse(text: &str, pattern: &str) -> Read<NaiveDateTime> {
    let mut fields = Fields::default();
    let (mut rest, mut letters) = (text, pattern.chars().peekable());
    while let Some(letter) = letters.next() {
        if letter == '\'' {
            let mut text = String::new();
            quoted(&mut letters, &mut text);
            rest = literal(rest, &text)?;
        } else if !letter.is_ascii_alphabetic() {
            rest = literal(rest, &letter.to_string())?;
        } else {
            let mut count = 1;
            while letters.next_if_eq(&letter).is_some() {
                count += 1;
            }
            // A field that another follows directly has as many digits as letters.
            let fixed = count > 1 || letters.peek().is_some_and(char::is_ascii_alphabetic);
            rest = field(&mut fields, rest, letter, count, fixed)?;
        }
    }
    match rest.is_empty() {
        true => fields.time(),
        false => Err(format!("'{rest}' is left")),
    }
}

fn literal<'t>(text: &'t str, wanted: &str) -> Read<&'t str> {
    text.strip_prefix(wanted).ok_or_else(|| format!("'{wanted}' is not there"))
}

/// A number of at most `most` digits, at least `least`.
fn number(text: &str, least: usize, most: usize) -> Read<(u32, &str)> {
    let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if digits < least {
        return Err(format!("a number of {least} digits is not there"));
    }
    let number = text[..digits].parse().map_err(|_| "a number is too large".to_string())?;
    Ok((number, &text[digits..]))
}

fn field<'t>(
    to: &mut Fields,
    text: &'t str,
    letter: char,
    count: usize,
    fixed: bool,
) -> Read<&'t str> {
    let two = || number(text, count, if fixed { count } else { 2 });
    let some = |(n, rest): (u32, &'t str)| (Some(n), rest);
    let rest;
    match (letter, count) {
        ('y' | 'u', 2) => {
            let (year, after) = number(text, 2, 2)?;
            (to.year, rest) = (Some(2000 + year as i32), after);
        }
        ('y' | 'u', 1 | 3..=6) => {
            let (year, after) = number(text, count, if fixed { count } else { 6 })?;
            (to.year, rest) = (Some(year as i32), after);
        }
        ('M' | 'L', 1 | 2) => (to.month, rest) = some(two()?),
        ('M' | 'L', 3 | 4) => (to.month, rest) = some(month(text, count == 4)?),
        ('d', 1 | 2) => (to.day, rest) = some(two()?),
        ('D', 1..=3) => (to.day_of_year, rest) = some(number(text, count, 3)?),
        ('H', 1 | 2) => (to.hour, rest) = some(two()?),
        ('k', 1 | 2) => {
            let (hour, after) = two()?;
            (to.hour, rest) = (Some(hour % 24), after);
        }
        ('h' | 'K', 1 | 2) => {
            let (hour, after) = two()?;
            (to.hour12, rest) = (Some(hour % 12), after);
        }
        ('m', 1 | 2) => (to.minute, rest) = some(two()?),
        ('s', 1 | 2) => (to.second, rest) = some(two()?),
        ('S', 1..=9) => {
            let (_, after) = number(text, 1, count)?;
            let digits = &text[..text.len() - after.len()];
            to.nanos = format!("{digits:0<9}").parse().ok();
            rest = after;
        }
        ('a', 1) => {
            let half = text.get(..2).unwrap_or_default().to_uppercase();
            to.afternoon = match half.as_str() {
                "AM" => Some(false),
                "PM" => Some(true),
                _ => return Err("AM or PM is not there".into()),
            };
            rest = &text[2..];
        }
        ('E', 1..=4) => rest = weekday(text, count == 4)?,
        ('X' | 'x' | 'Z', 1..=3) => (to.offset, rest) = offset(text)?,
        ('z' | 'V', 1..=3) => rest = literal(text, "UTC")?,
        _ => return Err(format!("'{}' is no field", letter.to_string().repeat(count))),
    }
    Ok(rest)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

fn month(text: &str, whole: bool) -> Read<(u32, &str)> {
    let found = named(text, &MONTHS, whole).ok_or("the name of a month is not there")?;
    Ok((found.0 as u32 + 1, found.1))
}

fn weekday(text: &str, whole: bool) -> Read<&str> {
    Ok(named(text, &DAYS, whole).ok_or("the name of a day is not there")?.1)
}

fn named<'t>(text: &'t str, names: &[&str], whole: bool) -> Option<(usize, &'t str)> {
    names.iter().enumerate().find_map(|(i, name)| {
        let name = if whole { name } else { &name[..3] };
        let there = text.get(..name.len())?;
        there.eq_ignore_ascii_case(name).then(|| (i, &text[name.len()..]))
    })
}

/// `Z`, `+01`, `+0130`, `+01:30`, as seconds.
fn offset(text: &str) -> Read<(i64, &str)> {
    if let Some(rest) = text.strip_prefix('Z') {
        return Ok((0, rest));
    }
    let (sign, rest) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(rest), _) => (1, rest),
        (_, Some(rest)) => (-1, rest),
        _ => return Err("an offset from UTC is not there".into()),
    };
    let (hours, rest) = number(rest, 2, 2)?;
    let after = rest.strip_prefix(':').unwrap_or(rest);
    let (minutes, rest) = number(after, 2, 2).unwrap_or((0, rest));
    Ok((sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60), rest))
}

impl Fields {
    fn time(&self) -> Read<NaiveDateTime> {
        let year = self.year.unwrap_or(1970);
        let first = NaiveDate::from_ymd_opt(year, 1, 1);
        let date = match self.day_of_year {
            Some(day) => {
                let after = u64::from(day).checked_sub(1).map(Days::new);
                let date =
                    first.zip(after).and_then(|(first, after)| first.checked_add_days(after));
                date.filter(|d| chrono::Datelike::year(d) == year)
            }
            None => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1)),
        };
        let date = date.ok_or("there is no such day")?;
        let hour = match (self.hour, self.hour12) {
            (Some(hour), _) => hour,
            (None, Some(hour)) => hour + if self.afternoon == Some(true) { 12 } else { 0 },
            (None, None) => 0,
        };
        let (minute, second) = (self.minute.unwrap_or(0), self.second.unwrap_or(0));
        let time = date.and_hms_nano_opt(hour, minute, second, self.nanos.unwrap_or(0));
        let time = time.ok_or("there is no such time of day")?;
        time.checked_sub_signed(chrono::Duration::seconds(self.offset))
            .ok_or_else(|| "the time is out of range".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as Spark 4 gives them in ANSI mode.
    #[test]
    fn texts_are_read_as_spark_does() {
        for (text, pattern, wanted) in [
            ("31/12/2025 23:59", "dd/MM/yyyy HH:mm", Ok("2025-12-31 23:59:00")),
            ("1.2.2026", "d.M.yyyy", Ok("2026-02-01 00:00:00")),
            ("20260102", "yyyyMMdd", Ok("2026-01-02 00:00:00")),
            ("20260102030405", "yyyyMMddHHmmss", Ok("2026-01-02 03:04:05")),
            ("02-Jan-26 1:05 pm", "dd-MMM-yy h:mm a", Ok("2026-01-02 13:05:00")),
            ("12:00 AM", "hh:mm a", Ok("1970-01-01 00:00:00")),
            (
                "2026-01-02T03:04:05.5+01:30",
                "yyyy-MM-dd'T'HH:mm:ss.SXXX",
                Ok("2026-01-02 01:34:05.500"),
            ),
            (
                "2026-01-02 03:04:05.123456",
                "yyyy-MM-dd HH:mm:ss.SSSSSS",
                Ok("2026-01-02 03:04:05.123456"),
            ),
            ("Friday 2 January 2026", "EEEE d MMMM yyyy", Ok("2026-01-02 00:00:00")),
            ("2026-060", "yyyy-DDD", Ok("2026-03-01 00:00:00")),
            ("2026-02-30", "yyyy-MM-dd", Err("there is no such day")),
            ("2026-1-02", "yyyy-MM-dd", Err("a number of 2 digits is not there")),
            ("2026-01-02x", "yyyy-MM-dd", Err("'x' is left")),
            ("2026/01/02", "yyyy-MM-dd", Err("'-' is not there")),
            ("25:00", "HH:mm", Err("there is no such time of day")),
            ("2026", "yyyy pp", Err("' ' is not there")),
            ("2026 1", "yyyy p", Err("'p' is no field")),
        ] {
            let read = parse(text, pattern).map(|t| t.to_string());
            assert_eq!(read.as_deref().map_err(String::as_str), wanted, "{text} by {pattern}");
        }
    }
}
