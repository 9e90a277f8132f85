//! Reads the fields of a request (KIP-482 for the flexible versions). Written by hand because the
//! bytes come from outside: a length or a count is believed only as far as there are bytes, so that
//! no frame makes the program ask for more memory than the frame itself has.

use bytes::{Buf, Bytes};
use common::{Error, Result};
use uuid::Uuid;

/// The rest of a request.
pub struct Reader {
    bytes: Bytes,
    /// Compact lengths and tagged fields.
    flexible: bool,
}

impl Reader {
    pub fn new(bytes: Bytes) -> Reader {
        Reader { bytes, flexible: false }
    }

    /// What follows is of a flexible version.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub fn i8(&mut self) -> Result<i8> {
        self.take(1).map(|mut b| b.get_i8())
    }

    pub fn bool(&mut self) -> Result<bool> {
        self.i8().map(|b| b != 0)
    }

    pub fn i16(&mut self) -> Result<i16> {
        self.take(2).map(|mut b| b.get_i16())
    }

    pub fn i32(&mut self) -> Result<i32> {
        self.take(4).map(|mut b| b.get_i32())
    }

    pub fn i64(&mut self) -> Result<i64> {
        self.take(8).map(|mut b| b.get_i64())
    }

    pub fn uuid(&mut self) -> Result<Uuid> {
        self.take(16).map(|mut b| Uuid::from_u128(b.get_u128()))
    }

    pub fn string(&mut self) -> Result<String> {
        self.nullable_string()?.ok_or_else(|| bad("a text is missing"))
    }

    pub fn nullable_string(&mut self) -> Result<Option<String>> {
        let len = match self.flexible {
            true => self.compact_len()?,
            false => {
                let len = self.i16()?;
                usize::try_from(len).ok()
            }
        };
        let Some(len) = len else { return Ok(None) };
        let bytes = self.take(len)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| bad("a text is not UTF-8"))?;
        Ok(Some(text.to_string()))
    }

    /// A part of the frame, without a copy.
    pub fn nullable_bytes(&mut self) -> Result<Option<Bytes>> {
        let len = match self.flexible {
            true => self.compact_len()?,
            false => usize::try_from(self.i32()?).ok(),
        };
        len.map(|len| self.take(len)).transpose()
    }

    /// An array; one that is null has no elements.
    pub fn bytes(&mut self) -> Result<Bytes> {
        Ok(self.nullable_bytes()?.unwrap_or_default())
    }

    pub fn array<T>(&mut self, each: impl FnMut(&mut Reader) -> Result<T>) -> Result<Vec<T>> {
        Ok(self.nullable_array(each)?.unwrap_or_default())
    }

    /// Topics by name with something for each of their partitions, as many requests have them.
    pub fn topics<T>(
        &mut self,
        mut each: impl FnMut(&mut Reader) -> Result<T>,
    ) -> Result<Vec<(String, Vec<T>)>> {
        self.array(|r| {
            let name = r.string()?;
            let partitions = r.array(|r| {
                let partition = each(r)?;
                r.tags()?;
                Ok(partition)
            })?;
            r.tags()?;
            Ok((name, partitions))
        })
    }

    pub fn nullable_array<T>(
        &mut self,
        mut each: impl FnMut(&mut Reader) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let count = match self.flexible {
            true => self.compact_len()?,
            false => usize::try_from(self.i32()?).ok(),
        };
        let Some(count) = count else { return Ok(None) };
        // Every element has at least one byte.
        if count > self.bytes.len() {
            return Err(bad("an array has more elements than there are bytes"));
        }
        let mut elements = vec![];
        for _ in 0..count {
            elements.push(each(self)?);
        }
        Ok(Some(elements))
    }

    /// Passes over the tagged fields at the end of a structure.
    pub fn tags(&mut self) -> Result<()> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let len = self.varint()?;
            self.take(len as usize)?;
        }
        Ok(())
    }

    /// Lengths of the flexible versions are one larger than they are, 0 is null.
    fn compact_len(&mut self) -> Result<Option<usize>> {
        Ok((self.varint()? as usize).checked_sub(1))
    }

    fn varint(&mut self) -> Result<u32> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(bad("a number has too many bytes"))
    }

    fn take(&mut self, len: usize) -> Result<Bytes> {
        match len <= self.bytes.len() {
            true => Ok(self.bytes.split_to(len)),
            false => Err(bad("it ends too early")),
        }
    }
}

fn bad(why: &str) -> Error {
    Error::invalid(format!("the request cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn counts_are_not_believed() {
        let huge = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 1, 2]);
        assert!(Reader::new(huge.clone()).array(Reader::i8).is_err());
        assert!(Reader::new(huge).nullable_bytes().is_err());
        let mut flexible = Reader::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1]));
        flexible.set_flexible(true);
        assert!(flexible.array(Reader::i8).is_err());
    }

    #[test]
    fn garbage_never_panics() {
        let seed = rand::random();
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..random.random_range(0..40)).map(|_| random.random()).collect();
            let mut reader = Reader::new(bytes.into());
            reader.set_flexible(random.random());
            let mut read = || -> Result<()> {
                reader.nullable_string()?;
                reader.array(|r| r.nullable_array(Reader::i16))?;
                reader.nullable_bytes()?;
                reader.tags()
            };
            // Either way is fine: what counts is that it comes back (seed for the rest).
            assert!(matches!(read(), Ok(()) | Err(_)), "SEED={seed}");
        }
    }
}
