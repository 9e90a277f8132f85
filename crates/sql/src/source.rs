//! A query's text while it is planned: positions in it, and where they are in what the user wrote.

use std::ops::Range;

use common::Place;
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::statements::statement::Text;
use crate::tokens::{self, Lines, Tok};

/// A query's text while it is planned: positions in it and where they are in the user's file.
pub(crate) struct Source<'a> {
    pub text: &'a str,
    pub tokens: Vec<Tok>,
    lines: Lines<'a>,
    place: &'a PlaceOf<'a>,
}

/// Where a stretch of a text is in what the user wrote.
pub type PlaceOf<'a> = dyn Fn(Range<usize>) -> Place + Send + Sync + 'a;

impl<'a> Source<'a> {
    pub fn new(text: &'a str, place: &'a PlaceOf<'a>) -> Self {
        let (tokens, _) = tokens::tokens(&Text::new(None, text));
        Self { text, tokens, lines: Lines::new(text), place }
    }

    pub fn place(&self, span: Range<usize>) -> Place {
        (self.place)(span)
    }

    pub fn span(&self, span: Span) -> Range<usize> {
        self.lines.at(span.start)..self.lines.at(span.end)
    }

    pub fn lines_span(&self, span: &datafusion::common::Span) -> Range<usize> {
        let byte = |l: &datafusion::common::Location| self.lines.byte(l.line, l.column);
        byte(&span.start)..byte(&span.end)
    }

    pub fn slice(&self, span: Range<usize>) -> &'a str {
        self.text.get(span).unwrap_or("")
    }

    /// The first word of that name, quoted or not.
    pub fn find(&self, word: &str) -> Option<Range<usize>> {
        use datafusion::sql::sqlparser::tokenizer::Token;
        let found = self.tokens.iter().find(|t| match &t.inner.token {
            Token::Word(w) => match w.quote_style {
                Some(_) => w.value == word,
                None => w.value.eq_ignore_ascii_case(word),
            },
            _ => false,
        });
        found.map(|t| t.span.clone())
    }

    /// Where an expression stands, whatever its blanks and case.
    pub fn find_text(&self, wanted: &str) -> Option<Range<usize>> {
        let full: String = letters(wanted).map(|(_, c)| c).collect();
        let bare: String = letters(&unqualified(wanted)).map(|(_, c)| c).collect();
        let (at, have): (Vec<usize>, String) = letters(self.text).unzip();
        let found = [full, bare].into_iter().filter(|w| !w.is_empty());
        let (start, wanted) = found.filter_map(|w| Some((have.find(&w)?, w))).next()?;
        let first = have.get(..start)?.chars().count();
        let last = at.get(first + wanted.chars().count() - 1)?;
        Some(*at.get(first)?..tokens::next_char(self.text, *last))
    }

    /// The first text literal with that content.
    pub fn find_literal(&self, content: &str) -> Option<Range<usize>> {
        use datafusion::sql::sqlparser::tokenizer::Token;
        let literal = Token::SingleQuotedString(content.to_string());
        self.tokens.iter().find(|t| t.is(&literal)).map(|t| t.span.clone())
    }
}

fn letters(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    text.char_indices()
        .filter(|(_, c)| !c.is_whitespace())
        .map(|(i, c)| (i, c.to_ascii_lowercase()))
}

/// `a.x / b.y` as `x / y`.
fn unqualified(text: &str) -> String {
    let mut out = String::new();
    for part in text.split_inclusive(['.', ' ', '(', ',']) {
        let name = part.strip_suffix('.').filter(|n| !n.chars().all(|c| c.is_ascii_digit()));
        if name.is_none() {
            out.push_str(part);
        }
    }
    out
}
