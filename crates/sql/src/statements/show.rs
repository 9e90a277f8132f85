//! `SHOW …` and `DESCRIBE name`.

use catalog::kind::{self, KINDS};
use common::Error;

use crate::statements::statement::{Show, Statement, object_kind};
use crate::tokens::Cursor;

/// What can be shown beside the objects of a kind, by its words.
const LISTS: [(&str, Show); 4] = [
    ("TABLES", Show::Tables),
    // What keeps a view up to date has its name.
    ("PIPELINES", Show::Objects(&kind::VIEW)),
    ("FUNCTIONS", Show::Functions),
    ("USERS", Show::Users),
];

/// All that can be shown: of each kind by its two names.
fn lists() -> Vec<(String, Show)> {
    let mut lists = vec![];
    for kind in KINDS {
        lists.push((format!("{}S", kind.short), Show::Objects(kind)));
        if kind.short != kind.name {
            lists.push((format!("{}S", kind.name), Show::Objects(kind)));
        }
    }
    lists.extend(LISTS.map(|(words, what)| (words.to_string(), what)));
    lists
}

pub(crate) fn parse(cursor: &mut Cursor) -> Result<Statement, Error> {
    let span = cursor.span();
    let lists = lists();
    for (words, what) in &lists {
        let words: Vec<&str> = words.split(' ').collect();
        if cursor.words(&words) {
            cursor.expect_end()?;
            return Ok(Statement::Show(what.clone()));
        }
    }
    if cursor.word("CREATE") {
        let kind = object_kind(cursor);
        let (name, span) = cursor.name("a name")?;
        cursor.expect_end()?;
        return Ok(Statement::Show(Show::Create { kind, name, span }));
    }
    let e = cursor.expected("what to show");
    let word = cursor.slice(span).to_uppercase();
    let known: Vec<&str> =
        lists.iter().map(|(words, _)| words.as_str()).chain(["CREATE"]).collect();
    Err(match common::nearest(&word, known.iter().copied()) {
        Some(near) => e.hint(format!("did you mean 'SHOW {near}'?")),
        None => e.hint(format!("known are: {}", known.join(", "))),
    })
}

pub(crate) fn describe(cursor: &mut Cursor) -> Result<Statement, Error> {
    if !cursor.word("TABLE") && !cursor.done() && cursor.rest().len() > 1 {
        object_kind(cursor);
    }
    let (name, span) = cursor.name("a topic or view")?;
    cursor.expect_end()?;
    Ok(Statement::Describe { name, span })
}
