//! What the engine reads of a topic's log: everything durable that is decided. Records that came
//! through the platform's own doors were checked on the way in. Those of other producers are
//! checked once (see `validation.rs`), before anybody reads them; the ones left out are kept as
//! ranges of offsets, so that streams, queries and the archive see the same rows.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use arrow::array::RecordBatch;
use bytes::Bytes;
use common::{Error, Offset, Partition, Result};
use kv::{Keyspace, Kv};
use log::compression::UNPACKED_BYTES_MAX;
use log::{Appended, Committed, Header, PartitionLog};
use uuid::Uuid;

use crate::topics::row_cache::{CachedRows, RowCache};

/// A stretch of a partition, as it was read.
#[derive(Default)]
pub struct Stretch {
    /// Record batches of committed records. The first may begin before `from`, the last may go on
    /// after `next`.
    pub batches: Vec<Bytes>,
    pub from: Offset,
    /// Rows of those batches that are kept as columns.
    pub rows: Vec<Option<Arc<CachedRows>>>,
    /// Where to read on.
    pub next: Offset,
    /// Offsets that were left out, in order.
    left_out: Vec<Range<i64>>,
}

impl Stretch {
    /// The record is one of this stretch and was not left out.
    pub fn has(&self, offset: Offset) -> bool {
        offset >= self.from && offset < self.next && !self.is_left_out(offset.0)
    }

    /// All records of the batch are.
    pub fn has_all(&self, batch: &Header) -> bool {
        let (first, end) = (batch.base_offset, batch.last_offset().next().0);
        let inside = first >= self.from.0 && end <= self.next.0;
        inside && !self.left_out.iter().any(|r| r.start < end && r.end > first)
    }

    /// Batches of which nothing is wanted may not even be readable.
    fn drop_left_out(&mut self) {
        let left_out = std::mem::take(&mut self.left_out);
        if !left_out.is_empty() {
            self.batches.retain(|batch| {
                let Some(header) = Header::parse(batch) else { return true };
                let (first, end) = (header.base_offset, header.last_offset().next().0);
                !left_out.iter().any(|r| r.start <= first && r.end >= end)
            });
        }
        self.left_out = left_out;
    }

    fn is_left_out(&self, offset: i64) -> bool {
        !self.left_out.is_empty()
            && self
                .left_out
                .binary_search_by(|r| match () {
                    () if r.end <= offset => std::cmp::Ordering::Less,
                    () if r.start > offset => std::cmp::Ordering::Greater,
                    () => std::cmp::Ordering::Equal,
                })
                .is_ok()
    }
}

/// The readable part of one topic.
pub struct TopicReader {
    pub log: Arc<log::Topic>,
    parts: RwLock<Vec<Arc<Part>>>,
    kv: Arc<Kv>,
    store: Keyspace,
    cache: Arc<RowCache>,
}

/// How far a partition is decided.
struct Part {
    /// Next offset that is not.
    decided: AtomicI64,
    /// What was last written down of it.
    saved: AtomicI64,
    /// Our own appends from there on, by their first offset: they were checked.
    ahead: Mutex<BTreeMap<i64, Appended>>,
    leaves_out: AtomicBool,
    damaged: AtomicBool,
}

impl TopicReader {
    /// The offset after the last one that may be read. An error if the log has lost its end: what
    /// is decided may end before that, and its readers would take it for all there is.
    pub fn end(&self, log: &PartitionLog) -> Result<Offset> {
        log.check_newest()?;
        let part = self.part(log.id())?;
        let stable = log.last_stable_offset().0;
        if part.decided.load(Ordering::Acquire) < stable {
            part.advance(log, stable);
        }
        let decided = part.decided.load(Ordering::Acquire).max(log.start_offset().0);
        Ok(Offset(decided.min(stable)))
    }

    /// Our own append, whose records were checked before by the columns of that digest. Nobody
    /// passes over it before its rows are kept: who reads it finds them.
    pub fn append(
        &self,
        log: &Arc<PartitionLog>,
        batch: Bytes,
        digest: u64,
        rows: Vec<RecordBatch>,
    ) -> Result<Appended> {
        let crc = Header::parse(&batch).map_or(0, |h| h.crc);
        let rows = CachedRows::new(crc, digest, rows);
        let part = self.part(log.id())?;
        let mut ahead = part.ahead();
        let appended = log.append(batch)?;
        self.keep(log.id(), appended.first, rows);
        ahead.insert(appended.first.0, appended);
        Ok(appended)
    }

    /// Reads from an offset on, about `bytes_max` bytes, at least one batch if there is one.
    pub fn read(&self, partition: Partition, from: Offset, bytes_max: usize) -> Result<Stretch> {
        let log = self.log.partition(partition)?;
        let end = self.end(&log)?;
        if from >= end {
            return Ok(Stretch { from, next: from, ..Stretch::default() });
        }
        let Committed { batches, next } = log.read_committed(from, bytes_max)?;
        let next = next.min(end);
        let left_out = self.left_out(partition, from, next)?;
        let mut stretch = Stretch { batches, rows: vec![], from, next, left_out };
        stretch.drop_left_out();
        stretch.rows = stretch.batches.iter().map(|b| self.cached(partition, b)).collect();
        let unpacked = unpack(&stretch.batches);
        if let Some(rest) = stretch.batches.get(unpacked.len()).and_then(|b| Header::parse(b)) {
            stretch.next = Offset(rest.base_offset);
        }
        stretch.batches = unpacked.into_iter().collect::<Result<_>>()?;
        Ok(stretch)
    }

    /// Rows are worth handing to `keep`.
    pub fn keeps_rows(&self) -> bool {
        !self.cache.is_off()
    }

    /// Keeps the rows of a batch for those who read it next.
    pub fn keep(&self, partition: Partition, first: Offset, rows: CachedRows) {
        self.cache.keep(self.log.id(), partition, first, rows);
    }

    /// All who read as they come have read up to there.
    pub fn forget_rows(&self, partition: Partition, to: Offset) {
        self.cache.forget_before(self.log.id(), partition, to);
    }

    fn cached(&self, partition: Partition, batch: &Bytes) -> Option<Arc<CachedRows>> {
        let header = Header::parse(batch)?;
        self.cache.get(self.log.id(), partition, Offset(header.base_offset), header.crc)
    }

    /// How the records of a stretch became rows.
    pub fn count_rows(&self, found: usize, decoded: usize) {
        self.cache.count(found, decoded);
    }

    /// What was left out, as ranges with an offset in `from..to`.
    pub(crate) fn left_out(
        &self,
        partition: Partition,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<Range<i64>>> {
        if !self.part(partition)?.leaves_out.load(Ordering::Acquire) {
            return Ok(vec![]);
        }
        let first = self.key(partition, Some(0));
        let mut ranges = vec![];
        // The last one that begins before may reach into it.
        let (at, end) = (self.key(partition, Some(from.0)), self.key(partition, Some(to.0)));
        let before = self.store.range(first..at.clone())?;
        for pair in before.rev().take(1).chain(self.store.range(at..end)?) {
            let range = range_of(&pair?)?;
            if range.end > from.0 {
                ranges.push(range);
            }
        }
        Ok(ranges)
    }

    /// Where the validation goes on, if there is something that it has to look at.
    pub(crate) fn undecided(&self, log: &PartitionLog) -> Result<Option<Range<Offset>>> {
        let stable = log.last_stable_offset();
        let from = self.end(log)?.max(log.start_offset());
        let waits = self.part(log.id())?.ahead().contains_key(&from.0);
        Ok((from < stable && !waits).then_some(from..stable))
    }

    pub(crate) fn batch(&self) -> kv::Batch {
        self.kv.batch()
    }

    /// Puts into a batch what was decided up to `to`.
    pub(crate) fn stage(
        &self,
        batch: &mut kv::Batch,
        partition: Partition,
        left_out: &[Range<i64>],
        to: Offset,
    ) {
        for range in left_out {
            let key = self.key(partition, Some(range.start));
            batch.put(&self.store, key, range.end.to_be_bytes());
        }
        batch.put(&self.store, self.key(partition, None), to.0.to_be_bytes());
    }

    /// A staged batch was written.
    pub(crate) fn saved(&self, partition: Partition, to: Offset, leaves_out: bool) -> Result<()> {
        let part = self.part(partition)?;
        if leaves_out {
            part.leaves_out.store(true, Ordering::Release);
        }
        part.saved.fetch_max(to.0, Ordering::Relaxed);
        Ok(())
    }

    /// Everything before `to` may be read.
    pub(crate) fn decided(&self, partition: Partition, to: Offset) -> Result<()> {
        let part = self.part(partition)?;
        let _ahead = part.ahead();
        part.decided.fetch_max(to.0, Ordering::AcqRel);
        Ok(())
    }

    /// There is damage before `to`. Readers will meet it; nothing of this is written down.
    pub(crate) fn pass_damage(&self, partition: Partition, to: Offset) -> Result<()> {
        self.part(partition)?.damaged.store(true, Ordering::Relaxed);
        self.decided(partition, to)
    }

    /// Partitions whose place is not written down, with the place.
    pub(crate) fn unsaved(&self) -> Vec<(Partition, Offset)> {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        let unsaved = |(i, part): (usize, &Arc<Part>)| {
            let decided = part.decided.load(Ordering::Acquire);
            let saved = part.saved.load(Ordering::Relaxed);
            let sound = !part.damaged.load(Ordering::Relaxed);
            (sound && decided > saved).then_some((Partition(i as i32), Offset(decided)))
        };
        parts.iter().enumerate().filter_map(unsaved).collect()
    }

    /// Ranges in front of the log's start are of no use any more.
    pub(crate) fn forget_before_start(&self) -> Result<()> {
        for log in self.log.partitions() {
            if !self.part(log.id())?.leaves_out.load(Ordering::Acquire) {
                continue;
            }
            let (first, start) = (self.key(log.id(), Some(0)), log.start_offset().0);
            let mut batch = self.batch();
            for pair in self.store.range(first..self.key(log.id(), Some(start)))? {
                let pair = pair?;
                if range_of(&pair)?.end <= start {
                    batch.delete(&self.store, pair.0);
                }
            }
            if !batch.is_empty() {
                batch.commit_durable()?;
            }
        }
        Ok(())
    }

    fn part(&self, partition: Partition) -> Result<Arc<Part>> {
        let i = usize::try_from(partition.0).unwrap_or(usize::MAX);
        if let Some(part) = self.parts.read().unwrap_or_else(PoisonError::into_inner).get(i) {
            return Ok(part.clone());
        }
        // Refuses partitions that are not there.
        self.log.partition(partition)?;
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        while parts.len() <= i {
            let part = self.load(Partition(parts.len() as i32))?;
            parts.push(Arc::new(part));
        }
        Ok(parts[i].clone())
    }

    fn load(&self, partition: Partition) -> Result<Part> {
        let decided = match self.store.get(&self.key(partition, None))? {
            Some(value) => number(&value)?,
            None => 0,
        };
        let first = self.key(partition, Some(0));
        let leaves_out = self.store.range(first..self.key(partition, Some(i64::MAX)))?.next();
        Ok(Part {
            decided: AtomicI64::new(decided),
            saved: AtomicI64::new(decided),
            ahead: Mutex::default(),
            leaves_out: AtomicBool::new(leaves_out.transpose()?.is_some()),
            damaged: AtomicBool::new(false),
        })
    }

    /// Topic, partition, and the first offset of a range; without one, where the place stands.
    fn key(&self, partition: Partition, first: Option<i64>) -> Vec<u8> {
        let mut key = self.log.id().as_bytes().to_vec();
        key.extend_from_slice(&partition.0.to_be_bytes());
        key.extend(first.iter().flat_map(|f| f.to_be_bytes()));
        key
    }
}

impl Part {
    fn ahead(&self) -> MutexGuard<'_, BTreeMap<i64, Appended>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes over our own appends that became durable.
    fn advance(&self, log: &PartitionLog, stable: i64) {
        let mut ahead = self.ahead();
        let mut decided = self.decided.load(Ordering::Acquire);
        while let Some(first) = ahead.first_entry() {
            let (at, appended) = (*first.key(), *first.get());
            let next = appended.last.next().0;
            match log.outcome(appended) {
                _ if at < decided => {}
                Some(Ok(())) if at == decided && next <= stable => decided = next,
                // It was undone: somebody else's records may be at its offsets.
                Some(Err(_)) => {}
                Some(Ok(())) | None => break,
            }
            first.remove();
        }
        self.decided.store(decided, Ordering::Release);
    }
}

/// The readers of all topics, by the id of their log.
pub struct TopicReaders {
    log: Arc<log::Log>,
    kv: Arc<Kv>,
    store: Keyspace,
    open: Mutex<HashMap<Uuid, Arc<TopicReader>>>,
    pub cache: Arc<RowCache>,
}

impl TopicReaders {
    /// Keeps at most so many bytes of rows as columns.
    pub fn open(log: Arc<log::Log>, kv: &Arc<Kv>, row_bytes: usize) -> Result<TopicReaders> {
        let store = kv.keyspace("screened")?;
        let cache = Arc::new(RowCache::new(row_bytes));
        Ok(TopicReaders { log, kv: kv.clone(), store, open: Mutex::default(), cache })
    }

    pub fn topic(&self, name: &str) -> Result<Arc<TopicReader>> {
        let log = self.log.topic(name)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = open.entry(log.id()).or_insert_with(|| {
            let (kv, store, cache) = (self.kv.clone(), self.store.clone(), self.cache.clone());
            Arc::new(TopicReader { log, parts: RwLock::default(), kv, store, cache })
        });
        Ok(reader.clone())
    }

    /// The topic is being dropped.
    pub fn forget(&self, id: Uuid) -> Result<()> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.cache.forget(id);
        let mut batch = self.kv.batch();
        batch.delete_prefix(&self.store, id.as_bytes())?;
        batch.commit_durable()
    }
}

/// Unpacks batches, but no more at once than memory allows.
pub(crate) fn unpack(batches: &[Bytes]) -> Vec<Result<Bytes>> {
    let mut bytes = 0;
    let mut unpacked = vec![];
    for batch in batches {
        if bytes > UNPACKED_BYTES_MAX {
            break;
        }
        let one = log::compression::unpacked(batch);
        bytes += one.as_ref().map_or(0, Bytes::len);
        unpacked.push(one);
    }
    unpacked
}

fn range_of((key, value): &kv::Pair) -> Result<Range<i64>> {
    let first = key.get(20..).ok_or_else(damaged)?;
    Ok(number(first)?..number(value)?)
}

fn number(bytes: &[u8]) -> Result<i64> {
    bytes.try_into().map(i64::from_be_bytes).map_err(|_| damaged())
}

fn damaged() -> Error {
    Error::corrupt("the record of what was left out of a topic is damaged")
}
