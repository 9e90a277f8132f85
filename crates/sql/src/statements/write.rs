//! `INSERT INTO`, `UPDATE`, `DELETE FROM` and `MERGE INTO`: which topic is written to. What is
//! written is planned as a query (`write_plan/`), when the topic's columns are known.

use std::ops::Range;

use common::Error;
use datafusion::sql::sqlparser::ast::{
    FromTable, ObjectName, Statement, TableFactor, TableObject, TableWithJoins,
};

use crate::passes::references::ident;
use crate::tokens::{self, Cursor};

/// A statement that writes; `start` is where its text begins in the whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub verb: Verb,
    /// The topic.
    pub target: String,
    /// Where it is named.
    pub span: Range<usize>,
    pub text: String,
    pub start: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Insert,
    Update,
    Delete,
    Merge,
}

const VERBS: [(&str, Verb); 4] = [
    ("INSERT", Verb::Insert),
    ("UPDATE", Verb::Update),
    ("DELETE", Verb::Delete),
    ("MERGE", Verb::Merge),
];

/// Reads the statement if it is one that writes.
pub(crate) fn parse(cursor: &mut Cursor) -> Result<Option<Write>, Error> {
    let Some((_, verb)) = VERBS.iter().find(|(word, _)| cursor.peek_word(0, word)) else {
        return Ok(None);
    };
    let tokens = cursor.rest();
    let statement = tokens::writing(cursor.text, tokens)?;
    let start = cursor.span().start;
    let end = tokens.last().map_or(start, |t| t.span.end);
    let missing = || {
        let e = Error::unsupported("this form of the statement is not supported");
        cursor.error(e.hint("it writes to one topic, named without a schema"), start..end)
    };
    let name = target(&statement).ok_or_else(missing)?;
    let [part] = name.0.as_slice() else { return Err(missing()) };
    let named = part.as_ident().ok_or_else(missing)?;
    let place = tokens.iter().find(|t| t.inner.span.start == named.span.start);
    let write = Write {
        verb: *verb,
        target: ident(named),
        span: place.map_or(start..end, |t| t.span.clone()),
        text: cursor.slice(start..end).to_string(),
        start,
    };
    while cursor.advance().is_some() {}
    Ok(Some(write))
}

/// The name of the topic that a statement writes to.
fn target(statement: &Statement) -> Option<&ObjectName> {
    match statement {
        Statement::Insert(insert) => match &insert.table {
            TableObject::TableName(name) => Some(name),
            _ => None,
        },
        Statement::Update(update) => table(&update.table.relation),
        Statement::Delete(delete) => table(&deleted_from(&delete.from)?.relation),
        Statement::Merge(merge) => table(&merge.table),
        _ => None,
    }
}

fn table(factor: &TableFactor) -> Option<&ObjectName> {
    match factor {
        TableFactor::Table { name, .. } => Some(name),
        _ => None,
    }
}

/// The one table that rows are deleted from.
pub(crate) fn deleted_from(from: &FromTable) -> Option<&TableWithJoins> {
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = from;
    match tables.as_slice() {
        [one] if one.joins.is_empty() => Some(one),
        _ => None,
    }
}
