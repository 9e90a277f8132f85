//! Keeps retention from records that somebody is about to read: a query that reads a topic while
//! it goes on must find at its end what was there at its beginning. DeleteRecords, which somebody
//! asked for, is not kept from it.

use std::sync::Arc;

use common::Offset;

use crate::lock::lock;
use crate::topic::Topic;

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
