//! `CREATE MATERIALIZED VIEW name [WITH (…)] AS query`.

use catalog::{Definition, Object, View};
use common::Error;

use crate::options::OptionList;
use crate::statement::{object_name, query};
use crate::tokens::Cursor;

pub(crate) fn parse(cursor: &mut Cursor, faults: &mut Vec<Error>) -> Result<Definition, Error> {
    let start = cursor.text_start();
    let name = object_name(cursor, "a view name")?;
    let mut options = OptionList::parse(cursor, faults)?;
    if let Some(o) = options.take("refresh") {
        let e = Error::unsupported("a view on a schedule is not built yet")
            .hint("leave out 'refresh': the view is kept up to date all the time");
        faults.push(cursor.error(e, o.name_span));
    }
    options.refuse_rest(cursor, &["refresh"], faults);
    cursor.expect_word("AS")?;
    let tokens = cursor.rest();
    let (query, query_start) = query(cursor)?;
    let depends_on = crate::references::of_tokens(cursor.text, tokens)?;
    Ok(Definition {
        object: Object::View(View { name, query, options: Default::default() }),
        origin: cursor.text.origin(start..cursor.end()),
        query_start,
        depends_on,
    })
}
