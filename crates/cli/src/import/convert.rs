//! What a file writes otherwise than the server reads it: marks for NULL, decimal commas, times in
//! a form or a zone of their own.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use common::{Error, Result};

/// What a field is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Number,
    Time,
    Other,
    /// Not known yet: what looks like a number or a time is taken for one.
    Any,
}

#[derive(Clone, Debug, Default)]
pub struct Convert {
    nulls: Vec<String>,
    decimal_comma: bool,
    time_format: Option<String>,
    zone: Option<Tz>,
}

impl Convert {
    pub fn new(
        nulls: &[String],
        decimal_comma: bool,
        time_format: Option<&str>,
        zone: Option<&str>,
    ) -> Result<Convert> {
        let zone = zone.map(|name| {
            name.parse::<Tz>().map_err(|_| {
                Error::invalid(format!("there is no time zone '{name}'"))
                    .hint("as in Europe/Berlin, America/New_York, UTC")
            })
        });
        let time_format = time_format.map(str::to_string);
        Ok(Convert { nulls: nulls.to_vec(), decimal_comma, time_format, zone: zone.transpose()? })
    }

    pub fn is_needed(&self) -> bool {
        !self.nulls.is_empty()
            || self.decimal_comma
            || self.time_format.is_some()
            || self.zone.is_some()
    }

    /// The field as the server reads it; nothing for NULL.
    pub fn field<'a>(&self, text: &'a str, quoted: bool, kind: Kind) -> Option<Cow<'a, str>> {
        if !quoted && self.nulls.iter().any(|null| null == text.trim()) {
            return None;
        }
        if self.decimal_comma
            && matches!(kind, Kind::Number | Kind::Any)
            && let Some(number) = with_point(text.trim())
        {
            return Some(number.into());
        }
        if matches!(kind, Kind::Time | Kind::Any)
            && let Some(time) = self.time(text.trim())
        {
            return Some(time.into());
        }
        Some(text.into())
    }

    fn time(&self, text: &str) -> Option<String> {
        let local = match &self.time_format {
            Some(format) => {
                if let Ok(instant) = DateTime::parse_from_str(text, format) {
                    return Some(shown(instant.with_timezone(&Utc)));
                }
                NaiveDateTime::parse_from_str(text, format).ok().or_else(|| {
                    let date = NaiveDate::parse_from_str(text, format).ok()?;
                    Some(date.and_time(NaiveTime::MIN))
                })?
            }
            None => {
                self.zone?;
                let us = formats::wall_clock(text.as_bytes())?;
                DateTime::from_timestamp_micros(us)?.naive_utc()
            }
        };
        Some(shown(self.instant(local)))
    }

    /// The earlier one where a clock shows the time twice; where it is put forward, as if it had
    /// not been yet.
    fn instant(&self, local: NaiveDateTime) -> DateTime<Utc> {
        let Some(zone) = self.zone else { return local.and_utc() };
        if let Some(found) = zone.from_local_datetime(&local).earliest() {
            return found.with_timezone(&Utc);
        }
        let before = zone.from_local_datetime(&(local - TimeDelta::hours(6))).earliest();
        let offset = before.map_or(0, |b| b.offset().fix().local_minus_utc());
        (local - TimeDelta::seconds(i64::from(offset))).and_utc()
    }
}

fn shown(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string()
}

/// `1.234,5` as `1234.5`; nothing of what is no number with a comma.
fn with_point(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once(',')?;
    let digits = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let mut groups = digits.split(['.', ' ', '\u{a0}', '\'']);
    let first = groups.next()?;
    let are_digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let is_number = are_digits(first)
        && !fraction.is_empty()
        && are_digits(fraction)
        && groups.all(|g| g.len() == 3 && are_digits(g) && (1..=3).contains(&first.len()));
    let sign = if whole.starts_with('-') { "-" } else { "" };
    let whole: String = digits.chars().filter(char::is_ascii_digit).collect();
    is_number.then(|| format!("{sign}{}.{fraction}", if whole.is_empty() { "0" } else { &whole }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_with_commas() {
        for (text, number) in [
            ("12,5", Some("12.5")),
            ("-1.234,50", Some("-1234.50")),
            ("1 234 567,8", Some("1234567.8")),
            (",5", Some("0.5")),
            ("12.5", None),
            ("1,2,3", None),
            ("12345.678,9", None),
            ("a,b", None),
            ("1,", None),
        ] {
            assert_eq!(with_point(text).as_deref(), number, "{text}");
        }
    }

    #[test]
    fn times_and_nulls() {
        let nulls = ["NA".to_string(), "-".to_string()];
        let berlin = Convert::new(&nulls, false, Some("%d.%m.%Y %H:%M"), Some("Europe/Berlin"));
        let berlin = berlin.unwrap();
        for (text, time) in [
            ("28.11.2026 12:30", "2026-11-28T11:30:00Z"),
            // Twice, and never.
            ("30.10.2022 02:30", "2022-10-30T00:30:00Z"),
            ("27.03.2022 02:30", "2022-03-27T01:30:00Z"),
        ] {
            assert_eq!(berlin.field(text, false, Kind::Time).as_deref(), Some(time));
            assert_eq!(berlin.field(text, false, Kind::Other).as_deref(), Some(text));
        }
        assert_eq!(berlin.field(" NA", false, Kind::Other), None);
        assert_eq!(berlin.field("NA", true, Kind::Other).as_deref(), Some("NA"));
        let zone = Convert::new(&[], false, None, Some("America/New_York")).unwrap();
        let field = |text| zone.field(text, false, Kind::Any).unwrap().into_owned();
        assert_eq!(field("2026-01-01 10:00:00"), "2026-01-01T15:00:00Z");
        assert_eq!(field("2026-01-01T10:00:00Z"), "2026-01-01T10:00:00Z");
        assert_eq!(field("ten"), "ten");
        assert!(Convert::new(&[], false, None, Some("Mars")).is_err());
    }
}
