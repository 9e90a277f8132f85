//! What a connector is: the `Source` and `Sink` traits, how its options are described and checked,
//! and what is written once for all of them (retry, conformance). No driver lives here.
//! Read `source.rs` and `sink.rs` first; the drivers are in the crate `connectors`.

pub mod conformance;
mod discreet;
mod health;
mod options;
mod outside;
mod retry;
mod secrets;
mod sink;
mod source;
mod spec;

pub use discreet::Discreet;
pub use health::Health;
pub use options::{Fault, Values, faults, place_faults};
pub use outside::{Outside, Reach, Rules, is_public, not_public};
pub use retry::{Backoff, RetryAfter, RetrySink, RetrySource};
pub use secrets::{STARS, Scrub, Secrets, masked, moved_out, tighten, without_secrets};
pub use sink::Sink;
pub use source::{Context, Rows, Source, SourceBatch, columns_of};
pub use spec::{Delivery, OptionKind, OptionSpec, Promise, Role, Spec, common_options};
