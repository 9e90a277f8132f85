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
use datafusion_postgres::pgwire::messages::response::TransactionStatus;
use futures::stream;

use crate::SERVER_VERSION;
use crate::errors::fault;

/// Settings with one value. Other spellings of it are taken, too.
const FIXED: [(&str, &str, &[&str]); 7] = [
    // Obeyed it would change what casts and functions give; `AT TIME ZONE` says it in the query.
    ("timezone", "UTC", &UTC),
    ("standard_conforming_strings", "on", &["true", "yes", "1"]),
    ("client_encoding", "UTF8", &["utf-8", "unicode", "default"]),
    ("server_encoding", "UTF8", &[]),
    ("server_version", SERVER_VERSION, &[]),
    ("integer_datetimes", "on", &[]),
    ("max_identifier_length", "128", &[]),
];

const UTC: [&str; 12] = [
    "etc/utc",
    "gmt",
    "etc/gmt",
    "z",
    "zulu",
    "universal",
    "utc0",
    "+00",
    "+00:00",
    "0",
    "default",
    "local",
];

/// What clients ask for and nothing here changes, unless they set it. Any name can be set.
const SHOWN: [(&str, &str); 13] = [
    ("server_version_num", "160006"),
    ("transaction_isolation", "read committed"),
    ("default_transaction_isolation", "read committed"),
    ("transaction_read_only", "off"),
    ("default_transaction_read_only", "off"),
    ("in_hot_standby", "off"),
    ("is_superuser", "off"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("client_min_messages", "notice"),
    ("row_security", "off"),
];

/// What the library shows by itself.
const LIBRARY_SHOWS: [&str; 8] = [
    "application_name",
    "bytea_output",
    "catalogs",
    "datestyle",
    "extra_float_digits",
    "intervalstyle",
    "search_path",
    "statement_timeout",
];

/// Where the library keeps what SET said, of the settings that change what a query does.
const CHANGED: [&str; 1] = [super::session::STATEMENT_TIMEOUT];

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
                let words: Vec<_> = variable.iter().map(|v| v.value.to_lowercase()).collect();
                show(&words.join("."), client)
            }
            Statement::Reset(_) | Statement::Discard { .. } => {
                CHANGED.iter().for_each(|key| {
                    client.metadata_mut().remove(*key);
                });
                let reset = matches!(statement, Statement::Reset(_));
                done(if reset { "RESET" } else { "DISCARD ALL" })
            }
            Statement::UNLISTEN { .. } => done("UNLISTEN"),
            Statement::Savepoint { .. } => savepoint(client, "SAVEPOINT"),
            Statement::ReleaseSavepoint { .. } => savepoint(client, "RELEASE"),
            // One that had failed goes on (`connection.rs`).
            Statement::Rollback { savepoint: Some(_), .. } => savepoint(client, "ROLLBACK"),
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
            Statement::Reset(_)
                | Statement::Discard { .. }
                | Statement::UNLISTEN { .. }
                | Statement::Deallocate { .. }
                | Statement::Savepoint { .. }
                | Statement::ReleaseSavepoint { .. }
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

/// Nothing is written in a transaction here, so there is nothing to go back to.
fn savepoint(client: &mut dyn HookClient, tag: &str) -> Option<PgWireResult<Response>> {
    match client.transaction_status() {
        TransactionStatus::Idle => outside(tag),
        TransactionStatus::Transaction => done(tag),
        TransactionStatus::Error => Some(Err(fault(
            "25P02",
            "current transaction is aborted, commands ignored until end of transaction block",
        ))),
    }
}

/// Whether a text is ROLLBACK TO a savepoint.
pub fn goes_back(text: &str) -> bool {
    let mut words = text.split_ascii_whitespace().map(str::to_ascii_lowercase);
    let mut next = || words.next().unwrap_or_default();
    if next() != "rollback" {
        return false;
    }
    match next().as_str() {
        "to" => true,
        "work" | "transaction" => next() == "to",
        _ => false,
    }
}

fn outside(what: &str) -> Option<PgWireResult<Response>> {
    let message = format!("{what} can only be used in transaction blocks");
    Some(Err(fault("25P01", message)))
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
        Set::SetTimeZone { value, .. } => ("timezone".into(), std::slice::from_ref(value)),
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
    if name.eq_ignore_ascii_case("statement_timeout") && !is_time(&value) {
        let message = format!("invalid value for parameter \"statement_timeout\": \"{value}\"");
        return Some(fault("22023", message));
    }
    other(&name, &value)
}

/// A number of milliseconds, or with a unit that the library reads.
fn is_time(value: &str) -> bool {
    let value = value.trim_matches(['\'', '"']);
    let number = ["ms", "min", "s"].iter().find_map(|unit| value.strip_suffix(unit));
    value.eq_ignore_ascii_case("default") || number.unwrap_or(value).parse::<u64>().is_ok()
}

fn other(name: &str, value: &str) -> Option<PgWireError> {
    let (name, only, also) = FIXED.iter().find(|(n, ..)| n.eq_ignore_ascii_case(name))?;
    let value = value.trim_matches(['\'', '"']);
    let is_it = value.eq_ignore_ascii_case(only);
    if is_it || also.iter().any(|a| value.eq_ignore_ascii_case(a)) {
        return None;
    }
    let mut message = format!("{name} is always {only}, it cannot be '{value}'");
    if *name == "timezone" {
        message += &format!(": write `AT TIME ZONE '{value}'` in the query");
    }
    Some(fault("0A000", message))
}

/// The value of a setting that nobody has changed.
pub fn usual(name: &str) -> Option<&'static str> {
    let fixed = FIXED.iter().find(|(n, ..)| *n == name).map(|(_, value, _)| *value);
    fixed.or_else(|| SHOWN.iter().find(|(n, _)| *n == name).map(|(_, value)| *value))
}

fn show(name: &str, client: &mut dyn HookClient) -> Option<PgWireResult<Response>> {
    // SHOW TIME ZONE, SHOW TRANSACTION ISOLATION LEVEL
    let name = match name {
        "time.zone" => "timezone",
        "transaction.isolation.level" => "transaction_isolation",
        name => name,
    };
    let is_fixed = FIXED.iter().any(|(n, ..)| *n == name);
    let fixed = usual(name).filter(|_| is_fixed);
    let set = || client.metadata().get(name).map(String::as_str);
    match fixed.or_else(set).or_else(|| usual(name)) {
        Some(value) => Some(shown(name, value)),
        None if LIBRARY_SHOWS.contains(&name) => None,
        None => {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            Some(Err(fault("42704", message)))
        }
    }
}

fn shown(name: &str, value: &str) -> PgWireResult<Response> {
    let field = FieldInfo::new(name.into(), None, None, Type::TEXT, FieldFormat::Text);
    let fields = Arc::new(vec![field]);
    let mut row = DataRowEncoder::new(fields.clone());
    row.encode_field(&Some(value))?;
    let row = row.take_row();
    Ok(Response::Query(QueryResponse::new(fields, stream::iter([Ok(row)]))))
}
