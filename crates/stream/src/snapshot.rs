//! The one shape of all operator state outside the process: rows of (key, part, item, count,
//! state). `docs/formats/state.md` has the bytes. Part -1 is the group itself: its state, or
//! none when the group is gone; a part from 0 on is one item of a multiset of the group.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int32Array, Int32Builder, Int64Array,
    Int64Builder, RecordBatch,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use common::{Error, Result};

use graph::error;

/// Must change whenever the bytes of any state do, also when a text of SQL gets other types;
/// belongs into the fingerprint of a pipeline.
pub const STATE_FORMAT: u32 = 2;

pub(crate) const GROUP: i32 = -1;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Binary, false),
        Field::new("part", DataType::Int32, false),
        Field::new("item", DataType::Binary, true),
        Field::new("count", DataType::Int64, true),
        Field::new("state", DataType::Binary, true),
    ]))
});

/// About so many bytes are saved as one: what is larger is read piece by piece, and no column
/// comes near the 2 GiB that its offsets can count.
const PIECE_BYTES: usize = 8 << 20;

#[derive(Default)]
pub(crate) struct Writer {
    pieces: Vec<RecordBatch>,
    failed: Option<Error>,
    keys: BinaryBuilder,
    parts: Int32Builder,
    items: BinaryBuilder,
    counts: Int64Builder,
    states: BinaryBuilder,
    rows: usize,
    bytes: usize,
}

impl Writer {
    pub fn group(&mut self, key: &[u8], state: Option<&[u8]>) {
        self.row(key, GROUP, None, None, state);
    }

    pub fn item(&mut self, key: &[u8], part: usize, item: &[u8], count: i64) {
        self.row(key, part as i32, Some(item), Some(count), None);
    }

    fn row(
        &mut self,
        key: &[u8],
        part: i32,
        item: Option<&[u8]>,
        count: Option<i64>,
        state: Option<&[u8]>,
    ) {
        self.keys.append_value(key);
        self.parts.append_value(part);
        self.items.append_option(item);
        self.counts.append_option(count);
        self.states.append_option(state);
        self.rows += 1;
        self.bytes += key.len() + item.map_or(0, <[u8]>::len) + state.map_or(0, <[u8]>::len);
        if self.bytes >= PIECE_BYTES {
            match self.piece() {
                Ok(piece) => self.pieces.push(piece),
                Err(e) => self.failed = self.failed.take().or(Some(e)),
            }
        }
    }

    /// In the order they were written. Nothing if nothing was, unless a batch has to stand for
    /// "all is gone".
    pub fn finish(mut self, even_if_empty: bool) -> Result<Vec<RecordBatch>> {
        if let Some(e) = self.failed.take() {
            return Err(e);
        }
        if self.rows > 0 || (even_if_empty && self.pieces.is_empty()) {
            let last = self.piece()?;
            self.pieces.push(last);
        }
        Ok(self.pieces)
    }

    fn piece(&mut self) -> Result<RecordBatch> {
        (self.rows, self.bytes) = (0, 0);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.keys.finish()),
            Arc::new(self.parts.finish()),
            Arc::new(self.items.finish()),
            Arc::new(self.counts.finish()),
            Arc::new(self.states.finish()),
        ];
        RecordBatch::try_new(SCHEMA.clone(), columns).map_err(error::arrow)
    }
}

pub(crate) enum Entry<'a> {
    Group { key: &'a [u8], state: Option<&'a [u8]> },
    Item { key: &'a [u8], part: usize, item: &'a [u8], count: i64 },
}

/// A batch of state, row by row.
pub(crate) struct Reader<'a> {
    keys: &'a BinaryArray,
    parts: &'a Int32Array,
    items: &'a BinaryArray,
    counts: &'a Int64Array,
    states: &'a BinaryArray,
}

impl<'a> Reader<'a> {
    pub fn new(batch: &'a RecordBatch) -> Result<Self> {
        if batch.schema().fields() != SCHEMA.fields() {
            return Err(damaged("its columns are not those of operator state"));
        }
        Ok(Self {
            keys: batch.column(0).as_binary(),
            parts: batch.column(1).as_primitive::<Int32Type>(),
            items: batch.column(2).as_binary(),
            counts: batch.column(3).as_primitive::<Int64Type>(),
            states: batch.column(4).as_binary(),
        })
    }

    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> {
        (0..self.keys.len()).map(|i| match usize::try_from(self.parts.value(i)) {
            Ok(part) => Entry::Item {
                key: self.keys.value(i),
                part,
                item: self.items.value(i),
                count: self.counts.value(i),
            },
            Err(_) => Entry::Group {
                key: self.keys.value(i),
                state: self.states.is_valid(i).then(|| self.states.value(i)),
            },
        })
    }
}

pub(crate) fn damaged(how: &str) -> Error {
    Error::corrupt(format!("stored state can't be read: {how}"))
        .hint("drop the view and create it again: it is computed anew from the topics")
}

/// Fixed little-endian fields, one after the other.
pub(crate) mod bytes {
    use super::damaged;
    use common::Result;

    pub(crate) fn put<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) {
        out.extend_from_slice(&bytes);
    }

    pub(crate) fn put_slice(out: &mut Vec<u8>, slice: &[u8]) {
        put(out, (slice.len() as u32).to_le_bytes());
        out.extend_from_slice(slice);
    }

    pub(crate) fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N]> {
        let Some((head, rest)) = from.split_first_chunk::<N>() else {
            return Err(damaged("it ends too early"));
        };
        *from = rest;
        Ok(*head)
    }

    pub(crate) fn take_slice<'a>(from: &mut &'a [u8]) -> Result<&'a [u8]> {
        let n = u32::from_le_bytes(take(from)?) as usize;
        let Some((head, rest)) = from.split_at_checked(n) else {
            return Err(damaged("it ends too early"));
        };
        *from = rest;
        Ok(head)
    }

    pub(crate) fn take_i64(from: &mut &[u8]) -> Result<i64> {
        Ok(i64::from_le_bytes(take(from)?))
    }
}
