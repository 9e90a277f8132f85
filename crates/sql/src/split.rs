//! Where the statements of a text are, for doors that take several at once.

use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::Text;
use crate::tokens;

/// The bytes of each statement, without its semicolon and the comments around it. What cannot be
/// cut into tokens is one statement up to the end: who runs it says what is wrong.
pub fn split(text: &str) -> Vec<Range<usize>> {
    let (tokens, fault) = tokens::tokens(&Text::new(None, text));
    let whole = tokens.iter().filter(|t| t.is(&Token::SemiColon)).map(|t| t.span.end).next_back();
    let mut statements: Vec<Range<usize>> = tokens
        .split(|t| t.is(&Token::SemiColon))
        .filter_map(|part| Some(part.first()?.span.start..part.last()?.span.end))
        .collect();
    if fault.is_some() {
        let from = whole.unwrap_or(0);
        let rest = text.get(from..).unwrap_or("");
        let start = from + rest.len() - rest.trim_start().len();
        statements.push(start..from + rest.trim_end().len());
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_where_statements_end() {
        for (text, statements) in [
            ("SELECT 1; SELECT 2;", vec!["SELECT 1", "SELECT 2"]),
            ("SELECT ';' ; x", vec!["SELECT ';'", "x"]),
            (r"SELECT 'it\';' ; y", vec![r"SELECT 'it\';'", "y"]),
            ("-- a;\nSELECT 1 -- b", vec!["SELECT 1"]),
            ("/* ; */ SET x = 1", vec!["SET x = 1"]),
            ("SELECT $1; ;", vec!["SELECT $1"]),
            ("SELECT 1; SELECT 'open; ", vec!["SELECT 1", "SELECT 'open;"]),
            (" ;; ", vec![]),
        ] {
            let got: Vec<&str> = split(text).into_iter().map(|r| &text[r]).collect();
            assert_eq!(got, statements, "{text}");
        }
    }
}
