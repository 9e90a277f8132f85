//! `CREATE SOURCE name WITH (connector = '…', …) INTO topic`. The options belong to the connector
//! and are checked by it.

use catalog::{Definition, Object, Source};
use common::Error;

use crate::statements::options::OptionList;
use crate::statements::statement::object_name;
use crate::tokens::Cursor;

pub(crate) fn parse(cursor: &mut Cursor) -> Result<Definition, Error> {
    let start = cursor.text_start();
    let name = object_name(cursor, "a source name")?;
    let mut faults = vec![];
    let mut into = target(cursor)?;
    let mut options = OptionList::parse(cursor, &mut faults)?;
    if into.is_none() {
        into = target(cursor)?;
    }
    let Some(into) = into else {
        return Err(cursor.expected("INTO and a topic").hint("end with INTO topic"));
    };
    cursor.expect_end()?;
    if let Some(e) = faults.pop() {
        return Err(e);
    }
    let Some(connector) = options.take("connector") else {
        let e = Error::invalid(format!("source '{name}' names no connector"))
            .hint("write WITH (connector = '…')");
        return Err(cursor.error(e, start..cursor.end()));
    };
    Ok(Definition {
        object: Object::Source(Source {
            name,
            connector: connector.value,
            into: into.0.clone(),
            options: options.into_options(),
        }),
        origin: cursor.text.origin(start..cursor.end()),
        query_start: 0,
        depends_on: vec![into],
    })
}

fn target(cursor: &mut Cursor) -> Result<Option<(String, std::ops::Range<usize>)>, Error> {
    if cursor.word("INTO") { cursor.name("a topic name").map(Some) } else { Ok(None) }
}
