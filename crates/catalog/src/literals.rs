//! The texts in quotes that stand in a statement, found without parsing it, so that also a
//! mistyped statement can be shown without what is secret in it. Byte positions stay as they are.
//! Which options are secret stands in the connectors' `Spec`; here everything is, unless known.

use std::ops::Range;
use std::sync::Arc;

/// Options whose value every error may show.
const PLAIN: [&str; 3] = ["connector", "delivery", "format"];

/// A value in quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// What stands before the equals sign, in lower case.
    pub option: Option<String>,
    /// Within `WITH (…)`.
    pub is_option: bool,
    /// Without the quotes.
    pub span: Range<usize>,
}

impl Literal {
    /// The value itself: two quotes are one.
    pub fn value(&self, text: &str) -> String {
        text.get(self.span.clone()).unwrap_or("").replace("''", "'")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Word,
    /// In double quotes or backticks.
    Name,
    /// In single quotes; the span has them.
    Text {
        is_closed: bool,
    },
    Symbol(u8),
}

type Tokens = Vec<(Token, Range<usize>)>;

/// The literals of a statement's `WITH (…)`. The statement must be one that can be parsed.
pub fn option_literals(statement: &str) -> Vec<Literal> {
    let tokens = tokens(statement);
    literals(statement, &tokens).into_iter().filter(|l| l.is_option).collect()
}

/// The text with stars for what may be secret: texts in statements that define sources, sinks or
/// users, or that nobody knows. As long as before.
pub fn hidden(text: &str) -> Arc<str> {
    let tokens = tokens(text);
    let mut spans: Vec<Range<usize>> = vec![];
    for statement in tokens.split(|(token, _)| *token == Token::Symbol(b';')) {
        if is_open(text, statement) {
            continue;
        }
        if let Some(from) = torn_at(statement) {
            spans.push(from..text.len());
        }
        let shown = |l: &Literal| l.option.as_deref().is_some_and(|o| PLAIN.contains(&o));
        let secret = literals(text, statement).into_iter().filter(|l| !shown(l));
        spans.extend(secret.map(|l| l.span));
        spans.extend(bare_values(text, statement));
    }
    stars(text, &spans).into()
}

/// The text with stars in place of those bytes; line ends stay.
pub fn stars(text: &str, spans: &[Range<usize>]) -> String {
    let is_within = |at: usize| spans.iter().any(|s| s.contains(&at));
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c != '\n' && !spans.is_empty() && is_within(at) {
            true => out.extend(std::iter::repeat_n('*', c.len_utf8())),
            false => out.push(c),
        }
    }
    out
}

/// Whether nothing in a statement can be secret: it is a query, or about a topic or a view.
fn is_open(text: &str, statement: &[(Token, Range<usize>)]) -> bool {
    let word = |i: usize| {
        let (token, span) = statement.get(i)?;
        match token {
            Token::Word => Some(text[span.clone()].to_ascii_uppercase()),
            Token::Symbol(b'(') => Some("(".to_string()),
            _ => None,
        }
    };
    let is = |i: usize, known: &[&str]| word(i).is_some_and(|w| known.contains(&w.as_str()));
    let query = |i| is(i, &["SELECT", "WITH", "VALUES", "TABLE", "FROM", "("]);
    if is(0, &["EXPLAIN"]) {
        let at = 1 + usize::from(is(1, &["ANALYZE"]));
        return query(at) || statement.len() <= at + 1;
    }
    if is(0, &["CREATE", "ALTER"]) {
        let at = if is(1, &["OR"]) { 3 } else { 1 };
        return is(at, &["TOPIC", "MATERIALIZED", "VIEW"]);
    }
    query(0)
}

/// Where a text ends that its writer meant to go on: one that is never closed, or one with
/// something right behind it, as in `'it's secret'`.
fn torn_at(statement: &[(Token, Range<usize>)]) -> Option<usize> {
    let next = statement.iter().skip(1).map(Some).chain([None]);
    statement.iter().zip(next).find_map(|((token, span), next)| {
        let is_closed = match token {
            Token::Text { is_closed } => *is_closed,
            _ => return None,
        };
        let is_glued = next.is_some_and(|(token, next)| {
            next.start == span.end && !matches!(token, Token::Symbol(_))
        });
        (!is_closed || is_glued).then_some(span.start)
    })
}

fn literals(text: &str, statement: &[(Token, Range<usize>)]) -> Vec<Literal> {
    let mut found = vec![];
    let mut depth = 0usize;
    for (i, (token, span)) in statement.iter().enumerate() {
        match token {
            Token::Symbol(b'(') if depth > 0 => depth += 1,
            Token::Symbol(b'(') => {
                let before = i.checked_sub(1).and_then(|i| statement.get(i));
                let is_with = before.is_some_and(|(token, span)| {
                    *token == Token::Word && text[span.clone()].eq_ignore_ascii_case("WITH")
                });
                depth = usize::from(is_with);
            }
            Token::Symbol(b')') => depth = depth.saturating_sub(1),
            Token::Text { is_closed } => {
                // An option may have its name in quotes.
                let is_name = statement.get(i + 1).is_some_and(|n| n.0 == Token::Symbol(b'='));
                if !is_name {
                    let end = span.end - usize::from(*is_closed);
                    let option = option_before(text, statement, i);
                    let is_option = depth > 0;
                    found.push(Literal { option, is_option, span: span.start + 1..end });
                }
            }
            _ => {}
        }
    }
    found
}

/// Words behind an equals sign: a value whose quotes were forgotten, or that has wrong ones.
fn bare_values(text: &str, statement: &[(Token, Range<usize>)]) -> Vec<Range<usize>> {
    let is_value = |i: usize| i > 0 && statement[i - 1].0 == Token::Symbol(b'=');
    let is_plain = |i: usize| {
        let option = option_before(text, statement, i);
        option.is_some_and(|o| PLAIN.contains(&o.as_str()))
    };
    let found = statement.iter().enumerate().filter(|(i, (token, _))| {
        matches!(token, Token::Word | Token::Name) && is_value(*i) && !is_plain(*i)
    });
    found.map(|(_, (_, span))| span.clone()).collect()
}

/// The name before the equals sign in front of a token; its parts are joined by dots.
fn option_before(text: &str, statement: &[(Token, Range<usize>)], at: usize) -> Option<String> {
    let mut i = at.checked_sub(1)?;
    if statement.get(i)?.0 != Token::Symbol(b'=') {
        return None;
    }
    let mut name = String::new();
    loop {
        i = i.checked_sub(1)?;
        let (token, span) = statement.get(i)?;
        if matches!(token, Token::Symbol(_)) {
            return None;
        }
        let part = text[span.clone()].trim_matches(['"', '`', '\'']).to_lowercase();
        name = if name.is_empty() { part } else { format!("{part}.{name}") };
        match i.checked_sub(1).and_then(|i| statement.get(i)) {
            Some((Token::Symbol(b'.'), _)) => i -= 1,
            _ => return Some(name),
        }
    }
}

/// All tokens but blanks and comments.
fn tokens(text: &str) -> Tokens {
    let bytes = text.as_bytes();
    let find = |from: usize, what: &str| text.get(from..).and_then(|t| t.find(what));
    let mut found = vec![];
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let start = at;
        let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || !b.is_ascii();
        match byte {
            b if b.is_ascii_whitespace() => at += 1,
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at += find(at, "\n").unwrap_or(bytes.len() - at);
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                at += find(at, "*/").map_or(bytes.len() - at, |n| n + 2);
            }
            b'\'' | b'"' | b'`' => {
                let (end, is_closed) = quoted(bytes, at);
                at = end;
                let token = if *byte == b'\'' { Token::Text { is_closed } } else { Token::Name };
                found.push((token, start..at));
            }
            b if is_word(b) => {
                at += bytes[at..].iter().take_while(|b| is_word(b)).count();
                found.push((Token::Word, start..at));
            }
            b => {
                at += 1;
                found.push((Token::Symbol(*b), start..at));
            }
        }
    }
    found
}

/// The end of what begins with a quote, and whether it is closed; a doubled quote is part of it.
fn quoted(bytes: &[u8], start: usize) -> (usize, bool) {
    let quote = bytes[start];
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        if *byte == quote {
            if bytes.get(at) != Some(&quote) {
                return (at, true);
            }
            at += 1;
        }
    }
    (bytes.len(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mistake_shows_a_secret() {
        for text in [
            "CREATE SINK a FROM v WITH (connector = 'http', headers = 'X: canary')",
            "CREATE SINK a FROM v WITH (connector = 'http', heders = 'X: canary' url 'x')",
            "CREATE SNIK a FROM v WITH (headers = 'canary'",
            "CREATE SINK a FROM v WITH (headers = \"canary\")",
            "CREATE SINK a FROM v WITH (headers = canary)",
            "CREATE SINK a FROM v WIHT (header.authorization = 'canary')",
            "CREATE SINK a FROM v WITH (headers = 'it'canary', url = 'b')",
            "CREATE SINK a FROM v WITH (headers = 'canary",
            "CREATE SOURCE a WITH (headers = 'ä''canary') INTO t; SELEC 1",
            "SELECT 1; CREATE USER x PASSWORT 'canary'",
            "CREATE USR x PASSWORD 'canary'",
            "CREAT USER x PASSWORD\n'canary'",
            "EXPLAIN CREATE USER x PASSWORD 'canary'",
            "/* it's */ ALTER ROLE x -- don't\n IDENTIFIED BY 'canary'",
        ] {
            let shown = hidden(text);
            assert!(!shown.contains("canary"), "{text}: {shown}");
            assert_eq!(shown.len(), text.len());
            assert_eq!(shown.matches('\n').count(), text.matches('\n').count());
        }
    }

    #[test]
    fn what_is_not_secret_stays() {
        for text in [
            "SELECT password FROM t WHERE password = 'x'",
            "EXPLAIN ANALYZE SELECT 'x'",
            "CREATE TOPIC t (password STRING) WITH (key = 'password')",
            "CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT 'x'",
            "CREATE SINK a FROM v WITH (connector = 'htp', delivery = 'once')",
        ] {
            assert_eq!(&*hidden(text), text);
        }
    }

    #[test]
    fn options_are_found_with_their_values() {
        let text = "CREATE SINK a FROM (SELECT b FROM c WHERE headers = 'no') -- it's\n\
                    WITH (connector = 'http', \"Headers\" = 'X: it''s', 'url' = 'u', n = 3)";
        let found = option_literals(text);
        let found: Vec<_> =
            found.iter().map(|l| (l.option.as_deref().unwrap_or(""), l.value(text))).collect();
        let expected = [("connector", "http"), ("headers", "X: it's"), ("url", "u")];
        assert_eq!(found, expected.map(|(o, v)| (o, v.to_string())));
    }
}
