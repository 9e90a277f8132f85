//! Continuous operators: what batch would answer, kept up to date as rows come and go. Pure and
//! synchronous: a `graph::Graph` (made by `sql`) is run by a `Job` (driven by `engine`), which
//! takes decoded batches and gives changes and state; no I/O, no clock, no threads in here.
//! Read `job.rs`, then an operator
//! (`operators.rs` lists them), then `keyed_state.rs`, which is under all that keep state.

mod accumulators;
mod aggregate;
mod calc;
mod change;
mod expand;
mod explain;
mod group_index;
mod job;
mod join;
mod keyed_state;
mod keys;
mod late;
mod multiset;
mod on_close;
mod operator;
mod operators;
mod over;
mod rows;
mod snapshot;
mod sorted_rows;
mod source;
mod top_n;
mod union;
mod unnest;
mod values;
mod watermark;
mod windows;

pub use change::{Change, consolidate};
pub use explain::{ExplainRow, explain};
pub use job::{Job, LateRow, OperatorStats, Sealed};
pub use snapshot::STATE_FORMAT;
