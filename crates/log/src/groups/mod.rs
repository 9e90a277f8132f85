//! Groups of consumers: who is in a group, who reads which partitions, and how far they have read.
//! Both of Kafka's protocols, the classic one (the leading client assigns) and the one of KIP-848
//! (the server assigns). Synchronous state machines: no sockets, no runtime; time comes from a
//! `Clock` and from `tick`.
//!
//! Read `api.rs` (what is asked and answered), then `coordinator.rs`. Not served: subscriptions by
//! regular expression, and the change of a group with members from one protocol to the other.

mod admin;
mod api;
mod assignor;
mod classic;
mod classic_requests;
mod config;
mod consumer;
mod consumer_heartbeat;
mod coordinator;
mod group;
mod member_protocol;
mod offsets;

pub use api::*;
pub use config::{GroupConfig, MemberIds};
pub use coordinator::GroupCoordinator;
pub use member_protocol::assigned_partitions;
pub(crate) use offsets::all_failed;
