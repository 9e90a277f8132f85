//! Kafka's consumer groups and transactions over the keyed store.
//! Must not know: SQL.

pub mod consumer_groups;
pub mod coordination;
pub mod reset_offsets;
