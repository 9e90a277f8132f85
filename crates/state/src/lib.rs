//! What a pipeline must remember across a restart: one checkpoint and the deltas of its operators.
//! Both are staged into the same `kv` batch as the view's rows, so an epoch is true as a whole or
//! not at all. Knows Arrow and `kv`, no operators. Read `checkpoint.rs`, then `store.rs`.

mod checkpoint;
mod ipc;
mod store;

pub use checkpoint::{Checkpoint, Delta, FORMAT_VERSION, Position};
pub use store::{KEYSPACE, load, load_checkpoint, remove, should_compact, stage};
