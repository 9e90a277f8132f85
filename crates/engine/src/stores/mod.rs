//! The stores of a project and its folder: log, keyed store, lake, locks, the record of what is
//! kept.
//! Must not know: what a topic, a view or a query means.

pub mod backup;
pub mod blocking;
pub mod check;
pub mod lock;
pub mod memory;
pub mod meta;
pub mod project;
pub mod restore;
pub mod text;
