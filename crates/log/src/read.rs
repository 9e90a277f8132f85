//! Reading a partition: whole batches as they lie on disk, usually one read per stretch of a
//! segment, only what is durable, each batch's checksum checked.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use common::{DiskFile, Error, Kind, Offset, Result};

use crate::batch::{self, HEADER_LEN, Header};
use crate::buffers;
use crate::lock::read;
use crate::partition::PartitionLog;
use crate::segment::Segment;

/// Bytes read on top of what was asked for: from the index entry to the wanted batch.
const SLACK: u64 = 16 << 10;

impl PartitionLog {
    /// Durable batches, the first one containing `from`, about `bytes_max` bytes but at least one
    /// batch. Empty at the end. Before `start_offset` the error's kind is `NotFound`; a batch that
    /// is damaged on disk is `Corrupt`, after the good ones before it were returned.
    pub fn read(&self, from: Offset, bytes_max: usize) -> Result<Vec<Bytes>> {
        loop {
            let end = self.high_watermark();
            let batches = self.read_below(from, end, bytes_max)?;
            // Perhaps all below what was the end is compacted away, meanwhile.
            if !batches.is_empty() || from >= end || end == self.high_watermark() {
                return Ok(batches);
            }
        }
    }

    /// As `read`, but only below `end`. Empty also when compaction left nothing between the two.
    pub fn read_below(&self, from: Offset, end: Offset, bytes_max: usize) -> Result<Vec<Bytes>> {
        let end = end.0.min(self.high_watermark().0);
        self.check_range(from)?;
        self.check_present(from.0)?;
        let mut batches = vec![];
        if from.0 >= end {
            return Ok(batches);
        }
        let bytes = bytes_max as u64;
        let mut want = Want { next: from.0, end, bytes, begins: None, before: -1 };
        let mut segment = self.segment_of(from.0);
        if segment.is_none() {
            return Err(self.not_there(from.0));
        }
        while let Some(current) = segment {
            match read_segment(&current, &mut want, &mut batches) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) if !batches.is_empty() => break,
                // Retention was faster: the start offset has moved before the file went. Or the
                // segment was replaced by a compacted one.
                Err(e) if e.kind() == Kind::NotFound => {
                    self.check_range(from)?;
                    if self.is_current(&current) {
                        return Err(e);
                    }
                    segment = self.segment_of(want.next);
                    continue;
                }
                Err(e) => return Err(e),
            }
            let after = (Bound::Excluded(current.base), Bound::Unbounded);
            segment = read(&self.segments).range(after).next().map(|(_, s)| s.clone());
        }
        if batches.is_empty() && want.next < want.end {
            return Err(self.not_there(want.next));
        }
        let bytes: usize = batches.iter().map(Bytes::len).sum();
        self.counters.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(batches)
    }

    /// The segment in which `offset` lies, if it is there.
    pub(crate) fn segment_of(&self, offset: i64) -> Option<Arc<Segment>> {
        read(&self.segments).range(..=offset).next_back().map(|(_, s)| s.clone())
    }

    fn check_range(&self, from: Offset) -> Result<()> {
        let name = format_args!("'{}' partition {}", self.topic, self.id);
        let (start, end) = (self.start_offset(), self.end_offset());
        if from < start {
            let message = format!("offset {from} of topic {name} is not kept any more");
            return Err(Error::not_found(message).hint(format!("the oldest is {start}")));
        }
        if from > end {
            let message = format!("offset {from} of topic {name} does not exist yet");
            return Err(Error::not_found(message).hint(format!("the next one will be {end}")));
        }
        Ok(())
    }

    /// An error if a missing segment would hide something from who reads at `offset`.
    fn check_present(&self, offset: i64) -> Result<()> {
        let missing = read(&self.missing);
        let first = missing.iter().find(|m| m.concerns(offset));
        first.map_or(Ok(()), |m| Err(m.error(&self.topic, self.id, &self.dir)))
    }

    /// An error if anything from `offset` on is missing.
    pub(crate) fn check_present_from(&self, offset: i64) -> Result<()> {
        let missing = read(&self.missing);
        let first = missing.iter().find(|m| m.end.is_none_or(|end| end.0 > offset));
        first.map_or(Ok(()), |m| Err(m.error(&self.topic, self.id, &self.dir)))
    }

    fn not_there(&self, offset: i64) -> Error {
        Error::corrupt(format!(
            "offset {offset} of topic '{}' partition {} is missing in '{}': its segment was \
             removed or is damaged",
            self.topic,
            self.id,
            self.dir.display()
        ))
        .hint("restore the folder from a backup, or read on from a later offset")
    }
}

struct Want {
    /// The next offset to be returned.
    next: i64,
    /// The offset to stop at.
    end: i64,
    /// Bytes still wanted.
    bytes: u64,
    /// The offset at which the next batch must begin, where the index or the batch before it says.
    begins: Option<i64>,
    /// Where the batch before it ends.
    before: i64,
}

impl Want {
    /// Whether the offset of the next batch is one it can have. Kafka's checksum does not cover it,
    /// and in a compacted segment there are gaps.
    fn allows(&self, segment: &Segment, header: &Header) -> bool {
        let (first, last) = (header.base_offset, header.last_offset().0);
        self.begins.is_none_or(|begins| begins == first)
            && (!segment.is_compacted() || first > self.before && last < segment.end())
    }

    fn pass(&mut self, segment: &Segment, header: &Header) {
        // Behind one that is not where it must be nothing is known.
        let is_known = !segment.is_compacted() && self.allows(segment, header);
        self.before = header.last_offset().0;
        self.begins = is_known.then_some(self.before + 1);
    }
}

/// Collects batches of one segment; whether the next segment is to be read too.
fn read_segment(segment: &Arc<Segment>, want: &mut Want, batches: &mut Vec<Bytes>) -> Result<bool> {
    let failed = |e| Error::io(format!("read '{}'", segment.path.display()), e);
    let (mut position, begins) = segment.with_index(|index| index.position_of(want.next))?;
    want.begins = begins.or((!segment.is_compacted()).then_some(segment.base));
    want.before = segment.base - 1;
    let file = segment.file().map_err(failed)?;
    let len = segment.readable_len()?;
    let mut stretch = want.bytes.saturating_add(SLACK);
    while position < len {
        let wanted = stretch.min(len - position);
        let bytes = read_stretch(&*file, position, wanted).map_err(failed)?;
        if (bytes.len() as u64) < wanted {
            return Err(damaged(segment, position, want.next, "the file has become shorter"));
        }
        match take_batches(segment, &bytes, position, len, want, batches)? {
            Taken::Enough => return Ok(false),
            Taken::More { at, batch_len } => {
                position += at;
                stretch = batch_len.max(want.bytes.saturating_add(SLACK));
            }
        }
        if !batches.is_empty() && want.bytes == 0 {
            return Ok(false);
        }
    }
    Ok(want.next < want.end && (batches.is_empty() || want.bytes > 0))
}

enum Taken {
    Enough,
    /// The next batch begins `at` bytes into the stretch and is not all there.
    More {
        at: u64,
        batch_len: u64,
    },
}

fn take_batches(
    segment: &Segment,
    bytes: &Bytes,
    position: u64,
    len: u64,
    want: &mut Want,
    batches: &mut Vec<Bytes>,
) -> Result<Taken> {
    let mut at = 0;
    loop {
        let place = position + at as u64;
        let damaged = |why: &str| damaged(segment, place, want.next, why);
        if place >= len {
            return Ok(Taken::More { at: at as u64, batch_len: 0 });
        }
        let Some((header, batch_len)) = head(&bytes[at..], len - place).map_err(damaged)? else {
            return Ok(Taken::More { at: at as u64, batch_len: HEADER_LEN as u64 });
        };
        let is_allowed = want.allows(segment, &header);
        if !is_allowed && segment.is_compacted() {
            return Err(damaged("its offset is not one it can have"));
        }
        if header.base_offset >= want.end {
            if segment.is_compacted() && want.next >= segment.base {
                want.next = want.end;
            }
            return Ok(Taken::Enough);
        }
        if header.last_offset().0 < want.next {
            want.pass(segment, &header);
            at += batch_len;
            if at > bytes.len() {
                return Ok(Taken::More { at: at as u64, batch_len: 0 });
            }
            continue;
        }
        if !is_allowed && header.base_offset <= want.next {
            return Err(damaged("its offset is not the one it must have"));
        }
        if header.base_offset > want.next && !(segment.is_compacted() && want.next >= segment.base)
        {
            return Err(damaged("offsets are missing before it"));
        }
        if !batches.is_empty() && batch_len as u64 > want.bytes {
            return Ok(Taken::Enough);
        }
        if at + batch_len > bytes.len() {
            return Ok(Taken::More { at: at as u64, batch_len: batch_len as u64 });
        }
        let batch = bytes.slice(at..at + batch_len);
        if !batch::is_intact(&header, &batch) {
            let last = header.last_offset();
            let why = format!("its checksum does not match (offsets up to {last})");
            return Err(damaged(&why));
        }
        batches.push(batch);
        want.pass(segment, &header);
        want.next = header.last_offset().0 + 1;
        want.bytes = want.bytes.saturating_sub(batch_len as u64);
        at += batch_len;
    }
}

/// The next batch's header and length, if the bytes reach that far; `left` is the file's.
fn head(bytes: &[u8], left: u64) -> std::result::Result<Option<(Header, usize)>, &'static str> {
    let Some(header) = Header::parse(bytes) else {
        let is_cut = HEADER_LEN as u64 > left;
        return if is_cut { Err("it ends within a header") } else { Ok(None) };
    };
    if let Some(fault) = header.fault() {
        return Err(fault);
    }
    let batch_len = header.batch_len().unwrap_or(HEADER_LEN);
    match batch_len as u64 > left {
        true => Err("it ends within a batch"),
        false => Ok(Some((header, batch_len))),
    }
}

pub(crate) fn damaged(segment: &Segment, position: u64, offset: i64, why: &str) -> Error {
    Error::corrupt(format!(
        "'{}' is damaged at position {position}, offset {offset}: {why}",
        segment.path.display()
    ))
    .hint("restore the file from a backup, or read on from a later offset")
}

pub(crate) fn read_stretch(file: &dyn DiskFile, position: u64, len: u64) -> std::io::Result<Bytes> {
    buffers::filled(len as usize, |buffer| file.read_at(buffer, position))
}
