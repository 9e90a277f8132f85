//! What clients ask about a Postgres server (pg_catalog, SET, SHOW, transactions), answered by
//! `datafusion-postgres` in a session of its own. Only its parts are used: its own handler of the
//! extended protocol would take all statements, ours too.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast;
use datafusion_postgres::arrow_pg::datatypes::df;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::pgwire::api::portal::Portal;
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::api::results::Response;
use datafusion_postgres::pgwire::api::stmt::QueryParser;
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{ClientInfo, ClientPortalStore, Type};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::types::format::FormatOptions;
use datafusion_postgres::{DfSessionService, Parser, QueryHook};
use futures::Sink;

/// How the library keeps a statement.
pub type Known = (String, Option<(ast::Statement, LogicalPlan)>);

pub struct Library {
    ctx: Arc<SessionContext>,
    service: DfSessionService,
    hooks: Vec<Arc<dyn QueryHook>>,
}

impl Library {
    pub fn new(ctx: Arc<SessionContext>) -> Library {
        let hooks: Vec<Arc<dyn QueryHook>> =
            vec![Arc::new(SetShowHook), Arc::new(TransactionStatementHook)];
        let service = DfSessionService::new_with_hooks(ctx.clone(), hooks.clone());
        Library { ctx, service, hooks }
    }

    pub fn parser(&self) -> Arc<Parser> {
        self.service.query_parser()
    }

    pub async fn simple<C>(&self, client: &mut C, text: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        SimpleQueryHandler::do_query(&self.service, client, text).await
    }

    /// Runs a statement that its parser gave, with the values of the portal.
    pub async fn run<C, S: Clone>(
        &self,
        client: &mut C,
        portal: &Portal<S>,
        known: &Known,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let Some((statement, plan)) = &known.1 else { return Ok(Response::EmptyQuery) };
        let wire_types = self.parser().get_parameter_types(known)?;
        let wire_types: Vec<Option<&Type>> = wire_types.iter().map(Some).collect();
        let inferred = inferred_types(plan)?;
        let inferred: Vec<Option<&DataType>> = inferred.iter().map(Option::as_ref).collect();
        let values = df::deserialize_parameters_with_server_types(portal, &inferred, &wire_types)?;
        for hook in &self.hooks {
            let handled =
                hook.handle_extended_query(statement, plan, &values, &self.ctx, client).await;
            if let Some(response) = handled {
                return response;
            }
        }
        let plan = plan.clone().replace_params_with_values(&values).map_err(failed)?;
        let frame = self.ctx.execute_logical_plan(plan).await.map_err(failed)?;
        let options = Arc::new(FormatOptions::from_client_metadata(client.metadata()));
        let rows = df::encode_dataframe(frame, &portal.result_column_format, Some(options)).await?;
        Ok(Response::Query(rows))
    }
}

/// Types of `$1`, `$2`, … in their order.
fn inferred_types(plan: &LogicalPlan) -> PgWireResult<Vec<Option<DataType>>> {
    let mut types: Vec<(u32, Option<DataType>)> = plan
        .get_parameter_types()
        .map_err(failed)?
        .into_iter()
        .map(|(id, t)| (id.trim_start_matches('$').parse().unwrap_or(u32::MAX), t))
        .collect();
    types.sort_by_key(|(number, _)| *number);
    Ok(types.into_iter().map(|(_, t)| t).collect())
}

fn failed(e: DataFusionError) -> PgWireError {
    PgWireError::ApiError(Box::new(e))
}
