//! Walks over all batches of a sealed segment, in order. Compaction must not turn damage into a
//! gap that looks wanted: the first broken batch ends the walk with an error.

use std::sync::Arc;

use bytes::Bytes;
use common::{DiskFile, Error, Result};

use crate::batch::{self, HEADER_LEN, Header};
use crate::read::{damaged, read_stretch};
use crate::segment::Segment;

/// Bytes read at once.
const CHUNK: u64 = 1 << 20;

/// The walk; a view of one segment.
pub(super) struct Batches<'a> {
    segment: &'a Arc<Segment>,
    file: Arc<dyn DiskFile>,
    position: u64,
    len: u64,
    next_offset: i64,
    /// What is read from `position` on.
    window: Bytes,
}

impl<'a> Batches<'a> {
    pub fn new(segment: &'a Arc<Segment>) -> Result<Self> {
        let file = segment.file().map_err(|e| failed(segment, e))?;
        let len = segment.extent()?.len;
        let next_offset = segment.base;
        Ok(Self { segment, file, position: 0, len, next_offset, window: Bytes::new() })
    }

    /// The next batch, whole and with its checksum checked.
    pub fn next(&mut self) -> Result<Option<(Header, Bytes)>> {
        if self.position >= self.len {
            if self.next_offset != self.segment.end() {
                return Err(self.broken("offsets are missing at its end"));
            }
            return Ok(None);
        }
        let Some(header) = self.at_least(HEADER_LEN)?.as_deref().and_then(Header::parse) else {
            return Err(self.broken("it ends within a header"));
        };
        if let Some(fault) = header.fault() {
            return Err(self.broken(fault));
        }
        let may_skip = self.segment.is_compacted() && header.base_offset > self.next_offset;
        if header.base_offset != self.next_offset && !may_skip {
            return Err(self.broken("offsets are missing before it"));
        }
        let batch_len = header.batch_len().unwrap_or(HEADER_LEN);
        let Some(batch) = self.at_least(batch_len)? else {
            return Err(self.broken("it ends within a batch"));
        };
        if !batch::is_intact(&header, &batch) {
            return Err(self.broken("its checksum does not match"));
        }
        self.window = self.window.slice(batch_len..);
        self.position += batch_len as u64;
        self.next_offset = header.last_offset().0 + 1;
        Ok(Some((header, batch)))
    }

    /// The next `len` bytes, if there are that many.
    fn at_least(&mut self, len: usize) -> Result<Option<Bytes>> {
        if self.window.len() < len {
            let want = CHUNK.max(len as u64).min(self.len - self.position);
            self.window = read_stretch(&*self.file, self.position, want)
                .map_err(|e| failed(self.segment, e))?;
        }
        Ok((self.window.len() >= len).then(|| self.window.slice(..len)))
    }

    fn broken(&self, why: &str) -> Error {
        damaged(self.segment, self.position, self.next_offset, why)
    }
}

fn failed(segment: &Segment, e: std::io::Error) -> Error {
    Error::io(format!("read '{}'", segment.path.display()), e)
}
