//! Tells whoever waits for new records that something became durable anywhere in the log: for
//! threads a wait with a timeout, for tasks a `watch` channel.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::lock::{lock, wait_timeout};

/// A handle to the log's commits; cheap to clone.
#[derive(Clone)]
pub struct Commits(Arc<Inner>);

struct Inner {
    count: Mutex<u64>,
    changed: Condvar,
    tasks: watch::Sender<u64>,
}

impl Commits {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            count: Mutex::new(0),
            changed: Condvar::new(),
            tasks: watch::Sender::new(0),
        }))
    }

    /// Number of commits so far (rounds of syncs that made something durable).
    pub fn count(&self) -> u64 {
        *lock(&self.0.count)
    }

    /// Blocks until there are more than `seen` commits or the time is up; returns their number.
    pub fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        let deadline = Instant::now() + timeout;
        let mut count = lock(&self.0.count);
        while *count <= seen {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            count = wait_timeout(&self.0.changed, count, left);
        }
        *count
    }

    /// The same for tasks.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.tasks.subscribe()
    }

    /// Wakes who waits, because more can be read.
    pub fn note(&self) {
        let count = {
            let mut count = lock(&self.0.count);
            *count += 1;
            *count
        };
        self.0.changed.notify_all();
        self.0.tasks.send_replace(count);
    }
}
