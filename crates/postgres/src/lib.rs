//! The Postgres door, on loopback only: psql and drivers connect with any user and password.
//! Statements go to the engine, as from every other door, in the simple protocol and in the
//! extended one (`session.rs`); what clients ask about the server itself (pg_catalog, SET,
//! transactions) is answered by `datafusion-postgres` (`library.rs`), which `route.rs` tells apart.
//! `connection.rs` and `frames.rs` read what comes, within limits.

mod catalog;
mod connection;
mod copy_out;
mod cursor;
mod errors;
mod frames;
mod functions;
mod library;
mod names;
mod numeric;
mod parameters;
mod rewrite;
mod route;
mod rows;
mod sent;
mod session;
mod settings;

use std::fmt::Debug;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use common::{Config, Gauge};
use datafusion_postgres::pgwire::api::auth::noop::NoopStartupHandler;
use datafusion_postgres::pgwire::api::cancel::DefaultCancelHandler;
use datafusion_postgres::pgwire::api::{ClientInfo, ConnectionManager};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::startup::ParameterStatus;
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use futures::{Sink, SinkExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use library::Library;
use session::Session;

/// So many clients that find no room are told so at once; others are just closed.
const REFUSALS_AT_ONCE: usize = 16;

/// What clients parse to learn which SQL they may send.
const SERVER_VERSION: &str = concat!("16.6 (watershed ", env!("CARGO_PKG_VERSION"), ")");

/// Granularity of the account of memory.
const PERMIT_BYTES: usize = 64 << 10;

/// What all connections are given; cheap to clone.
#[derive(Clone)]
pub struct App {
    pub session: engine::Session,
    pub limits: Limits,
    /// Connections that are open.
    pub connections: Arc<AtomicU64>,
}

/// Bounds of the door.
#[derive(Clone)]
pub struct Limits {
    connections: Arc<Semaphore>,
    query_timeout: Duration,
    startup_timeout: Duration,
    message_timeout: Duration,
    message_bytes_max: usize,
    /// Memory of messages, in permits of `PERMIT_BYTES`.
    messages: Arc<Semaphore>,
}

impl Limits {
    pub fn new(config: &Config) -> Limits {
        let message_bytes_max = config.pg_message_bytes_max.0.min(u32::MAX.into()) as usize;
        // The largest message must find room when no other is there.
        let together = (config.pg_messages_bytes_max.0 as usize).max(message_bytes_max);
        let permits = (together / PERMIT_BYTES + 1).min(Semaphore::MAX_PERMITS);
        Limits {
            connections: Arc::new(Semaphore::new(config.pg_connections_max.max(1) as usize)),
            query_timeout: config.query_timeout.to_std(),
            startup_timeout: config.pg_startup_timeout.to_std(),
            message_timeout: config.pg_message_timeout.to_std(),
            message_bytes_max,
            messages: Arc::new(Semaphore::new(permits)),
        }
    }
}

/// Takes connections until the process stops.
pub async fn serve(app: App, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
    let door = Arc::new(Door {
        session: app.session.clone(),
        query_timeout: app.limits.query_timeout,
        manager: Arc::new(ConnectionManager::new()),
        library: Mutex::default(),
    });
    let refusals = Arc::new(Semaphore::new(REFUSALS_AT_ONCE));
    loop {
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(e) => {
                // Out of file handles, most likely: others may close some.
                tracing::warn!(error = %e, "a Postgres connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (app, door) = (app.clone(), door.clone());
        let Ok(permit) = app.limits.connections.clone().try_acquire_owned() else {
            let Ok(permit) = refusals.clone().try_acquire_owned() else { continue };
            tracing::debug!("a Postgres connection is refused: too many are open");
            tokio::spawn(async move {
                let _permit = permit;
                let cancel = DefaultCancelHandler::new(door.manager.clone());
                let _ = connection::no_room(socket, &app.limits, &cancel).await;
            });
            continue;
        };
        tokio::spawn(async move {
            let _permit = permit;
            let _gauge = Gauge::up(&app.connections);
            let handlers = Handlers {
                session: Arc::new(Session::new(door.clone())),
                startup: Arc::new(Startup { manager: door.manager.clone() }),
            };
            if let Err(e) = connection::serve(socket, &app.limits, handlers).await {
                tracing::debug!(error = %e, "a Postgres connection ended");
            }
        });
    }
}

/// What all connections share.
pub struct Door {
    session: engine::Session,
    query_timeout: Duration,
    manager: Arc<ConnectionManager>,
    /// Made for the first who asks about the server: it takes megabytes.
    library: Mutex<Option<Arc<Library>>>,
}

impl Door {
    fn library(&self) -> common::Result<Arc<Library>> {
        let mut library = self.library.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = library.as_ref() {
            return Ok(library.clone());
        }
        let made = Arc::new(Library::new(&self.session)?);
        *library = Some(made.clone());
        Ok(made)
    }
}

/// What answers the messages of a connection.
struct Handlers {
    session: Arc<Session>,
    startup: Arc<Startup>,
}

impl Handlers {
    fn cancel(&self) -> DefaultCancelHandler {
        DefaultCancelHandler::new(self.startup.manager.clone())
    }
}

struct Startup {
    manager: Arc<ConnectionManager>,
}

#[async_trait]
impl NoopStartupHandler for Startup {
    fn connection_manager(&self) -> Option<Arc<ConnectionManager>> {
        Some(self.manager.clone())
    }

    /// The protocol library names itself as the version, which some clients cannot parse.
    async fn post_startup<C>(&self, client: &mut C, _: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let version = ParameterStatus::new("server_version".into(), SERVER_VERSION.into());
        client.send(PgWireBackendMessage::ParameterStatus(version)).await?;
        Ok(())
    }
}
