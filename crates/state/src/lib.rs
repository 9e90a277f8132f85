//! What a pipeline must remember across a restart: one checkpoint and the deltas of its operators.
//! Both are staged into the same `kv` batch as the view's rows, so an epoch is true as a whole or
//! not at all. Knows Arrow and `kv`, no operators. What they are stands in `graph::checkpoint`.

mod ipc;
mod store;

pub use store::{Deltas, KEYSPACE, load, load_checkpoint, remove, should_compact, stage};
