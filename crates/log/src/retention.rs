//! Forgetting by age and size: whole sealed segments, oldest first. The new start offset is
//! persisted before a file goes, so that a crash in between leaves rubbish but no hole.

use std::sync::atomic::Ordering;

use common::{Error, Result};

use crate::config::TopicConfig;
use crate::lock::{lock, read, write};
use crate::partition::PartitionLog;

impl PartitionLog {
    /// Where the partition should begin by its topic's retention; none if nothing is to go.
    pub(crate) fn retained_from(&self, config: &TopicConfig, now_us: i64) -> Result<Option<i64>> {
        if let Some(us) = config.roll_us() {
            self.roll_when_old(now_us.saturating_sub(us).div_euclid(1000))?;
        }
        if !config.cleanup_policy.deletes() {
            return Ok(None);
        }
        let oldest_ms = config.retention_us.map(|us| now_us.saturating_sub(us).div_euclid(1000));
        // It goes when its newest record is as old.
        if let Some(oldest_ms) = oldest_ms {
            self.roll_when_old(oldest_ms)?;
        }
        let segments = self.extents()?;
        let mut bytes: u64 = segments.iter().map(|(_, extent)| extent.len).sum();
        let mut start = None;
        let held_from = self.held_from.load(Ordering::Acquire).min(self.pins.first());
        for (_, extent) in segments.iter().filter(|(segment, _)| segment.is_sealed()) {
            let is_old = oldest_ms.is_some_and(|ms| extent.max_timestamp_ms < ms);
            let is_too_much = config.retention_bytes.is_some_and(|max| bytes > max);
            if extent.next_offset > held_from || (!is_old && !is_too_much) {
                break;
            }
            bytes -= extent.len;
            start = Some(extent.next_offset);
        }
        Ok(start.filter(|start| *start > self.start.load(Ordering::Acquire)))
    }

    /// Removes the segments below `start`, which has been persisted. Returns their number.
    pub(crate) fn forget_before(&self, start: i64) -> Result<usize> {
        let _files = lock(&self.cleaner.files);
        self.start.fetch_max(start, Ordering::AcqRel);
        write(&self.missing).retain(|m| m.end.is_none_or(|end| end.0 > start));
        let mut removed = 0;
        loop {
            let (first, next_base) = {
                let segments = read(&self.segments);
                let mut in_order = segments.values();
                match (in_order.next(), in_order.next()) {
                    (Some(first), Some(second)) if second.base <= start => {
                        (first.clone(), second.base)
                    }
                    _ => return Ok(removed),
                }
            };
            let producers = self.producers_from(next_base);
            write(&self.segments).remove(&first.base);
            first
                .remove()
                .map_err(|e| Error::io(format!("remove '{}'", first.path.display()), e))?;
            self.keep_producers(next_base, producers);
            removed += 1;
        }
    }

    /// The first offsets of the segments, for tools.
    pub fn segment_bases(&self) -> Vec<i64> {
        read(&self.segments).keys().copied().collect()
    }
}
