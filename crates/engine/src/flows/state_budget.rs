//! One limit for the state of all views and sinks: a view with ever more keys stops, with the
//! reason, before it ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Error, Result};

/// What all pipelines together may keep in memory.
pub struct StateBudget {
    max: u64,
    used: AtomicU64,
}

impl StateBudget {
    pub fn new(max: u64) -> Arc<StateBudget> {
        Arc::new(StateBudget { max, used: AtomicU64::new(0) })
    }

    /// The part of one pipeline, given back when it is dropped.
    pub fn share(self: &Arc<Self>) -> StateShare {
        StateShare { budget: self.clone(), bytes: AtomicU64::new(0) }
    }
}

/// What one pipeline keeps.
pub struct StateShare {
    budget: Arc<StateBudget>,
    bytes: AtomicU64,
}

impl StateShare {
    /// Sets how much it is now. An error when it grew and all together are too much.
    pub fn set(&self, view: &str, bytes: u64) -> Result<()> {
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        let used = &self.budget.used;
        let all = used.fetch_add(bytes, Ordering::Relaxed) + bytes - before;
        used.fetch_sub(before, Ordering::Relaxed);
        if bytes <= before || all <= self.budget.max {
            return Ok(());
        }
        let (mib, max) = (bytes >> 20, self.budget.max >> 20);
        Err(Error::exhausted(format!(
            "the state of all views is larger than {max} MiB; '{view}' alone has {mib} MiB"
        ))
        .hint("group by windows or fewer keys, or raise stream.state_bytes_max"))
    }
}

impl Drop for StateShare {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_grows_is_told_and_gives_back_what_it_had() {
        let budget = StateBudget::new(100);
        let (one, two) = (budget.share(), budget.share());
        assert!(one.set("one", 60).is_ok());
        assert!(two.set("two", 40).is_ok());
        assert!(one.set("one", 61).is_err());
        // Who shrinks is welcome.
        assert!(one.set("one", 30).is_ok());
        assert!(two.set("two", 70).is_ok());
        drop(two);
        assert!(one.set("one", 100).is_ok());
    }
}
