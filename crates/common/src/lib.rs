//! What three or more crates share: the error type, ids, units, the configuration tree and the
//! doors to the outside (`Clock`, `Disk`). Nothing here knows a topic, a query or a socket.
//! Read `error.rs` first; then `disk.rs`.

pub mod clock;
pub mod config;
pub mod disk;
pub mod error;
pub mod fail_point;
pub mod gauge;
pub mod id;
pub mod nearest;
pub mod problem;
pub mod secret;
pub mod units;

pub use clock::{Clock, SystemClock};
pub use config::{Config, StoppedViews};
pub use disk::{Disk, DiskFile, SystemDisk};
pub use error::{Error, Kind, Place, Result};
pub use fail_point::fail_point;
pub use gauge::Gauge;
pub use id::{Epoch, Offset, Partition, Version};
pub use nearest::nearest;
pub use problem::{ProblemDetails, ProblemPlace};
pub use secret::Secret;
