//! One connection: its statements in the simple and in the extended protocol (Parse, Bind,
//! Describe, Execute), its cursors, and the part of the library that answers for the server.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion_postgres::pgwire::api::portal::{Format, Portal, PortalExecutionState};
use datafusion_postgres::pgwire::api::query::{
    ExtendedQueryHandler, SimpleQueryHandler, send_describe_response, send_query_response,
};
use datafusion_postgres::pgwire::api::results::{DescribePortalResponse, FieldInfo, Response, Tag};
use datafusion_postgres::pgwire::api::stmt::QueryParser;
use datafusion_postgres::pgwire::api::store::{Entry, PortalStore};
use datafusion_postgres::pgwire::api::{
    ClientInfo, ClientPortalStore, ConnectionHandle, DEFAULT_NAME, ErrorHandler,
    PgWireConnectionState, Type,
};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::extendedquery::{
    Describe, Execute, TARGET_TYPE_BYTE_PORTAL,
};
use datafusion_postgres::pgwire::messages::response::TransactionStatus;
use engine::{Answer, Prepared, Rows};
use futures::{FutureExt, Sink};
use tokio::sync::Mutex;

use crate::copy_out::CopyOut;
use crate::cursor::{Command, Cursors};
use crate::errors::{Codes, fault, refused};
use crate::library::{Known, Library};
use crate::sent::Sent;
use crate::{Door, parameters, route, rows};

/// Where the library keeps what `SET statement_timeout` said.
pub const STATEMENT_TIMEOUT: &str = "statement_timeout_ms";

/// A statement that was parsed and waits for its values.
#[derive(Clone)]
pub enum Statement {
    Engine(Arc<Prepared>, Sent),
    /// With the columns it gives.
    Cursor(Sent, Command, Option<SchemaRef>),
    Library(Box<Known>, Arc<Library>),
    Copy(CopyOut),
}

impl Statement {
    /// Whether it is one of ours and gives rows.
    fn gives_rows(&self) -> bool {
        match self {
            Statement::Engine(prepared, _) => prepared.schema.is_some(),
            Statement::Cursor(_, _, schema) => schema.is_some(),
            Statement::Library(..) | Statement::Copy(_) => false,
        }
    }
}

pub struct Session {
    shared: Arc<Shared>,
}

/// What both protocols use.
pub struct Shared {
    door: Arc<Door>,
    cursors: Mutex<Cursors>,
}

/// The answer to one statement.
enum Said {
    Done(Response),
    Rows { rows: Rows, tag: &'static str, sent: Sent },
}

impl Session {
    pub fn new(door: Arc<Door>) -> Session {
        Session { shared: Arc::new(Shared { door, cursors: Mutex::default() }) }
    }
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
        let statements = Sent::all(query)?;
        if statements.is_empty() {
            return Ok(vec![Response::EmptyQuery]);
        }
        let mut said = vec![];
        for statement in statements {
            match self.shared.simple(client, &statement).await {
                Ok(more) => {
                    // What follows in the same message is in the transaction, or behind it.
                    match &more {
                        Said::Done(Response::TransactionStart(_)) => {
                            client.set_transaction_status(TransactionStatus::Transaction);
                        }
                        Said::Done(Response::TransactionEnd(_)) => {
                            client.set_transaction_status(TransactionStatus::Idle);
                        }
                        _ => {}
                    }
                    said.push(more);
                }
                Err(e) if said.is_empty() => return Err(e),
                Err(mut e) => {
                    // What went before is answered; nothing behind the fault runs.
                    Codes.on_error(client, &mut e);
                    said.push(Said::Done(Response::Error(Box::new(ErrorInfo::from(e)))));
                    break;
                }
            }
        }
        // Last, because it takes the right to be cancelled from what ran until now.
        let cancelled = cancelled(client).await;
        let mut responses = vec![];
        for answer in said {
            responses.push(response(answer, &Format::UnifiedText, &cancelled)?);
        }
        Ok(responses)
    }
}

#[async_trait]
impl ExtendedQueryHandler for Session {
    type Statement = Statement;
    type QueryParser = Shared;

    fn query_parser(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// The library would gather all rows of a result that is asked for at once; they are sent as
    /// they come, so that a result of any size needs little memory.
    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let found = client.portal_store().get_portal(name);
        let Some(portal) = found.as_ref().and_then(Entry::value).cloned() else {
            return self._on_execute(client, message).await;
        };
        let state = portal.state();
        let fresh = matches!(*state.lock().await, PortalExecutionState::Initial);
        if message.max_rows != 0 || !fresh || !portal.statement.statement.gives_rows() {
            return self._on_execute(client, message).await;
        }
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let asked = cancelled(client).await;
        let response = tokio::select! {
            () = asked => return Err(PgWireError::QueryCanceled),
            response = ExtendedQueryHandler::do_query(self, client, &portal, 0) => response?,
        };
        let Response::Query(rows) = response else {
            return Err(fault("XX000", "a statement that gives rows gave none"));
        };
        send_query_response(client, rows, false).await?;
        *state.lock().await = PortalExecutionState::Finished;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    /// A cursor is a portal of its name: drivers ask for its columns before they fetch.
    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if message.target_type == TARGET_TYPE_BYTE_PORTAL
            && let Some(name) = &message.name
            && let Ok(schema) = self.shared.cursors.lock().await.schema(name)
        {
            let fields = rows::fields(&schema, &Format::UnifiedText)?;
            let told = DescribePortalResponse::new(fields.as_ref().clone());
            return send_describe_response(client, &told).await;
        }
        self._on_describe(client, message).await
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Statement>,
        _: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let said = match &portal.statement.statement {
            Statement::Library(known, library) => {
                if let Some(done) = deallocated(client, known.text()) {
                    return done;
                }
                let most = self.shared.most(client);
                let response = library.run(client, portal, known, most).await?;
                if ends(&response) {
                    self.shared.cursors.lock().await.transaction_ended();
                }
                return Ok(response);
            }
            Statement::Copy(copy) => {
                not_failed(client)?;
                return self.shared.copy(client, copy.clone()).await;
            }
            Statement::Cursor(sent, command, _) => {
                not_failed(client)?;
                self.shared.cursor(client, sent, command).await?
            }
            Statement::Engine(prepared, sent) => {
                not_failed(client)?;
                let values = parameters::values(portal, prepared)?;
                let asked = &self.shared.door.session;
                let answer = asked.start_prepared(prepared, values, timeout(client)).await;
                let answer = answer.map_err(|e| refused(&e, Some(sent)))?;
                same_columns(&answer, prepared)?;
                said(answer, sent)
            }
        };
        let cancelled = cancelled(client).await;
        response(said, &portal.result_column_format, &cancelled)
    }
}

#[async_trait]
impl QueryParser for Shared {
    type Statement = Statement;

    async fn parse_sql<C>(
        &self,
        client: &C,
        sql: &str,
        types: &[Option<Type>],
    ) -> PgWireResult<Option<Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut statements = Sent::all(sql)?;
        let Some(sent) = statements.pop() else { return Ok(None) };
        if !statements.is_empty() {
            return Err(fault("42601", "a prepared statement is one statement"));
        }
        if let Some(command) = Command::parse(sent.text()) {
            not_failed(client)?;
            let command = command.map_err(|e| refused(&e, Some(&sent)))?;
            let schema = match &command {
                Command::Fetch { name, skip: false, .. } => {
                    let schema = self.cursors.lock().await.schema(name);
                    Some(schema.map_err(|e| refused(&e, Some(&sent)))?)
                }
                _ => None,
            };
            return Ok(Some(Statement::Cursor(sent, command, schema)));
        }
        if let Some(copy) = CopyOut::parse(sent.as_sent()) {
            not_failed(client)?;
            return Ok(Some(Statement::Copy(copy?)));
        }
        if route::for_engine(&sent) {
            not_failed(client)?;
            let given: Vec<_> =
                types.iter().map(|t| t.as_ref().and_then(parameters::declared)).collect();
            let prepared = self.door.session.prepare(sent.text(), &given).await;
            let prepared = prepared.map_err(|e| refused(&e, Some(&sent)))?;
            return Ok(Some(Statement::Engine(Arc::new(prepared), sent)));
        }
        let library = self.door.library().map_err(|e| refused(&e, None))?;
        let known = library.parse(client, sent.as_sent()).await?;
        Ok(known.map(|k| Statement::Library(Box::new(k), library)))
    }

    fn get_parameter_types(&self, statement: &Statement) -> PgWireResult<Vec<Type>> {
        match statement {
            Statement::Engine(p, _) => Ok(p.parameters().map(parameters::wire_type).collect()),
            Statement::Cursor(..) | Statement::Copy(_) => Ok(vec![]),
            Statement::Library(known, library) => library.parameter_types(known),
        }
    }

    fn get_result_schema(
        &self,
        statement: &Statement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        let schema = match statement {
            Statement::Engine(p, _) => p.schema.as_ref(),
            Statement::Cursor(_, _, schema) => schema.as_ref(),
            Statement::Library(known, library) => return library.columns(known, format),
            Statement::Copy(_) => None,
        };
        let Some(schema) = schema else { return Ok(vec![]) };
        let fields = rows::fields(schema, format.unwrap_or(&Format::UnifiedText))?;
        Ok(fields.as_ref().clone())
    }
}

impl Shared {
    /// How long a statement may run that the engine does not watch.
    fn most<C: ClientInfo>(&self, client: &C) -> Duration {
        let most = self.door.query_timeout;
        timeout(client).map_or(most, |t| t.min(most))
    }

    async fn simple<C>(&self, client: &mut C, sent: &Sent) -> PgWireResult<Said>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if let Some(command) = Command::parse(sent.text()) {
            not_failed(client)?;
            let command = command.map_err(|e| refused(&e, Some(sent)))?;
            return self.cursor(client, sent, &command).await;
        }
        if let Some(copy) = CopyOut::parse(sent.as_sent()) {
            not_failed(client)?;
            return self.copy(client, copy?).await.map(Said::Done);
        }
        if route::for_engine(sent) {
            not_failed(client)?;
            let answer = self.door.session.start(sent.text(), timeout(client)).await;
            return Ok(said(answer.map_err(|e| refused(&e, Some(sent)))?, sent));
        }
        if let Some(done) = deallocated(client, sent.text()) {
            return done.map(Said::Done);
        }
        let library = self.door.library().map_err(|e| refused(&e, None))?;
        let most = self.most(client);
        let response = library.simple(client, sent.as_sent(), most).await?;
        if ends(&response) {
            self.cursors.lock().await.transaction_ended();
        }
        Ok(Said::Done(response))
    }

    async fn copy<C: ClientInfo>(&self, client: &C, copy: CopyOut) -> PgWireResult<Response> {
        let query = Sent::all(&copy.query)?.pop();
        let query = query.ok_or_else(|| fault("42601", "there is nothing to copy"))?;
        let answer = self.door.session.start(query.text(), timeout(client)).await;
        match answer.map_err(|e| refused(&e, None))? {
            Answer::Rows(rows) => copy.response(rows, cancelled(client).await),
            Answer::Message(_) | Answer::Written(_) => {
                Err(fault("42601", "COPY takes a query that gives rows"))
            }
        }
    }

    async fn cursor<C: ClientInfo>(
        &self,
        client: &C,
        sent: &Sent,
        command: &Command,
    ) -> PgWireResult<Said> {
        let mut cursors = self.cursors.lock().await;
        let done = match command {
            Command::Declare { name, hold, query } => {
                let query = sent.behind(*query);
                let answer = self.door.session.start(query.text(), timeout(client)).await;
                match answer.map_err(|e| refused(&e, Some(&query)))? {
                    Answer::Rows(rows) => cursors.open(name.clone(), *hold, rows),
                    Answer::Message(_) | Answer::Written(_) => {
                        return Err(fault("42601", "a cursor is for a query that gives rows"));
                    }
                }
            }
            Command::Fetch { name, rows, skip: false } => {
                let rows = cursors.fetch(name, *rows).await.map_err(|e| refused(&e, Some(sent)))?;
                return Ok(Said::Rows { rows, tag: "FETCH", sent: sent.clone() });
            }
            Command::Fetch { name, rows, skip: true } => {
                let rows = cursors.fetch(name, *rows).await.map_err(|e| refused(&e, Some(sent)))?;
                let skipped = skip(rows).await.map_err(|e| refused(&e, Some(sent)))?;
                return Ok(Said::Done(Response::Execution(Tag::new("MOVE").with_rows(skipped))));
            }
            Command::Close { name } => cursors.close(name.as_deref()),
        };
        done.map_err(|e| refused(&e, Some(sent)))?;
        Ok(Said::Done(Response::Execution(Tag::new(command.tag()))))
    }
}

/// DEALLOCATE of a statement that the protocol prepared (psycopg 3 gives up its own so).
fn deallocated<C>(client: &C, text: &str) -> Option<PgWireResult<Response>>
where
    C: ClientInfo + ClientPortalStore,
    C::PortalStore: PortalStore,
{
    let mut words = text.split_ascii_whitespace().filter(|w| !w.eq_ignore_ascii_case("prepare"));
    if !words.next()?.eq_ignore_ascii_case("deallocate") {
        return None;
    }
    let name = words.next()?;
    if name.eq_ignore_ascii_case("all") {
        return Some(Ok(Response::Execution(Tag::new("DEALLOCATE ALL"))));
    }
    let plain = name.to_ascii_lowercase();
    let name = name.strip_prefix('"').and_then(|n| n.strip_suffix('"')).unwrap_or(&plain);
    Some(match client.portal_store().get_statement(name) {
        Some(_) => {
            client.portal_store().rm_statement(name);
            Ok(Response::Execution(Tag::new("DEALLOCATE")))
        }
        None => Err(fault("26000", format!("prepared statement \"{name}\" does not exist"))),
    })
}

fn ends(response: &Response) -> bool {
    matches!(response, Response::TransactionEnd(_))
}

async fn skip(rows: Rows) -> common::Result<usize> {
    use futures::TryStreamExt;
    rows.batches.try_fold(0, |n, batch| async move { Ok(n + batch.num_rows()) }).await
}

/// As Postgres' own; the first number of INSERT is an object id, which no row has.
fn written_tag(written: &engine::Written) -> Tag {
    let rows = usize::try_from(written.rows).unwrap_or(usize::MAX);
    match written.verb {
        engine::Verb::Insert => Tag::new("INSERT").with_oid(0).with_rows(rows),
        engine::Verb::Update => Tag::new("UPDATE").with_rows(rows),
        engine::Verb::Delete => Tag::new("DELETE").with_rows(rows),
        engine::Verb::Merge => Tag::new("MERGE").with_rows(rows),
    }
}

fn said(answer: Answer, sent: &Sent) -> Said {
    match answer {
        Answer::Message(_) => Said::Done(Response::Execution(Tag::new(&route::tag(sent.text())))),
        Answer::Written(written) => Said::Done(Response::Execution(written_tag(&written))),
        Answer::Rows(rows) => Said::Rows { rows, tag: "SELECT", sent: sent.clone() },
    }
}

fn response(said: Said, format: &Format, cancelled: &rows::Cancelled) -> PgWireResult<Response> {
    Ok(match said {
        Said::Done(response) => response,
        Said::Rows { rows: found, tag, sent } => {
            let fields = rows::fields(&found.schema, format)?;
            let mut answer = rows::response(fields, found.batches, cancelled.clone(), Some(sent));
            answer.set_command_tag(tag);
            Response::Query(answer)
        }
    })
}

/// A client was told the columns before; it could not read others.
fn same_columns(answer: &Answer, prepared: &Prepared) -> PgWireResult<()> {
    let (Answer::Rows(rows), Some(told)) = (answer, &prepared.schema) else { return Ok(()) };
    let types =
        |schema: &SchemaRef| -> Vec<Type> { schema.fields().iter().map(rows::pg_type).collect() };
    if types(&rows.schema) == types(told) {
        return Ok(());
    }
    Err(fault("0A000", "cached plan must not change result type"))
}

/// After an error nothing runs until the transaction ends, as clients expect of Postgres.
fn not_failed<C: ClientInfo>(client: &C) -> PgWireResult<()> {
    match client.transaction_status() {
        TransactionStatus::Error => Err(fault(
            "25P02",
            "current transaction is aborted, commands ignored until end of transaction block",
        )),
        _ => Ok(()),
    }
}

fn timeout<C: ClientInfo>(client: &C) -> Option<Duration> {
    let ms = client.metadata().get(STATEMENT_TIMEOUT)?.parse().ok()?;
    Some(Duration::from_millis(ms))
}

/// The library watches for a cancel while a query starts; this watches while its rows are sent.
async fn cancelled<C: ClientInfo>(client: &C) -> rows::Cancelled {
    let Some(handle) = client.session_extensions().get::<Arc<ConnectionHandle>>() else {
        return rows::not_cancelled();
    };
    let asked = handle.start_query().await;
    let cancelled = async move {
        // The next query takes the sender away: then nobody can cancel this one any more.
        if asked.await.is_err() {
            futures::future::pending::<()>().await;
        }
    };
    cancelled.boxed().shared()
}
