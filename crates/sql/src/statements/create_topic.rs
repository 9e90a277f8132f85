//! `CREATE TOPIC name (columns, WATERMARK …, CHECK …) WITH (…)`, and `CREATE TABLE` of the same,
//! with a PRIMARY KEY: a topic of format 'upsert' by the name that SQL has for it.

use std::ops::Range;

use catalog::{Check, Column, Definition, Format, Object, Topic, Watermark};
use common::{Error, units};
use datafusion::arrow::datatypes::DataType;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::statements::options::OptionList;
use crate::statements::statement::{check_name, topic_name};
use crate::statements::topic_options;
use crate::tokens::{self, Cursor};

struct Parts {
    columns: Vec<(Column, Range<usize>)>,
    watermark: Option<(Watermark, Range<usize>)>,
    checks: Vec<Check>,
    /// The columns of PRIMARY KEY, and where it stands.
    primary_key: Option<(Vec<String>, Range<usize>)>,
}

pub(crate) fn parse(cursor: &mut Cursor, faults: &mut Vec<Error>) -> Result<Definition, Error> {
    definition(cursor, false, faults)
}

pub(crate) fn parse_table(
    cursor: &mut Cursor,
    faults: &mut Vec<Error>,
) -> Result<Definition, Error> {
    definition(cursor, true, faults)
}

fn definition(
    cursor: &mut Cursor,
    is_table: bool,
    faults: &mut Vec<Error>,
) -> Result<Definition, Error> {
    let start = cursor.text_start();
    let name = topic_name(cursor)?;
    let inside = cursor.peek_symbol(0, &Token::LParen);
    if !inside {
        let e = cursor.expected("'(' and the columns");
        return Err(e.hint("write CREATE TOPIC name (column TYPE, …)"));
    }
    cursor.expect_symbol(&Token::LParen)?;
    let mut parts = Parts { columns: vec![], watermark: None, checks: vec![], primary_key: None };
    loop {
        part(cursor, &mut parts, faults)?;
        if cursor.symbol(&Token::RParen) {
            break;
        }
        if !cursor.symbol(&Token::Comma) {
            return Err(cursor.expected("',' or ')'"));
        }
    }
    check_watermark(cursor, &parts, faults);
    if parts.columns.is_empty() {
        let e = Error::invalid(format!("topic '{name}' has no columns"));
        faults.push(cursor.error(e, start..cursor.end()));
    }
    let key = primary_key(cursor, is_table, &name, &mut parts)?;
    let options = OptionList::parse(cursor, faults)?;
    cursor.expect_end()?;
    let mut topic = Topic {
        name,
        columns: parts.columns.into_iter().map(|(c, _)| c).collect(),
        watermark: parts.watermark.map(|(w, _)| w),
        checks: parts.checks,
        format: if is_table { Format::Upsert } else { Format::Json },
        key,
        partitions: 1,
        storage: Box::default(),
        archive: true,
    };
    topic_options::read(cursor, options, &mut topic, faults);
    Ok(Definition {
        object: Object::Topic(topic),
        origin: cursor.text.origin(start..cursor.end()),
        query_start: 0,
        depends_on: vec![],
    })
}

fn part(cursor: &mut Cursor, parts: &mut Parts, faults: &mut Vec<Error>) -> Result<(), Error> {
    if cursor.peek_word(0, "WATERMARK") && cursor.peek_word(1, "FOR") {
        let start = cursor.span().start;
        let watermark = watermark(cursor)?;
        let span = start..cursor.end();
        if parts.watermark.is_some() {
            let e = Error::invalid("a topic has one watermark only");
            faults.push(cursor.error(e, span));
        } else {
            parts.watermark = Some((watermark.0, watermark.1));
        }
        return Ok(());
    }
    let mut name = None;
    if cursor.peek_word(0, "CONSTRAINT") && cursor.peek_word(2, "CHECK") {
        cursor.advance();
        name = Some(cursor.name("a constraint name")?);
    }
    if cursor.peek_word(0, "CHECK") && cursor.peek_symbol(1, &Token::LParen) {
        cursor.advance();
        return check(cursor, name, parts, faults);
    }
    if cursor.peek_word(0, "PRIMARY") && cursor.peek_word(1, "KEY") {
        let start = cursor.span().start;
        cursor.words(&["PRIMARY", "KEY"]);
        cursor.expect_symbol(&Token::LParen)?;
        let mut columns = vec![cursor.name("a column name")?.0];
        while cursor.symbol(&Token::Comma) {
            columns.push(cursor.name("a column name")?.0);
        }
        cursor.expect_symbol(&Token::RParen)?;
        return set_primary_key(cursor, parts, columns, start..cursor.end());
    }
    column(cursor, parts, faults)
}

fn set_primary_key(
    cursor: &Cursor,
    parts: &mut Parts,
    columns: Vec<String>,
    span: Range<usize>,
) -> Result<(), Error> {
    if parts.primary_key.is_some() {
        return Err(cursor.error(Error::invalid("a table has one primary key only"), span));
    }
    parts.primary_key = Some((columns, span));
    Ok(())
}

/// The column whose values tell the rows of a table apart; it becomes NOT NULL.
fn primary_key(
    cursor: &Cursor,
    is_table: bool,
    name: &str,
    parts: &mut Parts,
) -> Result<Option<String>, Error> {
    let whole = cursor.text_start()..cursor.end();
    let (columns, span) = match (parts.primary_key.take(), is_table) {
        (Some(key), true) => key,
        (None, false) => return Ok(None),
        (Some((_, span)), false) => {
            let e = Error::unsupported("a topic has no primary key").hint(format!(
                "write CREATE TABLE {name} (…) for rows that replace one another; \
                 WITH (key = 'column') only sends equal keys to one partition"
            ));
            return Err(cursor.error(e, span));
        }
        (None, true) => {
            let e = Error::invalid(format!("table '{name}' has no PRIMARY KEY")).hint(
                "write PRIMARY KEY (column): a later row of a key replaces the one before; for \
                 events that stay as they are write CREATE TOPIC",
            );
            return Err(cursor.error(e, whole));
        }
    };
    let [key] = columns.as_slice() else {
        let e = Error::unsupported("a primary key is one column")
            .hint("put what tells the rows apart into one column");
        return Err(cursor.error(e, span));
    };
    match parts.columns.iter_mut().find(|(c, _)| c.name == *key) {
        Some((column, _)) => column.nullable = false,
        None => {
            let names = parts.columns.iter().map(|(c, _)| c.name.as_str());
            return Err(cursor.error(Error::unknown("column", key, names), span));
        }
    }
    Ok(Some(key.clone()))
}

fn column(cursor: &mut Cursor, parts: &mut Parts, faults: &mut Vec<Error>) -> Result<(), Error> {
    let (name, span) = cursor.name("a column name")?;
    if let Err(e) = check_name(cursor, &name, &span) {
        faults.push(e);
    }
    let type_span = type_span(cursor)?;
    let data_type = match formats::types::parse(cursor.slice(type_span.clone())) {
        Ok(t) => t,
        Err(e) => {
            let e = match cursor.second_word(&type_span) {
                Some((first, second)) if formats::types::parse(first).is_ok() => {
                    e.hint(format!("is a comma missing before '{second}'?"))
                }
                _ => e,
            };
            faults.push(cursor.error(e, type_span));
            DataType::Utf8
        }
    };
    let (mut nullable, mut default) = (true, None);
    loop {
        let at = cursor.span();
        if cursor.words(&["NOT", "NULL"]) {
            nullable = false;
        } else if cursor.words(&["PRIMARY", "KEY"]) {
            set_primary_key(cursor, parts, vec![name.clone()], at.start..cursor.end())?;
        } else if cursor.word("DEFAULT") {
            default = default_value(cursor, &data_type, faults)?;
        } else if !cursor.word("NULL") {
            break;
        }
    }
    // Names that differ in case only could not both be written without quotes.
    if parts.columns.iter().any(|(c, _)| c.name.eq_ignore_ascii_case(&name)) {
        let e = Error::invalid(format!("column '{name}' is declared twice"));
        faults.push(cursor.error(e, span.clone()));
        return Ok(());
    }
    parts.columns.push((Column { name, data_type, nullable, default }, span));
    Ok(())
}

/// A literal as JSON. NULL is what a column has without a default.
fn default_value(
    cursor: &mut Cursor,
    data_type: &DataType,
    faults: &mut Vec<Error>,
) -> Result<Option<String>, Error> {
    let start = cursor.span().start;
    let is_typed = ["TIMESTAMP", "DATE"].iter().any(|w| cursor.peek_word(0, w));
    if is_typed {
        cursor.advance();
    }
    let is_nested =
        matches!(data_type, DataType::List(_) | DataType::Struct(_) | DataType::Map(..));
    let json = if let Some((text, _)) = cursor.string() {
        // Of an array, struct or map it is the JSON itself.
        if is_nested { text } else { serde_json::Value::from(text).to_string() }
    } else if !is_typed && cursor.word("NULL") {
        return Ok(None);
    } else if !is_typed && cursor.word("TRUE") {
        "true".to_string()
    } else if !is_typed && cursor.word("FALSE") {
        "false".to_string()
    } else {
        let sign = if cursor.symbol(&Token::Minus) { "-" } else { "" };
        match cursor.peek().map(|t| &t.inner.token) {
            Some(Token::Number(n, _)) if !is_typed => {
                let json = format!("{sign}{n}");
                cursor.advance();
                json
            }
            _ => {
                let e = cursor.expected("a literal");
                return Err(e.hint("a default is a number, a text in quotes, TRUE or FALSE"));
            }
        }
    };
    if let Err(reason) = formats::json::check_value(data_type, &json) {
        let e = Error::invalid(format!("the default does not fit: {reason}"));
        faults.push(cursor.error(e, start..cursor.end()));
    }
    Ok(Some(json))
}

/// What may follow a type.
pub(crate) const AFTER_TYPE: [&str; 4] = ["NOT", "NULL", "DEFAULT", "PRIMARY"];

/// The bytes of a type: up to a comma, a closing parenthesis or one of these words outside of
/// `<…>`, `(…)`.
fn type_span(cursor: &mut Cursor) -> Result<Range<usize>, Error> {
    let span = cursor.span();
    let mut depth = 0;
    while let Some(token) = cursor.peek() {
        match &token.inner.token {
            Token::LParen | Token::Lt | Token::LBracket => depth += 1,
            Token::RParen | Token::Comma if depth == 0 => break,
            Token::RParen | Token::Gt | Token::RBracket => depth -= 1,
            Token::ShiftRight => depth -= 2,
            _ if depth == 0 && AFTER_TYPE.iter().any(|word| token.is_word(word)) => break,
            _ => {}
        }
        cursor.advance();
    }
    if cursor.end() <= span.start {
        return Err(cursor.expected("a type").hint("as in: celsius DOUBLE"));
    }
    Ok(span.start..cursor.end())
}

/// `WATERMARK FOR c AS c - INTERVAL '5 seconds'`, or `AS c` for no delay.
fn watermark(cursor: &mut Cursor) -> Result<(Watermark, Range<usize>), Error> {
    cursor.expect_word("WATERMARK")?;
    cursor.expect_word("FOR")?;
    let (column, span) = cursor.name("a column name")?;
    cursor.expect_word("AS")?;
    let (again, again_span) = cursor.name("the same column")?;
    if again != column {
        let e = Error::invalid(format!("the watermark for '{column}' is made from '{again}'"))
            .hint(format!("write WATERMARK FOR {column} AS {column} - INTERVAL '5 seconds'"));
        return Err(cursor.error(e, again_span));
    }
    let mut delay_us = 0;
    if cursor.symbol(&Token::Minus) {
        cursor.expect_word("INTERVAL")?;
        delay_us = interval(cursor)?;
    }
    Ok((Watermark { column, delay_us }, span))
}

/// What follows INTERVAL: `'5 seconds'`, `5 SECONDS` or `'5' SECOND`.
fn interval(cursor: &mut Cursor) -> Result<i64, Error> {
    let start = cursor.span();
    let mut text = match cursor.string() {
        Some((text, _)) => text,
        None => match cursor.peek().map(|t| &t.inner.token) {
            Some(Token::Number(n, _)) => {
                cursor.advance();
                n.clone()
            }
            _ => return Err(cursor.expected("a duration").hint("as in INTERVAL '5 seconds'")),
        },
    };
    if text.trim().chars().all(|c| c.is_ascii_digit()) {
        let (unit, _) = cursor.name("a unit, such as SECONDS")?;
        text = format!("{text} {unit}");
    }
    let span = start.start..cursor.end();
    units::parse_duration_us(&text).map_err(|e| cursor.error(e, span))
}

fn check(
    cursor: &mut Cursor,
    name: Option<(String, Range<usize>)>,
    parts: &mut Parts,
    faults: &mut Vec<Error>,
) -> Result<(), Error> {
    let inside = cursor.parenthesised()?;
    let (Some(first), Some(last)) = (inside.first(), inside.last()) else {
        let e = Error::syntax("this CHECK is empty");
        return Err(cursor.error(e, cursor.end() - 1..cursor.end()));
    };
    if let Err(e) = tokens::expression(cursor.text, inside) {
        faults.push(e);
    }
    let sql = cursor.slice(first.span.start..last.span.end).to_string();
    let (name, span) = match name {
        Some(given) => given,
        None => (format!("check_{}", parts.checks.len() + 1), first.span.clone()),
    };
    if parts.checks.iter().any(|c| c.name == name) {
        let e = Error::invalid(format!("constraint '{name}' is declared twice"));
        faults.push(cursor.error(e, span));
    }
    parts.checks.push(Check { name, sql });
    Ok(())
}

fn check_watermark(cursor: &Cursor, parts: &Parts, faults: &mut Vec<Error>) {
    let Some((watermark, span)) = &parts.watermark else { return };
    let names = parts.columns.iter().map(|(c, _)| c.name.as_str());
    let e = match parts.columns.iter().find(|(c, _)| c.name == watermark.column) {
        None => Error::unknown("column", &watermark.column, names),
        Some((column, _)) => match column.data_type {
            DataType::Timestamp(_, Some(_)) => return,
            _ => {
                let is = formats::types::sql_name(&column.data_type);
                Error::invalid(format!("'{}' is {is}, not TIMESTAMP", column.name))
                    .hint("a watermark needs a TIMESTAMP column")
            }
        },
    };
    faults.push(cursor.error(e, span.clone()));
}
