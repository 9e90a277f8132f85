//! Opens a partition as it was left, perhaps by a crash. Only the active segment is looked at: the
//! others were synced before it began. Its torn tail is cut off and reported; damage in what was
//! synced is kept, reported, and answered with an error when somebody reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{DiskFile, Error, Offset, Partition, Result};

use crate::batch::Header;
use crate::checkpoint::Checkpoint;
use crate::index::{Extent, Index};
use crate::partition::{Opened, Shared};
use crate::producers::Producers;
use crate::scan;
use crate::segment::Segment;
use crate::segment_list::{self, MissingSegment};
use crate::segment_name::Layout;
use crate::{snapshot, snapshot_file};

const COPY_BYTES: u64 = 1 << 20;

/// What opening a log had to put right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// One entry per partition that had a torn tail or damage.
    pub partitions: Vec<PartitionRecovery>,
    /// Topics whose removal was completed.
    pub dropped: Vec<String>,
    /// Folders that belong to no topic; they are left alone.
    pub strangers: Vec<PathBuf>,
}

/// What was wrong with a partition's active segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRecovery {
    pub topic: String,
    pub partition: Partition,
    pub file: PathBuf,
    /// Bytes cut off the end; they were never acknowledged, see `may_be_acknowledged`.
    pub truncated_bytes: u64,
    /// The topic acknowledges what only the page cache has (`page_cache`): a power cut may have
    /// taken acknowledged records, those cut off and more that never reached the file.
    pub may_be_acknowledged: bool,
    /// Records in the first batch cut off, if its header could be read.
    pub truncated_records: i64,
    /// Why that batch is not whole.
    pub reason: Option<&'static str>,
    /// The offset that comes next.
    pub next_offset: Offset,
    pub damage: Vec<Damage>,
}

/// Acknowledged records that can not be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    pub position: u64,
    pub bytes: u64,
    pub first: Offset,
    pub last: Offset,
}

/// Opens the partition in `dir`, which need not exist.
pub(crate) fn open_partition(
    shared: &Arc<Shared>,
    topic: &str,
    partition: Partition,
    dir: &Path,
    list: &Path,
    start: i64,
) -> Result<(Opened, Option<PartitionRecovery>)> {
    let failed = |e| Error::io(format!("open '{}'", dir.display()), e);
    let names = match shared.disk.list(dir) {
        Ok(names) => names,
        Err(e) if e.kind() == io::ErrorKind::NotFound => vec![],
        Err(e) => return Err(failed(e)),
    };
    let mut layout = Layout::of(&names);
    layout.remove_rubbish(&*shared.disk, dir).map_err(failed)?;
    let listed = listed(shared, list, &layout);
    let missing = segment_list::missing(&listed, &layout.segments, start);
    report_missing(topic, partition, dir, &missing);
    let newest = missing.last().filter(|m| m.end.is_none()).map(|m| m.base.0);
    let active_base = if newest.is_none() { layout.pop_active() } else { None };
    let bases = layout.segments.iter().map(|s| s.base).chain(active_base);
    let bases: BTreeSet<i64> = bases.chain(missing.iter().map(|m| m.base.0)).collect();
    let mut segments = BTreeMap::new();
    for name in &layout.segments {
        let base = name.base;
        let next = bases.range(base + 1..).next().copied();
        let end = name.compacted.map(|c| c.end).or(next).unwrap_or(base);
        let (disk, handles) = (shared.disk.clone(), shared.handles.clone());
        let segment = Segment::sealed(disk, handles, name.path(dir), base, end);
        segments.insert(base, segment);
    }
    remove_outdated(shared, dir, &mut segments, active_base, start)?;
    let list = list.to_path_buf();
    let Some(active_base) = active_base else {
        let end = segments.values().next_back().map_or(start, |last: &Arc<Segment>| last.end());
        // At least one record more, so that who reads up to the end meets the error.
        let end = newest.map_or(end, |base| base + 1);
        let start = start.min(end);
        let (extent, producers) = (Extent::empty(end), Producers::empty(end));
        let active = None;
        return Ok((Opened { segments, list, missing, active, extent, start, producers }, None));
    };
    let path = Segment::path_of(dir, active_base);
    let found = recover(shared, dir, &path, &segments, active_base)?;
    let snapshots = names.iter().filter_map(|(name, _)| offset_in(name, ".producers"));
    for offset in snapshots.filter(|o| !bases.contains(o)) {
        // Of an earlier clean stop: what is appended now may be cut back below it.
        shared.disk.remove(&snapshot_file::producers_path(dir, offset)).map_err(failed)?;
    }
    let extent = found.scan.index.extent();
    let report = report(topic, partition, &path, &found);
    let (disk, handles) = (shared.disk.clone(), shared.handles.clone());
    let active = Segment::active(disk, handles, path, found.scan.index, active_base);
    segments.insert(active_base, active.clone());
    let start = start.min(extent.next_offset);
    let (active, producers) = (Some(active), found.producers);
    Ok((Opened { segments, list, missing, active, extent, start, producers }, report))
}

/// The segments that were begun. A folder of an earlier release gets its list now.
fn listed(shared: &Shared, list: &Path, layout: &Layout) -> Vec<i64> {
    if let Some(listed) = segment_list::load(&*shared.disk, list) {
        return listed;
    }
    let bases: Vec<i64> = layout.segments.iter().map(|s| s.base).collect();
    if !bases.is_empty()
        && let Err(e) = segment_list::store(&*shared.disk, list, &bases)
    {
        tracing::warn!(file = %list.display(), "the list of segments is not stored: {e}");
    }
    bases
}

fn report_missing(topic: &str, partition: Partition, dir: &Path, missing: &[MissingSegment]) {
    for m in missing {
        tracing::error!("{}", m.error(topic, partition, dir));
    }
}

/// Retention had persisted the new start, but a crash came before segments below it were removed.
fn remove_outdated(
    shared: &Shared,
    dir: &Path,
    segments: &mut BTreeMap<i64, Arc<Segment>>,
    active_base: Option<i64>,
    start: i64,
) -> Result<()> {
    let is_outdated = |segment: &&Arc<Segment>| segment.end() <= start;
    let outdated: Vec<_> = segments.values().take_while(is_outdated).cloned().collect();
    let next = segments.values().nth(outdated.len()).map(|s| s.base).or(active_base);
    if let Some(next) = next.filter(|_| !outdated.is_empty()) {
        // What they say of producers is needed still.
        let now_ms = shared.clock.now_us().div_euclid(1000);
        if let Err(e) = snapshot::at_base(&*shared.disk, dir, segments, next, now_ms) {
            tracing::warn!(dir = %dir.display(), "producers are forgotten: {e}");
        }
    }
    for segment in outdated {
        segments.remove(&segment.base);
        let failed = |e| Error::io(format!("remove '{}'", segment.path.display()), e);
        segment.remove().map_err(failed)?;
    }
    Ok(())
}

struct Found {
    scan: scan::Scan,
    producers: Producers,
    file_len: u64,
}

fn recover(
    shared: &Shared,
    dir: &Path,
    path: &Path,
    sealed: &BTreeMap<i64, Arc<Segment>>,
    base: i64,
) -> Result<Found> {
    let failed = |e| Error::io(format!("recover '{}'", path.display()), e);
    let disk = &*shared.disk;
    let now_ms = shared.clock.now_us().div_euclid(1000);
    let file = disk.open(path, false).map_err(failed)?;
    let file_len = file.len().map_err(failed)?;
    let checkpoint = Checkpoint::load(disk, &Checkpoint::path(dir)).filter(|c| c.base == base);
    let index = Index::load(disk, path, base);
    // Index files are written after a sync, so they vouch for what they reach to as well.
    let trusted = [checkpoint.map(|c| c.durable), index.as_ref().map(Index::extent)]
        .into_iter()
        .flatten()
        .max_by_key(|e| e.len)
        .unwrap_or(Extent::empty(base));
    // The stored index spares reading the segment only together with its twin.
    let stored = index.filter(|i| i.extent().len <= file_len).and_then(|index| {
        let end = index.extent().next_offset;
        Some((index, Producers::load(disk, dir, end, base)?))
    });
    let (index, mut producers) = match stored {
        Some(stored) => stored,
        None => (Index::new(base), snapshot::at_base(disk, dir, sealed, base, now_ms)?),
    };
    let see = |header: &Header, bytes: &[u8]| producers.saw(header, bytes, now_ms);
    let scan = scan::scan(&*file, file_len, index, trusted, None, false, see).map_err(failed)?;
    keep(shared, dir, &*file, file_len, trusted, &scan).map_err(failed)?;
    // All that is left is durable now.
    producers.settle(i64::MAX);
    Ok(Found { scan, producers, file_len })
}

/// Cuts off what is torn, and makes durable what is not known to be.
fn keep(
    shared: &Shared,
    dir: &Path,
    file: &dyn DiskFile,
    file_len: u64,
    trusted: Extent,
    scan: &scan::Scan,
) -> io::Result<()> {
    let good = scan.index.extent();
    if good.len < file_len {
        file.set_len(good.len)?;
    }
    if good.len > trusted.len {
        rewrite(file, trusted.len, good.len)?;
    }
    // Always: a process that died may have cut the file without syncing that. Clean files cost
    // next to nothing.
    file.sync()?;
    if good.len < file_len || good.len > trusted.len {
        let checkpoint = Checkpoint { base: scan.index.base(), durable: good };
        checkpoint.store(&*shared.disk, &Checkpoint::path(dir))?;
    }
    Ok(())
}

/// Writes bytes that nobody synced once more, for the coming sync to vouch for them: if an earlier
/// sync of these pages failed, Linux takes them for clean, and they are in memory only.
pub(crate) fn rewrite(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let mut position = from;
    while position < to {
        let mut bytes = vec![0; COPY_BYTES.min(to - position) as usize];
        let n = file.read_at(&mut bytes, position)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(&bytes[..n], position)?;
        position += n as u64;
    }
    Ok(())
}

fn report(
    topic: &str,
    partition: Partition,
    path: &Path,
    found: &Found,
) -> Option<PartitionRecovery> {
    let scan = &found.scan;
    let extent = scan.index.extent();
    if scan.torn.is_none() && scan.damaged.is_empty() {
        return None;
    }
    let damage: Vec<_> = scan
        .damaged
        .iter()
        .map(|h| Damage {
            position: h.position,
            bytes: h.len,
            first: Offset(h.first),
            last: Offset(h.last),
        })
        .collect();
    let report = PartitionRecovery {
        topic: topic.to_string(),
        partition,
        file: path.to_path_buf(),
        may_be_acknowledged: false,
        truncated_bytes: found.file_len.saturating_sub(extent.len),
        truncated_records: scan.torn.map_or(0, |t| t.records),
        reason: scan.torn.map(|t| t.reason),
        next_offset: Offset(extent.next_offset),
        damage,
    };
    if let Some(torn) = scan.torn {
        tracing::warn!(
            file = %path.display(), position = torn.position, bytes = report.truncated_bytes,
            records = torn.records, next_offset = extent.next_offset,
            "torn end of segment cut off: {}", torn.reason,
        );
    }
    for d in &report.damage {
        tracing::error!(
            file = %path.display(), position = d.position, bytes = d.bytes,
            first = d.first.0, last = d.last.0, "acknowledged records are damaged",
        );
    }
    Some(report)
}

/// The offset in a file's name.
fn offset_in(name: &str, suffix: &str) -> Option<i64> {
    let digits = name.strip_suffix(suffix)?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}
