//! A place in a partition as users write it: `earliest`, `latest`, an offset, a time. One syntax
//! for browsing records (`browse.rs`) and for resetting a group's offsets (`reset_offsets.rs`).

use std::fmt;
use std::str::FromStr;

use chrono::NaiveDateTime;
use common::{Error, Offset};

use crate::stores::text::{parse_rfc3339, rfc3339};

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The oldest record that is kept.
    Earliest,
    /// After the newest record.
    Latest,
    /// Where the group is now.
    Current,
    Offset(Offset),
    /// The first record with this time or a later one, µs since 1970.
    Time(i64),
    /// So many offsets on, or back: from where the group is, or from the end of a partition.
    Shift(i64),
}

const FORMS: &str = "write earliest, latest, current, an offset (17), a shift (+5 or -5), or a \
                     time (2026-01-01T00:00:00Z, or @ and milliseconds since 1970)";

impl FromStr for Position {
    type Err = Error;

    /// Errors: `Invalid` for anything else than these forms.
    fn from_str(text: &str) -> Result<Position, Error> {
        let bad = || Error::invalid(format!("'{text}' is no place in a topic")).hint(FORMS);
        match text {
            "earliest" => return Ok(Position::Earliest),
            "latest" => return Ok(Position::Latest),
            "current" => return Ok(Position::Current),
            _ => {}
        }
        if let Some(ms) = text.strip_prefix('@') {
            let ms: i64 = ms.parse().map_err(|_| bad())?;
            return Ok(Position::Time(ms.saturating_mul(1_000)));
        }
        if text.starts_with(['+', '-']) {
            return text.parse().map(Position::Shift).map_err(|_| bad());
        }
        if let Ok(offset) = text.parse() {
            return Ok(Position::Offset(Offset(offset)));
        }
        // Kafka's tools take a time without a zone for one in UTC.
        let without_zone =
            || text.parse::<NaiveDateTime>().ok().map(|t| t.and_utc().timestamp_micros());
        parse_rfc3339(text).or_else(without_zone).map(Position::Time).ok_or_else(bad)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::Earliest => f.write_str("earliest"),
            Position::Latest => f.write_str("latest"),
            Position::Current => f.write_str("current"),
            Position::Offset(offset) => write!(f, "{offset}"),
            Position::Time(us) => f.write_str(&rfc3339(*us)),
            Position::Shift(by) => write!(f, "{by:+}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn all_forms_are_read_and_shown() {
        let time = 1_767_225_600_000_000;
        for (text, position) in [
            ("earliest", Position::Earliest),
            ("latest", Position::Latest),
            ("current", Position::Current),
            ("17", Position::Offset(Offset(17))),
            ("+5", Position::Shift(5)),
            ("-5", Position::Shift(-5)),
            ("2026-01-01T00:00:00Z", Position::Time(time)),
        ] {
            assert_eq!(text.parse::<Position>().unwrap(), position);
            assert_eq!(position.to_string(), text);
        }
        for same in ["2026-01-01T00:00:00", "2026-01-01T01:00:00.000+01:00", "@1767225600000"] {
            assert_eq!(same.parse::<Position>().unwrap(), Position::Time(time), "{same}");
        }
        for bad in ["", "-", "+", "@", "@x", "1.5", "yesterday", "2026-01-01", "Earliest", "--5"] {
            let e = bad.parse::<Position>().unwrap_err();
            assert!(e.hint_text().unwrap().contains("earliest"), "{bad}");
        }
    }
}
