//! `WITH (name = 'value', …)`: read with the place of each part, so that a wrong name or value is
//! shown where it stands. Values are texts, numbers, `true` or `false`.

use std::collections::BTreeMap;
use std::ops::Range;

use catalog::Options;
use common::Error;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::tokens::Cursor;

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub value: String,
    pub name_span: Range<usize>,
    pub value_span: Range<usize>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct OptionList {
    entries: BTreeMap<String, Entry>,
}

impl OptionList {
    /// Reads `WITH (…)` if it comes next.
    pub fn parse(cursor: &mut Cursor, faults: &mut Vec<Error>) -> Result<OptionList, Error> {
        match cursor.word("WITH") {
            true => OptionList::inside(cursor, faults),
            false => Ok(OptionList::default()),
        }
    }

    /// Reads `(…)`.
    pub fn inside(cursor: &mut Cursor, faults: &mut Vec<Error>) -> Result<OptionList, Error> {
        let mut list = OptionList::default();
        cursor.expect_symbol(&Token::LParen)?;
        if cursor.symbol(&Token::RParen) {
            return Ok(list);
        }
        loop {
            let (name, name_span) = option_name(cursor)?;
            cursor.expect_symbol(&Token::Eq)?;
            let (value, value_span) = option_value(cursor)?;
            let twice = Error::invalid(format!("option '{name}' is given twice"));
            let twice = cursor.error(twice, name_span.clone());
            let entry = Entry { value, name_span, value_span };
            if list.entries.insert(name, entry).is_some() {
                faults.push(twice);
            }
            if cursor.symbol(&Token::RParen) {
                return Ok(list);
            }
            if !cursor.symbol(&Token::Comma) {
                return Err(cursor.expected("',' or ')'"));
            }
        }
    }

    /// Takes an option out, so that what is left is unknown.
    pub fn take(&mut self, name: &str) -> Option<Entry> {
        self.entries.remove(name)
    }

    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Reports all options that nobody took.
    pub fn refuse_rest(self, cursor: &Cursor, known: &[&str], faults: &mut Vec<Error>) {
        for (name, entry) in self.entries {
            let e = Error::unknown("option", &name, known.iter().copied());
            let e = match e.hint_text() {
                Some(_) => e,
                None => e.hint(format!("known are: {}", known.join(", "))),
            };
            faults.push(cursor.error(e, entry.name_span));
        }
    }

    pub fn into_options(self) -> Options {
        self.entries.into_iter().map(|(name, e)| (name, e.value)).collect()
    }
}

/// A word, a text, or words with dots: `header.authorization`.
pub(crate) fn option_name(cursor: &mut Cursor) -> Result<(String, Range<usize>), Error> {
    if let Some((name, span)) = cursor.string() {
        return Ok((name.to_lowercase(), span));
    }
    let (mut name, mut span) = cursor.name("an option name")?;
    while cursor.symbol(&Token::Period) {
        let (part, part_span) = cursor.name("an option name")?;
        name = format!("{name}.{part}");
        span = span.start..part_span.end;
    }
    Ok((name.to_lowercase(), span))
}

fn option_value(cursor: &mut Cursor) -> Result<(String, Range<usize>), Error> {
    if let Some(value) = cursor.string() {
        return Ok(value);
    }
    let span = cursor.span();
    if cursor.word("TRUE") {
        return Ok(("true".into(), span));
    }
    if cursor.word("FALSE") {
        return Ok(("false".into(), span));
    }
    let negative = cursor.symbol(&Token::Minus);
    if let Some(Token::Number(number, _)) = cursor.peek().map(|t| &t.inner.token) {
        let end = cursor.span().end;
        cursor.advance();
        let sign = if negative { "-" } else { "" };
        return Ok((format!("{sign}{number}"), span.start..end));
    }
    let e = cursor.expected("a value");
    Err(e.hint("texts stand in single quotes, as in key = 'sensor'"))
}
