//! How deep and how long a statement may be. The parser and what comes behind it are recursions, so
//! this is asked before them, of the tokens alone, in one pass: brackets, CASE, types in `<…>`,
//! rows of prefix operators, and chains of operators, which become as deep a tree.

use common::Error;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::Text;
use crate::tokens::Tok;

/// Bytes of a statement.
pub const STATEMENT_BYTES_MAX: usize = 1 << 20;
/// Bytes of a text of several statements.
pub const TEXT_BYTES_MAX: usize = 16 << 20;
/// Brackets and CASE within each other, and prefix operators in front of one value.
const DEPTH_MAX: usize = 64;
/// Operators in one pair of brackets between two commas or clauses.
const CHAIN_MAX: usize = 2_000;
/// UNION, INTERSECT, EXCEPT and JOIN in a statement.
const JOINED_MAX: usize = 500;

/// Refuses a text that is too long to be read at all.
pub(crate) fn check_text(text: &Text) -> Result<(), Error> {
    match text.text.len() {
        bytes if bytes > TEXT_BYTES_MAX => Err(Error::too_large(format!(
            "a text of {bytes} bytes; {} MiB is the limit",
            TEXT_BYTES_MAX >> 20
        ))),
        _ => Ok(()),
    }
}

/// Refuses what is nested too deep or too long.
pub(crate) fn check(text: &Text, tokens: &[Tok]) -> Result<(), Error> {
    let bytes = match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => last.span.end - first.span.start,
        _ => 0,
    };
    if bytes > STATEMENT_BYTES_MAX {
        let most = STATEMENT_BYTES_MAX >> 20;
        return Err(Error::too_large(format!(
            "a statement of {bytes} bytes; {most} MiB is the limit"
        ))
        .hint("put the values into a topic and join with it"));
    }
    let mut levels = Levels::default();
    for (i, token) in tokens.iter().enumerate() {
        levels.take(token, i.checked_sub(1).and_then(|i| tokens.get(i)));
        let e = if levels.depth() > DEPTH_MAX {
            Error::syntax("this statement is nested too deep").hint("split it with WITH or views")
        } else if levels.chain() > CHAIN_MAX {
            Error::syntax(format!("more than {CHAIN_MAX} operators in a row"))
                .hint("write IN (…) for many values, or join with a topic of them")
        } else if levels.joined > JOINED_MAX {
            Error::syntax(format!("more than {JOINED_MAX} queries or tables in one statement"))
                .hint("split it into views")
        } else {
            continue;
        };
        return Err(e.at(text.place(token.span.clone())));
    }
    Ok(())
}

#[derive(Default)]
struct Levels {
    /// What is open, and the operators since the last comma or clause in it.
    open: Vec<(Bracket, usize)>,
    outside: usize,
    /// Prefix operators since the last value.
    prefix: usize,
    joined: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Bracket {
    Round,
    Angle,
    Case,
}

impl Levels {
    fn depth(&self) -> usize {
        self.open.len() + self.prefix
    }

    fn chain(&mut self) -> usize {
        *self.operators()
    }

    fn operators(&mut self) -> &mut usize {
        self.open.last_mut().map_or(&mut self.outside, |(_, n)| n)
    }

    fn open(&mut self, bracket: Bracket) {
        self.open.push((bracket, 0));
    }

    /// Closes the innermost of that kind, and what was left open in it.
    fn close(&mut self, bracket: Bracket) {
        if let Some(at) = self.open.iter().rposition(|(open, _)| *open == bracket) {
            self.open.truncate(at);
        }
    }

    fn take(&mut self, token: &Tok, before: Option<&Tok>) {
        let is_prefix = matches!(
            token.inner.token,
            Token::Minus | Token::Plus | Token::Tilde | Token::ExclamationMark
        ) || token.is_word("NOT");
        self.prefix = if is_prefix { self.prefix + 1 } else { 0 };
        match &token.inner.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                *self.operators() += 1;
                self.open(Bracket::Round);
            }
            Token::RParen | Token::RBracket | Token::RBrace => self.close(Bracket::Round),
            Token::Lt if before.is_some_and(opens_type) => self.open(Bracket::Angle),
            Token::Gt => self.close_angles(1),
            Token::ShiftRight => self.close_angles(2),
            Token::Comma => *self.operators() = 0,
            Token::Word(word) if word.quote_style.is_none() => self.word(token),
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Word(_) => {}
            _ => *self.operators() += 1,
        }
    }

    fn close_angles(&mut self, n: usize) {
        for _ in 0..n {
            match self.open.last() {
                Some((Bracket::Angle, _)) => self.close(Bracket::Angle),
                _ => *self.operators() += 1,
            }
        }
    }

    fn word(&mut self, token: &Tok) {
        const CLAUSES: [&str; 12] = [
            "SELECT", "FROM", "WHERE", "GROUP", "HAVING", "ORDER", "QUALIFY", "LIMIT", "ON",
            "WITH", "WHEN", "THEN",
        ];
        // Each of these makes the tree one deeper, too.
        const CHAINED: [&str; 10] =
            ["AND", "OR", "IS", "LIKE", "ILIKE", "RLIKE", "BETWEEN", "IN", "DIV", "AT"];
        const JOINED: [&str; 4] = ["UNION", "INTERSECT", "EXCEPT", "JOIN"];
        if token.is_word("CASE") {
            self.open(Bracket::Case);
        } else if token.is_word("END") {
            self.close(Bracket::Case);
        } else if CHAINED.iter().any(|w| token.is_word(w)) {
            *self.operators() += 1;
        } else if JOINED.iter().any(|w| token.is_word(w)) {
            self.joined += 1;
        } else if CLAUSES.iter().any(|w| token.is_word(w)) {
            *self.operators() = 0;
        }
    }
}

/// `ARRAY<`, `MAP<` and `STRUCT<` begin a type.
fn opens_type(token: &Tok) -> bool {
    ["ARRAY", "MAP", "STRUCT"].iter().any(|w| token.is_word(w))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::parse;

    fn fault(text: &str) -> Option<String> {
        parse(&Text::new(None, text)).err().map(|e| e[0].message().to_string())
    }

    /// Each of these would keep a thread for minutes, or overflow its stack, if it were parsed.
    #[test]
    fn deep_and_long_statements_are_refused_at_once() {
        let n = 100_000;
        for text in [
            format!("SELECT CAST(NULL AS {}INT{})", "ARRAY<".repeat(n), ">".repeat(n)),
            format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n)),
            format!("SELECT {}1{}", "[".repeat(n), "]".repeat(n)),
            format!("SELECT 1{}", " IS NULL".repeat(n)),
            format!("SELECT {}true", "NOT ".repeat(n)),
            format!("SELECT {}1", "- ".repeat(n)),
            format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(n / 4), " END".repeat(n / 4)),
            format!("SELECT 1{}", " + 1".repeat(n)),
            format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(n / 4)),
            format!("SELECT * FROM {}a{}", "(".repeat(n), ")".repeat(n)),
            format!("SELECT 1{}", "::INT".repeat(n)),
            format!("SELECT a{} FROM t", "[1]".repeat(n)),
            format!("SELECT a{} FROM t", ".b".repeat(n)),
            format!("SELECT '{}'", "x".repeat(STATEMENT_BYTES_MAX)),
            format!("CREATE TOPIC t (a {}INT{})", "ARRAY<".repeat(n), ">".repeat(n)),
            format!("CREATE TOPIC t (a INT, CHECK (a{}))", " IS NULL".repeat(n)),
            format!("CREATE MATERIALIZED VIEW v AS SELECT {}1{}", "(".repeat(n), ")".repeat(n)),
        ] {
            let found = fault(&text).unwrap_or_else(|| panic!("{}", &text[..40]));
            assert!(found.len() < 200, "{found}");
        }
    }

    #[test]
    fn what_people_write_is_let_through() {
        let many = |what: &str, n: usize, between: &str| vec![what; n].join(between);
        for text in [
            format!("SELECT a IN ({}) FROM t", many("12345", 50_000, ", ")),
            format!("SELECT {} FROM t", many("a + b * c", 500, ", ")),
            format!("SELECT 1 FROM t WHERE {}", many("a = 1", 900, " OR ")),
            format!("SELECT {}", many("CASE WHEN a < 1 THEN b END", 300, ", ")),
            format!("SELECT CASE {} END FROM t", many("WHEN a = 1 THEN 'x'", 2_000, " ")),
            many("SELECT 1", 400, " UNION ALL "),
            format!("SELECT {}1{}", "(".repeat(20), ")".repeat(20)),
        ] {
            assert_eq!(fault(&text), None, "{}", &text[..40]);
        }
    }
}
