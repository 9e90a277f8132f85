//! `DROP TOPIC | TABLE | SOURCE | MATERIALIZED VIEW | VIEW | SINK [IF EXISTS] name`.

use common::Error;

use crate::statements::statement::{Statement, kinds, object_kind};
use crate::tokens::Cursor;

pub(crate) fn parse(cursor: &mut Cursor) -> Result<Statement, Error> {
    let Some(kind) = object_kind(cursor) else {
        return Err(cursor.expected(&kinds()));
    };
    let if_exists = cursor.words(&["IF", "EXISTS"]);
    let (name, span) = cursor.name("a name")?;
    cursor.expect_end()?;
    Ok(Statement::Drop { kind, name, if_exists, span })
}
