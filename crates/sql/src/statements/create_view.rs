//! `CREATE MATERIALIZED VIEW name [WITH (…)] AS query`.

use catalog::{Definition, Object, Options, View};
use common::Error;

use crate::statements::options::OptionList;
use crate::statements::statement::{object_name, query};
use crate::tokens::Cursor;

/// What happens to a row that the query can't compute: it becomes a dead letter and the view goes
/// on (the default), or the view stops.
const ON_ERROR: [&str; 2] = ["dead_letter", "stop"];

/// When rows are given: as soon as they change (the default), or once, when their window closes.
const EMIT: [&str; 2] = ["on_change", "on_close"];

pub(crate) fn parse(cursor: &mut Cursor, faults: &mut Vec<Error>) -> Result<Definition, Error> {
    let start = cursor.text_start();
    let name = object_name(cursor, "a view name")?;
    let mut options = OptionList::parse(cursor, faults)?;
    if let Some(o) = options.take("refresh") {
        let e = Error::unsupported("a view on a schedule is not built yet")
            .hint("leave out 'refresh': the view is kept up to date all the time");
        faults.push(cursor.error(e, o.name_span));
    }
    let mut chosen = Options::new();
    for (name, values) in [("on_error", ON_ERROR), ("emit", EMIT)] {
        let Some(o) = options.take(name) else { continue };
        if !values.contains(&o.value.as_str()) {
            let e = Error::unknown("value", &o.value, values);
            faults.push(cursor.error(e, o.value_span));
        }
        chosen.insert(name.to_string(), o.value);
    }
    options.refuse_rest(cursor, &["emit", "on_error", "refresh"], faults);
    cursor.expect_word("AS")?;
    let tokens = cursor.rest();
    let (query, query_start) = query(cursor)?;
    let depends_on = crate::passes::references::of_tokens(cursor.text, tokens)?;
    Ok(Definition {
        object: Object::View(View { name, query, options: chosen }),
        origin: cursor.text.origin(start..cursor.end()),
        query_start,
        depends_on,
    })
}
