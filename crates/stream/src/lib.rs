//! Continuous operators: what batch would answer, kept up to date as rows come and go. Pure and
//! synchronous: a `Graph` (made by `sql`) is run by a `Job` (driven by `engine`), which takes
//! decoded batches and gives changes and state; no I/O, no clock, no threads in here.
//! Read `graph.rs`, then `job.rs`, then an operator.

pub mod exact;
pub mod floats;

mod accumulators;
mod aggregate;
mod calc;
mod change;
mod digest;
mod error;
mod expand;
mod explain;
mod graph;
mod group_index;
mod job;
mod join;
mod keyed;
mod late;
mod multiset;
mod operator;
mod over;
mod rows;
mod snapshot;
mod sorted_rows;
mod top_n;
mod union;
mod unnest;
mod watermark;

pub use change::{Change, consolidate};
pub use explain::{ExplainRow, explain};
pub use graph::{
    Aggregate, Arg, Calc, Call, Expand, Expr, Graph, GroupingSet, Join, Key, KeyWindow, LateRule,
    Node, NodeKind, OrderBy, Output, OutputKey, Over, OverCall, Source, Step, TopN, Unnest,
    UnnestColumn, Watermark, WindowPart,
};
pub use job::{Job, LateRow, OperatorStats, Sealed, TIME_OPERATOR};
pub use snapshot::STATE_FORMAT;
pub use state::{Checkpoint, Delta};
