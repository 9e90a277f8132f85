//! A cursor over JSON text: strings, numbers and skipping, with the grammar of RFC 8259 checked to
//! the last byte. It works on bytes that may not be UTF-8; who pushes text has checked that before.

use std::borrow::Cow;

use crate::fault::{Fault, RefusedKind, shorten};
use crate::number::{self, Number};

/// Arrays and objects may be nested this deep.
const DEPTH_MAX: u32 = 120;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The current byte; 0, which no JSON token begins with, at the end.
    #[inline]
    pub fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    pub fn blanks(&mut self) {
        while let b' ' | b'\n' | b'\r' | b'\t' = self.peek() {
            self.at += 1;
        }
    }

    #[inline]
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    #[inline]
    pub fn expect(&mut self, byte: u8, wanted: &str) -> Result<(), Fault> {
        if self.eat(byte) { Ok(()) } else { Err(self.unexpected(wanted)) }
    }

    /// A fault that says what stands here instead.
    #[cold]
    pub fn unexpected(&self, wanted: &str) -> Fault {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let found = match rest.utf8_chunks().next().and_then(|c| c.valid().chars().next()) {
            _ if [&b"NaN"[..], b"Infinity", b"-Infinity"].iter().any(|n| rest.starts_with(n)) => {
                "NaN or Infinity, which JSON does not have".to_string()
            }
            Some(c) if c.is_control() => format!("the control character {:#04x}", c as u32),
            Some(c) => format!("'{c}'"),
            None if rest.is_empty() => "the end".to_string(),
            None => format!("the byte {:#04x}", rest[0]),
        };
        Fault::parse(self.at, format_args!("expected {wanted}, found {found}"))
    }

    /// `null`, `true` or `false`.
    #[inline]
    pub fn literal(&mut self, word: &'static str) -> Result<(), Fault> {
        let end = self.at + word.len();
        if self.bytes.get(self.at..end) != Some(word.as_bytes()) {
            return Err(self.unexpected("a value"));
        }
        self.at = end;
        Ok(())
    }

    #[inline]
    pub fn number(&mut self) -> Result<Number<'a>, Fault> {
        match number::scan(&self.bytes[self.at..], false) {
            Ok(number) => {
                self.at += number.raw.len();
                Ok(number)
            }
            Err(bad) => {
                self.at += bad.0;
                match self.bytes[..self.at].last() {
                    Some(b'-') if self.peek() == b'I' => self.at -= 1,
                    _ => {}
                }
                Err(self.unexpected("a digit"))
            }
        }
    }

    /// The raw text between quotes, and whether it holds escapes. Stands after the closing quote.
    #[inline]
    pub fn raw_string(&mut self) -> Result<(&'a [u8], bool), Fault> {
        self.expect(b'"', "a text")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at = plain_end(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok((&self.bytes[start..self.at - 1], escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.unexpected("'\"' at the end of a text")),
            }
        }
    }

    /// Checks one escape and steps over it.
    fn escape(&mut self) -> Result<(), Fault> {
        self.at += 1;
        match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_ascii_hexdigit() {
                        return Err(self.unexpected("four hexadecimal digits after \\u"));
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.unexpected("an escape")),
        }
        Ok(())
    }

    /// Appends the string here to `out`.
    #[inline]
    pub fn string_into(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let (raw, escaped) = self.raw_string()?;
        if escaped {
            return unescape(raw, out);
        }
        out.extend_from_slice(raw);
        Ok(())
    }

    #[inline]
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        let (raw, escaped) = self.raw_string()?;
        if !escaped {
            return Ok(Cow::Borrowed(raw));
        }
        let mut out = Vec::with_capacity(raw.len());
        unescape(raw, &mut out)?;
        Ok(Cow::Owned(out))
    }

    /// Steps over one value and checks its grammar.
    pub fn skip(&mut self) -> Result<(), Fault> {
        let (mut objects, mut depth) = (0_u128, 0_u32);
        loop {
            // A value begins here.
            match self.peek() {
                b'"' => drop(self.raw_string()?),
                b'-' | b'0'..=b'9' => drop(self.number()?),
                b'n' => self.literal("null")?,
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                open @ (b'{' | b'[') => {
                    self.at += 1;
                    self.blanks();
                    let object = open == b'{';
                    if !self.eat(if object { b'}' } else { b']' }) {
                        if depth == DEPTH_MAX {
                            return Err(Fault::parse(self.at, "nested too deep"));
                        }
                        depth += 1;
                        objects = objects << 1 | u128::from(object);
                        if object {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
                _ => return Err(self.unexpected("a value")),
            }
            // A value ended; so may what is around it.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                self.blanks();
                let object = objects & 1 == 1;
                if self.eat(b',') {
                    self.blanks();
                    if object {
                        self.skip_key()?;
                    }
                    break;
                }
                let (close, wanted) =
                    if object { (b'}', "',' or '}'") } else { (b']', "',' or ']'") };
                self.expect(close, wanted)?;
                objects >>= 1;
                depth -= 1;
            }
        }
    }

    fn skip_key(&mut self) -> Result<(), Fault> {
        if self.peek() != b'"' {
            return Err(self.unexpected("a name in quotes"));
        }
        self.raw_string()?;
        self.colon()
    }

    /// `:` with blanks around.
    #[inline]
    pub fn colon(&mut self) -> Result<(), Fault> {
        self.blanks();
        self.expect(b':', "':'")?;
        self.blanks();
        Ok(())
    }

    /// Only blanks up to the end.
    #[inline]
    pub fn end(&mut self) -> Result<(), Fault> {
        self.blanks();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.unexpected("the end")) }
    }

    /// The value here as a reason names it; a fault if it is no value. Does not move.
    pub fn describe(&self) -> Result<String, Fault> {
        let mut ahead = *self;
        ahead.skip()?;
        let raw = String::from_utf8_lossy(&self.bytes[self.at..ahead.at]);
        Ok(match self.peek() {
            b'n' => "NULL".into(),
            b't' => "TRUE".into(),
            b'f' => "FALSE".into(),
            b'{' => "an object".into(),
            b'[' => "an array".into(),
            b'"' => format!("the text '{}'", shorten(raw.trim_matches('"'))),
            _ => format!("the number {}", shorten(&raw)),
        })
    }
}

/// End of the run of bytes that need no care within a string: up to a quote, a backslash or a
/// control character. Eight bytes at a time.
#[inline]
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    while let Some(chunk) = bytes.get(at..).and_then(|b| b.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let slash = word ^ (ONES * b'\\' as u64);
        let special = (quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        if special & HIGHS != 0 {
            // Borrows reach only bytes above the lowest hit, so the lowest one is true.
            return at + ((special & HIGHS).trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|b| *b >= 0x20 && *b != b'"' && *b != b'\\') {
        at += 1;
    }
    at
}

/// Resolves escapes whose grammar was checked.
fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut rest = raw;
    while let Some(slash) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..slash]);
        let [letter, after @ ..] = &rest[slash + 1..] else {
            break;
        };
        rest = after;
        let plain = match letter {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (c, after) = code_point(rest).ok_or_else(|| {
                    let shown = String::from_utf8_lossy(&rest[..4.min(rest.len())]).into_owned();
                    let reason = format!("\\u{shown} is half of a pair and no character");
                    Fault::new(RefusedKind::Encoding, reason)
                })?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
                continue;
            }
            other => *other,
        };
        out.push(plain);
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// The character of `XXXX` or `XXXX\uXXXX`, and what follows.
fn code_point(raw: &[u8]) -> Option<(char, &[u8])> {
    let (first, rest) = hex4(raw)?;
    if !(0xD800..0xE000).contains(&first) {
        return Some((char::from_u32(first)?, rest));
    }
    let (second, rest) = hex4(rest.strip_prefix(b"\\u")?)?;
    if first >= 0xDC00 || !(0xDC00..0xE000).contains(&second) {
        return None;
    }
    let c = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    Some((char::from_u32(c)?, rest))
}

fn hex4(raw: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = raw.split_at_checked(4)?;
    let n = digits.iter().try_fold(0, |n, d| Some(n * 16 + char::from(*d).to_digit(16)?))?;
    Some((n, rest))
}
