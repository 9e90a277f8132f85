//! SET and SHOW of what cannot be chosen here, and RESET, DISCARD and the like, which connection
//! pools send. The library would say yes to any SET, also to one that changes how texts are read.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{Expr, Set, Statement};
use datafusion_postgres::QueryHook;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::pgwire::api::results::{
    DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag,
};
use datafusion_postgres::pgwire::api::{ClientInfo, Type};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use futures::stream;

use super::SERVER_VERSION;
use super::errors::fault;

/// Settings with one value. Other spellings of it are taken, too.
const FIXED: [(&str, &str, &[&str]); 6] = [
    ("standard_conforming_strings", "on", &["true", "yes", "1"]),
    ("client_encoding", "UTF8", &["utf-8", "unicode", "default"]),
    ("server_encoding", "UTF8", &[]),
    ("server_version", SERVER_VERSION, &[]),
    ("integer_datetimes", "on", &[]),
    ("max_identifier_length", "128", &[]),
];

/// Where the library keeps what SET said, of the settings that change what a query does.
const CHANGED: [&str; 2] = [super::session::STATEMENT_TIMEOUT, "timezone"];

pub struct Settings;

#[async_trait]
impl QueryHook for Settings {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        _: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        match statement {
            Statement::Set(set) => refused_set(set).map(Err),
            Statement::ShowVariable { variable } => {
                let [name] = variable.as_slice() else { return None };
                let found = FIXED.iter().find(|(n, ..)| name.value.eq_ignore_ascii_case(n));
                found.map(|(name, value, _)| shown(name, value))
            }
            Statement::Reset(_) | Statement::Discard { .. } => {
                CHANGED.iter().for_each(|key| {
                    client.metadata_mut().remove(*key);
                });
                let reset = matches!(statement, Statement::Reset(_));
                done(if reset { "RESET" } else { "DISCARD ALL" })
            }
            Statement::UNLISTEN { .. } => done("UNLISTEN"),
            _ => None,
        }
    }

    async fn handle_extended_parse_query(
        &self,
        statement: &Statement,
        _: &SessionContext,
        _: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        let ours = matches!(
            statement,
            Statement::Reset(_) | Statement::Discard { .. } | Statement::UNLISTEN { .. }
        );
        ours.then(|| {
            Ok(LogicalPlan::EmptyRelation(datafusion::logical_expr::EmptyRelation {
                produce_one_row: false,
                schema: Arc::new(datafusion::common::DFSchema::empty()),
            }))
        })
    }

    async fn handle_extended_query(
        &self,
        statement: &Statement,
        _: &LogicalPlan,
        _: &ParamValues,
        ctx: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        self.handle_simple_query(statement, ctx, client).await
    }
}

fn done(tag: &str) -> Option<PgWireResult<Response>> {
    Some(Ok(Response::Execution(Tag::new(tag))))
}

/// Why a SET cannot be done.
fn refused_set(set: &Set) -> Option<PgWireError> {
    let (name, values) = match set {
        Set::SingleAssignment { variable, values, .. } => {
            (variable.to_string().replace('"', ""), values.as_slice())
        }
        Set::SetNames { charset_name, .. } => {
            return other("client_encoding", &charset_name.value);
        }
        _ => return None,
    };
    let value = match values {
        [Expr::Value(v)] => v.value.clone().into_string().unwrap_or_else(|| v.to_string()),
        [value] => value.to_string(),
        _ => String::new(),
    };
    other(&name, &value)
}

fn other(name: &str, value: &str) -> Option<PgWireError> {
    let (name, only, also) = FIXED.iter().find(|(n, ..)| n.eq_ignore_ascii_case(name))?;
    let value = value.trim_matches(['\'', '"']);
    let is_it = value.eq_ignore_ascii_case(only);
    if is_it || also.iter().any(|a| value.eq_ignore_ascii_case(a)) {
        return None;
    }
    Some(fault("0A000", format!("{name} is always {only}, it cannot be '{value}'")))
}

fn shown(name: &str, value: &str) -> PgWireResult<Response> {
    let field = FieldInfo::new(name.into(), None, None, Type::TEXT, FieldFormat::Text);
    let fields = Arc::new(vec![field]);
    let mut row = DataRowEncoder::new(fields.clone());
    row.encode_field(&Some(value))?;
    let row = row.take_row();
    Ok(Response::Query(QueryResponse::new(fields, stream::iter([Ok(row)]))))
}
