//! What clients ask about a Postgres server (pg_catalog, SET, SHOW, transactions), answered by
//! `datafusion-postgres`. It gets these statements and no others: it plans what it is given in a
//! session of its own, which knows no rows but those of pg_catalog, and plans that do anything but
//! read are refused. The engine runs them. One serves all connections.

use std::collections::HashMap;
use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use common::{Error, Result};
use datafusion::arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::sqlparser::ast::{self, SetExpr, Visitor};
use datafusion_postgres::arrow_pg::datatypes::df;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::pgwire::api::portal::{Format, Portal};
use datafusion_postgres::pgwire::api::query::ExtendedQueryHandler;
use datafusion_postgres::pgwire::api::results::{FieldInfo, Response};
use datafusion_postgres::pgwire::api::stmt::QueryParser;
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{ClientInfo, ClientPortalStore, Type};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::{DfSessionService, Parser, QueryHook};
use engine::{Session, walk};
use futures::Sink;

use crate::errors::{fault, refused};
use crate::functions;
use crate::names::NamesOnly;
use crate::rows;
use crate::settings::Settings;

/// How the library keeps a statement.
type Parsed = (String, Option<(ast::Statement, LogicalPlan)>);

/// A statement that waits for its values.
#[derive(Clone)]
pub struct Known {
    parsed: Parsed,
    /// As many as the client wrote: a part of the query that gives nothing is not planned.
    parameters: usize,
}

pub struct Library {
    session: Session,
    /// Reads pg_catalog and nothing else.
    ctx: Arc<SessionContext>,
    /// What SET may change: nothing reads it.
    settings: SessionContext,
    parser: PostgresCompatibilityParser,
    service: DfSessionService,
    hooks: Vec<Arc<dyn QueryHook>>,
}

impl Known {
    pub fn text(&self) -> &str {
        &self.parsed.0
    }
}

impl Library {
    pub fn new(session: &Session) -> Result<Library> {
        let ctx = Arc::new(context(session)?);
        let options = ctx.state().config_options().catalog.clone();
        let settings = SessionConfig::new()
            .with_default_catalog_and_schema(options.default_catalog, options.default_schema);
        let hooks: Vec<Arc<dyn QueryHook>> =
            vec![Arc::new(Settings), Arc::new(SetShowHook), Arc::new(TransactionStatementHook)];
        let service = DfSessionService::new_with_hooks(ctx.clone(), hooks.clone());
        let settings = SessionContext::new_with_config(settings);
        let parser = PostgresCompatibilityParser::new();
        let session = session.clone();
        Ok(Library { session, ctx, settings, parser, service, hooks })
    }

    fn typed(&self) -> Arc<Parser> {
        self.service.query_parser()
    }

    /// One statement, if it is one that is answered here, and how many parameters it was sent with.
    fn read(&self, text: &str) -> PgWireResult<Option<(ast::Statement, usize)>> {
        let mut statements = self.parser.parse(text).map_err(failed)?;
        let Some(mut statement) = statements.pop() else { return Ok(None) };
        if !statements.is_empty() {
            return Err(fault("42601", "statements are sent one by one"));
        }
        if answered(&statement) && walk::read_statement(&statement, &mut Writes).is_ok() {
            let mut placeholders = Placeholders(0);
            let _ = walk::read_statement(&statement, &mut placeholders);
            super::rewrite::rewrite(&mut statement);
            return Ok(Some((statement, placeholders.0)));
        }
        let text = statement.to_string();
        let word = text.split_whitespace().next().unwrap_or("this").to_uppercase();
        Err(fault("0A000", format!("{word} is not supported")))
    }

    pub async fn parse<C>(&self, client: &C, text: &str) -> PgWireResult<Option<Known>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let Some((statement, parameters)) = self.read(text)? else { return Ok(None) };
        let parsed = self.typed().parse_sql(client, &statement.to_string(), &[]).await?;
        let known = parsed.map(|parsed| Known { parsed, parameters });
        if let Some(Known { parsed: (_, Some((_, plan))), .. }) = &known {
            reads_only(plan)?;
        }
        Ok(known)
    }

    pub fn parameter_types(&self, known: &Known) -> PgWireResult<Vec<Type>> {
        let Some((_, plan)) = &known.parsed.1 else { return Ok(vec![]) };
        let typed = self.typed().get_parameter_types(&known.parsed)?;
        let numbers = inferred_types(plan)?.into_iter().map(|(number, _)| number);
        let mut types = vec![Type::TEXT; known.parameters];
        for (number, kind) in numbers.zip(typed) {
            if let Some(place) = types.get_mut(number) {
                *place = kind;
            }
        }
        Ok(types)
    }

    pub fn columns(&self, known: &Known, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        let fields = self.typed().get_result_schema(&known.parsed, format)?;
        let one = |f: FieldInfo| {
            let name = super::rewrite::shown(f.name()).to_string();
            FieldInfo::new(name, f.table_id(), f.column_id(), f.datatype().clone(), f.format())
        };
        Ok(fields.into_iter().map(one).collect())
    }

    pub async fn simple(
        &self,
        client: &mut dyn HookClient,
        text: &str,
        most: Duration,
    ) -> PgWireResult<Response> {
        let Some((statement, _)) = self.read(text)? else { return Ok(Response::EmptyQuery) };
        for hook in &self.hooks {
            let handled = hook.handle_simple_query(&statement, &self.settings, client).await;
            if let Some(response) = handled {
                return response;
            }
        }
        let statement = datafusion::sql::parser::Statement::Statement(Box::new(statement));
        let plan = self.ctx.state().statement_to_plan(statement).await.map_err(failed)?;
        self.rows(plan, &Format::UnifiedText, most).await
    }

    /// Runs a statement that its parser gave, with the values of the portal.
    pub async fn run<C, S: Clone>(
        &self,
        client: &mut C,
        portal: &Portal<S>,
        known: &Known,
        most: Duration,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let Some((statement, plan)) = &known.parsed.1 else { return Ok(Response::EmptyQuery) };
        let wire_types = self.parameter_types(known)?;
        let wire_types: Vec<Option<&Type>> = wire_types.iter().map(Some).collect();
        let by_number: HashMap<usize, Option<DataType>> =
            inferred_types(plan)?.into_iter().collect();
        let inferred: Vec<Option<&DataType>> =
            (0..known.parameters).map(|n| by_number.get(&n)?.as_ref()).collect();
        let values = df::deserialize_parameters_with_server_types(portal, &inferred, &wire_types)?;
        for hook in &self.hooks {
            let handled =
                hook.handle_extended_query(statement, plan, &values, &self.settings, client).await;
            if let Some(response) = handled {
                return response;
            }
        }
        let plan = plan.clone().replace_params_with_values(&values).map_err(failed)?;
        self.rows(plan, &portal.result_column_format, most).await
    }

    /// On the engine's threads for queries, as every query.
    async fn rows(
        &self,
        plan: LogicalPlan,
        format: &Format,
        most: Duration,
    ) -> PgWireResult<Response> {
        reads_only(&plan)?;
        let answer = self.session.start_plan(self.ctx.state(), plan, most).await;
        let answer = answer.map_err(|e| refused(&e, None))?;
        let fields = rows::fields(&answer.schema, format)?;
        let response = rows::response(fields, answer.batches, rows::not_cancelled(), None);
        Ok(Response::Query(response))
    }
}

/// Statements that are answered here. All that read or write data are the engine's.
fn answered(statement: &ast::Statement) -> bool {
    use ast::Statement as S;
    matches!(
        statement,
        S::Query(_)
            | S::Set(_)
            | S::ShowVariable { .. }
            | S::ShowCatalogs { .. }
            | S::StartTransaction { .. }
            | S::Commit { .. }
            | S::Rollback { .. }
            | S::Savepoint { .. }
            | S::ReleaseSavepoint { .. }
            | S::Deallocate { .. }
            | S::Reset(_)
            | S::Discard { .. }
            | S::UNLISTEN { .. }
    )
}

/// Finds queries that do more than read: what DataFusion does not plan, it passes over.
struct Writes;

impl Visitor for Writes {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &ast::Query) -> walk::Flow {
        match writes(&query.body) {
            true => ControlFlow::Break(Box::new(Error::unsupported("it does more than read"))),
            false => ControlFlow::Continue(()),
        }
    }
}

fn writes(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_some(),
        SetExpr::SetOperation { left, right, .. } => writes(left) || writes(right),
        SetExpr::Query(query) => writes(&query.body),
        SetExpr::Values(_) | SetExpr::Table(_) => false,
        _ => true,
    }
}

fn reads_only(plan: &LogicalPlan) -> PgWireResult<()> {
    let options =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(plan).map_err(|e| fault("0A000", e.strip_backtrace()))
}

/// The tables in it are live, but have no rows.
fn context(session: &Session) -> Result<SessionContext> {
    let engine = session.session()?;
    let options = engine.config_options().catalog.clone();
    // Under Postgres' rules, not the engine's: an index beyond an array gives NULL.
    let config = SessionConfig::new()
        .with_default_catalog_and_schema(&options.default_catalog, &options.default_schema)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false);
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(engine.runtime_env().clone())
        .with_catalog_list(engine.catalog_list().clone())
        .with_default_features()
        .build();
    let ctx = SessionContext::new_with_state(state);
    let broken = |e: &dyn std::fmt::Display| Error::internal(format!("setting up pg_catalog: {e}"));
    let catalog = ctx
        .catalog(&options.default_catalog)
        .ok_or_else(|| broken(&"the session has no catalog"))?;
    let tables = catalog
        .schema(&options.default_schema)
        .ok_or_else(|| broken(&"the session has no schema"))?;
    catalog
        .register_schema(&options.default_schema, Arc::new(NamesOnly(tables)))
        .map_err(|e| broken(&e))?;
    setup_pg_catalog(&ctx, &options.default_catalog, EmptyContextProvider)
        .map_err(|e| broken(&e))?;
    functions::register(&ctx);
    let planner = Arc::default();
    super::catalog::complete(catalog.as_ref(), &planner).map_err(|e| broken(&e))?;
    let _ = planner.set(ctx.state());
    Ok(ctx)
}

/// Types of the parameters that are planned, with their places from 0, ascending.
fn inferred_types(plan: &LogicalPlan) -> PgWireResult<Vec<(usize, Option<DataType>)>> {
    let mut types: Vec<(usize, Option<DataType>)> = plan
        .get_parameter_types()
        .map_err(failed)?
        .into_iter()
        .filter_map(|(id, t)| {
            Some((id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)?, t))
        })
        .collect();
    types.sort_by_key(|(number, _)| *number);
    Ok(types)
}

/// The largest number of a parameter.
struct Placeholders(usize);

impl Visitor for Placeholders {
    type Break = Box<Error>;

    fn pre_visit_value(&mut self, value: &ast::ValueWithSpan) -> walk::Flow {
        if let ast::Value::Placeholder(name) = &value.value
            && let Some(number) = name.strip_prefix('$').and_then(|n| n.parse().ok())
        {
            self.0 = self.0.max(number);
        }
        ControlFlow::Continue(())
    }
}

fn failed(e: impl Into<DataFusionError>) -> PgWireError {
    PgWireError::ApiError(Box::new(e.into()))
}
