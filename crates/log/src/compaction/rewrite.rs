//! What compaction makes of one batch: the same bytes, fewer records, or nothing. Offsets and
//! timestamps of records never change; a batch keeps its base offset, its last offset delta and
//! its producer's fields (KIP-98). A batch whose tombstones are compacted for the first time gets
//! the time until which they stay (KIP-534).

use bytes::{BufMut, Bytes};

use super::key_map::KeyMap;
use crate::batch::{CHECKED_FROM, DELETE_HORIZON, HEADER_LEN, Header, PREFIX_LEN};
use crate::{compression, varint};

/// Kafka's value for a timestamp that is not there.
const NO_TIMESTAMP: i64 = -1;
const COMPRESSION_BITS: i16 = 0x07;

/// What is left of a batch.
#[derive(Debug)]
pub(super) enum Left {
    /// All of it: the same bytes.
    Same,
    /// Some of its records, or all with a delete horizon; so many are gone.
    Part { batch: Bytes, removed: u64 },
    /// None of its records, of which there were so many.
    Nothing { removed: u64 },
    /// It cannot be told which records it has: it stays.
    Unreadable,
}

/// By what a record is judged.
pub(super) struct Judge<'a> {
    pub keys: &'a KeyMap,
    pub now_ms: i64,
    /// Until when tombstones stay that are compacted for the first time.
    pub horizon_ms: i64,
    /// Something older stays that a tombstone may be about.
    pub keeps_tombstones: bool,
}

impl Judge<'_> {
    /// Kafka's rule: the latest record of its key stays, a tombstone until its horizon. One
    /// without a key (from before the topic was compacted) goes.
    fn keeps(&self, record: &Raw<'_>, offset: i64, horizon_ms: Option<i64>) -> bool {
        let is_over = horizon_ms.is_some_and(|ms| self.now_ms >= ms) && !self.keeps_tombstones;
        record.key.is_some_and(|key| !self.keys.is_outdated(key, offset))
            && !(record.is_tombstone && is_over)
    }
}

/// Leaves out what `judge` does not keep.
pub(super) fn rewrite(batch: &Bytes, header: &Header, judge: &Judge<'_>) -> Left {
    let Ok(unpacked) = compression::unpacked(batch) else {
        return Left::Unreadable;
    };
    let Some(all) = unpacked.get(HEADER_LEN..).and_then(|bytes| records(bytes, header)) else {
        return Left::Unreadable;
    };
    let horizon = header.delete_horizon_ms();
    let offset = |record: &Raw<'_>| header.base_offset + i64::from(record.offset_delta);
    let count = all.len() as u64;
    let kept: Vec<_> =
        all.into_iter().filter(|record| judge.keeps(record, offset(record), horizon)).collect();
    let removed = count - kept.len() as u64;
    let sets_horizon = horizon.is_none() && kept.iter().any(|record| record.is_tombstone);
    if kept.is_empty() {
        return Left::Nothing { removed };
    }
    if removed == 0 && !sets_horizon {
        return Left::Same;
    }
    let new_base = sets_horizon.then_some(judge.horizon_ms);
    match with_records(batch, header, &kept, new_base) {
        Some(batch) => Left::Part { batch, removed },
        None => Left::Unreadable,
    }
}

/// The batch without records; its header still tells its offsets and its producer.
pub(super) fn emptied(batch: &Bytes, header: &Header) -> Bytes {
    let mut out = batch.get(..HEADER_LEN).unwrap_or_default().to_vec();
    let attributes = header.attributes & !(COMPRESSION_BITS | DELETE_HORIZON);
    put(&mut out, 21, &attributes.to_be_bytes());
    put(&mut out, 27, &NO_TIMESTAMP.to_be_bytes());
    put(&mut out, 57, &0_i32.to_be_bytes());
    finish(&mut out, HEADER_LEN as i32 - PREFIX_LEN as i32);
    out.into()
}

/// Nothing if it were too large for a batch.
fn with_records(
    batch: &Bytes,
    header: &Header,
    kept: &[Raw<'_>],
    new_base_ms: Option<i64>,
) -> Option<Bytes> {
    let base_ms = new_base_ms.unwrap_or(header.base_timestamp_ms);
    // The horizon takes the place of the base timestamp, to which the records' times relate.
    let shift = header.base_timestamp_ms.wrapping_sub(base_ms);
    let mut plain = vec![];
    let mut max_ms = i64::MIN;
    for record in kept {
        let delta = record.timestamp_delta.wrapping_add(shift);
        max_ms = max_ms.max(base_ms.wrapping_add(delta));
        match new_base_ms {
            None => plain.extend_from_slice(record.whole),
            Some(_) => record.put(&mut plain, delta),
        }
    }
    let (compression, bytes) = compression::packed(header.compression(), plain);
    let mut attributes = header.attributes;
    if compression != header.compression() {
        attributes &= !COMPRESSION_BITS;
    }
    if new_base_ms.is_some() {
        attributes |= DELETE_HORIZON;
    }
    let mut out = batch.get(..HEADER_LEN)?.to_vec();
    out.extend_from_slice(&bytes);
    put(&mut out, 21, &attributes.to_be_bytes());
    put(&mut out, 27, &base_ms.to_be_bytes());
    if !header.is_log_append_time() {
        put(&mut out, 35, &max_ms.to_be_bytes());
    }
    put(&mut out, 57, &i32::try_from(kept.len()).ok()?.to_be_bytes());
    let length = i32::try_from(out.len() - PREFIX_LEN).ok()?;
    finish(&mut out, length);
    Some(out.into())
}

fn finish(batch: &mut [u8], length: i32) {
    put(batch, 8, &length.to_be_bytes());
    let crc = crc32c::crc32c(batch.get(CHECKED_FROM..).unwrap_or_default());
    put(batch, 17, &crc.to_be_bytes());
}

fn put(batch: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(field) = batch.get_mut(at..at + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}

/// A record with the bytes it has in its batch.
struct Raw<'a> {
    whole: &'a [u8],
    attributes: u8,
    timestamp_delta: i64,
    offset_delta: i32,
    /// From the offset delta on.
    rest: &'a [u8],
    key: Option<&'a [u8]>,
    is_tombstone: bool,
}

impl<'a> Raw<'a> {
    fn parse(bytes: &mut &'a [u8]) -> Option<Self> {
        let mut at = 0;
        let len = usize::try_from(varint::read_i32(bytes, &mut at)?).ok()?;
        let (whole, behind) = bytes.split_at_checked(at.checked_add(len)?)?;
        *bytes = behind;
        let body = whole.get(at..)?;
        let attributes = *body.first()?;
        let mut at = 1;
        let timestamp_delta = varint::read(body, &mut at)?;
        let rest = body.get(at..)?;
        let offset_delta = varint::read_i32(body, &mut at)?;
        let key = match varint::read_i32(body, &mut at)? {
            -1 => None,
            len => {
                let end = at.checked_add(usize::try_from(len).ok()?)?;
                let key = body.get(at..end)?;
                at = end;
                Some(key)
            }
        };
        let is_tombstone = varint::read_i32(body, &mut at)? == -1;
        Some(Self { whole, attributes, timestamp_delta, offset_delta, rest, key, is_tombstone })
    }

    fn put(&self, out: &mut Vec<u8>, timestamp_delta: i64) {
        let len = 1 + varint::len(timestamp_delta) + self.rest.len();
        varint::write(out, len as i64);
        out.put_u8(self.attributes);
        varint::write(out, timestamp_delta);
        out.extend_from_slice(self.rest);
    }
}

/// All records of a batch; none if they are not what the header says.
fn records<'a>(mut bytes: &'a [u8], header: &Header) -> Option<Vec<Raw<'a>>> {
    let mut all = vec![];
    for _ in 0..header.count {
        let record = Raw::parse(&mut bytes)?;
        if !(0..=header.last_offset_delta).contains(&record.offset_delta) {
            return None;
        }
        all.push(record);
    }
    bytes.is_empty().then_some(all)
}

/// Notes the keys of a batch; whether its records could be read.
pub(super) fn note_keys(batch: &Bytes, header: &Header, keys: &mut KeyMap) -> bool {
    let Ok(unpacked) = compression::unpacked(batch) else { return false };
    let Some(all) = unpacked.get(HEADER_LEN..).and_then(|bytes| records(bytes, header)) else {
        return false;
    };
    for record in &all {
        if let Some(key) = record.key {
            keys.note(key, header.base_offset + i64::from(record.offset_delta));
        }
    }
    true
}
