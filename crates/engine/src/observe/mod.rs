//! What runs and how well: status, figures, problems.
//! Must not know: how to change anything.

pub mod log_metrics;
pub mod metrics;
pub mod operators;
pub mod problems;
pub mod prometheus;
pub mod rates;
pub mod status;
