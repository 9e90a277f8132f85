//! `EXPLAIN [ANALYZE] query`, `EXPLAIN MATERIALIZED VIEW name` and `EXPLAIN name`.

use common::Error;

use crate::statements::statement::{ExplainWhat, ObjectKind, Statement, begins_query, query};
use crate::tokens::Cursor;

pub(crate) fn parse(cursor: &mut Cursor) -> Result<Statement, Error> {
    let analyze = cursor.word("ANALYZE");
    if begins_query(cursor) {
        let (text, start) = query(cursor)?;
        return Ok(Statement::Explain { analyze, what: ExplainWhat::Query { text, start } });
    }
    if cursor.rest().len() > 1 {
        ObjectKind::parse(cursor);
    }
    let (name, span) = cursor.name("a query or a view")?;
    cursor.expect_end()?;
    Ok(Statement::Explain { analyze, what: ExplainWhat::View { name, span } })
}
