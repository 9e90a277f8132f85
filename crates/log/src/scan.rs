//! Walks a segment file from batch to batch, to rebuild its index and to find where it ends after
//! a crash. Up to `trusted` the bytes were synced: there a broken batch is damage, reported and
//! passed over. Behind it a broken batch is the torn tail of writes that nobody was promised.

use std::io;

use common::DiskFile;

use crate::batch::{self, HEADER_LEN, Header};
use crate::index::{Extent, Index};

const CHUNK: usize = 256 << 10;

/// What a walk found.
pub(crate) struct Scan {
    /// Reaches to the last good batch.
    pub index: Index,
    pub damaged: Vec<Hole>,
    pub torn: Option<Torn>,
}

/// A stretch of a segment that cannot be read: offsets `first` to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    pub position: u64,
    pub len: u64,
    pub first: i64,
    pub last: i64,
}

/// The end of the good batches, when there are bytes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Torn {
    pub position: u64,
    pub reason: &'static str,
    /// As the first torn batch's header states it, if it has one.
    pub records: i64,
}

/// Walks on from where `index` ends; in a sealed segment not further than offset `end`, for there
/// may be bytes behind it that were cut off before it was sealed, and came back. In a compacted
/// segment offsets may be missing; then checksums tell what belongs to it. `see` gets every batch's
/// header, and of control batches their bytes.
pub(crate) fn scan(
    file: &dyn DiskFile,
    file_len: u64,
    mut index: Index,
    trusted: Extent,
    end: Option<i64>,
    is_compacted: bool,
    mut see: impl FnMut(&Header, &[u8]),
) -> io::Result<Scan> {
    let mut window = Window { file, file_len, bytes: vec![], start: 0 };
    let mut damaged = vec![];
    let mut torn = None;
    let is_over = |extent: Extent| end.is_some_and(|end| extent.next_offset >= end);
    while index.extent().len < file_len && !is_over(index.extent()) {
        let Extent { len: position, next_offset, .. } = index.extent();
        let is_trusted = position < trusted.len;
        let end = if is_trusted { trusted.len.min(file_len) } else { file_len };
        let expected =
            if is_compacted { Expected::From(next_offset) } else { Expected::Exactly(next_offset) };
        match batch_at(&mut window, position, end, expected, is_compacted || !is_trusted)? {
            Ok((header, len)) => {
                let bytes = match header.is_control() {
                    true => window.get(position, len as usize, end)?.unwrap_or_default(),
                    false => &[],
                };
                see(&header, bytes);
                index.add(&header, len);
            }
            Err(_) if is_trusted => {
                let (to, next) = after_damage(&mut window, position, end, next_offset, trusted)?;
                if next > next_offset {
                    let (first, last) = (next_offset, next - 1);
                    damaged.push(Hole { position, len: to - position, first, last });
                }
                index.skip_to(to, next);
            }
            Err(reason) => {
                torn = Some(Torn { position, reason, records: stated(&mut window, position)? });
                break;
            }
        }
    }
    // Synced bytes that are gone: their offsets must not be given out again.
    let extent = index.extent();
    if torn.is_none() && extent.next_offset < trusted.next_offset {
        damaged.push(Hole {
            position: extent.len,
            len: trusted.len.saturating_sub(extent.len),
            first: extent.next_offset,
            last: trusted.next_offset - 1,
        });
        index.skip_to(extent.len, trusted.next_offset);
    }
    Ok(Scan { index, damaged, torn })
}

/// Which base offset a batch may have.
#[derive(Clone, Copy)]
enum Expected {
    Exactly(i64),
    From(i64),
}

/// The batch at `position`, or what is wrong with it.
fn batch_at(
    window: &mut Window<'_>,
    position: u64,
    end: u64,
    expected: Expected,
    check_bytes: bool,
) -> io::Result<Result<(Header, u64), &'static str>> {
    let Some(header) = window.get(position, HEADER_LEN, end)?.and_then(Header::parse) else {
        return Ok(Err("it ends within a header"));
    };
    if let Some(fault) = header.fault() {
        return Ok(Err(fault));
    }
    let continues = match expected {
        Expected::Exactly(offset) => header.base_offset == offset,
        Expected::From(offset) => header.base_offset >= offset,
    };
    if !continues {
        return Ok(Err("it does not continue the offsets"));
    }
    let len = header.batch_len().unwrap_or(HEADER_LEN);
    if position + len as u64 > end {
        return Ok(Err("it ends within a batch"));
    }
    if check_bytes {
        let bytes = window.get(position, len, end)?;
        if !bytes.is_some_and(|b| batch::is_intact(&header, b)) {
            return Ok(Err("its checksum does not match its bytes"));
        }
    }
    Ok(Ok((header, len as u64)))
}

/// The next intact batch behind a damaged place, or the end of what was trusted. Slow, and rare.
fn after_damage(
    window: &mut Window<'_>,
    from: u64,
    end: u64,
    expected_offset: i64,
    trusted: Extent,
) -> io::Result<(u64, i64)> {
    // From the broken place itself: there may just be offsets missing before it.
    for position in from..end {
        let Some(bytes) = window.get(position, HEADER_LEN, end)? else {
            break;
        };
        if bytes[16] != 2 {
            continue;
        }
        let Some(header) = Header::parse(bytes) else {
            break;
        };
        let offsets = expected_offset..trusted.next_offset;
        if offsets.contains(&header.base_offset)
            && batch_at(window, position, end, Expected::Exactly(header.base_offset), true)?.is_ok()
        {
            return Ok((position, header.base_offset));
        }
    }
    Ok((end, if end == trusted.len { trusted.next_offset } else { expected_offset }))
}

fn stated(window: &mut Window<'_>, position: u64) -> io::Result<i64> {
    let end = window.file_len;
    let header = window.get(position, HEADER_LEN, end)?.and_then(Header::parse);
    Ok(header.filter(|h| h.fault().is_none()).map_or(0, |h| i64::from(h.count)))
}

/// A part of the file in memory.
struct Window<'a> {
    file: &'a dyn DiskFile,
    file_len: u64,
    bytes: Vec<u8>,
    start: u64,
}

impl Window<'_> {
    /// `len` bytes at `position`, if there are that many before `end`.
    fn get(&mut self, position: u64, len: usize, end: u64) -> io::Result<Option<&[u8]>> {
        if position + len as u64 > end {
            return Ok(None);
        }
        let in_window =
            position >= self.start && position + len as u64 <= self.start + self.bytes.len() as u64;
        if !in_window {
            let want = (len.max(CHUNK) as u64).min(self.file_len - position) as usize;
            self.bytes.resize(want, 0);
            let n = self.file.read_at(&mut self.bytes, position)?;
            self.bytes.truncate(n);
            self.start = position;
        }
        let at = (position - self.start) as usize;
        Ok(self.bytes.get(at..at + len))
    }
}
