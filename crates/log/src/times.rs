//! Finding records by time (ListOffsets): the first one at or after a timestamp (KIP-79), and the
//! one with the largest timestamp (KIP-734). Indexes and headers lead to the right batch; only
//! that one is unpacked, to tell the record.

use std::sync::Arc;

use bytes::Bytes;
use common::{Error, Kind, Offset, Result};

use crate::batch::{HEADER_LEN, Header};
use crate::index::Extent;
use crate::lock::read;
use crate::partition::PartitionLog;
use crate::read::{damaged, read_stretch};
use crate::segment::Segment;
use crate::{compression, records};

impl PartitionLog {
    /// The first offset whose record has this timestamp or a later one (to the millisecond); none
    /// if there is no such record. In a batch whose records cannot be read it is the first offset.
    pub fn offset_for_time(&self, timestamp_us: i64) -> Result<Option<Offset>> {
        Ok(self.record_for_time(timestamp_us)?.map(|(_, offset)| offset))
    }

    /// As `offset_for_time`, with the record's timestamp in milliseconds (KIP-79).
    pub fn record_for_time(&self, timestamp_us: i64) -> Result<Option<(i64, Offset)>> {
        let timestamp_ms = timestamp_us.div_euclid(1000);
        // The record may be in what is missing.
        self.damage().map_or(Ok(()), Err)?;
        self.over_segments(|segments, visible| {
            for segment in segments {
                if segment.extent()?.max_timestamp_ms < timestamp_ms {
                    continue;
                }
                if let Some(found) = find_time(segment, timestamp_ms, visible)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
    }

    /// The largest timestamp of all records (in milliseconds) and the first offset that bears it,
    /// as Kafka answers ListOffsets for -3 (KIP-734); none without records.
    pub fn max_timestamp(&self) -> Result<Option<(i64, Offset)>> {
        self.damage().map_or(Ok(()), Err)?;
        self.over_segments(|segments, visible| {
            let mut largest: Option<(i64, Offset)> = None;
            for segment in segments {
                let max_ms = segment.extent()?.max_timestamp_ms;
                if max_ms == i64::MIN || largest.is_some_and(|(ms, _)| ms >= max_ms) {
                    continue;
                }
                let found = match find_time(segment, max_ms, visible)? {
                    Some((_, offset)) => Some((max_ms, offset)),
                    // The record that bears it was deleted, or is not durable yet.
                    None => largest_visible(segment, visible)?,
                };
                if found.is_some_and(|(ms, _)| largest.is_none_or(|(most, _)| ms > most)) {
                    largest = found;
                }
            }
            Ok(largest)
        })
    }

    /// All segments and how far they reach, in order.
    pub(crate) fn extents(&self) -> Result<Vec<(Arc<Segment>, Extent)>> {
        self.over_segments(|segments, _| {
            segments.iter().map(|segment| Ok((segment.clone(), segment.extent()?))).collect()
        })
    }

    /// Looks through the segments, and once more if one of them was removed or replaced meanwhile.
    pub(crate) fn over_segments<T>(
        &self,
        look: impl Fn(&[Arc<Segment>], Visible) -> Result<T>,
    ) -> Result<T> {
        loop {
            let segments: Vec<_> = read(&self.segments).values().cloned().collect();
            let visible = Visible { start: self.start_offset(), end: self.high_watermark() };
            match look(&segments, visible) {
                Err(e) if e.kind() == Kind::NotFound => {
                    if segments.iter().all(|segment| self.is_current(segment)) {
                        return Err(e);
                    }
                }
                other => return other,
            }
        }
    }

    /// Whether the segment is still the partition's, neither forgotten nor replaced.
    pub(crate) fn is_current(&self, segment: &Arc<Segment>) -> bool {
        read(&self.segments).get(&segment.base).is_some_and(|now| Arc::ptr_eq(now, segment))
    }
}

/// The offsets that readers may see: from `start` to before `end`.
#[derive(Clone, Copy)]
pub(crate) struct Visible {
    start: Offset,
    end: Offset,
}

/// Looks from batch to batch; the index has brought us within a few KiB of the right one.
fn find_time(
    segment: &Arc<Segment>,
    timestamp_ms: i64,
    visible: Visible,
) -> Result<Option<(i64, Offset)>> {
    let from = segment.with_index(|index| index.position_of_time(timestamp_ms))?;
    let mut headers = Headers::new(segment, from, visible)?;
    while let Some((position, header)) = headers.next()? {
        if header.max_timestamp_ms < timestamp_ms {
            continue;
        }
        let batch = headers.batch(position, &header)?;
        let first = first_record(&batch, &header, visible, |ms| ms >= timestamp_ms);
        if first.is_some() {
            return Ok(first);
        }
    }
    Ok(None)
}

/// The largest timestamp among the visible records of a segment, and the first that bears it.
fn largest_visible(segment: &Arc<Segment>, visible: Visible) -> Result<Option<(i64, Offset)>> {
    let mut headers = Headers::new(segment, 0, visible)?;
    let mut largest: Option<(i64, Offset)> = None;
    while let Some((position, header)) = headers.next()? {
        let is_larger = |ms: i64| largest.is_none_or(|(most, _)| ms > most);
        if !is_larger(header.max_timestamp_ms) {
            continue;
        }
        let batch = headers.batch(position, &header)?;
        let mut found = None;
        while let Some(next) = first_record(&batch, &header, visible, |ms| {
            is_larger(ms) && found.is_none_or(|(most, _)| ms > most)
        }) {
            found = Some(next);
        }
        largest = found.or(largest);
    }
    Ok(largest)
}

/// Walks over the headers of the visible batches of a segment.
struct Headers<'a> {
    segment: &'a Arc<Segment>,
    file: Arc<dyn common::DiskFile>,
    position: u64,
    len: u64,
    visible: Visible,
}

impl<'a> Headers<'a> {
    fn new(segment: &'a Arc<Segment>, position: u64, visible: Visible) -> Result<Self> {
        let file = segment.file().map_err(|e| failed(segment, e))?;
        Ok(Self { segment, file, position, len: segment.readable_len()?, visible })
    }

    /// The next batch's position and header.
    fn next(&mut self) -> Result<Option<(u64, Header)>> {
        while self.position < self.len {
            let position = self.position;
            let head = read_stretch(&*self.file, position, HEADER_LEN as u64)
                .map_err(|e| failed(self.segment, e))?;
            let Some(header) = Header::parse(&head).filter(|h| h.fault().is_none()) else {
                let start = self.visible.start.0;
                return Err(damaged(self.segment, position, start, "a header makes no sense"));
            };
            // What is compacted was below the end, also when that has moved since it was asked for.
            if header.base_offset >= self.visible.end.0 && !self.segment.is_compacted() {
                return Ok(None);
            }
            self.position += header.batch_len().unwrap_or(HEADER_LEN) as u64;
            if header.last_offset() >= self.visible.start {
                return Ok(Some((position, header)));
            }
        }
        Ok(None)
    }

    fn batch(&self, position: u64, header: &Header) -> Result<Bytes> {
        let batch_len = header.batch_len().unwrap_or(HEADER_LEN) as u64;
        if position + batch_len > self.len {
            let why = "it ends within a batch";
            return Err(damaged(self.segment, position, header.base_offset, why));
        }
        read_stretch(&*self.file, position, batch_len).map_err(|e| failed(self.segment, e))
    }
}

/// The first visible record of a batch with such a timestamp. A batch whose records cannot be read
/// counts as one with the batch's largest timestamp: its readers get it as a whole anyway.
fn first_record(
    batch: &Bytes,
    header: &Header,
    visible: Visible,
    is_wanted: impl Fn(i64) -> bool,
) -> Option<(i64, Offset)> {
    records_at(batch, visible, &is_wanted).unwrap_or_else(|_| {
        let first = Offset(header.base_offset).max(visible.start);
        is_wanted(header.max_timestamp_ms).then_some((header.max_timestamp_ms, first))
    })
}

fn records_at(
    batch: &Bytes,
    visible: Visible,
    is_wanted: impl Fn(i64) -> bool,
) -> Result<Option<(i64, Offset)>> {
    for record in records::iter(&compression::unpacked(batch)?)? {
        let record = record?;
        if record.offset >= visible.start && is_wanted(record.timestamp_ms) {
            return Ok(Some((record.timestamp_ms, record.offset)));
        }
    }
    Ok(None)
}

fn failed(segment: &Segment, e: std::io::Error) -> Error {
    Error::io(format!("read '{}'", segment.path.display()), e)
}
