//! Segments closed by time (Kafka's `segment.ms`): when a record is appended that is that much
//! younger than the first one of the segment, or when the clock says so and nobody appends.

use std::sync::Arc;

use common::{Error, Result};

use crate::batch::{HEADER_LEN, Header};
use crate::partition::{PartitionLog, Writer};
use crate::segment::Segment;

impl PartitionLog {
    /// Whether the batches in `bytes` are too young for the active segment.
    pub(crate) fn is_too_young(&self, writer: &Writer, bytes: &[u8]) -> bool {
        let Some((segment_us, active)) = self.settings.segment_us().zip(writer.active.as_ref())
        else {
            return false;
        };
        // A segment whose head cannot be read is closed by its size only.
        let first_ms = first_timestamp(active).unwrap_or(i64::MAX);
        writer.written.len > 0
            && newest_timestamp(bytes).saturating_sub(first_ms) >= segment_us.div_euclid(1000)
    }

    /// Closes the active segment if its first record is older than `oldest_ms`. A quiet topic
    /// would never fill it, and neither retention nor compaction touch an active segment.
    pub(crate) fn roll_when_old(&self, oldest_ms: i64) -> Result<()> {
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
}

fn newest_timestamp(bytes: &[u8]) -> i64 {
    let mut newest = i64::MIN;
    let mut at = 0;
    while let Some(header) = bytes.get(at..).and_then(Header::parse) {
        newest = newest.max(header.max_timestamp_ms);
        at += header.batch_len().unwrap_or(HEADER_LEN);
    }
    newest
}

pub(crate) fn first_timestamp(segment: &Arc<Segment>) -> Result<i64> {
    let failed = |e| Error::io(format!("read '{}'", segment.path.display()), e);
    let mut head = [0; HEADER_LEN];
    let n = segment.file().map_err(failed)?.read_at(&mut head, 0).map_err(failed)?;
    // A damaged header says nothing; its segment is then rolled by size only.
    let header = head.get(..n).and_then(Header::parse).filter(|h| h.fault().is_none());
    Ok(header.map_or(i64::MAX, |h| h.base_timestamp_ms))
}
