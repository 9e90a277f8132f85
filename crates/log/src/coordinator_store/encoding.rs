//! Keys and values of the coordinators as bytes: big-endian numbers, strings and byte strings with
//! a length in front, a version byte at the start of each value. Described in
//! `docs/formats/groups.md`; what the fields mean stands beside the types that are stored.

use bytes::{Buf, BufMut, Bytes};
use common::{Error, Result};

/// First byte of each key: what it is about.
pub(crate) mod kind {
    pub const GROUP: u8 = b'g';
    pub const OFFSET: u8 = b'o';
    pub const PENDING_OFFSET: u8 = b'p';
    pub const TRANSACTION: u8 = b't';
    pub const PRODUCER_IDS: u8 = b'n';
}

/// The version all values have today.
const VERSION: u8 = 1;

/// Builds a key or a value.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub fn key(kind: u8) -> Self {
        Self(vec![kind])
    }

    pub fn value() -> Self {
        Self(vec![VERSION])
    }

    pub fn i8(mut self, value: i8) -> Self {
        self.0.put_i8(value);
        self
    }

    pub fn i16(mut self, value: i16) -> Self {
        self.0.put_i16(value);
        self
    }

    pub fn i32(mut self, value: i32) -> Self {
        self.0.put_i32(value);
        self
    }

    pub fn i64(mut self, value: i64) -> Self {
        self.0.put_i64(value);
        self
    }

    pub fn bytes(mut self, value: &[u8]) -> Self {
        self.0.put_u32(value.len() as u32);
        self.0.put_slice(value);
        self
    }

    pub fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    pub fn optional_text(self, value: Option<&str>) -> Self {
        match value {
            None => self.i8(0),
            Some(value) => self.i8(1).text(value),
        }
    }

    /// A count, then each item.
    pub fn list<T>(
        self,
        items: impl IntoIterator<Item = T>,
        each: impl Fn(Self, T) -> Self,
    ) -> Self {
        let items: Vec<T> = items.into_iter().collect();
        let this = self.i32(items.len() as i32);
        items.into_iter().fold(this, each)
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes a key or a value apart.
pub(crate) struct Reader {
    rest: Bytes,
    what: &'static str,
}

impl Reader {
    /// Of a key, behind its first byte.
    pub fn key(key: &[u8]) -> Self {
        Self { rest: Bytes::copy_from_slice(key.get(1..).unwrap_or_default()), what: "key" }
    }

    /// Of a value; `what` names it in errors.
    pub fn value(value: Vec<u8>, what: &'static str) -> Result<Self> {
        let mut reader = Self { rest: value.into(), what };
        match reader.i8()? as u8 {
            VERSION => Ok(reader),
            version => Err(Error::unsupported(format!(
                "the stored {what} has version {version}, this program knows {VERSION}"
            ))
            .hint("start the newer program that wrote it")),
        }
    }

    fn need(&self, bytes: usize) -> Result<()> {
        if self.rest.len() >= bytes {
            return Ok(());
        }
        Err(Error::corrupt(format!("a stored {} of the coordinators is cut off", self.what))
            .hint("restore the data folder from a backup"))
    }

    pub fn i8(&mut self) -> Result<i8> {
        self.need(1)?;
        Ok(self.rest.get_i8())
    }

    pub fn i16(&mut self) -> Result<i16> {
        self.need(2)?;
        Ok(self.rest.get_i16())
    }

    pub fn i32(&mut self) -> Result<i32> {
        self.need(4)?;
        Ok(self.rest.get_i32())
    }

    pub fn i64(&mut self) -> Result<i64> {
        self.need(8)?;
        Ok(self.rest.get_i64())
    }

    pub fn bytes(&mut self) -> Result<Bytes> {
        self.need(4)?;
        let len = self.rest.get_u32() as usize;
        self.need(len)?;
        Ok(self.rest.split_to(len))
    }

    pub fn text(&mut self) -> Result<String> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.into()).map_err(|e| {
            Error::corrupt(format!("a stored {} of the coordinators is not text", self.what))
                .caused_by(e)
        })
    }

    pub fn optional_text(&mut self) -> Result<Option<String>> {
        Ok(if self.i8()? == 0 { None } else { Some(self.text()?) })
    }

    pub fn list<T, C: FromIterator<T>>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<C> {
        let count = self.i32()?;
        (0..count).map(|_| each(self)).collect()
    }
}
