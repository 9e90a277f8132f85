//! An `Error` as the doors show it: problem details (RFC 9457). Read `error.rs` first.

use schemars::JsonSchema;
use serde::Serialize;

use crate::error::{Error, line_column};

/// Bytes of the line of text that goes along with an error.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Problem details (RFC 9457). An answer may add members of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Problem", extend("additionalProperties" = true))]
pub struct ProblemDetails {
    #[serde(rename = "type")]
    pub problem_type: &'static str,
    /// The kind, in words.
    pub title: String,
    /// Of HTTP.
    pub status: u16,
    /// What went wrong.
    pub detail: String,
    /// The kind, for programs.
    pub code: &'static str,
    /// As the Postgres door gives it.
    pub sqlstate: &'static str,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where in the text that was given, or in a file of the project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<ProblemPlace>,
}

/// A place in a text. Lines and columns are counted from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Place")]
pub struct ProblemPlace {
    /// Nothing for a text that came in a request.
    pub file: Option<String>,
    pub line: usize,
    pub column: usize,
    pub end_line: usize,
    pub end_column: usize,
    /// The line; empty when nobody could read it.
    pub text: String,
}

impl ProblemDetails {
    pub fn of(e: &Error) -> ProblemDetails {
        ProblemDetails {
            problem_type: "about:blank",
            title: e.kind().name().replace('_', " "),
            status: e.kind().http_status(),
            detail: e.message().to_string(),
            code: e.kind().name(),
            sqlstate: e.kind().sqlstate(),
            hint: e.hint_text().map(str::to_string),
            place: e.place().map(|place| {
                let (line, column) = place.line_column();
                let (end_line, end_column) = line_column(&place.text, place.span.end);
                // A line that nobody could read is not sent back.
                let text = place.text.lines().nth(line - 1);
                let text = text.filter(|t| t.len() <= LINE_BYTES_MAX).unwrap_or("");
                let file = place.file.clone();
                ProblemPlace { file, line, column, end_line, end_column, text: text.into() }
            }),
        }
    }
}
