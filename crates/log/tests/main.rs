//! The log and its coordinators from outside, in one binary: `partitions` on a simulated and the
//! real disk, `coordinators` as Kafka's clients meet them, `sim` the whole broker in one seed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod coordinators;
mod partitions;
mod sim;
