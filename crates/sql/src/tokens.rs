//! The token stream of a text, with byte spans. Statements of ours are read from it with `Cursor`;
//! queries and expressions are handed on to `sqlparser` with the same tokens, so every position
//! in every error counts in the user's own text.

use std::ops::Range;

use common::Error;
use datafusion::sql::sqlparser::ast::{Expr, Query, Statement};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::dialect::WatershedDialect;
use crate::{Text, nesting};

/// Where the lines of a text start: turns a line and a column into a byte position.
pub(crate) struct Lines<'a> {
    text: &'a str,
    lines: Vec<Line>,
}

struct Line {
    start: usize,
    /// Bytes of every `STEP`th character; none where each character is one byte.
    characters: Vec<usize>,
}

/// So many characters at most are counted to find one.
const STEP: usize = 64;

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Self {
        let mut lines = vec![];
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let steps = || line.char_indices().map(|(i, _)| i).step_by(STEP);
            let characters = if line.is_ascii() { vec![] } else { steps().collect() };
            lines.push(Line { start, characters });
            start += line.len();
        }
        if text.is_empty() || text.ends_with('\n') {
            lines.push(Line { start, characters: vec![] });
        }
        Self { text, lines }
    }

    /// Line and column count from 1, the column in characters.
    pub fn byte(&self, line: u64, column: u64) -> usize {
        let Some(line) = (line as usize).checked_sub(1).and_then(|l| self.lines.get(l)) else {
            return if line == 0 { 0 } else { self.text.len() };
        };
        let skip = (column as usize).saturating_sub(1);
        if line.characters.is_empty() {
            return (line.start + skip).min(self.text.len());
        }
        let near = line.characters.get(skip / STEP).or(line.characters.last());
        let near = line.start + near.copied().unwrap_or_default();
        let skip = if skip / STEP < line.characters.len() { skip % STEP } else { usize::MAX };
        let rest = &self.text[near..];
        near + rest.char_indices().nth(skip).map_or(rest.len(), |(i, _)| i)
    }

    pub fn at(&self, location: Location) -> usize {
        self.byte(location.line, location.column)
    }
}

/// A token that means something, with the bytes it takes.
#[derive(Clone, Debug)]
pub(crate) struct Tok {
    pub inner: TokenWithSpan,
    pub span: Range<usize>,
}

impl Tok {
    pub fn is(&self, token: &Token) -> bool {
        self.inner.token == *token
    }

    /// An unquoted word, whatever its case.
    pub fn is_word(&self, word: &str) -> bool {
        matches!(&self.inner.token, Token::Word(w)
            if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
    }
}

/// All tokens without blanks and comments. A text that cannot be cut into tokens gives those of
/// the statements before the fault, and the fault.
pub(crate) fn tokens(text: &Text) -> (Vec<Tok>, Option<Error>) {
    let lines = Lines::new(&text.text);
    let mut raw = vec![];
    let fault = Tokenizer::new(&WatershedDialect, &text.text)
        .tokenize_with_location_into_buf(&mut raw)
        .err();
    let toks = raw
        .into_iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF))
        .map(|t| Tok { span: lines.at(t.span.start)..lines.at(t.span.end), inner: t });
    let mut toks: Vec<Tok> = toks.collect();
    let fault = fault.map(|e| {
        let whole = toks.iter().rposition(|t| t.is(&Token::SemiColon)).map_or(0, |i| i + 1);
        let last_end = toks.last().map_or(0, |t| t.span.end);
        toks.truncate(whole);
        token_fault(text, &e.message, lines.at(e.location), last_end)
    });
    (toks, fault)
}

/// What a tokenizer error means: nearly always a quote or a comment that is never closed.
fn token_fault(text: &Text, message: &str, at: usize, last_end: usize) -> Error {
    // The tokenizer names the place where it gave up for some faults, the opening for others.
    let opening = |marks: &[&str]| {
        let from = text.text.get(last_end..).unwrap_or("");
        marks.iter().filter_map(|m| from.find(m)).min().map_or(at, |i| last_end + i)
    };
    let lower = message.to_lowercase();
    let (message, hint, at) = if lower.contains("comment") {
        ("this comment is never closed", "close it with '*/'", opening(&["/*"]))
    } else if lower.contains("delimiter") {
        ("this quoted name is never closed", "close it with '\"'", opening(&["\"", "`"]))
    } else if lower.contains("unterminated") {
        ("this string is never closed", "close it with \"'\"; a quote inside is written twice", at)
    } else {
        let e = Error::syntax(message.to_string());
        return e.at(text.place(at..next_char(&text.text, at)));
    };
    Error::syntax(message).hint(hint).at(text.place(at..next_char(&text.text, at)))
}

pub(crate) fn next_char(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|t| t.chars().next()).map_or(at, |c| at + c.len_utf8())
}

/// Reads the tokens of one statement.
pub(crate) struct Cursor<'a> {
    pub text: &'a Text,
    tokens: &'a [Tok],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a Text, tokens: &'a [Tok]) -> Self {
        Self { text, tokens, at: 0 }
    }

    pub fn peek(&self) -> Option<&'a Tok> {
        self.tokens.get(self.at)
    }

    pub fn peek_word(&self, ahead: usize, word: &str) -> bool {
        self.tokens.get(self.at + ahead).is_some_and(|t| t.is_word(word))
    }

    pub fn peek_symbol(&self, ahead: usize, symbol: &Token) -> bool {
        self.tokens.get(self.at + ahead).is_some_and(|t| t.is(symbol))
    }

    pub fn advance(&mut self) -> Option<&'a Tok> {
        let token = self.tokens.get(self.at);
        self.at += usize::from(token.is_some());
        token
    }

    pub fn done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// The bytes of the next token; an empty span behind the last one at the end.
    pub fn span(&self) -> Range<usize> {
        match self.peek() {
            Some(t) => t.span.clone(),
            None => self.tokens.last().map_or(0..0, |t| t.span.end..t.span.end),
        }
    }

    /// Where the statement starts.
    pub fn text_start(&self) -> usize {
        self.tokens.first().map_or(0, |t| t.span.start)
    }

    /// Where the token before this one ends.
    pub fn end(&self) -> usize {
        self.at.checked_sub(1).and_then(|i| self.tokens.get(i)).map_or(0, |t| t.span.end)
    }

    pub fn rest(&self) -> &'a [Tok] {
        self.tokens.get(self.at..).unwrap_or(&[])
    }

    pub fn slice(&self, span: Range<usize>) -> &'a str {
        self.text.text.get(span).unwrap_or("")
    }

    pub fn word(&mut self, word: &str) -> bool {
        let found = self.peek_word(0, word);
        self.at += usize::from(found);
        found
    }

    /// Takes the words if all of them follow.
    pub fn words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(i, w)| self.peek_word(i, w));
        if found {
            self.at += words.len();
        }
        found
    }

    pub fn symbol(&mut self, symbol: &Token) -> bool {
        let found = self.peek_symbol(0, symbol);
        self.at += usize::from(found);
        found
    }

    pub fn expect_word(&mut self, word: &str) -> Result<(), Error> {
        if self.word(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    pub fn expect_symbol(&mut self, symbol: &Token) -> Result<(), Error> {
        if self.symbol(symbol) { Ok(()) } else { Err(self.expected(&format!("'{symbol}'"))) }
    }

    pub fn expected(&self, what: &str) -> Error {
        let found = match self.peek() {
            // It may be a password or a token.
            Some(t) if self.may_be_secret(t) => match t.inner.token {
                Token::Word(_) => "a word".into(),
                _ => "a text".into(),
            },
            Some(t) => format!("'{}'", self.slice(t.span.clone())),
            None => "the end of the statement".into(),
        };
        self.error(Error::syntax(format!("expected {what}, found {found}")), self.span())
    }

    /// Texts are; so are words where a value is expected, and those right behind a quote, as in
    /// `'it's secret'`.
    fn may_be_secret(&self, token: &Tok) -> bool {
        let before = self.at.checked_sub(1).and_then(|i| self.tokens.get(i));
        let is_value = before.is_some_and(|b| {
            let is_glued = matches!(b.inner.token, Token::SingleQuotedString(_))
                && b.span.end == token.span.start;
            b.is(&Token::Eq) || is_glued
        });
        match &token.inner.token {
            Token::SingleQuotedString(_) => true,
            Token::Word(_) => is_value,
            _ => false,
        }
    }

    pub fn error(&self, e: Error, span: Range<usize>) -> Error {
        e.at(self.text.place(span))
    }

    /// A name: unquoted ones in lower case, quoted ones as they are.
    pub fn name(&mut self, what: &str) -> Result<(String, Range<usize>), Error> {
        let Some(token) = self.peek() else { return Err(self.expected(what)) };
        let Token::Word(word) = &token.inner.token else { return Err(self.expected(what)) };
        let span = token.span.clone();
        if word.value.is_empty() {
            let e = Error::syntax("a name cannot be empty");
            return Err(self.error(e, span));
        }
        self.at += 1;
        match word.quote_style {
            Some(_) => Ok((word.value.clone(), span)),
            None => Ok((word.value.to_lowercase(), span)),
        }
    }

    pub fn string(&mut self) -> Option<(String, Range<usize>)> {
        let token = self.peek()?;
        let Token::SingleQuotedString(s) = &token.inner.token else { return None };
        self.at += 1;
        Some((s.clone(), token.span.clone()))
    }

    /// The tokens inside a pair of parentheses whose opening comes next; the cursor goes behind it.
    pub fn parenthesised(&mut self) -> Result<&'a [Tok], Error> {
        self.expect_symbol(&Token::LParen)?;
        let open = self.at - 1;
        let mut depth = 1;
        while let Some(token) = self.advance() {
            match &token.inner.token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(&self.tokens[open + 1..self.at - 1]);
            }
        }
        let e = Error::syntax("this '(' is never closed").hint("close it with ')'");
        Err(self.error(e, self.tokens[open].span.clone()))
    }

    /// The first two tokens inside a stretch of the text.
    pub fn second_word(&self, span: &Range<usize>) -> Option<(&'a str, &'a str)> {
        let mut inside = self.tokens.iter().filter(|t| span.contains(&t.span.start));
        let (first, second) = (inside.next()?, inside.next()?);
        Some((self.slice(first.span.clone()), self.slice(second.span.clone())))
    }

    pub fn expect_end(&self) -> Result<(), Error> {
        if self.done() { Ok(()) } else { Err(self.expected("the end of the statement")) }
    }
}

/// Parentheses that do not pair are reported at the one that is too many: the parser would name
/// the place where it noticed.
pub(crate) fn check_parentheses(text: &Text, tokens: &[Tok]) -> Result<(), Error> {
    let mut open: Vec<&Tok> = vec![];
    for token in tokens {
        match &token.inner.token {
            Token::LParen => open.push(token),
            Token::RParen if open.pop().is_none() => {
                let e = Error::syntax("this ')' closes nothing").hint("take it out");
                return Err(e.at(text.place(token.span.clone())));
            }
            _ => {}
        }
    }
    match open.last() {
        None => Ok(()),
        Some(token) => {
            let e = Error::syntax("this '(' is never closed").hint("close it with ')'");
            Err(e.at(text.place(token.span.clone())))
        }
    }
}

/// A query from its tokens, with nothing behind it.
pub(crate) fn query(text: &Text, tokens: &[Tok]) -> Result<Box<Query>, Error> {
    parse_with(text, tokens, |p| p.parse_query())
}

/// A statement that is one of SQL's own, as INSERT.
pub(crate) fn writing(text: &Text, tokens: &[Tok]) -> Result<Statement, Error> {
    parse_with(text, tokens, |p| p.parse_statement())
}

pub(crate) fn expression(text: &Text, tokens: &[Tok]) -> Result<Expr, Error> {
    parse_with(text, tokens, |p| p.parse_expr())
}

fn parse_with<T>(
    text: &Text,
    tokens: &[Tok],
    parse: impl Fn(&mut Parser) -> Result<T, ParserError>,
) -> Result<T, Error> {
    nesting::check(text, tokens)?;
    check_parentheses(text, tokens)?;
    let run = |list: Vec<TokenWithSpan>| {
        let mut parser = Parser::new(&WatershedDialect).with_tokens_with_locations(list);
        parse(&mut parser).and_then(|t| match parser.peek_token_ref().token {
            Token::EOF => Ok(t),
            _ => parser.expected_ref("end of statement", parser.peek_token_ref()),
        })
    };
    let list: Vec<TokenWithSpan> = tokens.iter().map(|t| t.inner.clone()).collect();
    run(list.clone())
        .map_err(|e| crate::syntax::error(text, tokens, e, &|changed| run(changed).is_ok()))
}

/// A query as it is written.
pub(crate) fn parse_query(text: &str) -> Result<Box<Query>, Error> {
    parse_whole(text, query)
}

/// A text of which nothing is left out.
pub(crate) fn parse_whole<T>(
    text: &str,
    parse: fn(&Text, &[Tok]) -> Result<T, Error>,
) -> Result<T, Error> {
    let text = Text::new(None, text);
    let (tokens, fault) = tokens(&text);
    match fault {
        Some(e) => Err(e),
        None => parse(&text, &tokens),
    }
}
