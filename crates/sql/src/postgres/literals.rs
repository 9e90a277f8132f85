//! Literals as Postgres writes them (its manual, 4.1.2): `'…'`, `E'…'`, `U&'…'` and `$tag$…$tag$`,
//! read to their value, and that value in our spelling. Read by `postgres.rs`.

use crate::postgres::statement::{Fault, begins_name, in_name};

/// A literal in a text.
pub(crate) struct Literal {
    pub start: usize,
    pub end: usize,
    pub value: String,
}

/// A value as our dialect writes it. Both quotes and backslashes are doubled: this reads the same
/// with backslash escapes and, but for the backslashes, without them.
pub(crate) fn spelled(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// Length of `"…"` at the start of a text, where a doubled quote is one inside of it.
pub(crate) fn quoted_length(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((i, c)) = chars.next() {
        if c == quote && chars.next_if(|(_, c)| *c == quote).is_none() {
            return Some(i + 1);
        }
    }
    None
}

fn never_closed(at: usize) -> Fault {
    let hint = "close it with \"'\"; a quote inside is written twice";
    Fault { message: "this string is never closed", hint, at }
}

/// `'…'` at `start`: a backslash is a letter.
pub(crate) fn plain(text: &str, start: usize) -> Result<Literal, Fault> {
    let mut at = start;
    let mut value = String::new();
    loop {
        let len = text.get(at..).and_then(|t| quoted_length(t, '\'')).ok_or(never_closed(at))?;
        value.push_str(&text.get(at + 1..at + len - 1).unwrap_or("").replace("''", "'"));
        at += len;
        match continued(text, at) {
            Some(next) => at = next,
            None => return Ok(Literal { start, end: at, value }),
        }
    }
}

/// Texts with a line break between them are one. Where the next part begins.
fn continued(text: &str, mut at: usize) -> Option<usize> {
    let mut line_break = false;
    loop {
        let rest = text.get(at..)?;
        let c = rest.chars().next()?;
        if rest.starts_with("--") {
            at += rest.find(['\n', '\r'])?;
        } else if c.is_ascii_whitespace() {
            line_break |= matches!(c, '\n' | '\r');
            at += 1;
        } else {
            return (line_break && c == '\'').then_some(at);
        }
    }
}

/// The characters of a value that is put together from characters, bytes and halves of pairs.
#[derive(Default)]
struct Value {
    bytes: Vec<u8>,
    /// The first half of a surrogate pair.
    half: Option<u32>,
}

impl Value {
    fn char(&mut self, c: char) -> Option<()> {
        self.byte_order(None)?;
        self.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        Some(())
    }

    fn byte(&mut self, byte: u32) -> Option<()> {
        self.byte_order(None)?;
        self.bytes.push(u8::try_from(byte).ok().filter(|b| *b != 0)?);
        Some(())
    }

    /// A half must be followed by the other one.
    fn byte_order(&mut self, next: Option<u32>) -> Option<()> {
        (self.half.is_some() == next.is_some()).then_some(())
    }

    fn code(&mut self, code: u32) -> Option<()> {
        match (self.half, code) {
            (None, 0xD800..=0xDBFF) => self.half = Some(code),
            (Some(first), 0xDC00..=0xDFFF) => {
                self.half = None;
                let code = 0x10000 + ((first - 0xD800) << 10) + (code - 0xDC00);
                self.char(char::from_u32(code)?)?;
            }
            _ => self.char(char::from_u32(code).filter(|c| *c != '\0')?)?,
        }
        Some(())
    }

    fn text(self) -> Option<String> {
        self.half.is_none().then_some(())?;
        String::from_utf8(self.bytes).ok()
    }
}

/// The number that exactly, or at most, so many digits make.
fn digits(chars: &mut Chars, radix: u32, least: usize, most: usize) -> Option<u32> {
    let (mut number, mut count) = (0_u32, 0);
    while count < most {
        let Some(digit) = chars.clone().next().and_then(|(_, c)| c.to_digit(radix)) else { break };
        number = number.checked_mul(radix)?.checked_add(digit)?;
        chars.next();
        count += 1;
    }
    (count >= least).then_some(number)
}

type Chars<'a> = std::str::CharIndices<'a>;

/// `E'…'`, whose quote is at `start`.
pub(crate) fn escaped(text: &str, start: usize) -> Result<Literal, Fault> {
    let mut value = Value::default();
    let mut at = start;
    'parts: loop {
        let mut chars = text.get(at..).unwrap_or("").char_indices();
        chars.next();
        while let Some((i, c)) = chars.next() {
            let read = match c {
                '\'' if chars.clone().next().is_some_and(|(_, c)| c == '\'') => {
                    chars.next();
                    value.char('\'')
                }
                '\'' => {
                    at += i + 1;
                    if let Some(next) = continued(text, at) {
                        at = next;
                        continue 'parts;
                    }
                    let value = value.text().ok_or(not_text(start))?;
                    return Ok(Literal { start: start - 1, end: at, value });
                }
                '\\' => escape(&mut chars, &mut value),
                c => value.char(c),
            };
            read.ok_or(not_text(at + i))?;
        }
        return Err(never_closed(start));
    }
}

fn escape(chars: &mut Chars, value: &mut Value) -> Option<()> {
    if let Some((_, '0'..='7')) = chars.clone().next() {
        let byte = digits(chars, 8, 1, 3)?;
        return value.byte(byte & 0xFF);
    }
    let (_, c) = chars.next()?;
    match c {
        'b' => value.char('\u{8}'),
        'f' => value.char('\u{c}'),
        'n' => value.char('\n'),
        'r' => value.char('\r'),
        't' => value.char('\t'),
        'x' => match digits(chars, 16, 1, 2) {
            Some(byte) => value.byte(byte),
            None => value.char('x'),
        },
        'u' => value.code(digits(chars, 16, 4, 4)?),
        'U' => value.code(digits(chars, 16, 8, 8)?),
        c => value.char(c),
    }
}

fn not_text(at: usize) -> Fault {
    let hint = "write characters as they are, or \\uXXXX";
    Fault { message: "this escape is no character", hint, at }
}

/// `U&'…'` or `U&"…"` at `start`, with the UESCAPE behind it.
pub(crate) fn unicode(text: &str, start: usize, quote: char) -> Result<Literal, Fault> {
    let from = start + 2;
    let (inside, mut end) = match quote {
        '\'' => plain(text, from).map(|l| (l.value, l.end))?,
        _ => {
            let len = quoted_length(text.get(from..).unwrap_or(""), quote);
            let len = len.ok_or(never_closed(from))?;
            let inside = text.get(from + 1..from + len - 1).unwrap_or("");
            (inside.replace("\"\"", "\""), from + len)
        }
    };
    let mut mark = '\\';
    let behind = text.get(end..).unwrap_or("").trim_start();
    if behind.get(..7).is_some_and(|w| w.eq_ignore_ascii_case("uescape"))
        && let Some(other) = behind.get(7..).map(str::trim_start)
        && other.starts_with('\'')
    {
        let literal = plain(text, text.len() - other.len())?;
        let mut chars = literal.value.chars();
        mark = match (chars.next(), chars.next()) {
            (Some(c), None) if !c.is_ascii_hexdigit() && !"+'\"".contains(c) => c,
            _ => return Err(not_text(literal.start)),
        };
        end = literal.end;
    }
    let value = code_points(&inside, mark).ok_or(not_text(from))?;
    Ok(Literal { start, end, value })
}

fn code_points(text: &str, mark: char) -> Option<String> {
    let mut value = Value::default();
    let mut chars = text.char_indices();
    while let Some((_, c)) = chars.next() {
        if c != mark {
            value.char(c)?;
            continue;
        }
        match chars.clone().next()?.1 {
            c if c == mark => {
                chars.next();
                value.char(mark)?;
            }
            '+' => {
                chars.next();
                value.code(digits(&mut chars, 16, 6, 6)?)?;
            }
            _ => value.code(digits(&mut chars, 16, 4, 4)?)?,
        }
    }
    value.text()
}

/// `$tag$…$tag$` at `start`, if one begins there.
pub(crate) fn dollar_quoted(text: &str, start: usize) -> Result<Option<Literal>, Fault> {
    let rest = text.get(start + 1..).unwrap_or("");
    let Some(tag) = rest.find('$').and_then(|i| rest.get(..i)) else { return Ok(None) };
    if !tag.chars().all(in_name) || !tag.chars().next().is_none_or(begins_name) {
        return Ok(None);
    }
    let mark = format!("${tag}$");
    let from = start + mark.len();
    let inside = text.get(from..).unwrap_or("");
    let len = inside.find(&mark).ok_or(Fault {
        message: "this text is never closed",
        hint: "close it with the mark that opens it",
        at: start,
    })?;
    let value = inside.get(..len).unwrap_or("").to_string();
    Ok(Some(Literal { start, end: from + len + mark.len(), value }))
}
