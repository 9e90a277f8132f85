//! Small conversions between values and text that several files of this crate need.

use chrono::{DateTime, SecondsFormat, Utc};

/// Microseconds since 1970 as RFC 3339 in UTC, with microseconds only where there are any.
pub fn rfc3339(us: i64) -> String {
    match DateTime::<Utc>::from_timestamp_micros(us) {
        Some(t) if us % 1_000_000 == 0 => t.to_rfc3339_opts(SecondsFormat::Secs, true),
        Some(t) => t.to_rfc3339_opts(SecondsFormat::Micros, true),
        None => format!("{us}us"),
    }
}

/// RFC 3339 as microseconds since 1970.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|t| t.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back() {
        for us in [0, 1_000_000, -1, 1_763_856_000_123_456] {
            assert_eq!(parse_rfc3339(&rfc3339(us)), Some(us));
        }
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
    }
}
