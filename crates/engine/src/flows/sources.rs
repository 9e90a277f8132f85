//! Runs sources: takes batches from a connector, casts them to the topic's columns and ingests
//! them; a source with positions goes on exactly where its last durable batch ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{RecordBatch, new_null_array};
use bytes::Bytes;
use catalog::Source as Definition;
use common::{Error, Result};
use connector::{Context, Health, Outside, Rows, Source, SourceBatch};
use formats::BodyKind;
use formats::json::ContentKind;
use futures::FutureExt;
use tokio::sync::watch;

use crate::flows::connector_task::{ConnectorStatus, ConnectorTask};
use crate::stores::blocking::blocking;
use crate::topics::ingest::{IngestContext, Ingested, TopicWriter};
use crate::topics::once::Producers;

const NDJSON: BodyKind = BodyKind::Json(ContentKind::Ndjson);

/// A running source.
pub struct SourceRunner {
    pub shared: Arc<SourceShared>,
    task: ConnectorTask,
}

/// What a source says of itself.
#[derive(Default)]
pub struct SourceShared {
    pub events: AtomicU64,
    pub finished: AtomicBool,
    pub status: ConnectorStatus,
}

impl SourceRunner {
    /// Its connector is made; it reads nothing yet.
    pub fn make(
        source: &Definition,
        outside: Outside,
        writer: Arc<TopicWriter>,
        ingest: &Arc<IngestContext>,
        producers: &Arc<Producers>,
    ) -> Result<SourceRunner> {
        let health = Arc::new(Health::default());
        let context = Context {
            name: source.name.clone(),
            health: health.clone(),
            outside,
            schema: writer.topic.schema(),
            clock: ingest.clock.clone(),
        };
        let made = connectors::source(&source.connector, &source.options, context)?;
        let run = Run {
            name: source.name.clone(),
            gives_up: source.options.contains_key("retry_attempts_max"),
            writer,
            ingest: ingest.clone(),
            producers: producers.clone(),
            shared: Arc::new(SourceShared {
                status: ConnectorStatus::new(health),
                ..SourceShared::default()
            }),
        };
        Ok(SourceRunner {
            shared: run.shared.clone(),
            task: ConnectorTask::new(move |stopped| run.forever(made, stopped).boxed()),
        })
    }

    pub fn start(&mut self) {
        self.task.start();
    }

    /// Takes nothing more from here on.
    pub async fn stop(&mut self) {
        self.task.stop().await;
    }
}

/// Under which name a source's positions are kept.
pub fn producer(source: &str) -> String {
    format!("source:{source}")
}

struct Run {
    name: String,
    /// An error that the connector no longer retries is the end.
    gives_up: bool,
    writer: Arc<TopicWriter>,
    ingest: Arc<IngestContext>,
    producers: Arc<Producers>,
    shared: Arc<SourceShared>,
}

impl Run {
    async fn forever(self, mut source: Box<dyn Source>, mut stopped: watch::Receiver<bool>) {
        let mut pause = Duration::from_millis(500);
        loop {
            let error = tokio::select! {
                _ = stopped.wait_for(|s| *s) => return,
                ended = self.run(source.as_mut(), &mut pause) => match ended {
                    Ok(()) => {
                        self.shared.finished.store(true, Ordering::Relaxed);
                        return;
                    }
                    Err(e) => e,
                },
            };
            self.shared.status.fails(&error);
            if self.gives_up {
                tracing::error!(source = self.name, "the source has stopped: {error}");
                return self.shared.status.gives_up();
            }
            tracing::warn!(source = self.name, "the source failed and is tried again: {error}");
            tokio::select! {
                _ = stopped.wait_for(|s| *s) => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(Duration::from_secs(30));
        }
    }

    /// Until the source ends or fails.
    async fn run(&self, source: &mut dyn Source, pause: &mut Duration) -> Result<()> {
        let producer = producer(&self.name);
        let last = self.producers.last(&self.writer, &producer)?;
        // A batch that was begun and not finished is read again from the position before it.
        let (mut sequence, position) = match last {
            Some((n, position, true)) => (n, position),
            Some((n, _, false)) => (n - 1, self.before(&producer)?),
            None => (0, None),
        };
        source.open(position.as_deref()).await?;
        while let Some(SourceBatch { rows, position }) = source.next().await? {
            let body = self.body(rows)?;
            let answer = match position {
                None => {
                    let (writer, ingest) = (self.writer.clone(), self.ingest.clone());
                    let check = move || writer.check_body(&ingest, &body, NDJSON, None, None);
                    let checked = blocking(check).await?;
                    self.writer.append(&self.ingest, checked, None).await?
                }
                Some(position) => {
                    sequence += 1;
                    let answer = self.once(&producer, sequence, &position, &body).await?;
                    source.committed(&position).await?;
                    answer
                }
            };
            self.shared.events.fetch_add(answer.accepted, Ordering::Relaxed);
            self.shared.status.works();
            *pause = Duration::from_millis(500);
        }
        Ok(())
    }

    fn before(&self, producer: &str) -> Result<Option<String>> {
        self.producers.position_before(&self.writer, producer)
    }

    async fn once(
        &self,
        producer: &str,
        sequence: u64,
        position: &str,
        body: &Bytes,
    ) -> Result<Ingested> {
        let (writer, ingest, body) = (self.writer.clone(), self.ingest.clone(), body.clone());
        let check = move |mark: &str| writer.check_body(&ingest, &body, NDJSON, Some(mark), None);
        let position = Some(position.to_string());
        self.producers.append(&self.writer, &self.ingest, producer, sequence, position, check).await
    }

    /// Rows as the topic's format.
    fn body(&self, rows: Rows) -> Result<Bytes> {
        match rows {
            Rows::Json(body) => Ok(body),
            Rows::Arrow(batch) => ndjson(&conform(&batch, &self.writer.topic.schema())?),
        }
    }
}

/// A batch with exactly the columns of the topic, by name.
pub(crate) fn conform(
    batch: &RecordBatch,
    schema: &arrow::datatypes::SchemaRef,
) -> Result<RecordBatch> {
    let n = batch.num_rows();
    let mut columns = vec![];
    for field in schema.fields() {
        columns.push(match batch.column_by_name(field.name()) {
            None => new_null_array(field.data_type(), n),
            Some(column) => arrow::compute::cast(column, field.data_type()).map_err(|e| {
                Error::invalid(format!("column '{}' of the source: {e}", field.name()))
            })?,
        });
    }
    let relaxed = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
    let relaxed = arrow::datatypes::Schema::new(relaxed.collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(relaxed), columns)
        .map_err(|e| Error::internal(format!("rows of a source: {e}")))
}

/// Rows as newline-delimited JSON.
pub(crate) fn ndjson(batch: &RecordBatch) -> Result<Bytes> {
    let mut body = vec![];
    for value in formats::json::encode(batch)?.iter() {
        body.extend_from_slice(value);
        body.push(b'\n');
    }
    Ok(body.into())
}
