//! A continuous query as plain data: its operators and what flows between them (`graph.rs`), what
//! a pipeline remembers of it (`checkpoint.rs`), and the arithmetic that batch and stream share
//! (`exact.rs`, `floats.rs`). `sql` makes graphs, `stream` runs them, `state` keeps them.

pub mod error;
pub mod exact;
pub mod floats;

mod checkpoint;
mod digest;
mod graph;

pub use checkpoint::{Checkpoint, Delta, FORMAT_VERSION, Position, REBUILD, Stored};
pub use digest::{POSITIONS, TIME_OPERATOR};
pub use graph::{
    Aggregate, Arg, Calc, Call, Expand, Expr, Graph, GroupingSet, Join, Key, KeyWindow, LateRule,
    Node, NodeKind, OrderBy, Output, OutputKey, Over, OverCall, Source, Step, TopN, Unnest,
    UnnestColumn, Watermark, WindowPart,
};
