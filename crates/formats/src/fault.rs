//! Why a record is refused: the public `Refused` and `BadLine`, and the `Fault` that travels up
//! inside the decoders. Reasons are read by people, in answers to requests and in dead letters.

use std::borrow::Cow;
use std::fmt;

/// The classes of refusal, named as the dead letters name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusedKind {
    /// Not JSON, not CSV, or a wrong number of fields.
    Parse,
    /// A value that its column cannot hold.
    Type,
    /// NULL, or nothing, for a NOT NULL column.
    Missing,
    /// Not UTF-8, or half a surrogate pair.
    Encoding,
    /// Longer than `http.event_bytes_max`.
    TooLarge,
}

impl RefusedKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Type => "type",
            Self::Missing => "missing",
            Self::Encoding => "encoding",
            Self::TooLarge => "too_large",
        }
    }
}

/// A record that gives no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Index in the records given to the decoder.
    pub record: u32,
    /// Dotted for a field inside a struct.
    pub column: Option<String>,
    pub kind: RefusedKind,
    pub reason: String,
}

/// A part of a body or file that gives no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub line: u64,
    pub column: Option<String>,
    pub kind: RefusedKind,
    pub reason: String,
    /// What was refused, for the dead letters; cut to `RAW_BYTES_MAX`.
    pub raw: Vec<u8>,
}

/// So much of a refused record is kept: one byte more than of a dead letter, which says so then.
pub(crate) const RAW_BYTES_MAX: usize = (64 << 10) + 1;

impl BadLine {
    pub(crate) fn new(line: u64, fault: Fault, raw: &[u8]) -> Self {
        let (column, kind, reason) = fault.into_parts();
        Self { line, column, kind, reason, raw: raw[..raw.len().min(RAW_BYTES_MAX)].to_vec() }
    }

    /// What was refused, for people, whatever bytes it holds.
    pub fn raw_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.raw)
    }
}

#[derive(Debug)]
struct Inner {
    kind: RefusedKind,
    /// Innermost name first.
    path: Vec<String>,
    reason: String,
    at: usize,
}

/// A refusal on its way up. Boxed: it is rare, and results stay one word wide.
#[derive(Debug)]
pub(crate) struct Fault(Box<Inner>);

impl Fault {
    pub fn new(kind: RefusedKind, reason: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, path: vec![], reason: reason.into(), at: 0 }))
    }

    /// Text that breaks the grammar at a byte position.
    pub fn parse(at: usize, reason: impl fmt::Display) -> Self {
        let mut fault = Self::new(
            RefusedKind::Parse,
            format!("not valid JSON at character {}: {reason}", at + 1),
        );
        fault.0.at = at;
        fault
    }

    #[must_use]
    pub fn inside(mut self, column: &str) -> Self {
        self.0.path.push(column.to_string());
        self
    }

    pub fn kind(&self) -> RefusedKind {
        self.0.kind
    }

    /// Byte position, for a parse fault.
    pub fn at(&self) -> usize {
        self.0.at
    }

    pub fn into_parts(self) -> (Option<String>, RefusedKind, String) {
        let Inner { kind, mut path, reason, .. } = *self.0;
        path.reverse();
        let column = if path.is_empty() { None } else { Some(path.join(".")) };
        (column, kind, reason)
    }
}

/// Text as a reason quotes it: at most 40 characters.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// `a DOUBLE`, `an INT`.
pub(crate) fn with_article(name: &str) -> String {
    match name.chars().next() {
        Some('A' | 'E' | 'I' | 'O' | 'U') => format!("an {name}"),
        _ => format!("a {name}"),
    }
}
