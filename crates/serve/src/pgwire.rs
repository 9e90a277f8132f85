//! The Postgres door, on loopback only: psql and drivers connect with any user and password.
//! Plain statements go to the engine, as from every other door; what clients ask about the server
//! itself (pg_catalog, SET, cursors, prepared statements) is answered by `datafusion-postgres`.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use common::{Error, Kind};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use datafusion_postgres::arrow_pg::datatypes::df::encode_dataframe;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use datafusion_postgres::hooks::cursor::CursorStatementHook;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::pgwire::api::auth::StartupHandler;
use datafusion_postgres::pgwire::api::auth::noop::NoopStartupHandler;
use datafusion_postgres::pgwire::api::cancel::{CancelHandler, DefaultCancelHandler};
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::api::results::{Response, Tag};
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{
    ClientInfo, ClientPortalStore, ConnectionManager, ErrorHandler, PgWireServerHandlers,
};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::startup::ParameterStatus;
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use datafusion_postgres::pgwire::tokio::process_socket;
use datafusion_postgres::pgwire::types::format::FormatOptions;
use datafusion_postgres::{DfSessionService, QueryHook};
use engine::{Outcome, Platform};
use futures::{Sink, SinkExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::app::{App, Gauge};

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
    let ctx = Arc::new(context(platform)?);
    let hooks: Vec<Arc<dyn QueryHook>> = vec![
        Arc::new(CursorStatementHook),
        Arc::new(SetShowHook),
        Arc::new(TransactionStatementHook),
    ];
    let session = Arc::new(Session {
        platform: platform.clone(),
        inner: Arc::new(DfSessionService::new_with_hooks(ctx.clone(), hooks)),
        ctx,
    });
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
        self.session.inner.clone()
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

struct Session {
    platform: Platform,
    ctx: Arc<SessionContext>,
    inner: Arc<DfSessionService>,
}

#[async_trait]
impl SimpleQueryHandler for Session {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let Some(statement) = for_engine(query) else {
            return SimpleQueryHandler::do_query(self.inner.as_ref(), client, query).await;
        };
        let outcome = self.platform.execute(statement, None).await.map_err(|e| refused(&e))?;
        let response = match outcome {
            Outcome::Message(_) => Response::Execution(Tag::new(&tag(statement))),
            Outcome::Rows { schema, batches, .. } => {
                let frame = if batches.is_empty() {
                    let empty = datafusion::arrow::array::RecordBatch::new_empty(schema);
                    self.ctx.read_batch(empty)
                } else {
                    self.ctx.read_batches(batches)
                };
                let frame = frame.map_err(|e| PgWireError::ApiError(Box::new(e)))?;
                let options = Arc::new(FormatOptions::from_client_metadata(client.metadata()));
                let rows = encode_dataframe(frame, &Format::UnifiedText, Some(options)).await?;
                Response::Query(rows)
            }
        };
        Ok(vec![response])
    }
}

/// First words of statements about the session; everything else, nonsense too, is the engine's.
const SESSION_WORDS: [&str; 25] = [
    "abort",
    "analyze",
    "begin",
    "close",
    "commit",
    "copy",
    "deallocate",
    "declare",
    "discard",
    "end",
    "execute",
    "fetch",
    "listen",
    "lock",
    "move",
    "notify",
    "prepare",
    "release",
    "reset",
    "rollback",
    "savepoint",
    "set",
    "start",
    "unlisten",
    "vacuum",
];

/// The statement, when it is one that means the platform and not the server behind the protocol.
fn for_engine(query: &str) -> Option<&str> {
    let statement = query.trim().trim_end_matches(';').trim_end();
    if statement.contains(';') {
        return None; // several statements: the library splits them
    }
    let lower = statement.to_ascii_lowercase();
    let about_server = [
        "pg_",
        "information_schema",
        "current_schema",
        "current_database",
        "version()",
        "current_user",
        "session_user",
        "current_setting",
        "current_catalog",
    ];
    let mut words = lower.split_ascii_whitespace();
    let ours = match (words.next().unwrap_or(""), words.next().unwrap_or("")) {
        ("", _) => false,
        ("show", what) => {
            ["topics", "sources", "views", "sinks", "tables", "create", "materialized"]
                .contains(&what)
        }
        (first, _) => {
            !SESSION_WORDS.contains(&first) && !about_server.iter().any(|n| lower.contains(n))
        }
    };
    ours.then_some(statement)
}

/// `CREATE TOPIC`, as the command tag of a statement without rows.
fn tag(statement: &str) -> String {
    let words: Vec<String> =
        statement.split_ascii_whitespace().take(3).map(str::to_ascii_uppercase).collect();
    match words.get(1).map(String::as_str) {
        Some("MATERIALIZED") => words.join(" "),
        Some(_) => words[..2].join(" "),
        None => words.concat(),
    }
}

fn refused(e: &Error) -> PgWireError {
    let code = e.kind().sqlstate().to_string();
    let mut info = ErrorInfo::new("ERROR".into(), code, e.message().to_string());
    info.hint = e.hint_text().map(str::to_string);
    // Characters from 1; psql draws the caret from it.
    info.position = e.place().filter(|p| p.file.is_none()).and_then(|place| {
        let before = place.text.get(..place.span.start)?;
        Some((before.chars().count() + 1).to_string())
    });
    PgWireError::UserError(Box::new(info))
}

/// Gives the library's own errors a code: it sends XX000 for all.
struct Codes;

impl ErrorHandler for Codes {
    fn on_error<C: ClientInfo>(&self, _: &C, error: &mut PgWireError) {
        let PgWireError::ApiError(inner) = &*error else {
            return;
        };
        let Some(e) = inner.downcast_ref::<DataFusionError>() else {
            return;
        };
        let code = sqlstate(e);
        let message = e.strip_backtrace();
        *error = PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".into(), code, message)));
    }
}

fn sqlstate(e: &DataFusionError) -> String {
    let code = match e.find_root() {
        DataFusionError::SchemaError(e, _) => match e.as_ref() {
            SchemaError::FieldNotFound { .. } => "42703",
            _ => "42702",
        },
        DataFusionError::SQL(..) => Kind::Syntax.sqlstate(),
        DataFusionError::Plan(m) if m.contains("not found") => Kind::NotFound.sqlstate(),
        DataFusionError::Plan(_) => "42000",
        DataFusionError::NotImplemented(_) => Kind::Unsupported.sqlstate(),
        DataFusionError::ResourcesExhausted(_) => "53200",
        DataFusionError::ArrowError(..) | DataFusionError::Execution(_) => "22000",
        _ => Kind::Internal.sqlstate(),
    };
    code.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers() {
        for (query, engine) in [
            ("SELECT * FROM readings;", true),
            ("select version()", false),
            ("SELECT c.oid FROM pg_catalog.pg_class c", false),
            ("SHOW TOPICS", true),
            ("SHOW search_path", false),
            ("SELEC 1", true),
            ("SET client_encoding TO 'UTF8'", false),
            ("BEGIN", false),
            ("CREATE TOPIC t (a INT)", true),
            ("SELECT 1; SELECT 2", false),
            ("", false),
        ] {
            assert_eq!(for_engine(query).is_some(), engine, "{query}");
        }
        assert_eq!(tag("create topic t (a int)"), "CREATE TOPIC");
        assert_eq!(tag("DROP MATERIALIZED VIEW v"), "DROP MATERIALIZED VIEW");
    }

    #[test]
    fn errors_have_codes_and_places() {
        let place =
            common::Place {
                file: None, text: "SELECT é, x".into(), span: "SELECT é, ".len()..12
            };
        let PgWireError::UserError(info) = refused(&Error::not_found("no x").at(place)) else {
            unreachable!("a refusal is a user error")
        };
        assert_eq!((info.code.as_str(), info.position.as_deref()), ("42P01", Some("11")));
        assert_eq!(sqlstate(&DataFusionError::NotImplemented("x".into())), "0A000");
    }
}
