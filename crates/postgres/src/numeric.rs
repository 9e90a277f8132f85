//! NUMERIC as the protocol writes it in binary: digits to the base 10000. Postgres' numbers have
//! no size, so decimals travel as text on our side and lose no digit.

use std::fmt::Write;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// A decimal text, as `-12.50`, in binary.
pub fn encode(text: &str) -> Vec<u8> {
    let negative = text.starts_with('-');
    let digits = text.trim_start_matches(['-', '+']);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = fraction.len();
    // Both sides of the point in groups of four.
    let whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
    let fraction = format!("{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
    let mut weight = (whole.len() / 4) as i16 - 1;
    let all = format!("{whole}{fraction}");
    let groups = all.as_bytes().chunks(4);
    let mut groups: Vec<u16> =
        groups.map(|g| g.iter().fold(0, |n, d| n * 10 + u16::from(d.wrapping_sub(b'0')))).collect();
    let zeros = groups.iter().take_while(|g| **g == 0).count();
    groups.drain(..zeros);
    weight -= zeros as i16;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let sign = if negative && !groups.is_empty() { NEGATIVE } else { 0 };
    let head = [groups.len() as u16, weight as u16, sign, scale as u16];
    head.into_iter().chain(groups).flat_map(u16::to_be_bytes).collect()
}

/// The text of a binary NUMERIC; none for bytes that are not one.
pub fn decode(bytes: &[u8]) -> Option<String> {
    let mut numbers = bytes.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]]));
    let (count, weight) = (numbers.next()?, numbers.next()? as i16);
    let (sign, scale) = (numbers.next()?, usize::from(numbers.next()?));
    match sign {
        0 | NEGATIVE => {}
        NAN => return Some("NaN".into()),
        INFINITY => return Some("Infinity".into()),
        NEGATIVE_INFINITY => return Some("-Infinity".into()),
        _ => return None,
    }
    let groups: Vec<u16> = numbers.collect();
    if groups.len() != usize::from(count) || groups.iter().any(|g| *g > 9999) {
        return None;
    }
    let group = |at: i32| usize::try_from(at).ok().and_then(|i| groups.get(i)).copied();
    let mut text = String::from(if sign == NEGATIVE { "-" } else { "" });
    let weight = i32::from(weight);
    let first = (0..=weight.max(0)).map(|at| if weight < 0 { 0 } else { group(at).unwrap_or(0) });
    for (i, value) in first.enumerate() {
        let _ = if i == 0 { write!(text, "{value}") } else { write!(text, "{value:04}") };
    }
    let mut fraction = String::new();
    let mut at = weight + 1;
    while fraction.len() < scale {
        // Groups in front of the first one are zeros, and so are those behind the last.
        let _ = write!(fraction, "{:04}", group(at).unwrap_or(0));
        at += 1;
    }
    fraction.truncate(scale);
    if scale > 0 {
        text.push('.');
        text.push_str(&fraction);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for text in [
            "0",
            "1",
            "-1",
            "10000",
            "12345678",
            "0.5",
            "-0.00012345",
            "0.00000001",
            "20.50",
            "99999999999999999999999999999999999999",
            "-1234567890123456789012345678.0123456789",
            "100000000",
        ] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn the_bytes_are_those_of_postgres() {
        // SELECT numeric_send('-12345.678'), numeric_send('0.00')
        let want = [0, 3, 0, 1, 0x40, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x7c];
        assert_eq!(encode("-12345.678"), want);
        assert_eq!(encode("0.00"), [0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(decode(&[0, 0, 0, 0, 0xC0, 0, 0, 0]).as_deref(), Some("NaN"));
        assert_eq!(decode(&[0, 2, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(decode(&[]), None);
    }
}
