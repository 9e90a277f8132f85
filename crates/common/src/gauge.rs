//! How many of something there are now: connections, requests, streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Adds one while it lives.
#[derive(Debug)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    pub fn up(count: &Arc<AtomicU64>) -> Gauge {
        count.fetch_add(1, Ordering::Relaxed);
        Gauge(count.clone())
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_what_lives() {
        let count = Arc::new(AtomicU64::new(0));
        let (first, second) = (Gauge::up(&count), Gauge::up(&count));
        assert_eq!(count.load(Ordering::Relaxed), 2);
        drop(first);
        assert_eq!(count.load(Ordering::Relaxed), 1);
        drop(second);
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }
}
