//! A platform without doors, clock and threads: `watershed test`, parity and crash tests drive it.
//! Must not know: a door.

pub mod project_test;
pub mod replay;
