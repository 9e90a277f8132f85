//! Where a record of delimited text ends and which fields it has. Quotes matter only where a field
//! begins with one (RFC 4180), so a stray `5" pipe` swallows nothing.

use memchr::{memchr, memchr2};

/// What stands between two fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    Char(u8),
    /// Any run of blanks and tabs; also before the first and after the last field.
    Whitespace,
}

/// A field's bytes within the buffer, without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: usize,
    pub end: usize,
    pub quoted: bool,
    /// Holds doubled quotes.
    pub doubled: bool,
}

impl Span {
    fn plain(start: usize, end: usize) -> Self {
        Self { start, end, quoted: false, doubled: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A record, `len` bytes with its line end.
    Record { len: usize },
    /// A line without a field.
    Blank { len: usize },
    /// A first line that no record can begin with; what follows it may be fine.
    Bad { len: usize, reason: &'static str },
    /// The record goes on behind the buffer.
    More,
}

/// Finds the record that `buffer` begins with. `last`: nothing comes after the buffer. A quoted
/// field that makes more than `fields_max` fields ends the search: it is a stray quote.
pub(crate) fn next(
    buffer: &[u8],
    delimiter: Delimiter,
    fields_max: usize,
    last: bool,
    fields: &mut Vec<Span>,
) -> Found {
    fields.clear();
    let (line_end, len) = match memchr(b'\n', buffer) {
        Some(at) => (at, at + 1),
        None if last => (buffer.len(), buffer.len()),
        None => return Found::More,
    };
    let end = line_end - usize::from(buffer[..line_end].ends_with(b"\r"));
    let line = &buffer[..end];
    if line.trim_ascii().is_empty() && !is_tabs(line, delimiter) {
        return Found::Blank { len };
    }
    if memchr(b'"', line).is_some() {
        return quoted(buffer, delimiter, fields_max, last, fields);
    }
    match delimiter {
        Delimiter::Char(byte) => {
            let mut start = 0;
            for at in memchr::memchr_iter(byte, line) {
                fields.push(Span::plain(start, at));
                start = at + 1;
            }
            fields.push(Span::plain(start, end));
        }
        Delimiter::Whitespace => {
            let mut at = 0;
            loop {
                at += blanks(&line[at..]);
                if at == end {
                    break;
                }
                let start = at;
                at += memchr2(b' ', b'\t', &line[at..]).unwrap_or(end - at);
                fields.push(Span::plain(start, at));
            }
        }
    }
    Found::Record { len }
}

/// A line of tabs is a row of NULLs in a file that is delimited by tabs.
fn is_tabs(line: &[u8], delimiter: Delimiter) -> bool {
    delimiter == Delimiter::Char(b'\t') && line.contains(&b'\t')
}

fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| matches!(b, b' ' | b'\t')).count()
}

/// The same with quotes in the first line at least, byte by byte.
fn quoted(
    buffer: &[u8],
    delimiter: Delimiter,
    fields_max: usize,
    last: bool,
    fields: &mut Vec<Span>,
) -> Found {
    let first_line = memchr(b'\n', buffer).map_or(buffer.len(), |at| at + 1);
    let bad = |reason| Found::Bad { len: first_line, reason };
    let mut at = 0;
    loop {
        if delimiter == Delimiter::Whitespace {
            at += blanks(&buffer[at..]);
            if let Some(end) = line_end(buffer, at, last) {
                return Found::Record { len: end };
            }
        }
        if buffer.get(at) == Some(&b'"') {
            let Some((end, doubled)) = closing_quote(buffer, at + 1) else {
                return if last { bad("a quoted field is not closed") } else { Found::More };
            };
            if end + 1 == buffer.len() && !last {
                return Found::More;
            }
            fields.push(Span { start: at + 1, end, quoted: true, doubled });
            at = end + 1;
        } else {
            let start = at;
            while buffer.get(at).is_some_and(|b| !ends_field(*b, delimiter)) {
                at += 1;
            }
            let mut end = at;
            if matches!(buffer.get(at), None | Some(b'\n')) && buffer[start..at].ends_with(b"\r") {
                end -= 1;
            }
            fields.push(Span::plain(start, end));
        }
        if let Some(end) = line_end(buffer, at, last) {
            return Found::Record { len: end };
        }
        match buffer.get(at) {
            None => return Found::More,
            Some(b) if ends_field(*b, delimiter) => at += 1,
            Some(_) => return bad("a quoted field goes on after its closing quote"),
        }
        if fields.len() >= fields_max && at > first_line {
            return bad("a quoted field is not closed on its line, and the record gets too long");
        }
    }
}

fn ends_field(byte: u8, delimiter: Delimiter) -> bool {
    match delimiter {
        Delimiter::Char(d) => byte == d || byte == b'\n',
        Delimiter::Whitespace => matches!(byte, b' ' | b'\t' | b'\n'),
    }
}

/// Position behind the line end that stands at `at`.
fn line_end(buffer: &[u8], at: usize, last: bool) -> Option<usize> {
    match buffer.get(at..)? {
        [b'\n', ..] => Some(at + 1),
        [b'\r', b'\n', ..] => Some(at + 2),
        [] | [b'\r'] if last => Some(buffer.len()),
        _ => None,
    }
}

/// The quote that ends the field starting at `at`, and whether doubled quotes stand before it.
fn closing_quote(buffer: &[u8], mut at: usize) -> Option<(usize, bool)> {
    let mut doubled = false;
    loop {
        at += memchr(b'"', buffer.get(at..)?)?;
        if buffer.get(at + 1) != Some(&b'"') {
            return Some((at, doubled));
        }
        doubled = true;
        at += 2;
    }
}
