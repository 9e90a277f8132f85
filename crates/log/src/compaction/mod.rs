//! Log compaction (KIP-58): of each key the latest record stays. Sealed segments are written anew
//! without the others, neighbours together, and put in their place by a rename. Which records are
//! outdated tells a map of the keys in what was not compacted yet; when they are too many for it,
//! there are several rounds. Offsets never change, so they have gaps afterwards.
//!
//! `clean.rs` writes segments, `rewrite.rs` batches, `walk.rs` reads them; `segment_name.rs` says
//! what a crash leaves.

mod checkpoint;
mod clean;
pub(crate) mod cleaner;
mod key_map;
mod rewrite;
mod walk;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::{Error, Kind, Offset, Result};

use crate::batch::Header;
use crate::config::TopicConfig;
use crate::lock::{lock, read};
use crate::partition::PartitionLog;
use crate::segment::Segment;
use crate::segment_time::first_timestamp;
use clean::Group;
use key_map::KeyMap;
use walk::Batches;

/// What compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compaction {
    /// Partitions that had enough to compact.
    pub partitions: usize,
    /// Rounds over them: more than `partitions` when keys did not fit into memory at once.
    pub rounds: usize,
    pub records_removed: u64,
    /// Bytes of the segments that were replaced, and of those in their place.
    pub bytes_before: u64,
    pub bytes_after: u64,
}

impl Compaction {
    pub(crate) fn add(&mut self, other: Self) {
        self.partitions += other.partitions;
        self.rounds += other.rounds;
        self.records_removed += other.records_removed;
        self.bytes_before += other.bytes_before;
        self.bytes_after += other.bytes_after;
    }
}

/// One pass: everything below `reached` is compacted by the keys in the map.
struct Round {
    keys: KeyMap,
    reached: i64,
    /// The offset each producer wrote last, as far as it is remembered.
    producers: HashMap<i64, i64>,
    aborted: Aborted,
    now_ms: i64,
    horizon_ms: i64,
}

impl PartitionLog {
    /// Compacts the partition if enough of it is dirty.
    pub(crate) fn compact(&self, config: &TopicConfig, now_us: i64) -> Result<Compaction> {
        let _running = lock(&self.cleaner.running);
        let start = self.start_offset();
        match self.compact_dirty(config, now_us) {
            // Retention removed the segments meanwhile; the next time it goes by what is left.
            Err(e) if e.kind() == Kind::NotFound && self.start_offset() != start => {
                Ok(Compaction::default())
            }
            other => other,
        }
    }

    fn compact_dirty(&self, config: &TopicConfig, now_us: i64) -> Result<Compaction> {
        let mut done = Compaction::default();
        let (disk, start) = (&*self.shared.disk, self.start_offset().0);
        let mut clean_to = checkpoint::load(disk, &self.dir).max(start);
        let segments = self.cleanable(config, now_us)?;
        let Some(end) = segments.last().map(|s| s.end()) else {
            return Ok(done);
        };
        if !is_dirty_enough(&segments, clean_to, config.min_cleanable_dirty_ratio)?
            && !has_waited(&segments, clean_to, config, now_us)?
        {
            return Ok(done);
        }
        done.partitions = 1;
        let now_ms = now_us.div_euclid(1000);
        let horizon_ms = now_ms.saturating_add(config.delete_retention_us.div_euclid(1000));
        while clean_to < end && !self.cleaner.is_stopped() {
            // The segments as they are now: the round before has replaced some.
            let mut segments = self.cleanable(config, now_us)?;
            let aborted = self.aborted_in_all(&segments)?;
            let (keys, reached) = self.map_keys(&segments, clean_to, &aborted)?;
            segments.retain(|segment| segment.base < reached);
            let producers = self.last_of_producers();
            let round = Round { keys, reached, producers, aborted, now_ms, horizon_ms };
            let Some(cleaned) = self.run(&segments, &round)? else { break };
            done.add(cleaned);
            clean_to = reached;
            checkpoint::store(disk, &self.dir, clean_to)
                .map_err(|e| Error::io(format!("note in '{}'", self.dir.display()), e))?;
        }
        Ok(done)
    }

    /// Ends a compaction that is under way, and starts none any more.
    pub(crate) fn stop_compaction(&self) {
        self.cleaner.give_up();
        drop(lock(&self.cleaner.running));
    }

    /// Nothing from here on is compacted: readers do not see it yet, a transaction is still open,
    /// or it is still needed elsewhere.
    fn compact_below(&self) -> i64 {
        self.last_stable_offset().0.min(self.held_from.load(Ordering::Acquire))
    }

    /// The sealed segments that may be compacted, in order and without a hole between them.
    fn cleanable(&self, config: &TopicConfig, now_us: i64) -> Result<Vec<Arc<Segment>>> {
        let below = self.compact_below();
        let lag_us = config.min_compaction_lag_us;
        let young_ms = (lag_us > 0).then(|| now_us.saturating_sub(lag_us).div_euclid(1000));
        // Should a missing segment come back, what removed its records must still be there.
        if self.damage().is_some() {
            return Ok(vec![]);
        }
        let segments: Vec<_> = read(&self.segments).values().cloned().collect();
        let mut cleanable: Vec<Arc<Segment>> = vec![];
        for segment in segments {
            let is_next = cleanable.last().is_none_or(|before| before.end() == segment.base);
            if !segment.is_sealed() || segment.end() > below || !is_next {
                break;
            }
            let newest_ms = segment.extent()?.max_timestamp_ms;
            if young_ms.is_some_and(|young_ms| newest_ms > young_ms) {
                break;
            }
            cleanable.push(segment);
        }
        Ok(cleanable)
    }

    /// The latest offsets of the keys from `clean_to` on, and where the map was full.
    fn map_keys(
        &self,
        segments: &[Arc<Segment>],
        clean_to: i64,
        aborted: &Aborted,
    ) -> Result<(KeyMap, i64)> {
        let mut keys = KeyMap::new(self.shared.config.compaction_keys_max);
        let mut reached = clean_to;
        for segment in segments.iter().filter(|segment| segment.end() > clean_to) {
            let mut batches = Batches::new(segment)?;
            while let Some((header, batch)) = batches.next()? {
                if self.cleaner.is_stopped() {
                    return Ok((keys, clean_to));
                }
                if header.last_offset().0 < clean_to {
                    continue;
                }
                if !keys.has_room(header.count.max(0) as usize) {
                    return Ok((keys, header.base_offset));
                }
                if aborted.is_compactable(&header)
                    && !rewrite::note_keys(&batch, &header, &mut keys)
                {
                    let (file, offset) = (segment.path.display(), header.base_offset);
                    tracing::warn!(%file, offset, "a batch cannot be unpacked, it stays as it is");
                }
            }
            reached = segment.end();
        }
        Ok((keys, reached))
    }

    /// Where each idempotent producer's last batch ends: its sequence must not be forgotten.
    fn last_of_producers(&self) -> HashMap<i64, i64> {
        let producers = lock(&self.producers);
        producers.iter().filter_map(|(id, p)| Some((id, p.sent.back()?.last))).collect()
    }

    /// What was aborted in the segments: all transactions in them have ended.
    fn aborted_in_all(&self, segments: &[Arc<Segment>]) -> Result<Aborted> {
        let mut aborted = Aborted::default();
        if let Some((first, last)) = segments.first().zip(segments.last()) {
            for a in self.aborted_between(Offset(first.base), Offset(last.end()))? {
                aborted.0.entry(a.producer_id).or_default().push((a.first.0, a.last.0));
            }
        }
        Ok(aborted)
    }

    /// Writes the segments anew, group by group; nothing if it was stopped.
    fn run(&self, segments: &[Arc<Segment>], round: &Round) -> Result<Option<Compaction>> {
        let mut done = Compaction { rounds: 1, ..Compaction::default() };
        let mut keeps_tombstones = false;
        let mut rest = segments;
        while !rest.is_empty() {
            let len = self.group_len(rest)?;
            let (group, behind) = rest.split_at(len);
            let Some(cleaned) = Group::new(self, group, round, &mut keeps_tombstones).clean()?
            else {
                return Ok(None);
            };
            done.add(cleaned);
            rest = behind;
        }
        Ok(Some(done))
    }

    /// How many of the segments become one: as long as they fit into one before compaction.
    fn group_len(&self, segments: &[Arc<Segment>]) -> Result<usize> {
        let max = self.settings.segment_bytes_max();
        let base = segments.first().map_or(0, |s| s.base);
        let mut bytes = 0;
        for (i, segment) in segments.iter().enumerate() {
            bytes += segment.extent()?.len;
            let fits = bytes <= max && segment.end() - base <= i64::from(i32::MAX);
            if i > 0 && !fits {
                return Ok(i);
            }
        }
        Ok(segments.len())
    }
}

/// Whether more than `ratio` of the bytes were not compacted yet.
fn is_dirty_enough(segments: &[Arc<Segment>], clean_to: i64, ratio: f64) -> Result<bool> {
    let (mut dirty, mut all) = (0, 0);
    for segment in segments {
        let len = segment.extent()?.len;
        all += len;
        dirty += if segment.end() > clean_to { len } else { 0 };
    }
    Ok(dirty > 0 && dirty as f64 / all as f64 > ratio)
}

/// Whether something dirty is older than the topic lets it become.
fn has_waited(
    segments: &[Arc<Segment>],
    clean_to: i64,
    config: &TopicConfig,
    now_us: i64,
) -> Result<bool> {
    let Some(lag_us) = config.max_compaction_lag_us else { return Ok(false) };
    let old_ms = now_us.saturating_sub(lag_us).div_euclid(1000);
    match segments.iter().find(|segment| segment.end() > clean_to) {
        Some(oldest) => Ok(first_timestamp(oldest)? <= old_ms),
        None => Ok(false),
    }
}

/// Aborted transactions by producer: their first offsets and those of their markers.
#[derive(Default)]
struct Aborted(HashMap<i64, Vec<(i64, i64)>>);

impl Aborted {
    /// Markers stay, and so do the records of aborted transactions: who reads uncommitted records
    /// may see them, and they say nothing about a key's latest value.
    fn is_compactable(&self, header: &Header) -> bool {
        let is_within = |(first, last): &(i64, i64)| (*first..=*last).contains(&header.base_offset);
        let is_aborted =
            || self.0.get(&header.producer_id).is_some_and(|a| a.iter().any(is_within));
        let is_undone = header.is_transactional() && is_aborted();
        !header.is_control() && !is_undone
    }
}
