//! `ALTER TOPIC name …`: changes the CREATE statement that is kept, and nothing else of it.
//! `SET (option = value, …)` and `RESET (option, …)` its options; `ADD COLUMN c TYPE …`,
//! `DROP COLUMN c` and `ALTER COLUMN c TYPE t` its columns.

use std::ops::Range;

use common::{Error, Result};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::statements::create_topic::AFTER_TYPE;
use crate::statements::options::{OptionList, option_name};
use crate::statements::statement::{Statement, Text};
use crate::tokens::{self, Cursor, Tok};

/// What of a topic is to be another.
#[derive(Clone, Debug, PartialEq)]
pub enum TopicChange {
    /// Those with a value are set, the others get their default.
    Options(Vec<(String, Option<String>)>),
    /// The column as it is declared.
    AddColumn(String),
    DropColumn(String),
    ColumnType {
        column: String,
        data_type: String,
    },
}

pub(crate) fn parse(cursor: &mut Cursor, faults: &mut Vec<Error>) -> Result<Statement> {
    cursor
        .expect_word("TOPIC")
        .map_err(|e| e.hint("write ALTER TOPIC name SET (…) or ALTER USER name PASSWORD '…'"))?;
    let (name, span) = cursor.name("a topic name")?;
    let change = if cursor.word("SET") {
        let options = OptionList::inside(cursor, faults)?.into_options();
        TopicChange::Options(options.into_iter().map(|(k, v)| (k, Some(v))).collect())
    } else if cursor.word("RESET") {
        TopicChange::Options(reset(cursor)?)
    } else if cursor.word("ADD") {
        cursor.word("COLUMN");
        TopicChange::AddColumn(rest(cursor, "a column and its type")?)
    } else if cursor.word("DROP") {
        cursor.word("COLUMN");
        TopicChange::DropColumn(cursor.name("a column name")?.0)
    } else if cursor.word("ALTER") {
        cursor.word("COLUMN");
        let (column, _) = cursor.name("a column name")?;
        cursor.words(&["SET", "DATA"]);
        cursor.expect_word("TYPE")?;
        TopicChange::ColumnType { column, data_type: rest(cursor, "a type")? }
    } else {
        return Err(cursor.expected("SET, RESET, ADD COLUMN, DROP COLUMN or ALTER COLUMN"));
    };
    cursor.expect_end()?;
    Ok(Statement::AlterTopic { name, change, span })
}

fn reset(cursor: &mut Cursor) -> Result<Vec<(String, Option<String>)>> {
    let mut names = vec![];
    cursor.expect_symbol(&Token::LParen)?;
    loop {
        names.push((option_name(cursor)?.0, None));
        if cursor.symbol(&Token::RParen) {
            return Ok(names);
        }
        if !cursor.symbol(&Token::Comma) {
            return Err(cursor.expected("',' or ')'"));
        }
    }
}

/// The text up to the end of the statement; what it means is seen where it is put in.
fn rest(cursor: &mut Cursor, what: &str) -> Result<String> {
    let start = cursor.span().start;
    let mut end = None;
    while cursor.peek().is_some_and(|t| !t.is(&Token::SemiColon)) {
        cursor.advance();
        end = Some(cursor.end());
    }
    let end = end.ok_or_else(|| cursor.expected(what))?;
    Ok(cursor.slice(start..end).to_string())
}

/// A CREATE TOPIC statement with a change.
pub fn altered(statement: &str, change: &TopicChange) -> Result<String> {
    match change {
        TopicChange::Options(options) => with_options(statement, options),
        TopicChange::AddColumn(column) => {
            let inside = Inside::of(statement)?;
            let end = inside.parts.last().map_or(inside.start, |p| p.span.end);
            Ok(replaced(statement, end..end, &format!(",\n  {column}")))
        }
        TopicChange::DropColumn(column) => {
            let inside = Inside::of(statement)?;
            let at = inside.column(column)?;
            // With the comma before it, or else the one behind.
            let parts = &inside.parts;
            let span = match (at.checked_sub(1).and_then(|i| parts.get(i)), parts.get(at + 1)) {
                (Some(before), _) => before.span.end..parts[at].span.end,
                (None, Some(after)) => parts[at].span.start..after.span.start,
                (None, None) => parts[at].span.clone(),
            };
            Ok(replaced(statement, span, ""))
        }
        TopicChange::ColumnType { column, data_type } => {
            let inside = Inside::of(statement)?;
            let part = &inside.parts[inside.column(column)?];
            Ok(replaced(statement, part.data_type.clone(), data_type))
        }
    }
}

fn replaced(statement: &str, span: Range<usize>, by: &str) -> String {
    [&statement[..span.start], by, &statement[span.end..]].concat()
}

/// What stands between a statement's first parentheses.
struct Inside {
    start: usize,
    parts: Vec<Part>,
}

/// A column, constraint or watermark.
struct Part {
    /// None of a constraint and a watermark.
    column: Option<String>,
    span: Range<usize>,
    data_type: Range<usize>,
}

impl Inside {
    fn of(statement: &str) -> Result<Inside> {
        let text = Text { file: None, text: statement.into() };
        let (toks, _) = tokens::tokens(&text);
        let is_open = |t: &Tok| t.is(&Token::LParen);
        let missing = || Error::internal("the statement of a topic has no columns");
        let open = toks.iter().position(is_open).ok_or_else(missing)?;
        let (mut parts, mut part): (_, Vec<&Tok>) = (vec![], vec![]);
        let mut depth = 0;
        for tok in &toks[open + 1..] {
            if depth == 0 && (tok.is(&Token::Comma) || tok.is(&Token::RParen)) {
                parts.extend(Part::of(&std::mem::take(&mut part)));
                if tok.is(&Token::RParen) {
                    break;
                }
                continue;
            }
            depth += depth_of(tok, is_constraint(&part));
            part.push(tok);
        }
        Ok(Inside { start: toks[open].span.end, parts })
    }

    fn column(&self, name: &str) -> Result<usize> {
        let is_it = |p: &Part| p.column.as_ref().is_some_and(|c| c.eq_ignore_ascii_case(name));
        let all = self.parts.iter().filter_map(|p| p.column.as_deref());
        self.parts.iter().position(is_it).ok_or_else(|| Error::unknown("column", name, all))
    }
}

/// How deep a token leads. Within constraints `<` compares.
fn depth_of(tok: &Tok, compares: bool) -> i32 {
    match &tok.inner.token {
        Token::LParen | Token::LBracket => 1,
        Token::RParen | Token::RBracket => -1,
        Token::Lt if !compares => 1,
        Token::Gt if !compares => -1,
        Token::ShiftRight if !compares => -2,
        _ => 0,
    }
}

/// By its first words, which may all be names of columns, too.
fn is_constraint(part: &[&Tok]) -> bool {
    let [first, second, ..] = part else { return false };
    first.is_word("CONSTRAINT") && part.get(2).is_some_and(|t| t.is_word("CHECK"))
        || first.is_word("CHECK") && second.is(&Token::LParen)
        || first.is_word("WATERMARK") && second.is_word("FOR")
}

impl Part {
    fn of(toks: &[&Tok]) -> Option<Part> {
        let (first, last) = (toks.first()?, toks.last()?);
        let column = match &first.inner.token {
            Token::Word(word) if !is_constraint(toks) => Some(word.value.clone()),
            _ => None,
        };
        let (mut start, mut end, mut depth) = (first.span.end, first.span.end, 0);
        for (i, tok) in toks[1..].iter().enumerate() {
            depth += depth_of(tok, false);
            if depth == 0 && AFTER_TYPE.iter().any(|word| tok.is_word(word)) {
                break;
            }
            start = if i == 0 { tok.span.start } else { start };
            end = tok.span.end;
        }
        Some(Part { column, span: first.span.start..last.span.end, data_type: start..end })
    }
}

/// A CREATE TOPIC statement with other options: those with a value are set, the others removed.
fn with_options(statement: &str, changes: &[(String, Option<String>)]) -> Result<String> {
    let text = Text { file: None, text: statement.into() };
    let (toks, _) = tokens::tokens(&text);
    let mut depth = 0_i32;
    let with = toks.iter().position(|t| {
        depth += i32::from(t.is(&Token::LParen)) - i32::from(t.is(&Token::RParen));
        depth == 0 && t.is_word("WITH")
    });
    let end = toks.last().map_or(0, |t| t.span.end);
    let before = with.and_then(|i| toks.get(i)).map_or(end, |t| t.span.start);
    let mut cursor = Cursor::new(&text, with.and_then(|i| toks.get(i..)).unwrap_or_default());
    let mut options = OptionList::parse(&mut cursor, &mut vec![])?.into_options();
    for (name, value) in changes {
        match value {
            Some(value) => options.insert(name.clone(), value.clone()),
            None => options.remove(name),
        };
    }
    // A comment may stand before it, so the options have a line of their own.
    let head = statement.get(..before).unwrap_or_default().trim_end();
    if options.is_empty() {
        return Ok(head.to_string());
    }
    let shown =
        |(name, value): (&String, &String)| format!("{name} = '{}'", value.replace('\'', "''"));
    let options: Vec<_> = options.iter().map(shown).collect();
    Ok(format!("{head}\nWITH ({})", options.join(", ")))
}
