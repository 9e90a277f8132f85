//! A source: rows that come in from another system, each batch with the position it ends at.
//! The engine appends a batch to its topic and then remembers the position, so a restart goes on
//! where the last remembered batch ended.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use common::{Clock, Error, Result};

use crate::{Health, Outside};

/// What a connector is told about the place it runs in.
#[derive(Clone)]
pub struct Context {
    /// Name of the source or sink as the user gave it.
    pub name: String,
    /// What it may reach, and where its secrets are.
    pub outside: Outside,
    /// Source: the declared columns of its topic. Sink: the rows it will get.
    pub schema: SchemaRef,
    pub clock: Arc<dyn Clock>,
    /// Filled by the retry wrapper; whoever shows the status keeps a clone.
    pub health: Arc<Health>,
}

/// Rows in one of the shapes that a topic takes in.
#[derive(Clone, Debug)]
pub enum Rows {
    /// Columns of the topic, matched by name; missing ones become NULL.
    Arrow(RecordBatch),
    /// One JSON object per line.
    Json(Bytes),
}

impl Rows {
    pub fn len(&self) -> usize {
        match self {
            Rows::Arrow(batch) => batch.num_rows(),
            Rows::Json(bytes) => {
                bytes.split(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty()).count()
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Some rows and where the source stands after them.
#[derive(Clone, Debug)]
pub struct SourceBatch {
    pub rows: Rows,
    /// Opaque to all but the source. None: the source can't go back, what was missed is gone.
    pub position: Option<String>,
}

/// Rows from outside. Bounded or not is a property of the data: a bounded source ends with None.
#[async_trait]
pub trait Source: Send {
    /// Goes on after `position` (None: from the start). Called before `next`, and again after a
    /// failed `next`, with the position of the last batch that was handed out.
    async fn open(&mut self, position: Option<&str>) -> Result<()>;

    /// The next rows, or None at the end of a bounded source (and ever after). Waits while there
    /// is nothing. Dropping the future must not lose a row: the next call hands it out.
    async fn next(&mut self) -> Result<Option<SourceBatch>>;

    /// All rows up to `position` are durable here; the other side may forget them.
    async fn committed(&mut self, _position: &str) -> Result<()> {
        Ok(())
    }
}

/// The columns of `batch` that the topic has, in the batch's order; for sources with columns of
/// their own. An error when there are none, since then all rows would be empty.
pub fn columns_of(topic: &Schema, offered: &Schema) -> Result<Vec<usize>> {
    let kept: Vec<usize> = (0..offered.fields().len())
        .filter(|i| topic.index_of(offered.field(*i).name()).is_ok())
        .collect();
    if kept.is_empty() {
        let offered: Vec<_> = offered.fields().iter().map(|f| f.name().as_str()).collect();
        return Err(Error::invalid("the topic has none of the columns that the source offers")
            .hint(format!("the source offers: {}", offered.join(", "))));
    }
    Ok(kept)
}
