//! Bounds what segments hold on to: open files and loaded indexes. With thousands of segments only
//! the ones used last keep theirs; the others open them again when they are needed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::lock::lock;
use crate::segment::Segment;

pub(crate) struct Handles {
    max: usize,
    holders: Mutex<Vec<Weak<Segment>>>,
    clock: AtomicU64,
}

impl Handles {
    pub fn new(max: usize) -> Self {
        Self { max: max.max(1), holders: Mutex::new(vec![]), clock: AtomicU64::new(0) }
    }

    /// A number that grows with each use; the smallest one was used longest ago.
    pub fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes that a segment now holds something; the one used longest ago lets go of its own.
    /// Must not be called with the segment's locks held.
    pub fn note(&self, segment: &Arc<Segment>) {
        let mut holders = lock(&self.holders);
        holders.push(Arc::downgrade(segment));
        if holders.len() <= self.max {
            return;
        }
        holders.retain(|h| h.strong_count() > 0);
        if holders.len() <= self.max {
            return;
        }
        let used = |h: &Weak<Segment>| h.upgrade().map_or(0, |s| s.last_used());
        let oldest = holders.iter().enumerate().min_by_key(|(_, h)| used(h)).map(|(i, _)| i);
        let released = oldest.and_then(|i| holders.swap_remove(i).upgrade());
        drop(holders);
        if let Some(segment) = released {
            segment.release();
        }
    }

    pub fn held(&self) -> usize {
        lock(&self.holders).iter().filter(|h| h.strong_count() > 0).count()
    }
}
