//! Dates and timestamps between text and numbers, in the proleptic Gregorian calendar and UTC.
//! Written out here rather than taken from chrono: it runs once per event, covers the whole range
//! of the Arrow types, and rounds nothing silently but digits after the microsecond, which are cut.

const DAY_US: i128 = 86_400_000_000;

/// What a timestamp's text says about its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zone {
    None,
    /// Already applied.
    Offset,
}

/// Days since 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    fn eat(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == byte).then(|| self.0 = rest)
    }

    fn two(&mut self, max: i64) -> Option<i64> {
        let [a, b, rest @ ..] = self.0 else {
            return None;
        };
        let (a, b) = (a.wrapping_sub(b'0'), b.wrapping_sub(b'0'));
        let n = i64::from(a) * 10 + i64::from(b);
        if a > 9 || b > 9 || n > max {
            return None;
        }
        self.0 = rest;
        Some(n)
    }

    /// Four digits, or a sign and four to seven.
    fn year(&mut self) -> Option<i64> {
        let sign = match self.0.first()? {
            b'-' => Some(-1),
            b'+' => Some(1),
            _ => None,
        };
        if sign.is_some() {
            self.0 = &self.0[1..];
        }
        let count = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        if count != 4 && !(sign.is_some() && (4..=7).contains(&count)) {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        let year = digits.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0'));
        Some(year * sign.unwrap_or(1))
    }

    fn date(&mut self) -> Option<i64> {
        let year = self.year()?;
        self.eat(b'-')?;
        let month = self.two(12)?;
        self.eat(b'-')?;
        let day = self.two(31)?;
        if month < 1 || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        Some(days_from_civil(year, month, day))
    }

    fn fraction_us(&mut self) -> Option<i64> {
        let count = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        let mut us = 0;
        for i in 0..6 {
            us = us * 10 + digits.get(i).map_or(0, |d| i64::from(d - b'0'));
        }
        (count > 0).then_some(us)
    }

    fn time_us(&mut self) -> Option<i64> {
        let hour = self.two(23)?;
        self.eat(b':')?;
        let minute = self.two(59)?;
        let (mut second, mut us) = (0, 0);
        if self.eat(b':').is_some() {
            second = self.two(59)?;
            if self.eat(b'.').is_some() {
                us = self.fraction_us()?;
            }
        }
        Some(((hour * 60 + minute) * 60 + second) * 1_000_000 + us)
    }

    /// `Z`, `+01:00`, `+0100`, `+01`: microseconds east of UTC.
    fn zone_us(&mut self) -> Option<i64> {
        let sign = match self.0.first()? {
            b'Z' | b'z' => {
                self.0 = &self.0[1..];
                return Some(0);
            }
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.0 = &self.0[1..];
        let hour = self.two(23)?;
        let minute = match self.eat(b':') {
            Some(()) => self.two(59)?,
            None if self.0.is_empty() => 0,
            None => self.two(59)?,
        };
        Some(sign * (hour * 60 + minute) * 60_000_000)
    }
}

/// `YYYY-MM-DD` as days since 1970.
pub(crate) fn parse_date(text: &[u8]) -> Option<i32> {
    let mut s = Scanner(text);
    let days = s.date()?;
    if s.0.is_empty() { i32::try_from(days).ok() } else { None }
}

/// RFC 3339 with any offset, and the same without offset, with a blank for the `T`, or the date
/// alone. Microseconds since 1970; without offset, as if in UTC.
pub(crate) fn parse_timestamp(text: &[u8]) -> Option<(i64, Zone)> {
    let mut s = Scanner(text);
    let days = s.date()?;
    let (mut us, mut zone) = (0, Zone::None);
    if let [b'T' | b't' | b' ', rest @ ..] = s.0 {
        s.0 = rest;
        us = s.time_us()?;
        if !s.0.is_empty() {
            if let [b' ', rest @ ..] = s.0 {
                s.0 = rest;
            }
            us -= s.zone_us()?;
            zone = Zone::Offset;
        }
    }
    if !s.0.is_empty() {
        return None;
    }
    let total = i128::from(days) * DAY_US + i128::from(us);
    i64::try_from(total).ok().map(|us| (us, zone))
}

fn push_two(out: &mut Vec<u8>, n: i64) {
    out.extend_from_slice(&[b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8]);
}

pub(crate) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    if (0..=9999).contains(&year) {
        push_two(out, year / 100);
        push_two(out, year % 100);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        out.extend_from_slice(format!("{:04}", year.unsigned_abs()).as_bytes());
    }
    out.push(b'-');
    push_two(out, month);
    out.push(b'-');
    push_two(out, day);
}

/// `2026-11-22T10:00:00Z`; three or six digits after the second only where needed.
pub(crate) fn write_timestamp(us: i64, utc: bool, out: &mut Vec<u8>) {
    let days = us.div_euclid(DAY_US as i64);
    let of_day = us.rem_euclid(DAY_US as i64);
    write_date(days, out);
    let second = of_day / 1_000_000;
    out.push(b'T');
    push_two(out, second / 3600);
    out.push(b':');
    push_two(out, second / 60 % 60);
    out.push(b':');
    push_two(out, second % 60);
    let micro = of_day % 1_000_000;
    if micro != 0 {
        out.push(b'.');
        push_two(out, micro / 10_000);
        if micro % 1000 == 0 {
            out.push(b'0' + (micro / 1000 % 10) as u8);
        } else {
            push_two(out, micro / 100);
            push_two(out, micro);
        }
    }
    if utc {
        out.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(us: i64) -> String {
        let mut out = vec![];
        write_timestamp(us, true, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn reads_timestamps() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("2026-11-22T10:00:00+01:00", "2026-11-22T09:00:00Z"),
            ("2026-11-22t10:00:00.5z", "2026-11-22T10:00:00.500Z"),
            ("2026-11-22 10:00:00.123456", "2026-11-22T10:00:00.123456Z"),
            ("2026-11-22T10:00:00.123456789-0130", "2026-11-22T11:30:00.123456Z"),
            ("2026-11-22 10:00:00 +01", "2026-11-22T09:00:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z"),
            ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
            ("+12345-01-02T00:00:00Z", "+12345-01-02T00:00:00Z"),
            ("-0044-03-15T12:00:00Z", "-0044-03-15T12:00:00Z"),
            ("2026-11-22T10:00", "2026-11-22T10:00:00Z"),
        ] {
            let (us, _) = parse_timestamp(text.as_bytes()).unwrap_or((i64::MAX, Zone::None));
            assert_eq!(shown(us), want, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-11-22T24:00:00",
            "now",
            "2026-11-22T10:00:60Z",
            "2026-11-22T10:00:00Zx",
            "2026-11-22T10:00:00+",
            "22.11.2026",
            "2026-11-22T10:00:00.",
            "2026-11-22X10:00:00",
            "12026-01-01",
            "2026-1-1",
            "1e9",
            "+9999999-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_timestamp(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_whole_range_round_trips() {
        for us in [i64::MIN, i64::MIN + 1, -1, 0, 1, 999, 1_000, i64::MAX - 1, i64::MAX] {
            assert_eq!(parse_timestamp(shown(us).as_bytes()), Some((us, Zone::Offset)), "{us}");
        }
        for days in [i32::MIN, -719_528, -1, 0, 59, 60, 11_016, i32::MAX] {
            let mut out = vec![];
            write_date(i64::from(days), &mut out);
            assert_eq!(parse_date(&out), Some(days), "{days}");
        }
    }
}
