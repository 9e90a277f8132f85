//! The archive: each topic is a Delta table that any Delta reader opens. The log appends sealed
//! ranges of offsets, each exactly once; queries get a provider and the offsets it covers from one
//! table version. No streams here. Read `lake.rs`, then `append.rs`.

mod append;
mod check;
mod columns;
mod evolve;
mod exact;
mod fault;
mod lake;
mod place;
mod ranges;

pub use check::Checked;
pub use columns::{Declared, check_columns, with_hidden};
pub use lake::{Appended, Lake, LakeSnapshot};
pub use ranges::{Gap, Range};
