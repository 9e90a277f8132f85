//! The file `durable` of a partition: how much of the active segment was synced and so may have
//! been acknowledged. It is written after each sync but never synced itself, so it may be stale
//! after a power cut, but it never promises too much. Recovery needs it to tell a torn tail (cut
//! it) from a byte that rotted in acknowledged data (keep what follows, report the damage).

use std::io;
use std::path::{Path, PathBuf};

use common::{Disk, disk};

use crate::index::Extent;

const MAGIC: &[u8; 8] = b"WSDURAB1";
const LEN: usize = 44;

/// What is known to be synced of the segment that begins at `base`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub base: i64,
    pub durable: Extent,
}

impl Checkpoint {
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("durable")
    }

    pub fn store(&self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        disk.open(path, true)?.write_at(&self.encode(), 0)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend(MAGIC);
        bytes.extend(self.base.to_be_bytes());
        bytes.extend(self.durable.len.to_be_bytes());
        bytes.extend(self.durable.next_offset.to_be_bytes());
        bytes.extend(self.durable.max_timestamp_ms.to_be_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
        bytes
    }

    /// Nothing if the file is missing or torn: then no more is known than the scan will tell.
    pub fn load(disk: &dyn Disk, path: &Path) -> Option<Self> {
        let bytes = disk::read(disk, path).ok()?;
        let (body, crc) = bytes.get(..LEN)?.split_at(LEN - 4);
        if &body[..8] != MAGIC || crc32c::crc32c(body).to_be_bytes() != crc {
            return None;
        }
        Some(Self {
            base: i64::from_be_bytes(body[8..16].try_into().ok()?),
            durable: Extent {
                len: u64::from_be_bytes(body[16..24].try_into().ok()?),
                next_offset: i64::from_be_bytes(body[24..32].try_into().ok()?),
                max_timestamp_ms: i64::from_be_bytes(body[32..40].try_into().ok()?),
            },
        })
    }
}
