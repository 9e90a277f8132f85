//! What a statement gives.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use common::Result;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

/// What a statement gives.
#[derive(Debug)]
pub enum Outcome {
    Rows { schema: SchemaRef, batches: Vec<RecordBatch> },
    Message(String),
}

/// What a statement gives, its rows as they come.
pub enum Answer {
    Rows(Rows),
    Message(String),
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
            Outcome::Message(_) => None,
        }
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Answer {
        match outcome {
            Outcome::Message(message) => Answer::Message(message),
            Outcome::Rows { schema, batches } => {
                let batches = stream::iter(batches.into_iter().map(Ok)).boxed();
                Answer::Rows(Rows { schema, batches })
            }
        }
    }
}
