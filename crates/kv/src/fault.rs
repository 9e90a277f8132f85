//! What an error of fjall means to a user, and how much room the disk has. fjall reports damage as
//! a dozen variants over two crates; here they become `Kind::Corrupt` with the folder's name and
//! the way out.

use std::io::{self, ErrorKind};
use std::path::Path;

use common::{Error, Result};

/// The folder is not what was written; `what` says how that showed.
pub(crate) fn corrupt(dir: &Path, what: impl std::fmt::Display) -> Error {
    Error::corrupt(format!("the keyed store in '{}' is damaged: {what}", dir.display())).hint(
        "restore the folder from a backup, or move it away and start again: \
         views are then computed anew from their topics",
    )
}

pub(crate) fn error(dir: &Path, doing: &str, e: fjall::Error) -> Error {
    use fjall::Error as F;
    match e {
        F::Io(e) => from_io(dir, doing, e),
        F::Storage(fjall::LsmError::Io(e)) => from_io(dir, doing, e),
        F::Locked => {
            let text =
                format!("the keyed store in '{}' is in use by another process", dir.display());
            Error::conflict(text).hint("stop that process, or choose another data folder")
        }
        F::Poisoned => {
            let text = format!("cannot {doing} '{}': an earlier write failed", dir.display());
            Error::new(common::Kind::Io, text)
        }
        F::KeyspaceDeleted => Error::not_found(format!("cannot {doing}: the keyspace was dropped")),
        F::InvalidVersion(version) => {
            let text = match version {
                Some(v) => format!("its format version is {v:?}, not V3"),
                None => "its file 'version' has no known format version".to_owned(),
            };
            corrupt(dir, text)
        }
        other => corrupt(dir, what_is_wrong(&other)).caused_by(other),
    }
}

fn what_is_wrong(e: &fjall::Error) -> String {
    use fjall::{Error as F, LsmError as L};
    match e {
        F::Storage(L::ChecksumMismatch { .. }) => "the checksum of a block is wrong".to_owned(),
        F::Storage(L::Unrecoverable) | F::Unrecoverable => {
            "files are missing or unreadable".to_owned()
        }
        F::JournalRecovery(e) => format!("the journal cannot be read ({e:?})"),
        F::Storage(e) => format!("{e:?}"),
        e => format!("{e:?}"),
    }
}

fn from_io(dir: &Path, doing: &str, e: io::Error) -> Error {
    match e.kind() {
        // The store names its files itself, so what it does not find was taken away.
        ErrorKind::NotFound => corrupt(dir, "a file is missing").caused_by(e),
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData => {
            corrupt(dir, "a file is cut off or unreadable").caused_by(e)
        }
        ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            Error::io(format!("cannot {doing} '{}'", dir.display()), e)
                .hint("choose another data folder")
        }
        _ => Error::io(format!("cannot {doing} '{}'", dir.display()), e),
    }
}

/// Bytes left on the disk of a folder; none where it cannot say, as some network file systems.
pub fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Refuses while the disk has less room than `needed`.
///
/// fjall stops for good after a failed write; asking first keeps it from ever getting there by
/// our own doing, and leaves its flushes and compactions the room to finish.
pub(crate) fn ensure_room(dir: &Path, needed: u64) -> Result<()> {
    // Where it is not known, the write itself will say.
    let Some(free) = free_bytes(dir).filter(|free| *free < needed) else { return Ok(()) };
    let (free, needed) = (free >> 10, needed >> 10);
    let text =
        format!("the disk of '{}' is full: {free} KiB free, {needed} KiB needed", dir.display());
    Err(Error::exhausted(text).hint("free some disk space; writing goes on by itself then"))
}
