//! `CREATE SINK name FROM view | (query) WITH (connector = '…', delivery = '…', …)`.

use catalog::{Definition, Object, Sink};
use common::Error;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::statements::options::OptionList;
use crate::statements::statement::object_name;
use crate::tokens::{self, Cursor};

pub const DELIVERIES: [&str; 3] = ["at_most_once", "at_least_once", "exactly_once"];

/// Put before the name of a view, so that its place in the text stays where it is.
const ALL_OF: &str = "SELECT * FROM ";

pub(crate) fn parse(cursor: &mut Cursor, faults: &mut Vec<Error>) -> Result<Definition, Error> {
    let start = cursor.text_start();
    let name = object_name(cursor, "a sink name")?;
    if !cursor.word("FROM") {
        return Err(cursor.expected("FROM").hint("write FROM view, or FROM (SELECT …)"));
    }
    let (query, query_start, depends_on) = if cursor.peek_symbol(0, &Token::LParen) {
        let inside = cursor.parenthesised()?;
        let (Some(first), Some(last)) = (inside.first(), inside.last()) else {
            let e = Error::syntax("there is no query between the parentheses");
            return Err(cursor.error(e, cursor.end() - 1..cursor.end()));
        };
        tokens::query(cursor.text, inside)?;
        let span = first.span.start..last.span.end;
        let depends_on = crate::passes::references::of_tokens(cursor.text, inside)?;
        (cursor.slice(span.clone()).to_string(), span.start, depends_on)
    } else {
        let (view, span) = cursor.name("a view, or a query in parentheses")?;
        let query = format!("{ALL_OF}{}", cursor.slice(span.clone()));
        (query, span.start.saturating_sub(ALL_OF.len()), vec![(view, span)])
    };
    let mut options = OptionList::parse(cursor, faults)?;
    cursor.expect_end()?;
    if let Some(o) = options.get("delivery")
        && !DELIVERIES.contains(&o.value.as_str())
    {
        let e = Error::unknown("delivery", &o.value, DELIVERIES);
        faults.push(cursor.error(e, o.value_span.clone()));
    }
    let Some(connector) = options.take("connector") else {
        let e = Error::invalid(format!("sink '{name}' names no connector"))
            .hint("write WITH (connector = '…')");
        return Err(cursor.error(e, start..cursor.end()));
    };
    let sink = Sink { name, query, connector: connector.value, options: options.into_options() };
    Ok(Definition {
        object: Object::Sink(sink),
        origin: cursor.text.origin(start..cursor.end()),
        query_start,
        depends_on,
    })
}
