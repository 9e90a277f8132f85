//! DECLARE, FETCH, MOVE and CLOSE: how drivers read a large result in pieces (psycopg's named
//! cursors, foreign tables of another Postgres). A cursor holds the rows of a running query.

use std::collections::BTreeMap;

use common::{Error, Result};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use engine::Rows;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

/// Open cursors of a connection: each holds a query.
const CURSORS_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Declare {
        name: String,
        /// Stays when the transaction ends.
        hold: bool,
        /// Where the query begins in the statement.
        query: usize,
    },
    Fetch {
        name: String,
        /// All that is left when none.
        rows: Option<usize>,
        /// Goes past the rows only.
        skip: bool,
    },
    /// All cursors when none is named.
    Close { name: Option<String> },
}

impl Command {
    /// The command tag of the answer.
    pub fn tag(&self) -> &'static str {
        match self {
            Command::Declare { .. } => "DECLARE CURSOR",
            Command::Fetch { skip: false, .. } => "FETCH",
            Command::Fetch { skip: true, .. } => "MOVE",
            Command::Close { name: Some(_) } => "CLOSE CURSOR",
            Command::Close { name: None } => "CLOSE CURSOR ALL",
        }
    }

    /// Reads a statement if it is about a cursor.
    pub fn parse(statement: &str) -> Option<Result<Command>> {
        let mut words = Words { text: statement, at: 0 };
        let first = words.next()?.to_ascii_lowercase();
        let command = match first.as_str() {
            "declare" => declare(&mut words),
            "fetch" => fetch(&mut words, false),
            "move" => fetch(&mut words, true),
            "close" => words.next().map(|name| Command::Close {
                name: (!name.eq_ignore_ascii_case("all")).then(|| unquoted(name)),
            }),
            _ => return None,
        };
        Some(command.ok_or_else(|| {
            Error::syntax(format!("this {} does not parse", first.to_ascii_uppercase())).hint(
                "write DECLARE name CURSOR FOR SELECT …, FETCH 100 FROM name or CLOSE name; \
                 cursors go forward only",
            )
        }))
    }
}

fn declare(words: &mut Words) -> Option<Command> {
    let name = unquoted(words.next()?);
    let (mut hold, mut last) = (false, String::new());
    loop {
        let word = words.next()?.to_ascii_lowercase();
        match word.as_str() {
            "for" => return Some(Command::Declare { name, hold, query: words.at }),
            "hold" => hold = last == "with",
            "scroll" if last != "no" => return None,
            _ => {}
        }
        last = word;
    }
}

fn fetch(words: &mut Words, skip: bool) -> Option<Command> {
    let mut rows = Some(1);
    let mut name = None;
    while let Some(word) = words.next() {
        match word.to_ascii_lowercase().as_str() {
            "forward" | "next" | "from" | "in" => {}
            "all" => rows = None,
            "prior" | "backward" | "first" | "last" | "absolute" | "relative" => return None,
            number if number.starts_with(|c: char| c.is_ascii_digit()) => {
                rows = Some(number.parse().ok()?);
            }
            _ => name = Some(unquoted(word)),
        }
    }
    Some(Command::Fetch { name: name?, rows, skip })
}

/// A name: unquoted ones in lower case, quoted ones as they are.
fn unquoted(word: &str) -> String {
    match word.strip_prefix('"').and_then(|w| w.strip_suffix('"')) {
        Some(inside) => inside.replace("\"\"", "\""),
        None => word.to_lowercase(),
    }
}

struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        let start = rest.find(|c: char| !c.is_whitespace())?;
        let word = &rest[start..];
        let end = if word.starts_with('"') {
            let mut quotes = word.char_indices().filter(|(_, c)| *c == '"').skip(1);
            quotes.next().map_or(word.len(), |(i, _)| i + 1)
        } else {
            word.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(word.len())
        };
        self.at += start + end;
        Some(&word[..end])
    }
}

struct Cursor {
    schema: SchemaRef,
    batches: BoxStream<'static, Result<RecordBatch>>,
    /// What of the last batch is not fetched yet.
    left: Option<RecordBatch>,
    hold: bool,
}

/// The open cursors of a connection.
#[derive(Default)]
pub struct Cursors(BTreeMap<String, Cursor>);

impl Cursors {
    pub fn open(&mut self, name: String, hold: bool, rows: Rows) -> Result<()> {
        if self.0.contains_key(&name) {
            return Err(Error::already_exists(format!("cursor '{name}' is open"))
                .hint("close it first, or choose another name"));
        }
        if self.0.len() >= CURSORS_MAX {
            return Err(Error::too_large(format!("{CURSORS_MAX} cursors are open"))
                .hint("close those that are not needed any more"));
        }
        let cursor = Cursor { schema: rows.schema, batches: rows.batches, left: None, hold };
        self.0.insert(name, cursor);
        Ok(())
    }

    pub fn schema(&self, name: &str) -> Result<SchemaRef> {
        self.0.get(name).map(|c| c.schema.clone()).ok_or_else(|| self.unknown(name))
    }

    /// The next rows; all that are left when no number is given.
    pub async fn fetch(&mut self, name: &str, rows: Option<usize>) -> Result<Rows> {
        let Some(cursor) = self.0.get_mut(name) else { return Err(self.unknown(name)) };
        let schema = cursor.schema.clone();
        let Some(mut room) = rows else {
            let left = stream::iter(cursor.left.take().map(Ok));
            let rest = std::mem::replace(&mut cursor.batches, stream::empty().boxed());
            return Ok(Rows { schema, batches: left.chain(rest).boxed() });
        };
        let mut taken = vec![];
        while room > 0 {
            let batch = match cursor.left.take() {
                Some(batch) => batch,
                None => match cursor.batches.next().await {
                    Some(batch) => batch?,
                    None => break,
                },
            };
            let n = batch.num_rows().min(room);
            if n < batch.num_rows() {
                cursor.left = Some(batch.slice(n, batch.num_rows() - n));
            }
            room -= n;
            taken.push(Ok(batch.slice(0, n)));
        }
        Ok(Rows { schema, batches: stream::iter(taken).boxed() })
    }

    pub fn close(&mut self, name: Option<&str>) -> Result<()> {
        match name {
            None => self.0.clear(),
            Some(name) if self.0.remove(name).is_none() => return Err(self.unknown(name)),
            Some(_) => {}
        }
        Ok(())
    }

    pub fn transaction_ended(&mut self) {
        self.0.retain(|_, cursor| cursor.hold);
    }

    fn unknown(&self, name: &str) -> Error {
        Error::unknown("cursor", name, self.0.keys().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_drivers_send() {
        let declare =
            |name: &str, hold, query| Some(Command::Declare { name: name.into(), hold, query });
        let fetch = |name: &str, rows, skip| Some(Command::Fetch { name: name.into(), rows, skip });
        for (statement, want) in [
            ("DECLARE \"My c\" CURSOR FOR SELECT 1", declare("My c", false, 25)),
            ("declare C no scroll cursor with hold for\nselect 1", declare("c", true, 40)),
            ("FETCH FORWARD 100 FROM \"My c\"", fetch("My c", Some(100), false)),
            ("FETCH ALL IN c", fetch("c", None, false)),
            ("FETCH c", fetch("c", Some(1), false)),
            ("MOVE 3 FROM c", fetch("c", Some(3), true)),
            ("CLOSE c", Some(Command::Close { name: Some("c".into()) })),
            ("CLOSE ALL", Some(Command::Close { name: None })),
            ("SELECT 1", None),
        ] {
            assert_eq!(Command::parse(statement).map(Result::unwrap), want, "{statement}");
        }
        for wrong in ["FETCH BACKWARD 1 FROM c", "DECLARE c SCROLL CURSOR FOR SELECT 1", "FETCH"] {
            assert!(Command::parse(wrong).unwrap().is_err(), "{wrong}");
        }
    }
}
