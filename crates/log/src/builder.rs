//! Builds one uncompressed record batch v2. Written by hand because ingest spends its time here:
//! each record is encoded once, straight into the buffer that `PartitionLog::append` writes to
//! disk (it takes the buffer over without a copy).
//!
//! Kafka's timestamps are milliseconds. Microseconds are cut to the millisecond they lie in (also
//! before 1970); what is finer is not kept. An event that needs microseconds bears them itself.

use bytes::{BufMut, Bytes, BytesMut};

use crate::batch::{CHECKED, CHECKED_FROM, CONTROL, HEADER_LEN, PREFIX_LEN, TRANSACTIONAL};
use crate::varint;

/// A batch being filled.
pub struct BatchBuilder {
    buffer: BytesMut,
    base_ms: i64,
    max_ms: i64,
    count: i32,
    /// Offsets it takes up: more than records, where it is a copy with gaps.
    offsets: i32,
    attributes: i16,
    producer: (i64, i16),
    first_sequence: i32,
}

impl BatchBuilder {
    /// `base_timestamp_us` is usually the first record's time; the others are stored relative to
    /// it.
    pub fn new(base_timestamp_us: i64) -> Self {
        Self::with_capacity(base_timestamp_us, 0)
    }

    /// As `new`, with room for about `bytes` of keys, values and headers.
    pub fn with_capacity(base_timestamp_us: i64, bytes: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(HEADER_LEN + bytes.max(256));
        buffer.put_bytes(0, HEADER_LEN);
        Self {
            buffer,
            base_ms: to_ms(base_timestamp_us),
            max_ms: i64::MIN,
            count: 0,
            offsets: 0,
            attributes: 0,
            producer: (-1, -1),
            first_sequence: -1,
        }
    }

    /// Adds a record; its place in the batch is its place among the pushes.
    pub fn push(
        &mut self,
        timestamp_us: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &[u8])],
    ) {
        let timestamp_ms = to_ms(timestamp_us);
        let delta = timestamp_ms.wrapping_sub(self.base_ms);
        let offset_delta = i64::from(self.offsets);
        let headers_len: usize = headers
            .iter()
            .map(|(name, value)| field_len(Some(name.as_bytes())) + field_len(Some(value)))
            .sum();
        let len = 1
            + varint::len(delta)
            + varint::len(offset_delta)
            + field_len(key)
            + field_len(value)
            + varint::len(headers.len() as i64)
            + headers_len;
        self.buffer.reserve(len + 10);
        varint::write(&mut self.buffer, len as i64);
        self.buffer.put_i8(0);
        varint::write(&mut self.buffer, delta);
        varint::write(&mut self.buffer, offset_delta);
        put_field(&mut self.buffer, key);
        put_field(&mut self.buffer, value);
        varint::write(&mut self.buffer, headers.len() as i64);
        for (name, value) in headers {
            put_field(&mut self.buffer, Some(name.as_bytes()));
            put_field(&mut self.buffer, Some(value));
        }
        self.max_ms = self.max_ms.max(timestamp_ms);
        self.count = self.count.saturating_add(1);
        self.offsets = self.offsets.saturating_add(1);
    }

    /// Leaves offsets out, which a log that is copied has no records at.
    pub fn skip(&mut self, offsets: i32) {
        self.offsets = self.offsets.saturating_add(offsets);
    }

    /// Says that every record was held against the topic's definition: readers need not do it.
    pub fn checked(mut self) -> Self {
        self.attributes |= CHECKED;
        self
    }

    /// Makes it a control batch of a producer's transaction (KIP-98).
    pub(crate) fn marker(mut self, producer_id: i64, epoch: i16) -> Self {
        self.attributes |= TRANSACTIONAL | CONTROL;
        self.producer = (producer_id, epoch);
        self
    }

    /// Makes it a batch of a producer's transaction; its records are numbered from `first_sequence`
    /// on among those of the producer in the partition (KIP-98).
    pub fn transactional(mut self, producer_id: i64, epoch: i16, first_sequence: i32) -> Self {
        self.attributes |= TRANSACTIONAL;
        self.producer = (producer_id, epoch);
        self.first_sequence = first_sequence;
        self
    }

    /// Offsets so far.
    pub fn offsets(&self) -> i32 {
        self.offsets
    }

    /// Records so far.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The finished batch with base offset 0. An empty batch, or one of 2 GiB and more, comes out
    /// as one that `append` refuses.
    pub fn build(mut self) -> Bytes {
        let length = i32::try_from(self.buffer.len() - PREFIX_LEN).unwrap_or(-1);
        let max_ms = if self.count == 0 { self.base_ms } else { self.max_ms };
        let mut head = &mut self.buffer[..HEADER_LEN];
        head.put_i64(0);
        head.put_i32(length);
        head.put_i32(0);
        head.put_i8(2);
        head.put_u32(0);
        head.put_i16(self.attributes);
        head.put_i32(self.offsets - 1);
        head.put_i64(self.base_ms);
        head.put_i64(max_ms);
        head.put_i64(self.producer.0);
        head.put_i16(self.producer.1);
        head.put_i32(self.first_sequence);
        head.put_i32(self.count);
        let crc = crc32c::crc32c(&self.buffer[CHECKED_FROM..]);
        self.buffer[17..21].copy_from_slice(&crc.to_be_bytes());
        self.buffer.freeze()
    }
}

fn to_ms(us: i64) -> i64 {
    us.div_euclid(1000)
}

fn field_len(field: Option<&[u8]>) -> usize {
    field.map_or(1, |f| varint::len(f.len() as i64) + f.len())
}

fn put_field(out: &mut BytesMut, field: Option<&[u8]>) {
    match field {
        None => varint::write(out, -1),
        Some(field) => {
            varint::write(out, field.len() as i64);
            out.put_slice(field);
        }
    }
}
