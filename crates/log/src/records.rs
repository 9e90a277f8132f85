//! Walks over the records of a batch without copying: views borrow from the batch's bytes. The
//! bytes may come from outside, so every length is checked; garbage ends the walk with an error.
//! To keep a value beyond the batch's borrow, take `batch.slice_ref(value)`.

use std::borrow::Cow;

use common::{Error, Offset, Result};

use crate::batch::{Compression, HEADER_LEN, Header};
use crate::varint;

/// One record of a batch.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    pub offset: Offset,
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    /// None is a tombstone.
    pub value: Option<&'a [u8]>,
    headers: Headers<'a>,
}

impl<'a> RecordView<'a> {
    /// In microseconds, as the rest of Watershed counts.
    pub fn timestamp_us(&self) -> i64 {
        self.timestamp_ms.saturating_mul(1000)
    }

    /// Names and values in the order they were given; invalid UTF-8 in a name is replaced.
    pub fn headers(&self) -> Headers<'a> {
        self.headers
    }
}

/// The headers of one record.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    left: i32,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (Cow<'a, str>, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let mut at = 0;
        let name = field(self.bytes, &mut at)??;
        let value = field(self.bytes, &mut at)?;
        self.bytes = &self.bytes[at..];
        Some((String::from_utf8_lossy(name), value))
    }
}

/// The records of one batch, in order. A batch of transaction markers has none.
pub struct Records<'a> {
    header: Header,
    /// What is left of the records' bytes.
    bytes: &'a [u8],
    left: i32,
}

/// Starts the walk. The batch's checksum is not looked at: `PartitionLog::read` did that.
pub fn iter(batch: &[u8]) -> Result<Records<'_>> {
    let header = Header::parse(batch).ok_or_else(|| corrupt("it is shorter than its header"))?;
    if let Some(fault) = header.fault() {
        return Err(corrupt(fault));
    }
    if header.batch_len() != Some(batch.len()) {
        return Err(corrupt("its length is not the one it states"));
    }
    if header.is_control() {
        return Ok(Records { header, bytes: &[], left: 0 });
    }
    if header.compression() != Compression::None {
        let name = format!("{:?}", header.compression()).to_lowercase();
        return Err(Error::unsupported(format!(
            "record batch at offset {} is compressed with {name}",
            header.base_offset
        ))
        .hint("unpack it first (compression::unpacked)"));
    }
    Ok(Records { header, bytes: &batch[HEADER_LEN..], left: header.count })
}

/// The record of a control batch, if it makes sense.
pub(crate) fn marker(batch: &[u8]) -> Option<RecordView<'_>> {
    let header = Header::parse(batch).filter(|h| h.compression() == Compression::None)?;
    Records { header, bytes: &batch[HEADER_LEN..], left: 1 }.parse_next()
}

impl<'a> Records<'a> {
    pub fn header(&self) -> &Header {
        &self.header
    }

    fn parse_next(&mut self) -> Option<RecordView<'a>> {
        let mut at = 0;
        let len = usize::try_from(varint::read_i32(self.bytes, &mut at)?).ok()?;
        let record = self.bytes.get(at..at.checked_add(len)?)?;
        self.bytes = &self.bytes[at + len..];
        // One byte of attributes, unused in this format.
        at = 1;
        let timestamp_delta = varint::read(record, &mut at)?;
        let offset_delta = varint::read_i32(record, &mut at)?;
        let key = field(record, &mut at)?;
        let value = field(record, &mut at)?;
        let headers = varint::read_i32(record, &mut at)?;
        if headers < 0 || !(0..=self.header.last_offset_delta).contains(&offset_delta) {
            return None;
        }
        let headers = Headers { bytes: record.get(at..)?, left: headers };
        for _ in 0..headers.left {
            // A header has a name; its value may be missing.
            field(record, &mut at)??;
            field(record, &mut at)?;
        }
        let timestamp_ms = if self.header.is_log_append_time() {
            self.header.max_timestamp_ms
        } else {
            self.header.base_timestamp_ms.wrapping_add(timestamp_delta)
        };
        let offset = Offset(self.header.base_offset.wrapping_add(i64::from(offset_delta)));
        (at == record.len()).then_some(RecordView { offset, timestamp_ms, key, value, headers })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            if self.bytes.is_empty() {
                return None;
            }
            self.bytes = &[];
            return Some(Err(corrupt("it has bytes after its last record")));
        }
        self.left -= 1;
        let record = self.parse_next();
        if record.is_none() {
            self.left = 0;
            self.bytes = &[];
        }
        let base = self.header.base_offset;
        Some(
            record
                .ok_or_else(|| corrupt(&format!("a record of it (from offset {base}) is broken"))),
        )
    }
}

fn corrupt(why: &str) -> Error {
    Error::corrupt(format!("record batch cannot be read: {why}"))
}

/// A length and that many bytes; inner none for the length -1, outer none when it does not fit.
fn field<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Option<&'a [u8]>> {
    match varint::read_i32(bytes, at)? {
        -1 => Some(None),
        len => {
            let end = at.checked_add(usize::try_from(len).ok()?)?;
            let field = bytes.get(*at..end)?;
            *at = end;
            Some(Some(field))
        }
    }
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
