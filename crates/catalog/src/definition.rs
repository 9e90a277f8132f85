//! What users define: topics, sources, views and sinks, as plain data. `sql` makes these from
//! text, the `engine` runs them; both mean the same by them because they stand here.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use common::Place;

use crate::kind::{self, Kind};
use crate::storage::Storage;

/// Options of a `WITH (...)` clause, names in lower case.
pub type Options = BTreeMap<String, String>;

/// Where a definition was written.
#[derive(Clone)]
pub struct Origin {
    /// Relative to the project folder; none when typed into a shell.
    pub file: Option<String>,
    /// The whole file.
    pub text: Arc<str>,
    /// The statement in it.
    pub span: Range<usize>,
}

impl Origin {
    /// The statement itself.
    pub fn statement(&self) -> &str {
        self.text.get(self.span.clone()).unwrap_or("")
    }

    /// Of the statement as a whole.
    pub fn whole(&self) -> Place {
        self.place(self.span.clone())
    }

    /// For errors: without what may be secret in the text.
    pub fn place(&self, span: Range<usize>) -> Place {
        Place { file: self.file.clone(), text: crate::literals::hidden(&self.text), span }
    }

    /// What stands in the project's files is the owner's; what came through a door may be
    /// anybody's.
    pub fn is_of_project(&self) -> bool {
        self.file.is_some()
    }
}

/// Without the text: it may have secrets.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("file", &self.file).field("span", &self.span).finish()
    }
}

/// A column of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    pub data_type: DataType,
    pub nullable: bool,
    /// `DEFAULT …`: what an event has that lacks it, as JSON.
    pub default: Option<String>,
}

/// `WATERMARK FOR column AS column - INTERVAL '…'`.
#[derive(Clone, Debug, PartialEq)]
pub struct Watermark {
    pub column: String,
    pub delay_us: i64,
}

/// `CHECK (…)`: an SQL text over the topic's columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub name: String,
    pub sql: String,
}

/// What the values of a topic's records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON objects whose members are the columns.
    Json,
    /// Any bytes: the topic's one BINARY column is the value itself.
    Raw,
    /// JSON objects as `Json`, each in the place of the one before with its key; one without a
    /// value (a tombstone) removes it. The topic is a table of the rows that are there now.
    Upsert,
    /// As `Upsert`, of the change events that Debezium makes of a database's log.
    Debezium,
}

impl Format {
    /// As in `WITH (format = …)`.
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Raw => "raw",
            Format::Upsert => "upsert",
            Format::Debezium => "debezium",
        }
    }

    /// Later records replace earlier ones with their key.
    pub fn is_table(self) -> bool {
        matches!(self, Format::Upsert | Format::Debezium)
    }

    /// The log has the rows themselves as JSON.
    pub fn is_rows(self) -> bool {
        matches!(self, Format::Json | Format::Upsert)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    pub name: String,
    pub columns: Vec<Column>,
    pub watermark: Option<Watermark>,
    pub checks: Vec<Check>,
    pub format: Format,
    /// Column whose value is the record key and decides the partition.
    pub key: Option<String>,
    pub partitions: i32,
    pub storage: Box<Storage>,
    pub archive: bool,
}

impl Topic {
    /// Columns with a default, and what it is as JSON.
    pub fn defaults(&self) -> impl Iterator<Item = (&str, &str)> {
        self.columns.iter().filter_map(|c| Some((c.name.as_str(), c.default.as_deref()?)))
    }

    /// The declared columns.
    pub fn schema(&self) -> SchemaRef {
        let field = |c: &Column| Field::new(&c.name, c.data_type.clone(), c.nullable);
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }
}

#[derive(Clone, PartialEq)]
pub struct Source {
    pub name: String,
    pub connector: String,
    pub into: String,
    pub options: Options,
}

/// Without the values of its options: they may be secrets.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source {} {:?}", self.name, self.options.keys())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub name: String,
    /// The text after `AS`, as written.
    pub query: String,
    pub options: Options,
}

#[derive(Clone, PartialEq)]
pub struct Sink {
    pub name: String,
    /// `SELECT * FROM view` when written `FROM view`.
    pub query: String,
    pub connector: String,
    pub options: Options,
}

/// Without the values of its options: they may be secrets.
impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sink {} {:?}", self.name, self.options.keys())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    Topic(Topic),
    Source(Source),
    View(View),
    Sink(Sink),
}

impl Object {
    pub fn name(&self) -> &str {
        match self {
            Object::Topic(o) => &o.name,
            Object::Source(o) => &o.name,
            Object::View(o) => &o.name,
            Object::Sink(o) => &o.name,
        }
    }

    pub fn kind(&self) -> &'static Kind {
        match self {
            Object::Topic(_) => &kind::TOPIC,
            Object::Source(_) => &kind::SOURCE,
            Object::View(_) => &kind::VIEW,
            Object::Sink(_) => &kind::SINK,
        }
    }
}

/// An object with the place it was written at.
#[derive(Clone, Debug)]
pub struct Definition {
    pub object: Object,
    pub origin: Origin,
    /// Byte position in `origin.text` where a view's or sink's query starts; 0 for others.
    pub query_start: usize,
    /// Names the object refers to, with the place of each.
    pub depends_on: Vec<(String, Range<usize>)>,
}
