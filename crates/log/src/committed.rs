//! Reading what is decided (`read_committed`, KIP-98): up to the last stable offset, without the
//! records of aborted transactions and without markers. Partitions that never saw a transaction
//! pay one look at each batch's attributes for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use common::{Offset, Result};

use crate::batch::Header;
use crate::lock::lock;
use crate::partition::PartitionLog;
use crate::producers::AbortedTransaction;
use crate::segment::Segment;

/// Batches that a reader may see.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    pub batches: Vec<Bytes>,
    /// Where to read on: it may lie behind the last batch.
    pub next: Offset,
}

impl PartitionLog {
    /// Below it all records are durable and all transactions have ended.
    pub fn last_stable_offset(&self) -> Offset {
        // In this order: what opened a transaction was noted before the watermark passed it.
        let high_watermark = self.high_watermark();
        Offset(high_watermark.0.min(self.first_unstable.load(Ordering::Acquire)))
    }

    /// As `read`, but decided records only.
    pub fn read_committed(&self, from: Offset, bytes_max: usize) -> Result<Committed> {
        let mut batches = self.read_below(from, self.last_stable_offset(), bytes_max)?;
        let headers = || batches.iter().filter_map(|b| Header::parse(b));
        let next = headers().last().map_or(from, |h| Offset(h.last_offset().0 + 1));
        if !headers().any(|h| h.is_transactional() || h.is_control()) {
            return Ok(Committed { batches, next });
        }
        let aborted = self.aborted_between(from, next)?;
        batches.retain(|batch| Header::parse(batch).is_some_and(|h| is_visible(&h, &aborted)));
        Ok(Committed { batches, next })
    }

    /// Aborted transactions with records from `from` on and below `to`, by first offset. `to` is
    /// at most the last stable offset.
    pub fn aborted_between(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTransaction>> {
        // The markers that ended these transactions may be in what is missing.
        self.check_present_from(from.0)?;
        let mut found = self.over_segments(|segments, _| {
            let first = segments.iter().rposition(|segment| segment.base <= from.0);
            self.aborted_in_some(segments.get(first.unwrap_or(0)..).unwrap_or_default(), from, to)
        })?;
        found.sort_unstable_by_key(|a| a.first);
        Ok(found)
    }

    fn aborted_in_some(
        &self,
        segments: &[Arc<Segment>],
        from: Offset,
        to: Offset,
    ) -> Result<Vec<AbortedTransaction>> {
        let mut found: Vec<AbortedTransaction> = vec![];
        let mut take = |aborted: &[AbortedTransaction]| {
            found.extend(aborted.iter().filter(|a| a.first < to && a.last >= from));
        };
        for segment in segments {
            {
                // The list moves to the segment when that is sealed.
                let producers = lock(&self.producers);
                if producers.base == segment.base {
                    take(&producers.aborted);
                    break;
                }
            }
            let index = self.aborted_in(segment)?;
            take(&index.aborted);
            if index.stable >= to.0 {
                break;
            }
        }
        Ok(found)
    }
}

fn is_visible(header: &Header, aborted: &[AbortedTransaction]) -> bool {
    let is_of = |a: &AbortedTransaction| {
        a.producer_id == header.producer_id && (a.first.0..=a.last.0).contains(&header.base_offset)
    };
    !(header.is_control() || header.is_transactional() && aborted.iter().any(is_of))
}
