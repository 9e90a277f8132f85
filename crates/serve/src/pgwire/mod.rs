//! The Postgres door, on loopback only: psql and drivers connect with any user and password.
//! Statements go to the engine, as from every other door, in the simple protocol and in the
//! extended one (`session.rs`); what clients ask about the server itself (pg_catalog, SET,
//! transactions) is answered by `datafusion-postgres`. `route.rs` tells the two apart.

mod cursor;
mod errors;
mod library;
mod numeric;
mod parameters;
mod route;
mod rows;
mod session;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use common::Error;
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use datafusion_postgres::pgwire::api::auth::StartupHandler;
use datafusion_postgres::pgwire::api::auth::noop::NoopStartupHandler;
use datafusion_postgres::pgwire::api::cancel::{CancelHandler, DefaultCancelHandler};
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::api::{
    ClientInfo, ConnectionManager, ErrorHandler, PgWireServerHandlers,
};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::startup::ParameterStatus;
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use datafusion_postgres::pgwire::tokio::process_socket;
use engine::Platform;
use futures::{Sink, SinkExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::app::{App, Gauge};
use errors::Codes;
use session::Session;

/// What clients parse to learn which SQL they may send.
const SERVER_VERSION: &str = concat!("16.6 (watershed ", env!("CARGO_PKG_VERSION"), ")");

/// Takes connections until the process stops.
pub async fn serve(app: App, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
    let manager = Arc::new(ConnectionManager::new());
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
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = app.limits.streams.clone().try_acquire_owned() else {
            tracing::warn!("a Postgres connection is refused: too many are open");
            continue;
        };
        let (app, manager) = (app.clone(), manager.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let _gauge = Gauge::up(&app.counters, |c| &c.pg_connections);
            if let Err(e) = connection(&app.platform, socket, manager).await {
                tracing::debug!(error = %e, "a Postgres connection ended");
            }
        });
    }
}

async fn connection(
    platform: &Platform,
    socket: TcpStream,
    manager: Arc<ConnectionManager>,
) -> common::Result<()> {
    let session = Arc::new(Session::new(platform.clone(), Arc::new(context(platform)?)));
    let handlers = Handlers { session, startup: Arc::new(Startup { manager }) };
    process_socket(socket, None, handlers).await.map_err(|e| Error::io("serving Postgres", e))
}

/// A session of its own for each connection; the tables in it are live.
fn context(platform: &Platform) -> common::Result<SessionContext> {
    let state = platform.session()?;
    let catalog = state.config_options().catalog.default_catalog.clone();
    let ctx = SessionContext::new_with_state(state);
    setup_pg_catalog(&ctx, &catalog, EmptyContextProvider)
        .map_err(|e| Error::internal(format!("setting up pg_catalog: {e}")))?;
    // SQLAlchemy refuses servers whose version() does not look like Postgres' own.
    let version = ScalarValue::Utf8(Some(format!("PostgreSQL {SERVER_VERSION}")));
    let answer = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(version.clone()));
    let stable = Volatility::Stable;
    ctx.register_udf(create_udf("version", vec![], DataType::Utf8, stable, Arc::new(answer)));
    Ok(ctx)
}

struct Handlers {
    session: Arc<Session>,
    startup: Arc<Startup>,
}

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        self.session.clone()
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        self.session.clone()
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        self.startup.clone()
    }

    fn error_handler(&self) -> Arc<impl ErrorHandler> {
        Arc::new(Codes)
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::new(DefaultCancelHandler::new(self.startup.manager.clone()))
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
