//! Numbers as they stand in the text. One scan yields sign, digits and power of ten, from which
//! integers, floats and decimals follow without loss; what does not fit in 64 bits goes back to
//! the raw text, so no digit of a DECIMAL ever passes through a float.

/// A scanned number. `mantissa * 10^exponent` is its size as long as `exact` holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    pub raw: &'a [u8],
    negative: bool,
    mantissa: u64,
    exponent: i32,
    /// The mantissa holds all digits.
    exact: bool,
    /// Written without fraction and exponent.
    whole: bool,
}

/// Why a number does not fit its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    TooLarge,
    NotWhole,
    /// More digits after the point than the scale.
    TooFine,
}

impl Misfit {
    pub fn note(self) -> &'static str {
        match self {
            Self::TooLarge => ", which is out of range",
            Self::NotWhole => ", which is not whole",
            Self::TooFine => ", which has too many digits after the point",
        }
    }
}

/// Where a scan failed, counted from the start of the bytes given.
pub(crate) struct BadNumber(pub usize);

/// Scans the number that `bytes` begins with. `lenient` also takes what CSV files hold: a leading
/// `+`, leading zeros, `.5` and `5.`.
#[inline]
pub(crate) fn scan(bytes: &[u8], lenient: bool) -> Result<Number<'_>, BadNumber> {
    let mut at = 0;
    let negative = bytes.first() == Some(&b'-');
    if negative || (lenient && bytes.first() == Some(&b'+')) {
        at = 1;
    }
    let first = at;
    let mut mantissa = 0_u64;
    at = digits(bytes, at, &mut mantissa);
    let mut count = at - first;
    if count > 1 && bytes[first] == b'0' && !lenient {
        return Err(BadNumber(first));
    }
    let mut whole = true;
    let mut exponent = 0_i32;
    if bytes.get(at) == Some(&b'.') && (count > 0 || lenient) {
        let end = digits(bytes, at + 1, &mut mantissa);
        let fraction = end - at - 1;
        if fraction == 0 && !lenient {
            return Err(BadNumber(end));
        }
        whole = false;
        exponent = -(fraction.min(1 << 30) as i32);
        count += fraction;
        at = end;
    }
    if count == 0 {
        return Err(BadNumber(at));
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let (power, end) = exponent_of(bytes, at + 1)?;
        exponent = exponent.saturating_add(power);
        whole = false;
        at = end;
    }
    Ok(Number { raw: &bytes[..at], negative, mantissa, exponent, exact: count <= 19, whole })
}

#[inline]
fn digits(bytes: &[u8], mut at: usize, mantissa: &mut u64) -> usize {
    while let Some(d) = bytes.get(at).map(|b| b.wrapping_sub(b'0')) {
        if d > 9 {
            break;
        }
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(d));
        at += 1;
    }
    at
}

fn exponent_of(bytes: &[u8], mut at: usize) -> Result<(i32, usize), BadNumber> {
    let negative = bytes.get(at) == Some(&b'-');
    if matches!(bytes.get(at), Some(b'-' | b'+')) {
        at += 1;
    }
    let first = at;
    let mut power = 0_i32;
    while let Some(d) = bytes.get(at).map(|b| b.wrapping_sub(b'0')) {
        if d > 9 {
            break;
        }
        power = power.saturating_mul(10).saturating_add(i32::from(d));
        at += 1;
    }
    if at == first {
        return Err(BadNumber(at));
    }
    Ok((if negative { -power } else { power }, at))
}

const TENS_F64: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

impl Number<'_> {
    fn text(&self) -> &str {
        std::str::from_utf8(self.raw).unwrap_or("")
    }

    /// `5`, `5.0` and `5e0` are whole, `5.5` is not.
    #[inline]
    pub fn to_i64(self) -> Result<i64, Misfit> {
        if self.whole && self.exact {
            return match self.negative {
                false => i64::try_from(self.mantissa).map_err(|_| Misfit::TooLarge),
                true => 0_i64.checked_sub_unsigned(self.mantissa).ok_or(Misfit::TooLarge),
            };
        }
        let wide = self.to_decimal(38, 0).map_err(|e| match e {
            Misfit::TooFine => Misfit::NotWhole,
            other => other,
        })?;
        i64::try_from(wide).map_err(|_| Misfit::TooLarge)
    }

    /// The nearest double. Small mantissas and powers are exact in one operation.
    #[inline]
    pub fn to_f64(self) -> Result<f64, Misfit> {
        if self.exact && self.mantissa <= 1 << 53 && (-22..=22).contains(&self.exponent) {
            let m = self.mantissa as f64;
            let power = TENS_F64[self.exponent.unsigned_abs() as usize];
            let value = if self.exponent < 0 { m / power } else { m * power };
            return Ok(if self.negative { -value } else { value });
        }
        let value: f64 = self.text().parse().map_err(|_| Misfit::TooLarge)?;
        if value.is_finite() { Ok(value) } else { Err(Misfit::TooLarge) }
    }

    /// The nearest float, from the text: going through a double would round twice.
    pub fn to_f32(self) -> Result<f32, Misfit> {
        let value: f32 = self.text().parse().map_err(|_| Misfit::TooLarge)?;
        if value.is_finite() { Ok(value) } else { Err(Misfit::TooLarge) }
    }

    /// The exact value in units of `10^-scale`.
    #[inline]
    pub fn to_decimal(self, precision: u8, scale: i8) -> Result<i128, Misfit> {
        let (mut value, exponent) = if self.exact {
            (i128::from(self.mantissa), self.exponent)
        } else {
            self.long_digits(precision, scale)?
        };
        let shift = i64::from(exponent) + i64::from(scale);
        if value != 0 && shift >= 0 {
            let power = tens(shift).ok_or(Misfit::TooLarge)?;
            value = value.checked_mul(power).ok_or(Misfit::TooLarge)?;
        } else if value != 0 {
            let power = tens(-shift).ok_or(Misfit::TooFine)?;
            if value % power != 0 {
                return Err(Misfit::TooFine);
            }
            value /= power;
        }
        if tens(i64::from(precision)).is_some_and(|limit| value >= limit) {
            return Err(Misfit::TooLarge);
        }
        Ok(if self.negative { -value } else { value })
    }

    /// All significant digits, up to 38, and the power of ten of the last one.
    fn long_digits(&self, precision: u8, scale: i8) -> Result<(i128, i32), Misfit> {
        let end = self.raw.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(self.raw.len());
        let (mut value, mut count, mut zeros) = (0_i128, 0_i32, 0_i32);
        for d in self.raw[..end].iter().map(|b| b.wrapping_sub(b'0')).filter(|d| *d <= 9) {
            if d == 0 {
                zeros += 1;
                continue;
            }
            if count > 0 {
                count += zeros;
            }
            count += 1;
            if count <= 38 {
                let power = if value == 0 { 10 } else { tens(i64::from(zeros) + 1).unwrap_or(1) };
                value = value * power + i128::from(d);
            }
            zeros = 0;
        }
        let exponent = self.exponent.saturating_add(zeros);
        if count > 38 {
            let before_point = i64::from(count) + i64::from(exponent);
            let large = before_point > i64::from(precision) - i64::from(scale);
            return Err(if large { Misfit::TooLarge } else { Misfit::TooFine });
        }
        Ok((value, exponent))
    }
}

/// `10^n`, if it fits in 128 bits.
pub(crate) fn tens(n: i64) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(n).ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn number(text: &str) -> Option<Number<'_>> {
        scan(text.as_bytes(), false).ok().filter(|n| n.raw.len() == text.len())
    }

    #[test]
    fn grammar() {
        for good in ["0", "-0", "10", "1.5", "-1.25e3", "1E+2", "1e-2", "123456789012345678901"] {
            assert!(number(good).is_some(), "{good}");
        }
        for bad in ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", "--1", "1.5.2", "NaN"] {
            assert!(number(bad).is_none(), "{bad}");
        }
        for csv in ["+1", "007", ".5", "5.", "-.5e2"] {
            assert!(scan(csv.as_bytes(), true).is_ok_and(|n| n.raw.len() == csv.len()), "{csv}");
        }
        assert!(scan(b".", true).is_err());
    }

    #[test]
    fn integers_are_exact() {
        use Misfit::{NotWhole, TooLarge};
        for (text, want) in [
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err(TooLarge)),
            ("-9223372036854775809", Err(TooLarge)),
            ("99999999999999999999999", Err(TooLarge)),
            ("5.0", Ok(5)),
            ("5.5", Err(NotWhole)),
            ("5e3", Ok(5000)),
            ("5000e-3", Ok(5)),
            ("1e400", Err(TooLarge)),
            ("1e-400", Err(NotWhole)),
            ("0e999999999999", Ok(0)),
            ("9223372036854775807.000", Ok(i64::MAX)),
            ("00.1", Err(NotWhole)),
        ] {
            assert_eq!(scan(text.as_bytes(), true).ok().unwrap().to_i64(), want, "{text}");
        }
    }

    #[test]
    fn decimals_are_exact() {
        use Misfit::{TooFine, TooLarge};
        let nines = "99999999999999999999999999999999999999";
        for (text, p, s, want) in [
            ("12.30", 4, 1, Ok(123)),
            ("12.34", 4, 1, Err(TooFine)),
            ("999.9", 4, 1, Ok(9999)),
            ("1000", 4, 1, Err(TooLarge)),
            ("-0.1", 38, 38, Ok(-(10_i128.pow(37)))),
            ("1e2", 5, 2, Ok(10_000)),
            (nines, 38, 0, Ok(10_i128.pow(38) - 1)),
            ("999999999999999999999999999999999999999", 38, 0, Err(TooLarge)),
            ("0.000000000000000000000000000000000000000000001", 38, 10, Err(TooFine)),
            ("1.00000000000000000000000000000000000000000000", 3, 1, Ok(10)),
            ("12345678901234567890.12345678901234567890", 38, 18, Err(TooFine)),
            (
                "12345678901234567890.1234567890123456780",
                38,
                18,
                Ok(12345678901234567890123456789012345678),
            ),
            ("100000000000000000000000000000", 38, 2, Ok(10_i128.pow(31))),
        ] {
            assert_eq!(number(text).unwrap().to_decimal(p, s), want, "{text}");
        }
    }

    #[test]
    fn floats_are_the_nearest() {
        for text in [
            "0.1",
            "23.419",
            "1e22",
            "1e23",
            "9007199254740993",
            "1.7976931348623157e308",
            "5e-324",
            "123456789012345678901234567890",
            "0.30000000000000004",
        ] {
            let want: f64 = text.parse().unwrap();
            assert_eq!(number(text).unwrap().to_f64().unwrap().to_bits(), want.to_bits(), "{text}");
        }
        assert_eq!(number("-0.0").unwrap().to_f64().unwrap().to_bits(), (-0.0_f64).to_bits());
        assert_eq!(number("1e999").unwrap().to_f64(), Err(Misfit::TooLarge));
        assert_eq!(number("1e39").unwrap().to_f32(), Err(Misfit::TooLarge));
    }
}
