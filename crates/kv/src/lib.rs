//! The keyed store behind views, operator state and committed offsets: keyspaces of sorted bytes,
//! one atomic durable batch over all of them, consistent snapshots. It is fjall 3 with our error
//! kinds and our promises about full disks and damage. No SQL and no Arrow here. Read `store.rs`.

mod backup;
mod batch;
mod check;
mod fault;
mod group_commit;
mod marks;
mod read;
mod store;
mod write;

pub use batch::Batch;
pub use check::{Checked, check};
pub use fault::free_bytes;
pub use read::{Keyspace, Pair, Pairs, Snapshot, Value};
pub use store::{Kv, Options};
