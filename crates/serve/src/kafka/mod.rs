//! The Kafka door: record batches go into the log as clients send them and come out as they are
//! stored. What is not in the table of `versions.rs` is not served and not advertised.

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

use common::{Error, Partition, Result};
use engine::Platform;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::app::{App, Gauge};
pub use security::Security;

/// This node's id; there is one.
const NODE_ID: i32 = 1;
/// How long a request waits for the disk to have what was written before it.
const SETTLE_MAX: std::time::Duration = std::time::Duration::from_secs(5);

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
async fn settle(platform: &Platform, topic: &str, partitions: impl Iterator<Item = Partition>) {
    let Ok(topic) = platform.topic_log(topic) else { return };
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
    let open = Arc::new(Semaphore::new(app.limits.kafka_connections));
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
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
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
            let _gauge = Gauge::up(&app.counters, |c| &c.kafka_connections);
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
