//! The file `topics/<uuid>-<partition>.segments`: the base offsets of a partition's segments, as of
//! the last time one was begun. A folder alone does not tell that its first or last file is gone,
//! and a folder that is gone tells nothing; this list does. It is synced before anything is written
//! to the new segment. Segments that retention removed since lie below the partition's start
//! offset; those that compaction joined lie within the offsets of a compacted one.

use std::io;
use std::path::{Path, PathBuf};

use common::{Disk, Error, Offset, Partition, disk};

use crate::segment::Segment;
use crate::segment_name::SegmentName;
use crate::snapshot_file;

const MAGIC: &[u8; 8] = b"WSSEGME1";
const HEAD: usize = 12;

/// Where the list of a partition is; `id` is its topic's.
pub(crate) fn path(log_dir: &Path, id: &str, partition: u32) -> PathBuf {
    log_dir.join("topics").join(format!("{id}-{partition}.segments"))
}

/// Writes and syncs the list. A crash midway leaves a torn one, which counts as none.
pub(crate) fn store(disk: &dyn Disk, path: &Path, bases: &[i64]) -> io::Result<()> {
    snapshot_file::store(disk, path, encode(bases))
}

/// The list's bytes, without their checksum.
pub(crate) fn encode(bases: &[i64]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend((bases.len() as u32).to_be_bytes());
    bases.iter().for_each(|base| bytes.extend(base.to_be_bytes()));
    bytes
}

/// Nothing if the file is missing or torn; folders of earlier releases have none.
pub(crate) fn load(disk: &dyn Disk, path: &Path) -> Option<Vec<i64>> {
    let bytes = disk::read(disk, path).ok()?;
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    if body.get(..8)? != MAGIC || crc32c::crc32c(body).to_be_bytes() != *crc {
        return None;
    }
    let count = u32::from_be_bytes(body.get(8..HEAD)?.try_into().ok()?);
    let (bases, rest) = body.get(HEAD..)?.as_chunks::<8>();
    let is_whole = rest.is_empty() && bases.len() == count as usize;
    is_whole.then(|| bases.iter().map(|base| i64::from_be_bytes(*base)).collect())
}

/// A segment that should be there and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingSegment {
    pub base: Offset,
    /// Where the next segment begins; none for the newest one: nobody knows how far it reached.
    pub end: Option<Offset>,
}

impl MissingSegment {
    /// Whether readers at `offset` would miss something. Without the newest segment nobody knows
    /// where the partition ends, so whoever reads up to the end would.
    pub(crate) fn concerns(&self, offset: i64) -> bool {
        self.end.is_none_or(|end| (self.base.0..end.0).contains(&offset))
    }

    pub(crate) fn error(&self, topic: &str, partition: Partition, dir: &Path) -> Error {
        let file = Segment::path_of(dir, self.base.0);
        let base = self.base;
        let (which, hint) = match self.end {
            Some(end) => (
                format!("with offsets {base} to {}", end.0 - 1),
                format!(
                    "restore the file from a backup and start again, or give these records up: \
                     watershed topic delete-records {topic} --partition {partition} --before {end}"
                ),
            ),
            None => (
                format!("with the offsets from {base} on"),
                "restore the file from a backup and start again, or drop the topic".to_string(),
            ),
        };
        Error::corrupt(format!(
            "topic '{topic}' partition {partition}: the segment '{}' {which} is missing",
            file.display()
        ))
        .hint(hint)
    }
}

/// Compares the segments that are there, in order, with the list and the start offset.
pub(crate) fn missing(listed: &[i64], segments: &[SegmentName], start: i64) -> Vec<MissingSegment> {
    let mut missing: Vec<MissingSegment> = vec![];
    let is_there = |base: i64| {
        let after = segments.partition_point(|segment| segment.base <= base);
        let found = after.checked_sub(1).and_then(|i| segments.get(i));
        found.is_some_and(|s| s.base == base || s.compacted.is_some_and(|c| base < c.end))
    };
    let next_there = |base: i64| segments.iter().map(|s| s.base).find(|other| *other > base);
    for (i, base) in listed.iter().copied().enumerate() {
        let end = [listed.get(i + 1).copied(), next_there(base)].into_iter().flatten().min();
        if !is_there(base) && end.is_none_or(|end| end > start) {
            missing.push(MissingSegment { base: Offset(base), end: end.map(Offset) });
        }
    }
    // Known without a list too: what retention removes is below the start offset.
    let knows_start = missing.first().is_some_and(|first| first.base.0 <= start);
    if let Some(first) = segments.first().filter(|first| first.base > start && !knows_start) {
        let end = missing.first().map_or(first.base, |m| m.base.0.min(first.base));
        missing.insert(0, MissingSegment { base: Offset(start), end: Some(Offset(end)) });
    }
    missing
}

#[cfg(test)]
#[path = "segment_list_tests.rs"]
mod tests;
