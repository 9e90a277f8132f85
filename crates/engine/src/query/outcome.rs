//! What a statement gives.

use std::fmt;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use common::Result;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use sql::Verb;

/// What a statement gives.
#[derive(Debug)]
pub enum Outcome {
    Rows { schema: SchemaRef, batches: Vec<RecordBatch> },
    Message(String),
    Written(Written),
}

/// What a statement wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub verb: Verb,
    pub topic: String,
    pub rows: u64,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Written { verb, topic, rows } = self;
        let rows = if *rows == 1 { "1 row".to_string() } else { format!("{rows} rows") };
        match verb {
            Verb::Insert => write!(f, "inserted {rows} into '{topic}'"),
            Verb::Update => write!(f, "updated {rows} of '{topic}'"),
            Verb::Delete => write!(f, "deleted {rows} from '{topic}'"),
            Verb::Merge => write!(f, "merged {rows} into '{topic}'"),
        }
    }
}

/// What a statement gives, its rows as they come.
pub enum Answer {
    Rows(Rows),
    Message(String),
    Written(Written),
}

/// Rows as they come. Dropping them ends the query.
pub struct Rows {
    pub schema: SchemaRef,
    pub batches: BoxStream<'static, Result<RecordBatch>>,
}

impl Outcome {
    pub fn schema(self) -> Option<SchemaRef> {
        match self {
            Outcome::Rows { schema, .. } => Some(schema),
            Outcome::Message(_) | Outcome::Written(_) => None,
        }
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Answer {
        match outcome {
            Outcome::Message(message) => Answer::Message(message),
            Outcome::Written(written) => Answer::Written(written),
            Outcome::Rows { schema, batches } => {
                let batches = stream::iter(batches.into_iter().map(Ok)).boxed();
                Answer::Rows(Rows { schema, batches })
            }
        }
    }
}
