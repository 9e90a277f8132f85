//! Two small files that spare a start the reading of old segments: `<offset>.producers`, all that
//! was known of producers at an offset (written when a segment begins there, and at a clean stop),
//! and `<base>.txn`, the transactions aborted in a sealed segment. Either is made anew from the
//! headers when it is missing or damaged. Bytes: `docs/formats/log.md`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::{Disk, Error, Result};

use crate::batch::Header;
use crate::index::{Extent, Index};
use crate::lock::read;
use crate::partition::PartitionLog;
use crate::producers::Producers;
use crate::scan;
use crate::segment::Segment;
use crate::snapshot_file::{AbortedIndex, producers_path, store};

/// The producers as they were where the segment at `base` begins: from its file, or else from an
/// older one and the segments since. `segments` are the sealed ones.
pub(crate) fn at_base(
    disk: &dyn Disk,
    dir: &Path,
    segments: &BTreeMap<i64, Arc<Segment>>,
    base: i64,
    now_ms: i64,
) -> Result<Producers> {
    if let Some(state) = Producers::load(disk, dir, base, base) {
        return Ok(state);
    }
    let mut since = vec![];
    let mut state = None;
    for segment in segments.range(..base).rev().map(|(_, segment)| segment) {
        since.push(segment);
        state = Producers::load(disk, dir, segment.base, segment.base);
        if state.is_some() {
            break;
        }
    }
    let Some(oldest) = since.last() else { return Ok(Producers::empty(base)) };
    tracing::warn!(dir = %dir.display(), base, "what is known of producers is read from segments");
    let mut state = state.unwrap_or_else(|| Producers::empty(oldest.base));
    for segment in since.iter().rev() {
        replay(segment, &mut state, now_ms)?;
        segment.keep_aborted(state.seal(segment.end()));
    }
    if let Err(e) = store(disk, &producers_path(dir, base), state.encode(base)) {
        tracing::warn!(dir = %dir.display(), base, "producers are not stored: {e}");
    }
    Ok(state)
}

/// Takes in all batches of a sealed segment.
fn replay(segment: &Arc<Segment>, state: &mut Producers, now_ms: i64) -> Result<()> {
    let failed = |e| Error::io(format!("read '{}'", segment.path.display()), e);
    let file = segment.file().map_err(failed)?;
    let len = file.len().map_err(failed)?;
    let trusted = Extent { len, next_offset: segment.end(), max_timestamp_ms: i64::MIN };
    let index = Index::new(segment.base);
    let see = |header: &Header, bytes: &[u8]| state.saw(header, bytes, now_ms);
    scan::scan(&*file, len, index, trusted, Some(segment.end()), segment.is_compacted(), see)
        .map_err(failed)?;
    state.settle(i64::MAX);
    Ok(())
}

impl PartitionLog {
    /// What was aborted in a sealed segment.
    pub(crate) fn aborted_in(&self, segment: &Arc<Segment>) -> Result<Arc<AbortedIndex>> {
        if let Some(index) = segment.aborted() {
            return Ok(index);
        }
        let file = segment.path.with_extension("txn");
        tracing::warn!(file = %file.display(), "transaction index is missing, making it anew");
        let now_ms = self.shared.clock.now_us().div_euclid(1000);
        let segments = read(&self.segments).clone();
        let disk = &*self.shared.disk;
        let mut state = at_base(disk, &self.dir, &segments, segment.base, now_ms)?;
        replay(segment, &mut state, now_ms)?;
        Ok(segment.keep_aborted(state.seal(segment.end())))
    }

    /// What is known of producers where a segment begins, stored by the way if it was not: what
    /// lies before the segment is about to go, and must not take it along.
    pub(crate) fn producers_from(&self, base: i64) -> Option<Producers> {
        let now_ms = self.shared.clock.now_us().div_euclid(1000);
        let segments = read(&self.segments).clone();
        let known = at_base(&*self.shared.disk, &self.dir, &segments, base, now_ms);
        known.inspect_err(|e| tracing::warn!(base, "producers are forgotten: {e}")).ok()
    }

    /// Stores that at last: before, the disk was full perhaps.
    pub(crate) fn keep_producers(&self, base: i64, producers: Option<Producers>) {
        let disk = &*self.shared.disk;
        let Some(state) = producers else { return };
        if Producers::load(disk, &self.dir, base, base).is_none()
            && let Err(e) = store(disk, &producers_path(&self.dir, base), state.encode(base))
        {
            tracing::warn!(dir = %self.dir.display(), base, "producers are not stored: {e}");
        }
    }

    /// What the batches of the active segment up to `durable` say, after what was behind it had
    /// to be cut off.
    pub(crate) fn producers_at(&self, active: &Arc<Segment>, durable: Extent) -> Result<Producers> {
        let failed = |e| Error::io(format!("read '{}'", active.path.display()), e);
        let now_ms = self.shared.clock.now_us().div_euclid(1000);
        let segments = read(&self.segments).clone();
        let disk = &*self.shared.disk;
        let mut state = at_base(disk, &self.dir, &segments, active.base, now_ms)?;
        let file = active.file().map_err(failed)?;
        let index = Index::new(active.base);
        let see = |header: &Header, bytes: &[u8]| state.saw(header, bytes, now_ms);
        scan::scan(&*file, durable.len, index, durable, None, false, see).map_err(failed)?;
        state.settle(durable.next_offset);
        Ok(state)
    }
}
