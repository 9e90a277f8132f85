//! Producers that know when all records of a request are in Kafka, and where.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::{Error, Offset, Partition, Result};
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::Notify;

use super::{ANSWER_MAX, Cluster, Ranges, Record};

/// While librdkafka's queue is full.
const FULL_PAUSE: Duration = Duration::from_millis(2);

/// An idempotent producer, `acks=all`.
#[derive(Clone)]
pub struct Producer {
    cluster: Cluster,
    client: ThreadedProducer<Deliveries>,
}

/// Takes librdkafka's delivery reports.
#[derive(Clone)]
pub(super) struct Deliveries;

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Arc<Sent>) {
        match result {
            Ok(m) => sent.note(Ok((Partition(m.partition()), Offset(m.offset())))),
            Err((e, _)) => sent.note(Err(e.clone())),
        }
    }
}

/// What became of the records of one request.
#[derive(Default)]
pub(super) struct Sent {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    sent: u64,
    reported: u64,
    ranges: Ranges,
    error: Option<KafkaError>,
}

impl Sent {
    fn note(&self, outcome: Result<(Partition, Offset), KafkaError>) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.reported += 1;
            match outcome {
                Ok((partition, offset)) => {
                    let range = state.ranges.entry(partition).or_insert((offset, offset));
                    *range = (range.0.min(offset), range.1.max(offset));
                }
                Err(e) => state.error = state.error.take().or(Some(e)),
            }
        }
        self.changed.notify_one();
    }

    fn count(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).sent += 1;
    }

    /// Waits for all reports.
    async fn settled(&self) -> Result<Ranges, KafkaError> {
        loop {
            {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                if state.reported >= state.sent {
                    return match state.error.take() {
                        Some(e) => Err(e),
                        None => Ok(std::mem::take(&mut state.ranges)),
                    };
                }
            }
            self.changed.notified().await;
        }
    }
}

impl Producer {
    pub fn open(cluster: &Cluster) -> Result<Producer> {
        let mut config = cluster.config();
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            .set("message.timeout.ms", ANSWER_MAX.as_millis().to_string());
        let client = config.create_with_context(Deliveries);
        let client = client.map_err(|e| cluster.failed("making a producer", &e))?;
        Ok(Producer { cluster: cluster.clone(), client })
    }

    /// Begins a request to a topic.
    pub fn request<'a>(&'a self, topic: &'a str) -> Request<'a> {
        Request::new(&self.cluster, &self.client, topic)
    }
}

/// Records on their way.
pub struct Request<'a> {
    cluster: &'a Cluster,
    client: &'a ThreadedProducer<Deliveries>,
    topic: &'a str,
    sent: Arc<Sent>,
}

impl<'a> Request<'a> {
    pub(super) fn new(
        cluster: &'a Cluster,
        client: &'a ThreadedProducer<Deliveries>,
        topic: &'a str,
    ) -> Self {
        Self { cluster, client, topic, sent: Arc::default() }
    }

    /// Hands a record to the producer, which sends it by itself; to a partition, or to the one
    /// that its key chooses.
    pub async fn push(&self, partition: Option<Partition>, record: Record<'_>) -> Result<()> {
        let mut message = BaseRecord::with_opaque_to(self.topic, self.sent.clone())
            .timestamp(record.timestamp_ms);
        if let Some(partition) = partition {
            message = message.partition(partition.0);
        }
        if let Some(key) = record.key {
            message = message.key(key);
        }
        if let Some(value) = record.value {
            message = message.payload(value);
        }
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            let add = |all: OwnedHeaders, &(key, value)| all.insert(Header { key, value });
            message = message.headers(record.headers.iter().fold(headers, add));
        }
        self.sent.count();
        let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
        loop {
            match self.client.send::<[u8], [u8]>(message) {
                Ok(()) => return Ok(()),
                Err((e, back)) if e == full => {
                    message = back;
                    tokio::time::sleep(FULL_PAUSE).await;
                }
                Err((e, _)) => {
                    self.sent.note(Err(e.clone()));
                    return Err(self.failed(&e));
                }
            }
        }
    }

    /// Waits until Kafka has acknowledged all of them. After an error some may be in the topic.
    pub async fn finish(self) -> Result<Ranges> {
        self.sent.settled().await.map_err(|e| self.failed(&e))
    }

    fn failed(&self, e: &KafkaError) -> Error {
        // The reason of the producer itself says more than that of a record.
        let fatal = self.client.client().fatal_error().map(|(code, _)| KafkaError::Global(code));
        let e = fatal.as_ref().unwrap_or(e);
        self.cluster.failed(&format!("producing to '{}'", self.topic), e)
    }
}
