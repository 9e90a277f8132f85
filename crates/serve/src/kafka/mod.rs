//! The Kafka door: record batches go into the log as clients send them and come out as they are
//! stored. What is not in the table of `versions.rs` is not served and not advertised.

mod connection;
mod errors;
mod fetch;
mod list_offsets;
mod metadata;
mod produce;
mod reader;
mod topics;
mod versions;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::app::{App, Gauge};

/// This node's id; there is one.
const NODE_ID: i32 = 1;

/// Takes connections until the process stops.
pub async fn serve(app: App, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
    let open = Arc::new(Semaphore::new(app.limits.kafka_connections));
    loop {
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
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
        let (app, mut stopping) = (app.clone(), stopping.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let _gauge = Gauge::up(&app.counters, |c| &c.kafka_connections);
            let served = tokio::select! {
                served = connection::serve(&app, socket) => served,
                _ = stopping.wait_for(|stop| *stop) => Ok(()),
            };
            if let Err(e) = served {
                tracing::warn!(%peer, "a Kafka connection is closed: {e}");
            }
        });
    }
}
