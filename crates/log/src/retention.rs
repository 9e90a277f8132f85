//! Forgetting by age and size: whole sealed segments, oldest first. The new start offset is
//! persisted before a file goes, so that a crash in between leaves rubbish but no hole.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::{Error, Result};

use crate::batch::{HEADER_LEN, Header};
use crate::config::TopicConfig;
use crate::lock::{read, write};
use crate::partition::PartitionLog;
use crate::segment::Segment;

impl PartitionLog {
    /// Where the partition should begin by its topic's retention; none if nothing is to go.
    pub(crate) fn retained_from(&self, config: &TopicConfig, now_us: i64) -> Result<Option<i64>> {
        let oldest_ms = config.retention_us.map(|us| now_us.saturating_sub(us).div_euclid(1000));
        if let Some(oldest_ms) = oldest_ms {
            self.roll_when_old(oldest_ms)?;
        }
        let segments: Vec<_> = read(&self.segments).values().cloned().collect();
        let mut bytes = 0;
        for segment in &segments {
            bytes += segment.extent()?.len;
        }
        let mut start = None;
        for segment in segments.iter().filter(|s| s.is_sealed()) {
            let extent = segment.extent()?;
            let is_old = oldest_ms.is_some_and(|ms| extent.max_timestamp_ms < ms);
            let is_too_much = config.retention_bytes.is_some_and(|max| bytes > max);
            let is_held = extent.next_offset > self.held_from.load(Ordering::Acquire);
            if is_held || (!is_old && !is_too_much) {
                break;
            }
            bytes -= extent.len;
            start = Some(extent.next_offset);
        }
        Ok(start.filter(|start| *start > self.start.load(Ordering::Acquire)))
    }

    /// Removes the segments below `start`, which has been persisted. Returns their number.
    pub(crate) fn forget_before(&self, start: i64) -> Result<usize> {
        self.start.fetch_max(start, Ordering::AcqRel);
        let mut removed = 0;
        loop {
            let first = {
                let segments = read(&self.segments);
                let mut in_order = segments.values();
                match (in_order.next(), in_order.next()) {
                    (Some(first), Some(second)) if second.base <= start => first.clone(),
                    _ => return Ok(removed),
                }
            };
            write(&self.segments).remove(&first.base);
            first
                .remove()
                .map_err(|e| Error::io(format!("remove '{}'", first.path.display()), e))?;
            removed += 1;
        }
    }

    /// A quiet topic would never fill its segment: it is sealed when it reaches back further than
    /// the retention time, and goes when its newest record is as old.
    fn roll_when_old(&self, oldest_ms: i64) -> Result<()> {
        let Some((active, durable)) = self.active() else {
            return Ok(());
        };
        if durable.len == 0 || first_timestamp(&active)? >= oldest_ms {
            return Ok(());
        }
        let (writer, sealed) = self.roll(|w| w.is_active(&active))?;
        drop(writer);
        self.after_roll(sealed);
        Ok(())
    }

    /// The first offsets of the segments, for tools.
    pub fn segment_bases(&self) -> Vec<i64> {
        read(&self.segments).keys().copied().collect()
    }
}

fn first_timestamp(segment: &Arc<Segment>) -> Result<i64> {
    let failed = |e| Error::io(format!("read '{}'", segment.path.display()), e);
    let mut head = [0; HEADER_LEN];
    let n = segment.file().map_err(failed)?.read_at(&mut head, 0).map_err(failed)?;
    // A damaged header says nothing; its segment is then rolled by size only.
    let header = Header::parse(&head[..n]).filter(|h| h.fault().is_none());
    Ok(header.map_or(i64::MAX, |h| h.base_timestamp_ms))
}
