//! What a Postgres client sends, in our spelling. Its drivers quote values by Postgres' rules: in
//! `'…'` a backslash is a letter, escapes are written `E'…'`. Ours are Spark's, so every literal is
//! written anew before anything else reads the text; then all readers agree where it ends, and a
//! definition that is kept means the same when it is read again. Next:
//! `postgres_literals.rs`, `tokens.rs`.

use std::collections::BTreeSet;
use std::ops::Range;

use common::Error;

use crate::Text;
use crate::postgres::literals::{self as literals, spelled};

/// So many words tell what kind of statement it is.
const FIRST_WORDS: usize = 3;

/// One statement of what a client sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PostgresStatement {
    /// Its bytes in what was sent, without the semicolon and the comments around it.
    pub sent: Range<usize>,
    /// The statement in our spelling.
    pub text: String,
    /// The first words in it, in lower case; nothing of what stands in literals or comments.
    pub first_words: Vec<String>,
    /// All of them.
    pub words: BTreeSet<String>,
    /// Where stretches of `text` that are as they were sent begin, there and in what was sent.
    places: Vec<(usize, usize)>,
}

impl PostgresStatement {
    /// Where a byte of `text` stands in what was sent.
    pub fn sent_at(&self, at: usize) -> usize {
        let next = self.places.partition_point(|(ours, _)| *ours <= at);
        let Some((ours, sent)) = next.checked_sub(1).and_then(|i| self.places.get(i)) else {
            return self.sent.start;
        };
        let end = self.places.get(next).map_or(self.sent.end, |(_, sent)| *sent);
        (sent + (at - ours)).min(end)
    }
}

/// The statements of what a client sent. As with Postgres none of them runs when one cannot be
/// cut into tokens.
pub fn from_postgres(sent: &str) -> Result<Vec<PostgresStatement>, Error> {
    let now = PostgresStatement::default();
    let mut reader = Reader { sent, at: 0, now, tokens_end: 0, done: vec![] };
    while reader.at < sent.len() {
        reader.token().map_err(|fault| {
            let text = Text::new(None, sent);
            let e = Error::syntax(fault.message).hint(fault.hint);
            e.at(text.place(fault.at..crate::tokens::next_char(sent, fault.at)))
        })?;
    }
    reader.end_statement();
    Ok(reader.done)
}

/// Why a text cannot be read, and where.
pub(crate) struct Fault {
    pub message: &'static str,
    pub hint: &'static str,
    pub at: usize,
}

struct Reader<'a> {
    sent: &'a str,
    at: usize,
    now: PostgresStatement,
    /// Where the last token ends in its text.
    tokens_end: usize,
    done: Vec<PostgresStatement>,
}

pub(crate) fn begins_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

pub(crate) fn in_name(c: char) -> bool {
    begins_name(c) || c.is_ascii_digit() || c == '$'
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.sent.get(self.at..).unwrap_or("")
    }

    /// Length of what is in front while `belongs` says so.
    fn while_(&self, belongs: impl Fn(char) -> bool) -> usize {
        let rest = self.rest();
        rest.find(|c| !belongs(c)).unwrap_or(rest.len())
    }

    fn token(&mut self) -> Result<(), Fault> {
        let rest = self.rest();
        let Some(c) = rest.chars().next() else { return Ok(()) };
        if rest.starts_with("--") {
            self.line_comment();
            return Ok(());
        }
        if rest.starts_with("/*") {
            return self.comment();
        }
        match c {
            ';' => {
                self.end_statement();
                self.at += 1;
            }
            '\'' => self.literal(literals::plain(self.sent, self.at)?),
            '"' | '`' => self.quoted_name(c)?,
            '$' => self.dollar()?,
            _ if begins_name(c) => self.name()?,
            _ if c.is_ascii_digit() => {
                let len = self.while_(|c| begins_name(c) || c.is_ascii_digit() || c == '.');
                self.as_sent(len);
            }
            _ if c.is_whitespace() => self.blank(c.len_utf8()),
            _ => self.as_sent(c.len_utf8()),
        }
        Ok(())
    }

    /// Blanks and comments in front of a statement do not belong to it.
    fn blank(&mut self, len: usize) {
        if self.now.text.is_empty() {
            self.at += len;
            return;
        }
        let (end, tokens_end) = (self.now.sent.end, self.tokens_end);
        self.as_sent(len);
        (self.now.sent.end, self.tokens_end) = (end, tokens_end);
    }

    /// Ends at a carriage return, too, where our tokens would go on.
    fn line_comment(&mut self) {
        let len = self.while_(|c| c != '\n' && c != '\r');
        self.blank(len);
        if !self.now.text.is_empty() {
            self.now.text.push('\n');
        }
    }

    fn comment(&mut self) -> Result<(), Fault> {
        let (mut depth, mut len) = (0_usize, 0);
        let rest = self.rest();
        loop {
            let inside = rest.get(len..).unwrap_or("");
            if inside.starts_with("/*") {
                (depth, len) = (depth + 1, len + 2);
            } else if inside.starts_with("*/") {
                (depth, len) = (depth - 1, len + 2);
            } else {
                let Some(c) = inside.chars().next() else {
                    let message = "this comment is never closed";
                    return Err(Fault { message, hint: "close it with '*/'", at: self.at });
                };
                len += c.len_utf8();
            }
            if depth == 0 {
                self.blank(len);
                return Ok(());
            }
        }
    }

    /// `"…"`, and Spark's form of it, whose insides mean the same everywhere.
    fn quoted_name(&mut self, quote: char) -> Result<(), Fault> {
        let len = literals::quoted_length(self.rest(), quote).ok_or(Fault {
            message: "this quoted name is never closed",
            hint: "close it with '\"'",
            at: self.at,
        })?;
        let inside = self.rest().get(1..len - 1).unwrap_or("").to_lowercase();
        self.word(inside);
        self.as_sent(len);
        Ok(())
    }

    /// `$1`, or a text between two `$tag$`.
    fn dollar(&mut self) -> Result<(), Fault> {
        if let Some(literal) = literals::dollar_quoted(self.sent, self.at)? {
            self.literal(literal);
            return Ok(());
        }
        let digits = self.rest()[1..].find(|c: char| !c.is_ascii_digit());
        let len = 1 + digits.unwrap_or(self.rest().len() - 1);
        let behind = self.rest()[len..].chars().next();
        if len == 1 || behind.is_some_and(begins_name) {
            let message = "this '$' is no parameter and opens no text";
            return Err(Fault { message, hint: "write $1, or $$text$$", at: self.at });
        }
        self.as_sent(len);
        Ok(())
    }

    fn name(&mut self) -> Result<(), Fault> {
        let len = self.while_(in_name);
        let word = self.rest()[..len].to_lowercase();
        let behind = &self.rest()[len..];
        let (sent, at) = (self.sent, self.at);
        match word.as_str() {
            "e" if behind.starts_with('\'') => self.literal(literals::escaped(sent, at + 1)?),
            "n" if behind.starts_with('\'') => {
                let mut literal = literals::plain(sent, at + 1)?;
                literal.start = at;
                self.literal(literal);
            }
            "x" | "b" if behind.starts_with('\'') => {
                let literal = literals::plain(sent, at + 1)?;
                let hex = literal.value.bytes().all(|b| b.is_ascii_hexdigit());
                if word == "b" || !hex || !literal.value.len().is_multiple_of(2) {
                    let message = "this is no text of bytes";
                    return Err(Fault { message, hint: "write pairs of digits: X'00FF'", at });
                }
                self.put(&format!(" X'{}' ", literal.value), literal.end);
            }
            "u" if behind.starts_with("&'") => self.literal(literals::unicode(sent, at, '\'')?),
            "u" if behind.starts_with("&\"") => {
                let name = literals::unicode(sent, at, '"')?;
                self.word(name.value.to_lowercase());
                self.put(&format!(" \"{}\" ", name.value.replace('"', "\"\"")), name.end);
            }
            // Our names have no dollar sign in them unless they are quoted.
            _ if word.contains('$') => {
                self.put(&format!("\"{word}\""), at + len);
                self.word(word);
            }
            _ => {
                self.word(word);
                self.as_sent(len);
            }
        }
        Ok(())
    }

    fn literal(&mut self, literal: literals::Literal) {
        // `'\x00ff'::bytea` is how drivers write bytes.
        let behind = self.sent.get(literal.end..).unwrap_or("").trim_start();
        let to_bytes = behind.strip_prefix("::").map(str::trim_start);
        let to_bytes =
            to_bytes.and_then(|t| t.get(..5)).is_some_and(|t| t.eq_ignore_ascii_case("bytea"));
        let digits = literal.value.strip_prefix("\\x").filter(|d| {
            to_bytes && d.len().is_multiple_of(2) && d.bytes().all(|b| b.is_ascii_hexdigit())
        });
        let written = match digits {
            Some(digits) => format!("X'{digits}'"),
            None => spelled(&literal.value),
        };
        // Blanks around it where it was written otherwise: two texts side by side stay two.
        let as_it_was = self.sent.get(literal.start..literal.end) == Some(written.as_str());
        match as_it_was {
            true => self.as_sent(written.len()),
            false => self.put(&format!(" {written} "), literal.end),
        }
    }

    /// The next bytes as they are.
    fn as_sent(&mut self, len: usize) {
        let (from, to) = (self.at, self.at + len);
        let text = self.sent.get(from..to).unwrap_or("").to_string();
        self.put(&text, to);
    }

    /// Something else in place of the bytes up to `end`.
    fn put(&mut self, text: &str, end: usize) {
        if self.now.text.is_empty() {
            self.now.sent.start = self.at;
        }
        let (ours, sent) = (self.now.text.len(), self.at);
        let goes_on = |(o, s): &(usize, usize)| ours - o == sent - s;
        if !self.now.places.last().is_some_and(goes_on) {
            self.now.places.push((ours, sent));
        }
        self.now.text.push_str(text);
        self.at = end;
        self.now.sent.end = end;
        self.tokens_end = self.now.text.len();
    }

    fn word(&mut self, word: String) {
        if self.now.first_words.len() < FIRST_WORDS {
            self.now.first_words.push(word.clone());
        }
        self.now.words.insert(word);
    }

    fn end_statement(&mut self) {
        let mut statement = std::mem::take(&mut self.now);
        statement.text.truncate(self.tokens_end);
        if !statement.text.is_empty() {
            self.done.push(statement);
        }
    }
}

#[cfg(test)]
#[path = "statement_tests.rs"]
mod tests;
