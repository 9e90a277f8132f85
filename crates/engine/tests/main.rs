//! A whole platform in a scratch folder, driven as its users drive it: SQL, events as JSON, rows
//! out. One file for each promise. Crashes are real ones: the test starts itself once more as a
//! child that ends at a fail point (`common::fail_point`), then opens what the child left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod parity;
mod platform;
