//! The sparse index of a segment: about one entry per 16 KiB, by offset (`.index`) and by time
//! (`.timeindex`). Both files say up to which length of the `.log` they reach, and bear a
//! checksum; a missing or damaged one is rebuilt from the `.log`.

use std::io;
use std::path::Path;

use common::{Disk, disk};

use crate::batch::Header;

/// Bytes of a segment between two entries.
const INTERVAL: u64 = 16 << 10;
const HEAD_LEN: usize = 40;
const OFFSETS_MAGIC: &[u8; 8] = b"WSINDEX1";
const TIMES_MAGIC: &[u8; 8] = b"WSTIMES1";

/// How far something reaches within a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes of the `.log`.
    pub len: u64,
    /// The offset after the last record in them.
    pub next_offset: i64,
    /// The largest timestamp in them; `i64::MIN` if there is none.
    pub max_timestamp_ms: i64,
}

impl Extent {
    pub fn empty(base: i64) -> Self {
        Self { len: 0, next_offset: base, max_timestamp_ms: i64::MIN }
    }
}

/// A batch's place, and the largest timestamp of all batches before it in the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    relative_offset: u32,
    position: u32,
    before_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    base: i64,
    entries: Vec<Entry>,
    extent: Extent,
}

impl Index {
    pub fn new(base: i64) -> Self {
        Self { base, entries: vec![], extent: Extent::empty(base) }
    }

    pub fn base(&self) -> i64 {
        self.base
    }

    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// Takes in the batch at the end of the extent.
    pub fn add(&mut self, header: &Header, batch_len: u64) {
        let position = self.extent.len;
        let last = self.entries.last().map(|e| u64::from(e.position));
        if last.is_none_or(|last| position - last >= INTERVAL) {
            self.push_entry(header.base_offset, position);
        }
        self.extent.len += batch_len;
        self.extent.next_offset = header.last_offset().0 + 1;
        self.extent.max_timestamp_ms = self.extent.max_timestamp_ms.max(header.max_timestamp_ms);
    }

    /// Passes over a damaged stretch. The batch after it gets an entry, so that readers of what
    /// lies behind need not walk through the damage.
    pub fn skip_to(&mut self, len: u64, next_offset: i64) {
        self.extent.len = len;
        self.extent.next_offset = next_offset;
        self.push_entry(next_offset, len);
    }

    fn push_entry(&mut self, offset: i64, position: u64) {
        let relative = u32::try_from(offset - self.base);
        if let (Ok(relative_offset), Ok(position)) = (relative, u32::try_from(position)) {
            let before_ms = self.extent.max_timestamp_ms;
            self.entries.push(Entry { relative_offset, position, before_ms });
        }
    }

    /// Forgets what lies behind `extent`.
    pub fn cut(&mut self, extent: Extent) {
        self.entries.retain(|e| u64::from(e.position) < extent.len);
        self.extent = extent;
    }

    /// Where to begin looking for the batch with `offset`, and the offset of the batch there.
    pub fn position_of(&self, offset: i64) -> (u64, Option<i64>) {
        let offset_of = |e: &Entry| self.base + i64::from(e.relative_offset);
        let entry = self.before(self.entries.partition_point(|e| offset_of(e) <= offset));
        entry.map_or((0, None), |e| (u64::from(e.position), Some(offset_of(e))))
    }

    /// Where to begin looking for the first batch with a record at `timestamp_ms` or later.
    pub fn position_of_time(&self, timestamp_ms: i64) -> u64 {
        let entry = self.before(self.entries.partition_point(|e| e.before_ms < timestamp_ms));
        entry.map_or(0, |e| u64::from(e.position))
    }

    fn before(&self, entry: usize) -> Option<&Entry> {
        entry.checked_sub(1).and_then(|i| self.entries.get(i))
    }

    /// Writes and syncs both files beside the `.log`.
    pub fn store(&self, disk: &dyn Disk, log_path: &Path) -> io::Result<()> {
        let offsets = self.encode(OFFSETS_MAGIC, |out, e| {
            out.extend(e.relative_offset.to_be_bytes());
            out.extend(e.position.to_be_bytes());
        });
        let times = self.encode(TIMES_MAGIC, |out, e| {
            out.extend(e.before_ms.to_be_bytes());
            out.extend(e.relative_offset.to_be_bytes());
        });
        for (extension, bytes) in [("index", offsets), ("timeindex", times)] {
            let file = disk.open(&log_path.with_extension(extension), true)?;
            file.set_len(0)?;
            file.write_at(&bytes, 0)?;
            file.sync()?;
        }
        Ok(())
    }

    /// Reads both files; nothing if one is missing, damaged or of another length than its twin.
    pub fn load(disk: &dyn Disk, log_path: &Path, base: i64) -> Option<Self> {
        let offsets = disk::read(disk, &log_path.with_extension("index")).ok()?;
        let times = disk::read(disk, &log_path.with_extension("timeindex")).ok()?;
        let (extent, offsets) = decode(OFFSETS_MAGIC, 8, &offsets)?;
        let (times_extent, times) = decode(TIMES_MAGIC, 12, &times)?;
        if extent != times_extent || offsets.len() / 8 != times.len() / 12 {
            return None;
        }
        let entries = offsets
            .chunks_exact(8)
            .zip(times.chunks_exact(12))
            .map(|(o, t)| {
                Some(Entry {
                    relative_offset: u32::from_be_bytes(o[..4].try_into().ok()?),
                    position: u32::from_be_bytes(o[4..].try_into().ok()?),
                    before_ms: i64::from_be_bytes(t[..8].try_into().ok()?),
                })
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self { base, entries, extent })
    }

    fn encode(&self, magic: &[u8; 8], put: impl Fn(&mut Vec<u8>, &Entry)) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_LEN + 12 * self.entries.len());
        out.extend(magic);
        out.extend(self.extent.len.to_be_bytes());
        out.extend(self.extent.next_offset.to_be_bytes());
        out.extend(self.extent.max_timestamp_ms.to_be_bytes());
        out.extend((self.entries.len() as u32).to_be_bytes());
        out.extend([0; 4]);
        for entry in &self.entries {
            put(&mut out, entry);
        }
        let crc = checksum(&out);
        out[36..40].copy_from_slice(&crc.to_be_bytes());
        out
    }
}

/// The stated extent and the entries' bytes.
fn decode<'a>(magic: &[u8; 8], entry_len: usize, bytes: &'a [u8]) -> Option<(Extent, &'a [u8])> {
    let (head, entries) = bytes.split_at_checked(HEAD_LEN)?;
    let count = u32::from_be_bytes(head[32..36].try_into().ok()?) as usize;
    let crc = u32::from_be_bytes(head[36..40].try_into().ok()?);
    if &head[..8] != magic || entries.len() != count * entry_len || checksum(bytes) != crc {
        return None;
    }
    let extent = Extent {
        len: u64::from_be_bytes(head[8..16].try_into().ok()?),
        next_offset: i64::from_be_bytes(head[16..24].try_into().ok()?),
        max_timestamp_ms: i64::from_be_bytes(head[24..32].try_into().ok()?),
    };
    Some((extent, entries))
}

/// Over all bytes but the four that hold it.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..36]), &bytes[HEAD_LEN..])
}
