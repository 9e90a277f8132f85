//! Simulated twins of the doors in `common`: a clock that stands until it is moved, and a disk in
//! memory that loses, tears and refuses. All chance comes from one seed, so that a failing test is
//! run again by its seed. No product code here.

mod clock;
mod disk;

pub use clock::VirtualClock;
pub use disk::{Counts, SimDisk};
