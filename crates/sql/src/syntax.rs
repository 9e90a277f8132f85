//! What the SQL parser complains about, in our words and at the right token. Two frequent slips
//! are recognised by trying the repair: a missing comma, and a reserved word used as a name.

use common::Error;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::Text;
use crate::tokens::Tok;

/// `parses` says whether a changed list of tokens would do.
pub(crate) fn error(
    text: &Text,
    tokens: &[Tok],
    e: ParserError,
    parses: &dyn Fn(Vec<TokenWithSpan>) -> bool,
) -> Error {
    let message = match e {
        ParserError::TokenizerError(m) | ParserError::ParserError(m) => m,
        ParserError::RecursionLimitExceeded => {
            let e = Error::syntax("this statement is nested too deep");
            let whole = tokens.first().map_or(0, |t| t.span.start);
            let end = tokens.last().map_or(0, |t| t.span.end);
            return e.hint("split it with WITH or views").at(text.place(whole..end));
        }
    };
    let (message, location) = split_location(&message);
    let found = location.and_then(|(line, column)| {
        tokens
            .iter()
            .position(|t| t.inner.span.start.line == line && t.inner.span.start.column == column)
    });
    let end = tokens.last().map_or(0, |t| t.span.end);
    // For some faults the parser names the word it has just taken and the place behind it.
    let word = message.rsplit_once("found: ").map(|(_, w)| w);
    let found = match (found, word) {
        (Some(i), Some(w)) if i > 0 && tokens[i].inner.token.to_string() != w => {
            Some(if tokens[i - 1].inner.token.to_string() == w { i - 1 } else { i })
        }
        (found, _) => found,
    };
    let span = found.and_then(|i| tokens.get(i)).map_or(end..end, |t| t.span.clone());
    let shown = match found.and_then(|i| tokens.get(i)) {
        Some(t) => format!("'{}'", text.text.get(t.span.clone()).unwrap_or("")),
        None => "the end of the statement".into(),
    };
    let e = match expectation(message) {
        Some(wanted) => Error::syntax(format!("expected {wanted}, found {shown}")),
        None => Error::syntax(lower_first(message)),
    };
    let e = e.at(text.place(span));
    match found.and_then(|i| repair(tokens, i, parses)) {
        Some(hint) => e.hint(hint),
        None => e,
    }
}

/// `… at Line: 1, Column: 5` apart.
fn split_location(message: &str) -> (&str, Option<(u64, u64)>) {
    let Some((head, tail)) = message.rsplit_once(" at Line: ") else { return (message, None) };
    let Some((line, column)) = tail.split_once(", Column: ") else { return (message, None) };
    match (line.trim().parse(), column.trim().parse()) {
        (Ok(line), Ok(column)) => (head, Some((line, column))),
        _ => (message, None),
    }
}

fn expectation(message: &str) -> Option<String> {
    let wanted =
        message.strip_prefix("Expected: ").or_else(|| message.strip_prefix("Expected "))?;
    let (wanted, _) = wanted.rsplit_once(", found")?;
    Some(match wanted {
        "end of statement" => "the end of the statement".into(),
        "identifier" => "a name".into(),
        ")" | "(" | "," | "=" | "]" | "." | ":" | "<" | ">" => format!("'{wanted}'"),
        "SELECT, VALUES, or a subquery in the query body" => "SELECT, VALUES or a subquery".into(),
        "an expression" | "an expression:" => "an expression".into(),
        "a list of columns in parentheses" => wanted.into(),
        other => other.trim_end_matches(':').to_string(),
    })
}

fn lower_first(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    match chars.next() {
        Some(c) => c.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

fn repair(
    tokens: &[Tok],
    at: usize,
    parses: &dyn Fn(Vec<TokenWithSpan>) -> bool,
) -> Option<String> {
    let list: Vec<TokenWithSpan> = tokens.iter().map(|t| t.inner.clone()).collect();
    let shown = tokens.get(at)?.inner.token.to_string();
    let before = at.checked_sub(1).and_then(|i| tokens.get(i));
    if before.is_some_and(|t| t.is(&Token::Comma)) {
        let mut shorter = list.clone();
        shorter.remove(at - 1);
        if parses(shorter) {
            return Some(format!("take out the comma before '{shown}'"));
        }
    }
    if before.is_some_and(|t| t.is_word("SELECT") || t.is_word("DISTINCT"))
        && tokens[at].is_word("FROM")
    {
        return Some("name the columns, or write * for all".into());
    }
    if at > 0 {
        let mut comma = list.clone();
        let span = comma.get(at)?.span;
        comma.insert(at, TokenWithSpan::new(Token::Comma, span));
        if parses(comma) {
            return Some(format!("is a comma missing before '{shown}'?"));
        }
    }
    // The parser may stop at the word itself or one behind it.
    for at in [Some(at), at.checked_sub(1)].into_iter().flatten() {
        let mut quoted = list.clone();
        let Some(TokenWithSpan { token: Token::Word(word), .. }) = quoted.get_mut(at) else {
            continue;
        };
        if word.quote_style.is_some() || word.keyword == Keyword::NoKeyword {
            continue;
        }
        let name = word.value.clone();
        word.quote_style = Some('"');
        word.keyword = Keyword::NoKeyword;
        if parses(quoted) {
            let hint = format!("'{name}' is a reserved word; as a name write \"{name}\"");
            return Some(hint);
        }
    }
    None
}
