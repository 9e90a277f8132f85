//! A continuous query as plain data: its operators (`operators/`) and what flows between them
//! (`graph.rs`), what a pipeline remembers of it (`checkpoint.rs`), and the arithmetic that batch
//! and stream share (`exact.rs`, `floats.rs`). `sql` makes graphs, `stream` runs them, `state`
//! keeps them.

pub mod error;
pub mod exact;
pub mod floats;

mod checkpoint;
mod digest;
mod graph;
mod operators;
mod window;

pub use checkpoint::{Checkpoint, Delta, FORMAT_VERSION, Position, REBUILD, Stored};
pub use digest::{POSITIONS, TIME_OPERATOR};
pub use graph::{Graph, Node, Output, OutputKey};
pub use operators::{
    Aggregate, Arg, Calc, Call, Expand, Expr, GroupingSet, Join, Key, LateRule, NodeKind, OnClose,
    OrderBy, Over, OverCall, Source, Step, TopN, Union, Unnest, UnnestColumn, Values, Watermark,
};
pub use window::{KeyWindow, Window, WindowPart};
