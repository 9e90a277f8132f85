//! `date_format(time, pattern)` with the letters of Spark's datetime patterns, in UTC.

use std::sync::Arc;

use chrono::{DateTime, Datelike, Timelike, Utc};
use datafusion::arrow::array::{Array, AsArray, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DateFormat {
    signature: Signature,
}

impl Default for DateFormat {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DateFormat {
    fn name(&self) -> &str {
        "date_format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> Result<Vec<DataType>> {
        let micros = || DataType::Timestamp(TimeUnit::Microsecond, None);
        match args {
            [DataType::Timestamp(..), DataType::Utf8] => Ok(vec![args[0].clone(), DataType::Utf8]),
            [DataType::Date32 | DataType::Utf8 | DataType::Null, DataType::Utf8] => {
                Ok(vec![micros(), DataType::Utf8])
            }
            [_, _] => plan_err!("date_format() takes a time and a pattern"),
            others => plan_err!("date_format() takes 2 arguments, got {}", others.len()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let [times, patterns] = columns.as_slice() else {
            return exec_err!("date_format needs a time and a pattern");
        };
        let times = cast(times, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let patterns = patterns.as_string::<i32>();
        let mut texts = StringBuilder::new();
        for row in 0..times.len() {
            if times.is_null(row) || patterns.is_null(row) {
                texts.append_null();
                continue;
            }
            match DateTime::from_timestamp_micros(times.value(row)) {
                Some(time) => texts.append_value(formatted(time, patterns.value(row))?),
                None => texts.append_null(),
            }
        }
        Ok(ColumnarValue::Array(Arc::new(texts.finish())))
    }
}

/// Runs of one letter are fields, text in quotes and all that is no letter stands for itself.
fn formatted(time: DateTime<Utc>, pattern: &str) -> Result<String> {
    let mut out = String::new();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '\'' {
            quoted(&mut letters, &mut out);
            continue;
        }
        if !letter.is_ascii_alphabetic() {
            out.push(letter);
            continue;
        }
        let mut count = 1;
        while letters.next_if_eq(&letter).is_some() {
            count += 1;
        }
        match field(time, letter, count) {
            Some(text) => out.push_str(&text),
            None => {
                let run = letter.to_string().repeat(count);
                return exec_err!("date_format() does not know '{run}' in the pattern '{pattern}'");
            }
        }
    }
    Ok(out)
}

/// Until the closing quote; two quotes are one.
pub(super) fn quoted(letters: &mut std::iter::Peekable<std::str::Chars>, out: &mut String) {
    if letters.next_if_eq(&'\'').is_some() {
        out.push('\'');
        return;
    }
    while let Some(letter) = letters.next() {
        if letter != '\'' {
            out.push(letter);
        } else if letters.next_if_eq(&'\'').is_some() {
            out.push('\'');
        } else {
            return;
        }
    }
}

fn field(time: DateTime<Utc>, letter: char, count: usize) -> Option<String> {
    let number = |n: u32| Some(format!("{n:0count$}"));
    let named = |short: &'static str, long: &'static str| {
        Some(time.format(if count < 4 { short } else { long }).to_string())
    };
    let hour12 = time.hour12().1;
    match (letter, count) {
        ('y', 2) => Some(format!("{:02}", time.year().rem_euclid(100))),
        ('y', 1..=6) => Some(format!("{:0count$}", time.year())),
        ('M' | 'L', 1 | 2) => number(time.month()),
        ('M' | 'L', 3 | 4) => named("%b", "%B"),
        ('d', 1 | 2) => number(time.day()),
        ('D', 1..=3) => number(time.ordinal()),
        ('E', 1..=4) => named("%a", "%A"),
        ('Q' | 'q', 1 | 2) => number((time.month() - 1) / 3 + 1),
        ('H', 1 | 2) => number(time.hour()),
        ('k', 1 | 2) => number(if time.hour() == 0 { 24 } else { time.hour() }),
        ('h', 1 | 2) => number(hour12),
        ('K', 1 | 2) => number(hour12 % 12),
        ('m', 1 | 2) => number(time.minute()),
        ('s', 1 | 2) => number(time.second()),
        ('S', 1..=9) => Some(format!("{:09}", time.nanosecond()).chars().take(count).collect()),
        ('a', 1) => Some(if time.hour() < 12 { "AM".into() } else { "PM".into() }),
        ('z', 1..=3) | ('V', 2) => Some("UTC".into()),
        ('X', 1..=3) => Some("Z".into()),
        ('x', 1) => Some("+00".into()),
        ('x', 2) | ('Z', 1..=3) => Some("+0000".into()),
        ('x', 3) => Some("+00:00".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let time = DateTime::from_timestamp_micros(1_709_251_199_500_000).unwrap_or_default();
        let cases = [
            ("yyyy-MM-dd HH:mm:ss.SSS", "2024-02-29 23:59:59.500"),
            ("d MMM yy, h:mm a", "29 Feb 24, 11:59 PM"),
            ("EEEE 'o''clock' D", "Thursday o'clock 60"),
            ("Q/yyyy", "1/2024"),
        ];
        for (pattern, expected) in cases {
            assert_eq!(formatted(time, pattern).ok().as_deref(), Some(expected));
        }
        assert!(formatted(time, "pp").is_err());
    }
}
