//! Cuts a text at the semicolons that end statements, with the tokenizer that reads them: for the
//! shell, which runs a statement when its semicolon came, and for piped files. The console, whose
//! browser has no tokenizer, cuts at the same places: `tests/split.json` holds for both.

use std::sync::Arc;

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::Text;
use crate::tokens::tokens;

/// A text with several statements.
#[derive(Debug, PartialEq, Eq)]
pub struct Split<'a> {
    /// Those that are ended by a semicolon, without it.
    pub statements: Vec<&'a str>,
    /// What is behind the last one, if it is more than blanks and comments.
    pub rest: Option<&'a str>,
}

/// Statements between semicolons; empty ones are left out.
pub fn split(text: &str) -> Split<'_> {
    let (toks, fault) = tokens(&Text { file: None, text: Arc::from(text) });
    let (mut statements, mut start, mut is_filled) = (vec![], 0, false);
    for tok in &toks {
        if !tok.is(&Token::SemiColon) {
            is_filled = true;
            continue;
        }
        if std::mem::take(&mut is_filled) {
            statements.push(text[start..tok.span.start].trim());
        }
        start = tok.span.end;
    }
    // A string or comment that is never closed.
    let is_open = is_filled || fault.is_some();
    Split { statements, rest: is_open.then(|| text[start..].trim()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cuts_where_statements_end() {
        let cases: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../../../../tests/split.json")).unwrap();
        assert!(cases.len() > 10);
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let cut = split(text);
            assert_eq!(serde_json::json!(cut.statements), case["statements"], "{text}");
            assert_eq!(serde_json::json!(cut.rest), case["rest"], "{text}");
        }
    }
}
