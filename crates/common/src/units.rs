//! Sizes and durations as people write them: `7 days`, `500 ms`, `64 MiB`.

use crate::{Error, Result};

const DURATIONS: [(&str, i64); 22] = [
    ("us", 1),
    ("microsecond", 1),
    ("microseconds", 1),
    ("ms", 1_000),
    ("millisecond", 1_000),
    ("milliseconds", 1_000),
    ("s", 1_000_000),
    ("sec", 1_000_000),
    ("second", 1_000_000),
    ("seconds", 1_000_000),
    ("min", 60_000_000),
    ("m", 60_000_000),
    ("minute", 60_000_000),
    ("minutes", 60_000_000),
    ("h", 3_600_000_000),
    ("hour", 3_600_000_000),
    ("hours", 3_600_000_000),
    ("d", 86_400_000_000),
    ("day", 86_400_000_000),
    ("days", 86_400_000_000),
    ("week", 604_800_000_000),
    ("weeks", 604_800_000_000),
];

const SIZES: [(&str, u64); 9] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
];

/// A duration in microseconds: one or more pairs of number and unit (`1 hour 30 minutes`).
pub fn parse_duration_us(text: &str) -> Result<i64> {
    let bad = || {
        Error::invalid(format!("'{text}' is not a duration"))
            .hint("write a number and a unit, as in '5 seconds', '10 minutes', '7 days'")
    };
    let mut rest = text.trim().to_lowercase();
    let mut total: i64 = 0;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: i64 = rest[..digits].parse().map_err(|_| bad())?;
        let after = rest[digits..].trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit = &after[..letters];
        let (_, us) = DURATIONS.iter().find(|(n, _)| *n == unit).ok_or_else(bad)?;
        total = number.checked_mul(*us).and_then(|n| total.checked_add(n)).ok_or_else(bad)?;
        rest = after[letters..].trim_start().to_string();
    }
    Ok(total)
}

/// A size in bytes: `64 MiB`, `1 GB`, `1048576`.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let bad = || {
        Error::invalid(format!("'{text}' is not a size"))
            .hint("write a number and a unit, as in '64 MiB', '1 GB', '1048576'")
    };
    let lower = text.trim().to_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let number: u64 = lower[..digits].parse().map_err(|_| bad())?;
    let unit = lower[digits..].trim();
    let (_, factor) = SIZES.iter().find(|(n, _)| *n == unit).ok_or_else(bad)?;
    number.checked_mul(*factor).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations() {
        for (text, us) in [
            ("5 seconds", 5_000_000),
            ("10ms", 10_000),
            ("1 hour 30 minutes", 5_400_000_000),
            ("7 DAYS", 604_800_000_000),
            ("0 s", 0),
        ] {
            assert_eq!(parse_duration_us(text).unwrap(), us, "{text}");
        }
        for text in ["", "5", "seconds", "5 fortnights", "99999999999999 days", "-1 s", "1 month"] {
            assert!(parse_duration_us(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, n) in [("64 MiB", 64 << 20), ("1GB", 1_000_000_000), ("17", 17), ("0 b", 0)] {
            assert_eq!(parse_bytes(text).unwrap(), n, "{text}");
        }
        for text in ["", "MiB", "1 parsec", "99999999999999999999"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
