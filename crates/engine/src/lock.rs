//! One process per data folder: an exclusive `flock` on `data/LOCK`, released by the system even
//! after a crash.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::Path;

use common::{Error, Result};

/// Held as long as the platform is open.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Takes the lock or says who holds it.
    pub fn take(dir: &Path) -> Result<DataLock> {
        fs::create_dir_all(dir)
            .map_err(|e| Error::io(format!("making the data folder '{}'", dir.display()), e))?;
        let path = dir.join("LOCK");
        let doing = || format!("opening '{}'", path.display());
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| Error::io(doing(), e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let who = match holder.trim() {
                    "" => "another process".to_string(),
                    id => format!("process {id}"),
                };
                return Err(Error::conflict(format!(
                    "the data folder '{}' is in use by {who}",
                    dir.display()
                ))
                .hint("stop that watershed first, or use another project folder"));
            }
            Err(fs::TryLockError::Error(e)) => return Err(Error::io(doing(), e)),
        }
        let write = |file: &mut File| -> std::io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(|e| Error::io(format!("writing '{}'", path.display()), e))?;
        Ok(DataLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_one_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataLock::take(dir.path()).unwrap();
        let e = DataLock::take(dir.path()).unwrap_err();
        assert_eq!(e.kind(), common::Kind::Conflict);
        assert!(e.to_string().contains(&format!("process {}", std::process::id())), "{e}");
        drop(first);
        DataLock::take(dir.path()).unwrap();
    }
}
