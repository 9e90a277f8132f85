//! The file `cleaned` of a partition: up to which offset the log is compacted (Kafka's
//! `cleaner-offset-checkpoint`). If it is missing, damaged or behind, compaction only does some of
//! its work again; it is never ahead.

use std::io;
use std::path::{Path, PathBuf};

use common::{Disk, disk};

const MAGIC: &[u8; 8] = b"WSCLEAN1";
const LEN: usize = 20;

fn path(dir: &Path) -> PathBuf {
    dir.join("cleaned")
}

/// The first offset that was not compacted yet; 0 when that is not known.
pub(super) fn load(disk: &dyn Disk, dir: &Path) -> i64 {
    let parse = |bytes: Vec<u8>| {
        let (body, crc) = bytes.get(..LEN)?.split_at_checked(LEN - 4)?;
        let offset = body.strip_prefix(MAGIC)?.try_into().ok().map(i64::from_be_bytes)?;
        (crc32c::crc32c(body).to_be_bytes() == crc).then_some(offset)
    };
    disk::read(disk, &path(dir)).ok().and_then(parse).unwrap_or(0)
}

/// Replaces the file as a whole.
pub(super) fn store(disk: &dyn Disk, dir: &Path, offset: i64) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(offset.to_be_bytes());
    bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
    disk::write_atomically(disk, &path(dir), &bytes)
}
