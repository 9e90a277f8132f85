//! Transactions: records in several partitions, and offsets of groups, that count all together or
//! not at all (KIP-98, the protocol before KIP-890's second part). A synchronous state machine;
//! partitions are reached through `Markers`, time comes from a `Clock` and from `tick`.
//!
//! Read `api.rs`, then `transaction.rs` (its states), then `end.rs`.

mod api;
mod coordinator;
mod end;
mod init_producer_id;
mod producer_ids;
mod transaction;

pub use api::*;
pub use coordinator::TransactionCoordinator;
