//! The doors: REST and console on one port, here; the protocols of Postgres and Kafka on two
//! others, in crates of their own, opened here. Each door turns what a client sends into one call
//! of the engine and its answer into what the client understands. Nothing is planned here. Start
//! at `rest/mod.rs`, the table of all routes.

mod app;
mod body;
mod console;
mod guard;
mod http;
mod listeners;
mod problem;
mod rest;
mod rows;

pub use listeners::Listeners;
pub use rest::openapi::document as openapi_document;

use std::future::Future;
use std::time::Duration;

use common::{Error, Result};
use engine::{Platform, Principal};
use tokio::sync::watch;

use crate::app::App;

/// Requests that run when a stop is asked for get this long to finish.
const GRACE: Duration = Duration::from_secs(10);
/// Queries that run then get this long.
const QUERY_GRACE: Duration = Duration::from_secs(1);

/// Serves all doors until `shutdown` resolves and the running requests are answered. The platform
/// stays open: who opened it closes it.
pub async fn run(
    platform: Platform,
    listeners: Listeners,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let (stop, stopping) = watch::channel(false);
    let app = App::new(platform.as_user(Principal::Anonymous), &listeners.config, stopping.clone());
    let kafka_limits = kafka::Limits::new(&listeners.config, app.limits.bodies.clone());
    let router = rest::router(app.clone());
    let mut http = tokio::spawn(http::serve(app.clone(), listeners.http, router));
    let pg = listeners.pg.map(|socket| {
        let app = postgres::App {
            session: app.session.clone(),
            limits: postgres::Limits::new(&listeners.config),
            connections: app.counters.pg_connections.clone(),
        };
        tokio::spawn(postgres::serve(app, socket, stopping.clone()))
    });
    let kafka = listeners.kafka.map(|socket| {
        let app = kafka::App {
            session: app.session.clone(),
            limits: kafka_limits,
            connections: app.counters.kafka_connections.clone(),
        };
        tokio::spawn(kafka::serve(app, socket, listeners.kafka_security, stopping.clone()))
    });
    tokio::select! {
        () = shutdown => {}
        ended = &mut http => return ended_early(ended),
    }
    let _ = stop.send(true);
    tokio::spawn(async move {
        tokio::time::sleep(QUERY_GRACE).await;
        platform.stop_queries();
    });
    if tokio::time::timeout(GRACE, &mut http).await.is_err() {
        tracing::warn!(seconds = GRACE.as_secs(), "requests still running are cut off");
        http.abort();
    }
    for door in pg.into_iter().chain(kafka) {
        door.abort();
    }
    Ok(())
}

fn ended_early(ended: Result<(), tokio::task::JoinError>) -> Result<()> {
    match ended {
        Ok(()) => Ok(()),
        Err(e) => Err(Error::internal(format!("the HTTP door ended: {e}"))),
    }
}
