//! From SQL text to definitions and plans: our dialect, our statements, Spark's semantics on
//! DataFusion, errors with places. No execution here. Read `statement.rs` for what can be
//! written, `session.rs` for what it means, `plan.rs` for the way of a query.

pub mod functions;
pub mod stream_plan;
pub mod walk;
pub mod window;

mod alter_topic;
mod ansi;
mod arithmetic;
mod array_text;
mod check;
mod create_sink;
mod create_source;
mod create_topic;
mod create_view;
mod decimals;
mod dialect;
mod drop;
mod element_at;
mod error;
mod error_text;
mod exact_sums;
mod explain;
mod float_keys;
mod hidden;
mod int_literals;
mod intervals;
mod letter_case;
mod micros;
mod nesting;
mod options;
mod order;
mod parameters;
mod plan;
mod postgres;
mod postgres_literals;
mod references;
mod rewrite;
mod same_names;
mod session;
mod show;
mod spark_names;
mod split;
mod statement;
mod syntax;
mod time_windows;
mod tokens;
mod topic_options;
mod topic_table;
mod user;
mod using;
mod view_rules;
mod window_names;
mod words;

pub use alter_topic::{TopicChange, altered};
pub use check::{check_exprs, check_faults};
pub use create_sink::DELIVERIES;
pub use dialect::WatershedDialect;
pub use error::{error, runtime_error, stream_error};
pub use intervals::day_time;
pub use nesting::{STATEMENT_BYTES_MAX, TEXT_BYTES_MAX};
pub use order::order;
pub use parameters::{Parameter, Prepared, bind, prepare};
pub use plan::{plan, plan_query, plan_view};
pub use postgres::{PostgresStatement, from_postgres};
pub use same_names::shown_schema;
pub use session::{CATALOG, SCHEMA, SessionOptions, batch_state};
pub use split::{Split, split};
pub use statement::{Existing, ExplainWhat, ObjectKind, Show, Statement, Text, parse};
pub use time_windows::WINDOW_COLUMN;
pub use topic_options::OPTIONS as TOPIC_OPTIONS;
pub use topic_table::{TopicTable, shown_columns, table_schema};
pub use view_rules::check_view;

#[cfg(test)]
mod error_tests;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod parameters_tests;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod statement_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod view_tests;
#[cfg(test)]
mod window_tests;
