//! The `kafka` sink: each row of an epoch as a JSON record. Exactly once: an epoch is one
//! transaction that also holds the epoch's number, so an epoch that is there is not sent again.

use arrow::array::{Array, Int8Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use common::{Clock, Epoch, Error, Result};
use connector::{Context, Delivery, OptionKind, OptionSpec, Promise, Role, Sink, Spec, Values};
use std::sync::Arc;
use tokio::task;

use super::{Cluster, Producer, Record, TransactionalProducer};
use crate::changes::with_op;

pub const SPEC: Spec = Spec {
    name: "kafka",
    role: Role::Sink,
    doc: "Writes each row as a JSON record to a topic of a Kafka cluster.",
    options: &[
        OptionSpec::optional("key", OptionKind::Text, "The column whose text is the record's key."),
        OptionSpec::required("topic", OptionKind::Text, "the topic to write to"),
        OptionSpec::optional(
            "transactional_id",
            OptionKind::Text,
            "For exactly once; no two sinks may share one. By default made from sink and topic.",
        ),
        OptionSpec::required("url", OptionKind::Url, "the cluster, as in 'kafka://host:9092'"),
    ],
    delivery: Promise {
        kept: &[Delivery::ExactlyOnce, Delivery::AtLeastOnce],
        how: "an epoch is one transaction that also commits the epoch's number, so what is there \
              is not sent again; readers need isolation.level = read_committed",
        why_not: "rows are kept here until Kafka has them, so none is ever given up",
    },
};

/// Makes the sink; fails when the URL can't be one, or the key is no column.
pub fn make(values: &Values, ctx: Context) -> Result<Box<dyn Sink>> {
    let cluster = Cluster::parse(values.text("url")?)?;
    cluster.check_reach(&ctx.outside)?;
    let topic = values.text("topic")?.to_string();
    let key = values.get("key").map(String::from);
    if let Some(key) = &key {
        let columns: Vec<&str> = ctx.schema.fields().iter().map(|f| f.name().as_str()).collect();
        if !columns.contains(&key.as_str()) {
            return Err(Error::unknown("key column", key, columns));
        }
    }
    let delivery = match values.get("delivery") {
        Some(asked) => Delivery::parse(asked)?,
        None => Delivery::ExactlyOnce,
    };
    let id = values.get("transactional_id").map(String::from);
    let id = id.unwrap_or_else(|| format!("watershed-{}-{topic}", ctx.name));
    let target = Target::Closed { exactly_once: delivery == Delivery::ExactlyOnce };
    let (rows, epoch) = (vec![], Epoch(0));
    Ok(Box::new(KafkaSink { cluster, topic, key, id, clock: ctx.clock, target, rows, epoch }))
}

enum Target {
    Closed {
        exactly_once: bool,
    },
    Plain(Producer),
    /// With the last epoch that is in the topic.
    Transactional(Arc<TransactionalProducer>, Epoch),
}

struct KafkaSink {
    cluster: Cluster,
    topic: String,
    key: Option<String>,
    id: String,
    clock: Arc<dyn Clock>,
    target: Target,
    /// Rows of the epoch under way.
    rows: Vec<Row>,
    epoch: Epoch,
}

struct Row {
    key: Option<Vec<u8>>,
    value: Vec<u8>,
}

#[async_trait]
impl Sink for KafkaSink {
    async fn open(&mut self, _schema: SchemaRef) -> Result<Option<Epoch>> {
        self.rows.clear();
        let exactly_once = match &self.target {
            Target::Closed { exactly_once } => *exactly_once,
            Target::Plain(_) => false,
            Target::Transactional(..) => true,
        };
        // The old one goes first: two of one id would shut each other out.
        self.target = Target::Closed { exactly_once };
        if !exactly_once {
            self.target = Target::Plain(Producer::open(&self.cluster)?);
            return Ok(None);
        }
        let (cluster, id, topic) = (self.cluster.clone(), self.id.clone(), self.topic.clone());
        let opened = move || {
            if cluster.topic(&topic)?.is_none() {
                let what = format!("Kafka at {} has no topic '{topic}'", cluster.brokers());
                return Err(Error::not_found(what).hint("create it, or correct the sink"));
            }
            let producer = TransactionalProducer::open(&cluster, &id)?;
            let committed = producer.committed(&topic)?;
            Ok((producer, committed))
        };
        let (producer, committed) = blocking(opened).await?;
        let last = committed.map(|c| Epoch(c.number));
        self.target = Target::Transactional(Arc::new(producer), last.unwrap_or(Epoch(0)));
        Ok(last)
    }

    async fn write(
        &mut self,
        epoch: Epoch,
        changes: &RecordBatch,
        weights: Option<&Int8Array>,
    ) -> Result<()> {
        let rows = rows(&with_op(changes, weights)?, self.key.as_deref())?;
        if self.epoch != epoch {
            self.rows.clear();
            self.epoch = epoch;
        }
        self.rows.extend(rows);
        Ok(())
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<()> {
        if let Target::Plain(producer) = &self.target
            && self.epoch == epoch
        {
            send(producer.request(&self.topic), &self.rows, self.now_ms()).await?;
            self.rows.clear();
        }
        Ok(())
    }

    async fn commit(&mut self, epoch: Epoch) -> Result<()> {
        let now_ms = self.now_ms();
        let Target::Transactional(producer, last) = &mut self.target else { return Ok(()) };
        if self.epoch != epoch || self.rows.is_empty() || *last >= epoch {
            return Ok(());
        }
        let begun = producer.clone();
        blocking(move || begun.begin()).await?;
        let outcome = match send(producer.request(&self.topic), &self.rows, now_ms).await {
            Ok(()) => {
                let (sent, topic) = (producer.clone(), self.topic.clone());
                blocking(move || sent.commit(&topic, epoch.0, "")).await
            }
            Err(e) => Err(e),
        };
        if let Err(e) = outcome {
            // The engine opens the sink anew, and asks what is there.
            let failed = producer.clone();
            let _ = blocking(move || failed.abort()).await;
            return Err(e);
        }
        *last = epoch;
        self.rows.clear();
        Ok(())
    }
}

impl KafkaSink {
    fn now_ms(&self) -> i64 {
        self.clock.now_us().div_euclid(1_000)
    }
}

async fn send(request: super::Request<'_>, rows: &[Row], timestamp_ms: i64) -> Result<()> {
    for row in rows {
        let (key, value) = (row.key.as_deref(), Some(row.value.as_slice()));
        request.push(None, Record { timestamp_ms, key, value, headers: &[] }).await?;
    }
    request.finish().await.map(|_| ())
}

fn rows(batch: &RecordBatch, key: Option<&str>) -> Result<Vec<Row>> {
    let encoded = formats::json::encode(batch)?;
    let column = key.and_then(|k| batch.column_by_name(k));
    let options = FormatOptions::default();
    let keys = column.map(|c| ArrayFormatter::try_new(c, &options)).transpose();
    let keys = keys.map_err(|e| Error::internal(format!("reading keys: {e}")))?;
    let key_of = |i: usize| {
        let is_there = column.is_some_and(|c| c.is_valid(i));
        keys.as_ref().filter(|_| is_there).map(|k| k.value(i).to_string().into_bytes())
    };
    let row = |(i, value): (usize, &[u8])| Row { key: key_of(i), value: value.to_vec() };
    Ok(encoded.iter().enumerate().map(row).collect())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal(format!("a task of the Kafka sink ended: {e}")))?
}
