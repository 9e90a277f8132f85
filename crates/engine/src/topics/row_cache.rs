//! The rows of record batches that came lately, as columns: what a door decoded to check it is not
//! decoded again for every view and for the archive. Bounded; what is not here is decoded from the
//! log, which alone is the truth.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, ArrayRef, RecordBatch};
use catalog::Topic;
use common::{Offset, Partition};
use uuid::Uuid;

/// Batches of fewer rows are decoded in no time, and there are many of them.
const ROWS_MIN: usize = 64;

/// Rows of one record batch, all of its declared columns.
pub struct CachedRows {
    /// Of the batch: after a failed write another may stand at its offsets.
    crc: u32,
    /// Of the columns they were decoded by.
    digest: u64,
    rows: Vec<RecordBatch>,
    bytes: usize,
}

/// Says whether two definitions decode records to the same rows.
pub fn columns_digest(topic: &Topic) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{:?}", (&topic.format, &topic.columns)).hash(&mut hasher);
    hasher.finish()
}

impl CachedRows {
    pub fn new(crc: u32, digest: u64, rows: Vec<RecordBatch>) -> CachedRows {
        let size = |c: &ArrayRef| c.to_data().get_slice_memory_size().unwrap_or(0);
        let mut cached = CachedRows { crc, digest, rows, bytes: 0 };
        if cached.count() >= ROWS_MIN {
            cached.bytes = cached.rows.iter().flat_map(RecordBatch::columns).map(size).sum();
        }
        cached
    }

    /// The rows, if they are those of `count` records and were decoded by the same columns.
    pub fn of(&self, count: usize, digest: u64) -> Option<&[RecordBatch]> {
        (self.digest == digest && self.count() == count).then_some(&self.rows)
    }

    fn count(&self) -> usize {
        self.rows.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Log, partition and offset of a batch.
type Place = (Uuid, Partition, Offset);

#[derive(Default)]
struct Kept {
    rows: BTreeMap<Place, Arc<CachedRows>>,
    /// As they came; some may be gone.
    order: VecDeque<Place>,
    bytes: usize,
}

/// Shared by all topics.
#[derive(Default)]
pub struct RowCache {
    bytes_max: usize,
    kept: Mutex<Kept>,
    /// Records that were found here, and those that had to be decoded.
    found: AtomicU64,
    decoded: AtomicU64,
}

/// What a cache has done, and holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowCacheStats {
    pub records_found: u64,
    pub records_decoded: u64,
    pub bytes: usize,
}

impl RowCache {
    /// With 0 it keeps nothing.
    pub fn new(bytes_max: usize) -> RowCache {
        RowCache { bytes_max, ..RowCache::default() }
    }

    pub fn is_off(&self) -> bool {
        self.bytes_max == 0
    }

    pub fn keep(&self, log: Uuid, partition: Partition, first: Offset, rows: CachedRows) {
        if rows.count() < ROWS_MIN || rows.bytes > self.bytes_max {
            return;
        }
        let mut kept = self.lock();
        let place = (log, partition, first);
        kept.remove(&place);
        kept.bytes += rows.bytes;
        kept.rows.insert(place, Arc::new(rows));
        kept.order.push_back(place);
        while kept.bytes > self.bytes_max
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.remove(&oldest);
        }
    }

    /// The rows of the batch that begins there and has this checksum.
    pub fn get(
        &self,
        log: Uuid,
        partition: Partition,
        first: Offset,
        crc: u32,
    ) -> Option<Arc<CachedRows>> {
        let kept = self.lock();
        kept.rows.get(&(log, partition, first)).filter(|rows| rows.crc == crc).cloned()
    }

    /// Everybody who would read them has.
    pub fn forget_before(&self, log: Uuid, partition: Partition, offset: Offset) {
        let mut kept = self.lock();
        let range = (log, partition, Offset(0))..(log, partition, offset);
        let gone: Vec<Place> = kept.rows.range(range).map(|(place, _)| *place).collect();
        gone.iter().for_each(|place| kept.remove(place));
        kept.tidy();
    }

    /// The topic is gone.
    pub fn forget(&self, log: Uuid) {
        let mut kept = self.lock();
        let gone: Vec<Place> = kept.rows.keys().filter(|p| p.0 == log).copied().collect();
        gone.iter().for_each(|place| kept.remove(place));
        kept.tidy();
    }

    pub fn count(&self, found: usize, decoded: usize) {
        self.found.fetch_add(found as u64, Ordering::Relaxed);
        self.decoded.fetch_add(decoded as u64, Ordering::Relaxed);
    }

    pub fn stats(&self) -> RowCacheStats {
        RowCacheStats {
            records_found: self.found.load(Ordering::Relaxed),
            records_decoded: self.decoded.load(Ordering::Relaxed),
            bytes: self.lock().bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, place: &Place) {
        if let Some(rows) = self.rows.remove(place) {
            self.bytes -= rows.bytes;
        }
    }

    /// Places whose rows are gone are no more than those that have some.
    fn tidy(&mut self) {
        if self.order.len() > 2 * self.rows.len() + ROWS_MIN {
            let rows = &self.rows;
            self.order.retain(|place| rows.contains_key(place));
        }
    }
}

#[cfg(test)]
#[path = "row_cache_tests.rs"]
mod tests;
