//! `CREATE MATERIALIZED VIEW name [WITH (…)] AS query`.

use catalog::{Definition, Object, View};
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
    let on_error = options.take("on_error");
    if let Some(o) = &on_error
        && !ON_ERROR.contains(&o.value.as_str())
    {
        let e = Error::unknown("value", &o.value, ON_ERROR);
        faults.push(cursor.error(e, o.value_span.clone()));
    }
    let emit = options.take("emit");
    if let Some(o) = &emit
        && !EMIT.contains(&o.value.as_str())
    {
        let e = Error::unknown("value", &o.value, EMIT);
        faults.push(cursor.error(e, o.value_span.clone()));
    }
    options.refuse_rest(cursor, &["emit", "on_error", "refresh"], faults);
    cursor.expect_word("AS")?;
    let tokens = cursor.rest();
    let (query, query_start) = query(cursor)?;
    let depends_on = crate::passes::references::of_tokens(cursor.text, tokens)?;
    Ok(Definition {
        object: Object::View(View {
            name,
            query,
            options: [("on_error", on_error), ("emit", emit)]
                .into_iter()
                .filter_map(|(name, option)| Some((name.to_string(), option?.value)))
                .collect(),
        }),
        origin: cursor.text.origin(start..cursor.end()),
        query_start,
        depends_on,
    })
}
