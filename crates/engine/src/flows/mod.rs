//! What runs: pipelines of views and sinks, their state, deliveries, sources, live changes.
//! Must not know: the text of a definition.

pub mod connector_task;
pub mod late_rows;
pub mod outbox;
pub mod pipeline;
pub mod pipeline_status;
pub mod sinks;
pub mod sources;
pub mod state_budget;
pub mod subscription;
pub mod uncomputable;
pub mod view_store;
