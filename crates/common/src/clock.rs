//! The door to time. Everything that asks what time it is asks a `Clock`, so that tests run on a
//! virtual one (`testkit::VirtualClock`).

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time in microseconds since 1970-01-01T00:00:00Z.
pub trait Clock: Send + Sync {
    fn now_us(&self) -> i64;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
    }
}
