//! From SQL text to definitions and plans: our dialect, our statements, Spark's semantics on
//! DataFusion, errors with places. No execution here. Read `statements/` for what can be
//! written, `session.rs` for what it means, `plan.rs` for the way of a query.

pub mod functions;
pub mod stream_plan;
pub mod walk;

pub use functions::window;

mod analyzer;
mod check;
mod dialect;
mod error;
mod error_text;
mod latest_rows;
mod nesting;
mod on_close;
mod parameters;
mod passes;
mod plan;
mod plan_walk;
mod postgres;
mod session;
mod source;
mod statements;
mod syntax;
mod tokens;
mod topic_table;
mod tree;
mod words;
mod write_plan;

pub use analyzer::intervals::day_time;
pub use analyzer::time_windows::WINDOW_COLUMN;
pub use analyzer::view_rules::check_view;
pub use check::{check_exprs, check_faults};
pub use dialect::WatershedDialect;
pub use error::{error, runtime_error, stream_error};
pub use latest_rows::latest_rows;
pub use nesting::{STATEMENT_BYTES_MAX, TEXT_BYTES_MAX};
pub use on_close::on_close;
pub use parameters::{Parameter, Prepared, bind, prepare, refuse_parameters};
pub use passes::same_names::shown_schema;
pub use plan::{plan, plan_query, plan_view};
pub use postgres::statement::{PostgresStatement, from_postgres};
pub use session::{CATALOG, SCHEMA, SessionOptions, batch_state};
pub use statements::alter_topic::{TopicChange, altered};
pub use statements::create_sink::DELIVERIES;
pub use statements::order::order;
pub use statements::split::{Split, split};
pub use statements::statement::{Existing, ExplainWhat, Show, Statement, Text, parse};
pub use statements::topic_options::OPTIONS as TOPIC_OPTIONS;
pub use statements::write::{Verb, Write};
pub use topic_table::{TopicTable, shown_columns, table_schema};

pub use write_plan::{ACTION, Action, KEY, WritePlan, plan_write};

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
