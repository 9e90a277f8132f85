//! `SHOW …` and `DESCRIBE name`.

use common::Error;

use crate::statements::statement::{ObjectKind, Show, Statement};
use crate::tokens::Cursor;

/// What can be shown, by its words.
const LISTS: [(&str, Show); 9] = [
    ("TOPICS", Show::Topics),
    ("SOURCES", Show::Sources),
    ("VIEWS", Show::Views),
    ("MATERIALIZED VIEWS", Show::Views),
    ("SINKS", Show::Sinks),
    ("TABLES", Show::Tables),
    ("PIPELINES", Show::Pipelines),
    ("FUNCTIONS", Show::Functions),
    ("USERS", Show::Users),
];

pub(crate) fn parse(cursor: &mut Cursor) -> Result<Statement, Error> {
    let span = cursor.span();
    for (words, what) in LISTS {
        let words: Vec<&str> = words.split(' ').collect();
        if cursor.words(&words) {
            cursor.expect_end()?;
            return Ok(Statement::Show(what));
        }
    }
    if cursor.word("CREATE") {
        let kind = ObjectKind::parse(cursor);
        let (name, span) = cursor.name("a name")?;
        cursor.expect_end()?;
        return Ok(Statement::Show(Show::Create { kind, name, span }));
    }
    let e = cursor.expected("what to show");
    let word = cursor.slice(span).to_uppercase();
    let known: Vec<&str> = LISTS.iter().map(|(words, _)| *words).chain(["CREATE"]).collect();
    Err(match common::nearest(&word, known.iter().copied()) {
        Some(near) => e.hint(format!("did you mean 'SHOW {near}'?")),
        None => e.hint(format!("known are: {}", known.join(", "))),
    })
}

pub(crate) fn describe(cursor: &mut Cursor) -> Result<Statement, Error> {
    if !cursor.word("TABLE") && !cursor.done() && cursor.rest().len() > 1 {
        ObjectKind::parse(cursor);
    }
    let (name, span) = cursor.name("a topic or view")?;
    cursor.expect_end()?;
    Ok(Statement::Describe { name, span })
}
