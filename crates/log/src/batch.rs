//! The header of a record batch v2 (KIP-98), which is all of a batch that the log itself reads.
//! The checksum covers the bytes from `attributes` on, so base offset and leader epoch may be
//! patched in place while the client's bytes stay as they came.

use common::{Error, Offset, Result};

/// Bytes of the fixed part of a batch.
pub const HEADER_LEN: usize = 61;
/// Bytes before the ones that `length` counts.
pub(crate) const PREFIX_LEN: usize = 12;
/// Where the bytes covered by the checksum begin.
pub(crate) const CHECKED_FROM: usize = 21;
const MAGIC: i8 = 2;
/// Bits of `attributes`.
const LOG_APPEND_TIME: i16 = 0x08;
pub(crate) const TRANSACTIONAL: i16 = 0x10;
pub(crate) const CONTROL: i16 = 0x20;
/// Bit of `attributes` that Kafka leaves unused (it uses 0 to 6): Watershed itself checked the
/// records. No client may set it.
pub(crate) const CHECKED: i16 = 1 << 14;
/// Bit of `attributes`: the base timestamp is the time until which tombstones stay (KIP-534).
pub(crate) const DELETE_HORIZON: i16 = 1 << 6;

/// The fixed part of a batch, as it stands in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub base_offset: i64,
    /// Bytes after this field.
    pub length: i32,
    pub leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub count: i32,
}

/// How the records of a batch are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
    Unknown,
}

impl Header {
    /// Reads the fields without judging them; nothing when there are fewer than 61 bytes.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_LEN] = bytes.get(..HEADER_LEN)?.try_into().ok()?;
        Some(Self {
            base_offset: i64::from_be_bytes(part(bytes, 0)),
            length: i32::from_be_bytes(part(bytes, 8)),
            leader_epoch: i32::from_be_bytes(part(bytes, 12)),
            magic: bytes[16] as i8,
            crc: u32::from_be_bytes(part(bytes, 17)),
            attributes: i16::from_be_bytes(part(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(part(bytes, 23)),
            base_timestamp_ms: i64::from_be_bytes(part(bytes, 27)),
            max_timestamp_ms: i64::from_be_bytes(part(bytes, 35)),
            producer_id: i64::from_be_bytes(part(bytes, 43)),
            producer_epoch: i16::from_be_bytes(part(bytes, 51)),
            base_sequence: i32::from_be_bytes(part(bytes, 53)),
            count: i32::from_be_bytes(part(bytes, 57)),
        })
    }

    /// Bytes of the whole batch, if `length` makes sense.
    pub fn batch_len(&self) -> Option<usize> {
        let len = usize::try_from(self.length).ok()?.checked_add(PREFIX_LEN)?;
        (len >= HEADER_LEN).then_some(len)
    }

    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.saturating_add(i64::from(self.last_offset_delta)))
    }

    pub fn compression(&self) -> Compression {
        match self.attributes & 0x07 {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            _ => Compression::Unknown,
        }
    }

    /// All records bear the batch's largest timestamp (`LogAppendTime`).
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Holds a transaction marker instead of records.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Until when its tombstones stay, in milliseconds since 1970; none before it was compacted.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp_ms)
    }

    /// Its records were held against the topic's definition before they were appended.
    pub fn is_checked(&self) -> bool {
        self.attributes & CHECKED != 0
    }

    /// What is wrong with the fields that any stored batch must have right.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if self.magic != MAGIC {
            Some("its format version is not 2")
        } else if self.batch_len().is_none() {
            Some("its length makes no sense")
        } else if self.last_offset_delta < 0 || self.count < 0 {
            Some("its number of records makes no sense")
        } else {
            None
        }
    }
}

/// Whether a whole batch is as its writer made it.
pub(crate) fn is_intact(header: &Header, batch: &[u8]) -> bool {
    batch.get(CHECKED_FROM..).is_some_and(|checked| crc32c::crc32c(checked) == header.crc)
}

/// Checks every batch in what a client sent; returns the number of records.
pub(crate) fn check_sent(bytes: &[u8], batch_bytes_max: u64) -> Result<i64> {
    let mut at = 0;
    let mut records = 0_i64;
    while at < bytes.len() || at == 0 {
        let rest = bytes.get(at..).unwrap_or_default();
        let bad = |why: &str| Error::invalid(format!("record batch at byte {at}: {why}"));
        let header = Header::parse(rest).ok_or_else(|| bad("it is cut off within its header"))?;
        if let Some(fault) = header.fault() {
            return Err(bad(fault));
        }
        let len = header.batch_len().unwrap_or(HEADER_LEN);
        if len as u64 > batch_bytes_max {
            return Err(Error::too_large(format!(
                "record batch of {len} bytes is larger than {batch_bytes_max}"
            ))
            .hint("send smaller batches"));
        }
        let batch = rest.get(..len).ok_or_else(|| bad("it is cut off"))?;
        if header.count < 1 || header.last_offset_delta != header.count - 1 {
            return Err(bad("its number of records does not fit its offsets"));
        }
        if header.compression() == Compression::Unknown {
            return Err(bad("its compression is unknown"));
        }
        if !is_intact(&header, batch) {
            return Err(bad("its checksum does not match its bytes"));
        }
        records += i64::from(header.count);
        at += len;
    }
    Ok(records)
}

/// Gives checked batches their offsets from `first` on, and leader epoch 0.
pub(crate) fn patch(bytes: &mut [u8], first: i64) {
    let mut at = 0;
    let mut next = first;
    while let Some(header) = bytes.get(at..).and_then(Header::parse) {
        bytes[at..at + 8].copy_from_slice(&next.to_be_bytes());
        bytes[at + 12..at + 16].copy_from_slice(&0_i32.to_be_bytes());
        next += i64::from(header.last_offset_delta) + 1;
        at += header.batch_len().unwrap_or(HEADER_LEN);
    }
}

/// Gives all records of a checked batch one time, that of their arrival.
pub(crate) fn stamp(bytes: &mut [u8], timestamp_ms: i64) {
    let Some(header) = Header::parse(bytes) else { return };
    let attributes = header.attributes | LOG_APPEND_TIME;
    bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    bytes[35..43].copy_from_slice(&timestamp_ms.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[CHECKED_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

fn part<const N: usize>(bytes: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}
