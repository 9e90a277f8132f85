//! Keeps retention from records that somebody is about to read: a query that reads a topic while
//! it goes on must find at its end what was there at its beginning. DeleteRecords, which somebody
//! asked for, is not kept from it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::Offset;

use crate::lock::lock;
use crate::topic::Topic;

/// How many readers need a partition from an offset on.
#[derive(Default)]
pub(crate) struct Pins(Mutex<BTreeMap<i64, usize>>);

impl Pins {
    /// What somebody needs begins here.
    pub fn first(&self) -> i64 {
        lock(&self.0).keys().next().copied().unwrap_or(i64::MAX)
    }

    fn add(&self, from: i64) {
        *lock(&self.0).entry(from).or_default() += 1;
    }

    fn remove(&self, from: i64) {
        let mut pins = lock(&self.0);
        if let Some(n) = pins.get_mut(&from) {
            *n -= 1;
            if *n == 0 {
                pins.remove(&from);
            }
        }
    }
}

/// While it lives, retention removes nothing that was in the topic when it was made.
pub struct Pin {
    topic: Arc<Topic>,
    starts: Vec<i64>,
}

impl Topic {
    /// Keeps what is there now. Waits for a retention that is under way.
    pub fn pin(self: &Arc<Self>) -> Pin {
        let _no_retention = lock(&self.meta);
        let pinned = |p: Arc<crate::PartitionLog>| {
            let Offset(start) = p.start_offset();
            p.pins.add(start);
            start
        };
        let starts = self.partitions().into_iter().map(pinned).collect();
        Pin { topic: self.clone(), starts }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        for (partition, start) in self.topic.partitions().iter().zip(&self.starts) {
            partition.pins.remove(*start);
        }
    }
}
