//! What the library's `pg_catalog` lacks, and `information_schema` as Postgres has it: views over
//! the library's tables, planned when they are asked for.

use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, ident, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;

/// Columns that tables of the library lack: lists of texts, which are always NULL.
const COLUMNS: [(&str, &[&str]); 1] = [("pg_class", &["reloptions", "relacl"])];

/// Tables of `pg_catalog` that the library does not have, or not so.
const CATALOG: [(&str, &str); 3] = [
    (
        "pg_roles",
        "SELECT CAST(10 AS INT) AS oid, 'postgres' AS rolname, TRUE AS rolsuper,
           TRUE AS rolinherit, TRUE AS rolcreaterole, TRUE AS rolcreatedb, TRUE AS rolcanlogin,
           FALSE AS rolreplication, -1 AS rolconnlimit, CAST(NULL AS TEXT) AS rolpassword,
           CAST(NULL AS TIMESTAMP) AS rolvaliduntil, FALSE AS rolbypassrls,
           CAST(NULL AS TEXT[]) AS rolconfig",
    ),
    (
        "pg_settings",
        "SELECT column1 AS name, column2 AS setting, CAST(NULL AS TEXT) AS unit,
           'Preset Options' AS category, '' AS short_desc, CAST(NULL AS TEXT) AS extra_desc,
           'internal' AS context, 'string' AS vartype, 'default' AS source,
           column2 AS boot_val, column2 AS reset_val
         FROM (VALUES ('max_index_keys', '32'), ('max_identifier_length', '128'),
           ('default_transaction_isolation', 'read committed'), ('TimeZone', 'UTC'),
           ('server_version', '16.6'), ('server_version_num', '160006'),
           ('server_encoding', 'UTF8'), ('client_encoding', 'UTF8'),
           ('standard_conforming_strings', 'on'), ('integer_datetimes', 'on'),
           ('search_path', 'public'), ('max_connections', '100'), ('block_size', '8192')) AS s",
    ),
    (
        "pg_stat_activity",
        "SELECT CAST(NULL AS INT) AS pid, CAST(NULL AS TEXT) AS datname,
           CAST(NULL AS TEXT) AS usename, CAST(NULL AS TEXT) AS application_name,
           CAST(NULL AS TEXT) AS state, CAST(NULL AS TEXT) AS query WHERE FALSE",
    ),
];

const INFORMATION_SCHEMA: [(&str, &str); 7] = [
    (
        "schemata",
        "SELECT current_database() AS catalog_name, nspname AS schema_name,
           'postgres' AS schema_owner FROM pg_catalog.pg_namespace",
    ),
    (
        "tables",
        "SELECT current_database() AS table_catalog, n.nspname AS table_schema,
           c.relname AS table_name,
           CASE WHEN c.relkind IN ('v', 'm') THEN 'VIEW' ELSE 'BASE TABLE' END AS table_type,
           'NO' AS is_insertable_into, 'NO' AS is_typed
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f')",
    ),
    (
        "views",
        "SELECT current_database() AS table_catalog, n.nspname AS table_schema,
           c.relname AS table_name, CAST(NULL AS TEXT) AS view_definition,
           'NONE' AS check_option, 'NO' AS is_updatable
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('v', 'm')",
    ),
    (
        "columns",
        "SELECT current_database() AS table_catalog, n.nspname AS table_schema,
           c.relname AS table_name, a.attname AS column_name,
           CAST(a.attnum AS INT) AS ordinal_position, CAST(NULL AS TEXT) AS column_default,
           CASE WHEN a.attnotnull THEN 'NO' ELSE 'YES' END AS is_nullable,
           CASE WHEN t.typname LIKE '\\_%' THEN 'ARRAY'
                ELSE format_type(a.atttypid, NULL) END AS data_type,
           CAST(NULL AS INT) AS character_maximum_length,
           CASE t.typname WHEN 'int2' THEN 16 WHEN 'int4' THEN 32 WHEN 'int8' THEN 64
             WHEN 'float4' THEN 24 WHEN 'float8' THEN 53 END AS numeric_precision,
           CASE WHEN t.typname IN ('int2', 'int4', 'int8') THEN 0 END AS numeric_scale,
           CASE WHEN t.typname LIKE 'timestamp%' THEN 6 END AS datetime_precision,
           current_database() AS udt_catalog, 'pg_catalog' AS udt_schema, t.typname AS udt_name,
           'NO' AS is_identity, 'NEVER' AS is_generated, 'NO' AS is_updatable
         FROM pg_catalog.pg_attribute a
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         WHERE a.attnum > 0",
    ),
    ("table_constraints", EMPTY_CONSTRAINTS),
    ("key_column_usage", EMPTY_CONSTRAINTS),
    ("referential_constraints", EMPTY_CONSTRAINTS),
];

const EMPTY_CONSTRAINTS: &str = "SELECT current_database() AS constraint_catalog,
    'public' AS constraint_schema, '' AS constraint_name, current_database() AS table_catalog,
    'public' AS table_schema, '' AS table_name, '' AS column_name, '' AS constraint_type,
    1 AS ordinal_position WHERE FALSE";

/// Puts the views before the library's tables. `planner` gives the session they are planned in,
/// once there is one.
pub fn complete(
    catalog: &dyn CatalogProvider,
    planner: &Arc<OnceLock<SessionState>>,
) -> Result<()> {
    let plain = catalog
        .schema("pg_catalog")
        .ok_or_else(|| DataFusionError::Internal("there is no pg_catalog".into()))?;
    let views =
        |views: &'static [(&str, &str)], under| Views { views, under, planner: planner.clone() };
    catalog.register_schema("pg_catalog", Arc::new(views(&CATALOG, Some(plain))))?;
    catalog.register_schema("information_schema", Arc::new(views(&INFORMATION_SCHEMA, None)))?;
    Ok(())
}

/// Views by their text, before the tables of another schema.
struct Views {
    views: &'static [(&'static str, &'static str)],
    under: Option<Arc<dyn SchemaProvider>>,
    planner: Arc<OnceLock<SessionState>>,
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Views")
    }
}

#[async_trait]
impl SchemaProvider for Views {
    fn table_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.views.iter().map(|(n, _)| n.to_string()).collect();
        for name in self.under.iter().flat_map(|under| under.table_names()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let view = self.views.iter().find(|(n, _)| *n == name);
        match (view, self.planner.get(), &self.under) {
            (Some((_, text)), Some(state), _) => {
                let mut statements = PostgresCompatibilityParser::new().parse(text)?;
                let statement = statements
                    .pop()
                    .ok_or_else(|| DataFusionError::Internal("a view without a text".into()))?;
                let statement = Statement::Statement(Box::new(statement));
                let plan = state.statement_to_plan(statement).await?;
                Ok(Some(Arc::new(ViewTable::new(plan, Some((*text).to_string())))))
            }
            (_, _, Some(under)) => match (under.table(name).await?, wanting(name)) {
                (Some(table), Some(columns)) => with_columns(name, table, columns).map(Some),
                (table, _) => Ok(table),
            },
            _ => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.views.iter().any(|(n, _)| *n == name)
            || self.under.as_ref().is_some_and(|under| under.table_exist(name))
    }
}

fn wanting(table: &str) -> Option<&'static [&'static str]> {
    COLUMNS.iter().find(|(name, _)| *name == table).map(|(_, columns)| *columns)
}

fn with_columns(
    name: &str,
    table: Arc<dyn TableProvider>,
    columns: &[&str],
) -> Result<Arc<dyn TableProvider>> {
    let own: Vec<Expr> = table.schema().fields().iter().map(|f| ident(f.name())).collect();
    let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let none = ScalarValue::try_from(&DataType::List(item))?;
    let more = columns.iter().map(|c| lit(none.clone()).alias(*c));
    let plan = LogicalPlanBuilder::scan(name, provider_as_source(table), None)?
        .project(own.into_iter().chain(more))?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
