//! The DataFusion session every query runs in, with Spark's ANSI semantics (DESIGN 6.1). Batch
//! and stream plan with the same one, so a text means the same in both.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::Dialect;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder, SessionStateDefaults};
use datafusion::logical_expr::planner::{ExprPlanner, TypePlanner};
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::prelude::SessionConfig;
use datafusion::sql::sqlparser::ast;
use datafusion_spark::planner::SparkFunctionPlanner;

use crate::analyzer::ansi::{ArrayIndex, CheckedArithmetic, MixedNumbers};
use crate::analyzer::arithmetic::Arithmetic;
use crate::analyzer::counted_sets::CountedSets;
use crate::analyzer::distinct_on::FirstOfEach;
use crate::analyzer::float_keys::FloatKeys;
use crate::analyzer::time_windows::TimeWindows;
use crate::functions;
use crate::passes::letter_case::FieldNames;

/// The catalog and schema that unqualified names belong to.
pub const CATALOG: &str = "watershed";
pub const SCHEMA: &str = "public";

#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    pub target_partitions: usize,
    pub batch_size: usize,
}

impl Default for SessionOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, |n| n.get());
        Self { target_partitions: cores, batch_size: 8192 }
    }
}

pub fn batch_state(runtime: Arc<RuntimeEnv>, options: SessionOptions) -> SessionState {
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![
        Arc::new(Arithmetic),
        Arc::new(FieldNames),
        Arc::new(ArrayIndex),
        Arc::new(SparkFunctionPlanner),
    ];
    planners.extend(SessionStateDefaults::default_expr_planners());
    let mut rules = Analyzer::new().rules;
    rules.insert(0, Arc::new(CountedSets));
    rules.insert(1, Arc::new(MixedNumbers));
    rules.push(Arc::new(FirstOfEach));
    rules.push(Arc::new(TimeWindows));
    rules.push(Arc::new(CheckedArithmetic));
    rules.push(Arc::new(FloatKeys));
    SessionStateBuilder::new()
        .with_default_features()
        .with_config(config(options))
        .with_runtime_env(runtime)
        .with_expr_planners(planners)
        .with_type_planner(Arc::new(SqlTypes))
        .with_analyzer_rules(rules)
        .with_scalar_functions(functions::scalars())
        .with_aggregate_functions(functions::aggregates())
        .with_window_functions(functions::windows())
        .build()
}

fn config(options: SessionOptions) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(true)
        .with_information_schema(true)
        .with_target_partitions(options.target_partitions)
        .with_batch_size(options.batch_size);
    let o = config.options_mut();
    // Our own texts are parsed by `plan`; this is for doors that let DataFusion parse.
    o.sql_parser.dialect = Dialect::PostgreSQL;
    o.sql_parser.parse_float_as_decimal = true;
    o.sql_parser.default_null_ordering = "nulls_min".into();
    o.sql_parser.map_string_types_to_utf8view = false;
    o.sql_parser.collect_spans = true;
    o.execution.time_zone = Some("UTC".into());
    o.execution.enable_ansi_mode = true;
    o.execution.parquet.schema_force_view_types = false;
    config
}

/// Types in casts and typed literals are the ones a topic can have.
#[derive(Debug)]
struct SqlTypes;

impl TypePlanner for SqlTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        if matches!(sql_type, ast::DataType::Interval { .. } | ast::DataType::Time(..)) {
            return Ok(None);
        }
        let data_type: DataType = formats::types::parse(&sql_type.to_string())
            .map_err(|e| DataFusionError::External(Box::new(e)))?;
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}
