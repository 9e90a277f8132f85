//! Figures of topics over their partitions.

use std::collections::BTreeMap;

use std::sync::Arc;

use crate::inner::Inner;
use crate::topics::ingest::TopicWriter;

/// Figures of a topic over its partitions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TopicStats {
    pub records: u64,
    pub bytes: u64,
    /// Bytes appended since the start.
    pub bytes_appended: u64,
}

impl TopicStats {
    pub fn of(topic: &log::Topic) -> TopicStats {
        let mut sum = TopicStats::default();
        for p in topic.partitions() {
            sum.records += (p.high_watermark().0 - p.start_offset().0).max(0) as u64;
            if let Ok(stats) = p.stats() {
                sum.bytes += stats.bytes;
                sum.bytes_appended += stats.bytes_appended;
            }
        }
        sum
    }
}

/// Figures of each topic.
pub(crate) fn topic_stats(inner: &Inner) -> BTreeMap<String, TopicStats> {
    let log = |(name, writer): (&str, &Arc<TopicWriter>)| (name.to_string(), writer.log.clone());
    // Looking at the logs may wait for the disk: not under the registry's lock.
    let logs: Vec<_> = inner.registry().all().map(log).collect();
    logs.into_iter().map(|(name, log)| (name, TopicStats::of(&log))).collect()
}
