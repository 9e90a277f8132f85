//! Runs sinks: delivers the epochs that a sink's pipeline put into its outbox, in order, and
//! keeps the delivery that was chosen (see `connectors::delivery`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use catalog::Sink as Definition;
use common::{Clock, Epoch, Error, Result, fail_point};
use connector::{Context, Delivery, Health, Outside, Sink};
use futures::FutureExt;
use tokio::sync::watch;

use crate::flows::connector_task::{ConnectorStatus, ConnectorTask};
use crate::flows::outbox::{Outbox, Waiting};
use crate::stores::blocking::blocking;

/// A running sink.
pub struct SinkRunner {
    pub shared: Arc<SinkShared>,
    pub outbox: Arc<Outbox>,
    pub delivery: Delivery,
    /// Last epoch that the target may hold: of the pipeline at its start, or delivered since.
    pub committed: Arc<AtomicU64>,
    task: ConnectorTask,
}

/// What a sink says of itself.
#[derive(Default)]
pub struct SinkShared {
    pub rows: AtomicU64,
    pub status: ConnectorStatus,
}

impl SinkRunner {
    /// Its connector is made; it delivers nothing yet.
    pub fn make(
        clock: &Arc<dyn Clock>,
        sink: &Definition,
        outside: Outside,
        schema: SchemaRef,
        outbox: Arc<Outbox>,
        committed: Arc<AtomicU64>,
    ) -> Result<SinkRunner> {
        let health = Arc::new(Health::default());
        let context = Context {
            name: sink.name.clone(),
            health: health.clone(),
            outside,
            schema: schema.clone(),
            clock: clock.clone(),
        };
        let asked = sink.options.get("delivery").map(String::as_str);
        let delivery = connectors::delivery(&sink.connector, asked)?;
        let made = connectors::sink(&sink.connector, &sink.options, context)?;
        let run = Run {
            name: sink.name.clone(),
            gives_up: sink.options.contains_key("retry_attempts_max"),
            schema,
            outbox,
            shared: Arc::new(SinkShared {
                status: ConnectorStatus::new(health),
                ..SinkShared::default()
            }),
            delivery,
            committed,
        };
        Ok(SinkRunner {
            shared: run.shared.clone(),
            outbox: run.outbox.clone(),
            delivery,
            committed: run.committed.clone(),
            task: ConnectorTask::new(move |stopped| run.forever(made, stopped).boxed()),
        })
    }

    pub fn start(&mut self) {
        self.task.start();
    }

    /// Delivers no more from here on.
    pub async fn stop(&mut self) {
        self.task.stop().await;
    }
}

struct Run {
    name: String,
    /// An error that the connector no longer retries is the end.
    gives_up: bool,
    schema: SchemaRef,
    outbox: Arc<Outbox>,
    shared: Arc<SinkShared>,
    delivery: Delivery,
    committed: Arc<AtomicU64>,
}

impl Run {
    async fn forever(self, mut sink: Box<dyn Sink>, mut stopped: watch::Receiver<bool>) {
        let mut pause = Duration::from_millis(500);
        loop {
            let error = tokio::select! {
                _ = stopped.wait_for(|s| *s) => return,
                ended = self.deliver(sink.as_mut(), &mut pause) => match ended {
                    Ok(()) => return,
                    Err(e) => e,
                },
            };
            self.shared.status.fails(&error);
            if self.gives_up {
                tracing::error!(sink = self.name, "the sink has stopped: {error}");
                return self.shared.status.gives_up();
            }
            tracing::warn!(sink = self.name, "delivery failed and is tried again: {error}");
            tokio::select! {
                _ = stopped.wait_for(|s| *s) => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(Duration::from_secs(30));
        }
    }

    async fn deliver(&self, sink: &mut dyn Sink, pause: &mut Duration) -> Result<()> {
        if let Some(known) = sink.open(self.schema.clone()).await?
            && known > Epoch(self.committed.load(Ordering::Relaxed))
        {
            let made = self.committed.load(Ordering::Relaxed);
            return Err(Error::conflict(format!(
                "the target of sink '{}' holds epochs up to {known}, this sink made {made} so far",
                self.name
            ))
            .hint("it belongs to an earlier sink: empty it, or choose another place"));
        }
        loop {
            let outbox = self.outbox.clone();
            let Some(waiting) = blocking(move || outbox.first()).await? else {
                self.outbox.changed().await;
                continue;
            };
            // An epoch that was delivered and not yet removed is written again under its number.
            self.deliver_one(sink, &waiting).await?;
            self.shared.status.works();
            *pause = Duration::from_millis(500);
        }
    }

    async fn deliver_one(&self, sink: &mut dyn Sink, waiting: &Waiting) -> Result<()> {
        let epoch = waiting.epoch;
        self.committed.fetch_max(epoch.0, Ordering::Relaxed);
        if self.delivery == Delivery::AtMostOnce {
            self.remove(epoch).await?;
        }
        let mut rows = 0;
        for (batch, weights) in &waiting.batches {
            sink.write(epoch, batch, weights.as_ref()).await?;
            rows += batch.num_rows() as u64;
        }
        sink.prepare(epoch).await?;
        fail_point("sink.prepared");
        sink.commit(epoch).await?;
        fail_point("sink.committed");
        if self.delivery != Delivery::AtMostOnce {
            self.remove(epoch).await?;
        }
        self.shared.rows.fetch_add(rows, Ordering::Relaxed);
        Ok(())
    }

    async fn remove(&self, epoch: Epoch) -> Result<()> {
        let outbox = self.outbox.clone();
        blocking(move || outbox.remove(epoch)).await
    }
}
