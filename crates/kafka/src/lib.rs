//! The Kafka door: record batches go into the log as clients send them and come out as they are
//! stored. What is not in the table of `versions.rs` is not served and not advertised. Knows
//! Kafka's protocol and calls the engine; no SQL, no other door.

mod acls;
mod authorized;
mod broker_configs;
mod cluster;
mod configs;
mod connection;
mod errors;
mod fetch;
mod group_admin;
mod groups;
mod kept_configs;
mod list_offsets;
mod metadata;
mod offsets;
mod one_node;
mod partitions;
mod produce;
mod reader;
mod sasl;
mod security;
mod topics;
mod transaction_admin;
mod transactions;
mod user_scram;
mod versions;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use common::{Config, Error, Gauge, Partition, Result};
use engine::{Principal, Session};
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub use security::Security;

/// This node's id; there is one.
const NODE_ID: i32 = 1;
/// How long a request waits for the disk to have what was written before it.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// Granularity of the accounts of memory.
pub const PERMIT_BYTES: usize = 64 << 10;

/// Permits for so many bytes; none for what is too small to be counted.
pub fn permits_of(bytes: usize) -> u32 {
    u32::try_from(bytes / PERMIT_BYTES).unwrap_or(u32::MAX)
}

/// An account of so many bytes.
pub fn permits(bytes: u64) -> Arc<Semaphore> {
    let permits = (bytes as usize / PERMIT_BYTES + 1).min(Semaphore::MAX_PERMITS);
    Arc::new(Semaphore::new(permits))
}

/// What all requests share; cheap to clone.
#[derive(Clone)]
pub struct App {
    pub session: Session,
    pub limits: Limits,
    /// Connections that are open.
    pub connections: Arc<AtomicU64>,
}

/// Bounds of this door.
#[derive(Clone)]
pub struct Limits {
    pub connections: usize,
    /// Memory of requests, of other doors' too, in permits of `PERMIT_BYTES`.
    pub requests: Arc<Semaphore>,
    /// Memory of records that are not taken yet, likewise.
    pub answers: Arc<Semaphore>,
    pub write_timeout: Duration,
    pub request_bytes_max: usize,
    pub auto_create: bool,
    /// Of a topic that a client makes without saying how many.
    pub partitions: u32,
}

impl App {
    /// For the requests of one client.
    fn of(&self, principal: &Principal) -> App {
        App { session: self.session.as_user(principal.clone()), ..self.clone() }
    }
}

impl Limits {
    /// `requests` is the account of what all doors hold of requests.
    pub fn new(config: &Config, requests: Arc<Semaphore>) -> Limits {
        // A request that could never be granted its memory would wait for ever.
        let most = requests.available_permits().saturating_mul(PERMIT_BYTES);
        Limits {
            connections: config.kafka_connections_max.max(1) as usize,
            answers: permits(config.kafka_answers_bytes_max.0),
            write_timeout: config.kafka_write_timeout.to_std(),
            request_bytes_max: (config.kafka_request_bytes_max.0 as usize).min(most),
            auto_create: config.kafka_auto_create_topics,
            partitions: config.kafka_partitions.max(1),
            requests,
        }
    }
}

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

fn topic_name(name: impl Into<String>) -> TopicName {
    TopicName(text(name))
}

/// Runs what may wait for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal(format!("a request ended early: {e}")))
}

/// Waits until what was acknowledged as written (`acks=1`) can be seen. If the disk does not take
/// it, what is on it is the answer.
async fn settle(session: &Session, topic: &str, partitions: impl Iterator<Item = Partition>) {
    let Ok(topic) = session.topic_log(topic) else { return };
    for log in partitions.filter_map(|p| topic.partition(p).ok()) {
        let _ = tokio::time::timeout(SETTLE_MAX, log.all_durable()).await;
    }
}

/// Takes connections until the process stops.
pub async fn serve(
    app: App,
    listener: TcpListener,
    security: Arc<Security>,
    mut stopping: watch::Receiver<bool>,
) {
    let followed = security.clone();
    let following = tokio::spawn(async move { followed.follow_files().await });
    let open = Arc::new(Semaphore::new(app.limits.connections));
    loop {
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of file handles, most likely: others may close some.
                tracing::warn!(error = %e, "a Kafka connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = open.clone().try_acquire_owned() else {
            tracing::warn!(%peer, "a Kafka connection is refused: kafka.connections_max are open");
            continue;
        };
        let (app, security, mut stopping) = (app.clone(), security.clone(), stopping.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let _gauge = Gauge::up(&app.connections);
            let served = tokio::select! {
                served = connection::serve(&app, &security, socket) => served,
                _ = stopping.wait_for(|stop| *stop) => Ok(()),
            };
            if let Err(e) = served {
                tracing::warn!(%peer, "a Kafka connection is closed: {e}");
            }
        });
    }
    following.abort();
}
