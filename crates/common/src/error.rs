//! The one error type. A closed `Kind` says whose fault it is and whether trying again can help;
//! one table maps kinds to HTTP, SQLSTATE and exit codes. A `Place` points into the user's text.
//!
//! Text: lower case, no final dot, names quoted; the hint says what to do.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use crate::problem::ProblemDetails;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in terms a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Text that does not parse.
    Syntax,
    /// Input that parses but makes no sense.
    Invalid,
    NotFound,
    /// A column that the tables of a query do not have.
    UndefinedColumn,
    UndefinedFunction,
    AlreadyExists,
    /// The state of things forbids it (in use, changed meanwhile, a lock is held).
    Conflict,
    /// Who asks may not.
    Denied,
    /// A stated limit was passed.
    TooLarge,
    /// The disk is full, or a stated amount is used up; nothing was written.
    Exhausted,
    /// It needs more memory than there is for it.
    OutOfMemory,
    /// Not now; the same call may succeed later.
    Unavailable,
    /// Stored bytes are not what was written.
    Corrupt,
    Unsupported,
    Cancelled,
    /// The machine refused a read or a write.
    Io,
    /// A fault of ours.
    Internal,
}

struct Row {
    kind: Kind,
    name: &'static str,
    http: u16,
    sqlstate: &'static str,
    exit: u8,
    retry: bool,
}

const fn row(
    kind: Kind,
    name: &'static str,
    http: u16,
    sqlstate: &'static str,
    exit: u8,
    retry: bool,
) -> Row {
    Row { kind, name, http, sqlstate, exit, retry }
}

const TABLE: [Row; 17] = [
    row(Kind::Syntax, "syntax", 400, "42601", 2, false),
    row(Kind::Invalid, "invalid", 400, "22023", 2, false),
    row(Kind::NotFound, "not_found", 404, "42P01", 3, false),
    row(Kind::UndefinedColumn, "undefined_column", 400, "42703", 3, false),
    row(Kind::UndefinedFunction, "undefined_function", 400, "42883", 3, false),
    row(Kind::AlreadyExists, "already_exists", 409, "42P07", 4, false),
    row(Kind::Conflict, "conflict", 409, "55006", 4, false),
    row(Kind::Denied, "denied", 403, "42501", 5, false),
    row(Kind::TooLarge, "too_large", 413, "54000", 6, false),
    row(Kind::Exhausted, "exhausted", 507, "53100", 7, true),
    row(Kind::OutOfMemory, "out_of_memory", 503, "53200", 7, true),
    row(Kind::Unavailable, "unavailable", 503, "57P03", 8, true),
    row(Kind::Corrupt, "corrupt", 500, "XX001", 9, false),
    row(Kind::Unsupported, "unsupported", 501, "0A000", 10, false),
    row(Kind::Cancelled, "cancelled", 499, "57014", 11, false),
    row(Kind::Io, "io", 500, "58030", 12, true),
    row(Kind::Internal, "internal", 500, "XX000", 70, false),
];

impl Kind {
    fn row(self) -> &'static Row {
        // The table has a row for each kind (tested below); `Internal` is last.
        TABLE.iter().find(|r| r.kind == self).unwrap_or(&TABLE[TABLE.len() - 1])
    }

    pub fn name(self) -> &'static str {
        self.row().name
    }

    pub fn from_name(name: &str) -> Option<Kind> {
        TABLE.iter().find(|r| r.name == name).map(|r| r.kind)
    }

    pub fn http_status(self) -> u16 {
        self.row().http
    }

    /// Five characters as in the PostgreSQL manual, appendix A.
    pub fn sqlstate(self) -> &'static str {
        self.row().sqlstate
    }

    pub fn exit_code(self) -> u8 {
        self.row().exit
    }

    pub fn may_retry(self) -> bool {
        self.row().retry
    }
}

/// A stretch of the user's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As the user knows it, relative to the project folder; none for a query typed in.
    pub file: Option<String>,
    /// The whole text that `span` points into.
    pub text: Arc<str>,
    /// Bytes of `text`.
    pub span: Range<usize>,
}

impl Place {
    /// Line and column of the start, both counted from 1, the column in characters.
    pub fn line_column(&self) -> (usize, usize) {
        line_column(&self.text, self.span.start)
    }
}

/// Byte position of a line and column (both from 1, columns in characters), or the text's end.
pub fn position_of(text: &str, line: usize, column: usize) -> usize {
    let start = match line {
        0 | 1 => 0,
        _ => text.match_indices('\n').nth(line - 2).map_or(text.len(), |(i, _)| i + 1),
    };
    text[start..]
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or(text.len(), |(i, _)| start + i)
}

pub(crate) fn line_column(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

struct Inner {
    kind: Kind,
    message: String,
    hint: Option<String>,
    place: Option<Place>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// An error with kind, message, hint, place and cause.
pub struct Error(Box<Inner>);

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        $(pub fn $name(message: impl Into<String>) -> Self { Self::new(Kind::$kind, message) })*
    };
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inner { kind, message, hint: None, place: None, source: None }))
    }

    constructors! {
        syntax => Syntax, invalid => Invalid, not_found => NotFound,
        already_exists => AlreadyExists, conflict => Conflict, denied => Denied,
        too_large => TooLarge, exhausted => Exhausted, out_of_memory => OutOfMemory,
        unavailable => Unavailable,
        corrupt => Corrupt, unsupported => Unsupported, cancelled => Cancelled,
        internal => Internal,
    }

    /// An unknown name, with the nearest known one as the hint.
    pub fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let kind = match what {
            "column" | "field" => Kind::UndefinedColumn,
            "function" => Kind::UndefinedFunction,
            "option" | "value" | "type" | "key" | "kind" | "delivery" => Kind::Invalid,
            _ => Kind::NotFound,
        };
        let e = Self::new(kind, format!("unknown {what} '{name}'"));
        match crate::nearest(name, known.iter().copied()) {
            Some(near) => e.hint(format!("did you mean '{near}'?")),
            None if known.is_empty() => e,
            None if known.len() <= 12 => e.hint(format!("known are: {}", known.join(", "))),
            None => e,
        }
    }

    /// What a failed system call means: a full disk and a missing file are kinds of their own.
    pub fn io(doing: impl fmt::Display, e: std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        let (kind, hint) = match e.kind() {
            E::StorageFull | E::QuotaExceeded => {
                (Kind::Exhausted, Some("free some disk space; writing goes on by itself then"))
            }
            E::NotFound => (Kind::NotFound, None),
            E::PermissionDenied => (Kind::Denied, Some("check owner and mode of the file")),
            E::ReadOnlyFilesystem => (Kind::Denied, Some("the file system is mounted read-only")),
            E::AddrInUse => (Kind::Conflict, Some("another program listens there; choose a port")),
            _ => (Kind::Io, None),
        };
        let error = Self::new(kind, format!("{doing}: {e}")).caused_by(e);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.0.place = Some(place);
        self
    }

    #[must_use]
    pub fn caused_by(mut self, e: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(e.into());
        self
    }

    /// Says what was tried, in front of the message.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    /// Message and hint, changed.
    #[must_use]
    pub fn map_text(mut self, change: impl Fn(&str) -> String) -> Self {
        self.0.message = change(&self.0.message);
        self.0.hint = self.0.hint.map(|hint| change(&hint));
        self
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    /// The error as the doors show it.
    pub fn details(&self) -> ProblemDetails {
        ProblemDetails::of(self)
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self.details()).unwrap_or_default()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place() {
            let (line, column) = place.line_column();
            match &place.file {
                Some(file) => write!(f, "{file}:{line}:{column}: ")?,
                None => write!(f, "line {line}, column {column}: ")?,
            }
        }
        f.write_str(self.message())?;
        match self.hint_text() {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.kind().name())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_row() {
        let mut exits = vec![];
        for r in &TABLE {
            assert_eq!(r.kind.row().name, r.name);
            assert_eq!(Kind::from_name(r.name), Some(r.kind));
            assert_eq!(r.sqlstate.len(), 5);
            exits.push(r.exit);
        }
        assert!(exits.is_sorted());
    }

    #[test]
    fn points_into_the_text() {
        let text: Arc<str> = "SELECT a,\n  é, bc FROM t".into();
        let start = text.find("bc").unwrap_or(0);
        let place = Place { file: Some("sql/a.sql".into()), text, span: start..start + 2 };
        assert_eq!(place.line_column(), (2, 6));
        assert_eq!(position_of(&place.text, 2, 6), start);
        let e = Error::unknown("column", "bc", ["bcd", "x"]).at(place);
        assert_eq!(e.to_string(), "sql/a.sql:2:6: unknown column 'bc' (did you mean 'bcd'?)");
        assert_eq!(e.to_json()["place"]["end_column"], 8);
    }
}
