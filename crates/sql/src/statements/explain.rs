//! `EXPLAIN [ANALYZE] query`, `EXPLAIN MATERIALIZED VIEW name` and `EXPLAIN name`.

use common::Error;

use crate::statements::statement::{ExplainWhat, Statement, begins_query, object_kind, query};
use crate::tokens::Cursor;

pub(crate) fn parse(cursor: &mut Cursor) -> Result<Statement, Error> {
    let analyze = cursor.word("ANALYZE");
    if begins_query(cursor) {
        let (text, start) = query(cursor)?;
        return Ok(Statement::Explain { analyze, what: ExplainWhat::Query { text, start } });
    }
    if cursor.rest().len() > 1 {
        object_kind(cursor);
    }
    let (name, span) = cursor.name("a query or a view")?;
    cursor.expect_end()?;
    Ok(Statement::Explain { analyze, what: ExplainWhat::View { name, span } })
}
