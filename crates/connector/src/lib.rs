//! What a connector is: the `Source` and `Sink` traits, how its options are described and checked,
//! and what is written once for all of them (retry, conformance). No driver lives here.
//! Read `source.rs` and `sink.rs` first; the drivers are in the crate `connectors`.

pub mod conformance;
mod health;
mod options;
mod retry;
mod sink;
mod source;
mod spec;

pub use health::Health;
pub use options::{Fault, Values, faults, place_faults};
pub use retry::{Backoff, RetryAfter, RetrySink, RetrySource};
pub use sink::Sink;
pub use source::{Context, Rows, Source, SourceBatch, columns_of};
pub use spec::{Delivery, OptionKind, OptionSpec, Promise, Role, Spec, common_options};
