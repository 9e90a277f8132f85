//! `SHOW …` and `DESCRIBE name`.

use common::Error;

use crate::statement::{ObjectKind, Show, Statement};
use crate::tokens::Cursor;

const KNOWN: [&str; 10] = [
    "TOPICS",
    "SOURCES",
    "VIEWS",
    "MATERIALIZED VIEWS",
    "SINKS",
    "TABLES",
    "PIPELINES",
    "FUNCTIONS",
    "USERS",
    "CREATE",
];

pub(crate) fn parse(cursor: &mut Cursor) -> Result<Statement, Error> {
    let span = cursor.span();
    let simple = [
        (&["TOPICS"][..], Show::Topics),
        (&["SOURCES"], Show::Sources),
        (&["MATERIALIZED", "VIEWS"], Show::Views),
        (&["VIEWS"], Show::Views),
        (&["SINKS"], Show::Sinks),
        (&["TABLES"], Show::Tables),
        (&["PIPELINES"], Show::Pipelines),
        (&["FUNCTIONS"], Show::Functions),
        (&["USERS"], Show::Users),
    ];
    for (words, what) in simple {
        if cursor.words(words) {
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
    Err(match common::nearest(&word, KNOWN) {
        Some(near) => e.hint(format!("did you mean 'SHOW {near}'?")),
        None => e.hint(format!("known are: {}", KNOWN.join(", "))),
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
