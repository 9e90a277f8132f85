//! A partition's part in compaction: one at a time, and none once the log is to close.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// A partition's part in compaction.
#[derive(Default)]
pub(crate) struct Cleaner {
    /// Held by the one compaction at a time.
    pub running: Mutex<()>,
    is_stopped: AtomicBool,
    /// Held while files of segments are replaced or removed.
    pub files: Mutex<()>,
}

impl Cleaner {
    /// No compaction until the log is opened again.
    pub fn give_up(&self) {
        self.is_stopped.store(true, Ordering::Release);
    }

    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }
}
