//! Writes a group of neighbouring segments anew as one, beside them, and puts it in their place.
//! Before the rename nothing has changed; after it the new file counts alone, whatever of the old
//! ones is still there. Both hold at every point where the power may go.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use common::{DiskFile, Error, Result};

use super::rewrite::{Judge, Left, emptied, rewrite};
use super::walk::Batches;
use super::{Compaction, Round};
use crate::batch::Header;
use crate::index::Index;
use crate::lock::{lock, write};
use crate::partition::PartitionLog;
use crate::segment::Segment;
use crate::segment_name::{Compacted, SegmentName, UNFINISHED};
use crate::snapshot_file::AbortedIndex;

/// Bytes gathered before they are written.
const CHUNK: usize = 1 << 20;

/// Segments to become one.
pub(super) struct Group<'a> {
    partition: &'a PartitionLog,
    segments: &'a [Arc<Segment>],
    round: &'a Round,
    /// Set from the first batch on that stays whatever is in it: a later tombstone may be about
    /// its records, and must stay as long as they do.
    keeps_tombstones: &'a mut bool,
    end: i64,
    done: Compaction,
    is_changed: bool,
}

impl<'a> Group<'a> {
    pub fn new(
        partition: &'a PartitionLog,
        segments: &'a [Arc<Segment>],
        round: &'a Round,
        keeps_tombstones: &'a mut bool,
    ) -> Self {
        let end = segments.last().map_or(0, |s| s.end());
        let (done, is_changed) = (Compaction::default(), segments.len() > 1);
        Self { partition, segments, round, keeps_tombstones, end, done, is_changed }
    }

    /// Nothing if it was stopped.
    pub fn clean(mut self) -> Result<Option<Compaction>> {
        let Some(name) = self.name() else { return Ok(None) };
        let disk = &*self.partition.shared.disk;
        let path = name.path(&self.partition.dir);
        let unfinished = path.with_extension(format!("log.{UNFINISHED}"));
        let written = self.write(&unfinished, name.base);
        let outcome = match written {
            Ok(Some(index)) if self.is_changed => return self.swap(&unfinished, path, index),
            Ok(Some(_)) => Ok(Some(Compaction::default())),
            Ok(None) => Ok(None),
            Err(e) => Err(e),
        };
        if let Err(e) = disk.remove(&unfinished) {
            tracing::debug!(file = %unfinished.display(), "cannot be removed: {e}");
        }
        outcome
    }

    fn name(&self) -> Option<SegmentName> {
        let names = self.segments.iter().map(|segment| SegmentName::of(&segment.path));
        let generations = names.map(|name| name.map(|name| name.generation()));
        let generation = generations.collect::<Option<Vec<_>>>()?.into_iter().max()? + 1;
        let base = self.segments.first()?.base;
        Some(SegmentName { base, compacted: Some(Compacted { end: self.end, generation }) })
    }

    /// Writes and syncs the new file; nothing if it was stopped.
    fn write(&mut self, path: &Path, base: i64) -> Result<Option<Index>> {
        let failed = |e| Error::io(format!("write '{}'", path.display()), e);
        let file = self.partition.shared.disk.open(path, true).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        let mut out = Output { file, index: Index::new(base), buffer: vec![], at: 0 };
        for segment in self.segments {
            self.done.bytes_before += segment.extent()?.len;
            let mut batches = Batches::new(segment)?;
            while let Some((header, batch)) = batches.next()? {
                if self.partition.cleaner.is_stopped() {
                    return Ok(None);
                }
                if let Some(left) = self.left_of(&header, batch) {
                    out.put(&left).map_err(failed)?;
                }
            }
        }
        out.flush().map_err(failed)?;
        out.file.sync().map_err(failed)?;
        self.done.bytes_after = out.at;
        Ok(Some(out.index))
    }

    /// What of a batch goes into the new file.
    fn left_of(&mut self, header: &Header, batch: Bytes) -> Option<Bytes> {
        if header.count == 0 {
            let stays = self.is_needed(header);
            self.is_changed |= !stays;
            return stays.then_some(batch);
        }
        if !self.round.aborted.is_compactable(header) {
            *self.keeps_tombstones |= !header.is_control();
            return Some(batch);
        }
        if header.base_offset >= self.round.reached {
            return Some(batch);
        }
        let judge = Judge {
            keys: &self.round.keys,
            now_ms: self.round.now_ms,
            horizon_ms: self.round.horizon_ms,
            keeps_tombstones: *self.keeps_tombstones,
        };
        match rewrite(&batch, header, &judge) {
            Left::Same => Some(batch),
            Left::Unreadable => {
                *self.keeps_tombstones = true;
                Some(batch)
            }
            Left::Part { batch, removed } => {
                self.is_changed = true;
                self.done.records_removed += removed;
                Some(batch)
            }
            Left::Nothing { removed } => {
                self.is_changed = true;
                self.done.records_removed += removed;
                self.is_needed(header).then(|| emptied(&batch, header))
            }
        }
    }

    /// Whether a batch stays although it has no records: its producer's sequence goes on from it,
    /// or it is the last one of the segment. So whoever reads at a gap gets a batch that says
    /// where to go on, and a segment that was cut short is told from a complete one.
    fn is_needed(&self, header: &Header) -> bool {
        let last = header.last_offset().0;
        let is_last_of_producer = self.round.producers.get(&header.producer_id) == Some(&last);
        is_last_of_producer || last + 1 == self.end
    }

    /// What was aborted in the segments together.
    fn aborted(&self) -> Result<AbortedIndex> {
        let mut all = AbortedIndex { aborted: vec![], stable: self.end, end: self.end };
        for segment in self.segments {
            let index = self.partition.aborted_in(segment)?;
            all.aborted.extend(&index.aborted);
            all.stable = index.stable;
        }
        Ok(all)
    }

    fn swap(self, unfinished: &Path, path: PathBuf, index: Index) -> Result<Option<Compaction>> {
        let partition = self.partition;
        let (disk, handles) = (partition.shared.disk.clone(), partition.shared.handles.clone());
        let (base, end) = (index.base(), self.end);
        let aborted = self.aborted()?;
        let files = lock(&partition.cleaner.files);
        if !self.segments.iter().all(|segment| partition.is_current(segment)) {
            // Retention was faster.
            let failed = |e| Error::io(format!("remove '{}'", unfinished.display()), e);
            disk.remove(unfinished).map_err(failed)?;
            return Ok(None);
        }
        if let Err(e) = disk.rename(unfinished, &path) {
            // It may have its name all the same. It must not count after a restart, when the old
            // ones have been compacted in another way.
            if disk.remove(&path).is_err() {
                partition.cleaner.give_up();
            }
            return Err(Error::io(format!("rename '{}'", unfinished.display()), e));
        }
        let new = Segment::compacted(disk, handles, path, index, end);
        {
            let mut segments = write(&partition.segments);
            for old in self.segments {
                segments.remove(&old.base);
            }
            segments.insert(base, new.clone());
        }
        for old in self.segments {
            let is_first = old.base == base;
            if let Err(e) = if is_first { old.remove_replaced() } else { old.remove() } {
                // The next start does it.
                tracing::warn!(file = %old.path.display(), "replaced, but not removed: {e}");
            }
        }
        drop(files);
        new.keep_aborted(aborted);
        if let Err(e) = new.store_index() {
            tracing::warn!(file = %new.path.display(), "index is not stored: {e}");
        }
        Ok(Some(self.done))
    }
}

/// The new file.
struct Output {
    file: Arc<dyn DiskFile>,
    index: Index,
    buffer: Vec<u8>,
    at: u64,
}

impl Output {
    fn put(&mut self, batch: &Bytes) -> std::io::Result<()> {
        if let Some(header) = Header::parse(batch) {
            self.index.add(&header, batch.len() as u64);
        }
        self.buffer.extend_from_slice(batch);
        if self.buffer.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.write_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
