//! What a query goes through before it is planned: one change to its syntax tree each.

pub mod aggregate_names;
pub mod array_text;
pub mod hidden;
pub mod letter_case;
pub mod pivot;
pub mod references;
pub mod rewrite;
pub mod same_names;
pub mod spark_names;
pub mod unnest_tables;
pub mod using;
pub mod window_names;
pub mod with_ties;
