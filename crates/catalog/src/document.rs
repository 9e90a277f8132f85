//! The files of the catalog: one JSON document with a format version and a checksum over its list,
//! one entry a line for those who must read it with the eye. It is replaced as a whole, so that
//! after a crash there is the old or the new one. Read next: `store.rs`, `users_file.rs`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Disk, Error, Result, disk};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// What one kind of file looks like.
pub(crate) struct Shape {
    /// As errors call it.
    pub what: &'static str,
    pub version_member: &'static str,
    /// Raised when the document changes so that an older program could not read it.
    pub version: u32,
    pub list_member: &'static str,
    /// What happens when the file is moved away.
    pub without: &'static str,
    /// Only the owner may read it.
    pub is_private: bool,
}

/// A file of such a shape.
pub(crate) struct Document {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    shape: &'static Shape,
}

impl Document {
    /// Creates the folder, not the file.
    pub fn open(disk: Arc<dyn Disk>, path: PathBuf, shape: &'static Shape) -> Result<Self> {
        if let Some(dir) = path.parent() {
            disk.create_dir_all(dir)
                .map_err(|e| Error::io(format!("cannot create '{}'", dir.display()), e))?;
        }
        Ok(Self { disk, path, shape })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The entries in the order they were saved in; none if there is no file yet.
    pub fn load<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        let bytes = match disk::read(&*self.disk, &self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(vec![]),
            Err(e) => {
                return Err(Error::io(format!("cannot read '{}'", self.path.display()), e));
            }
        };
        self.decode(&bytes)
    }

    /// Replaces all entries. After an error the old ones are still there.
    pub fn save<T: Serialize>(&self, entries: &[T]) -> Result<()> {
        let text = self.encode(entries)?;
        let write = match self.shape.is_private {
            true => disk::write_private_atomically,
            false => disk::write_atomically,
        };
        write(&*self.disk, &self.path, text.as_bytes())
            .map_err(|e| Error::io(format!("cannot write '{}'", self.path.display()), e))
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<Vec<T>> {
        let text = std::str::from_utf8(bytes).map_err(|_| self.damaged("it is not UTF-8"))?;
        let bad = |e: serde_json::Error| self.damaged(&e.to_string());
        let members: BTreeMap<&str, &RawValue> = serde_json::from_str(text).map_err(bad)?;
        let member = |name| {
            let found = members.get(name).map(|value| value.get());
            found.ok_or_else(|| self.damaged(&format!("'{name}' is missing")))
        };
        let version: u32 = serde_json::from_str(member(self.shape.version_member)?).map_err(bad)?;
        if version > self.shape.version {
            let text = format!(
                "the {} '{}' has format version {version}, this program knows {}",
                self.shape.what,
                self.path.display(),
                self.shape.version
            );
            return Err(Error::unsupported(text)
                .hint("a newer watershed wrote this data folder; start that one"));
        }
        if version == 0 {
            return Err(self.damaged("its format version is wrong"));
        }
        let entries = member(self.shape.list_member)?;
        let stored: String = serde_json::from_str(member("crc32c")?).map_err(bad)?;
        if stored != checksum(entries) {
            return Err(self.damaged("its checksum is wrong"));
        }
        serde_json::from_str(entries).map_err(bad)
    }

    fn damaged(&self, why: &str) -> Error {
        let (what, path) = (self.shape.what, self.path.display());
        Error::corrupt(format!("the {what} '{path}' is damaged: {why}"))
            .hint(format!("move '{path}' away to start without it: {}", self.shape.without))
    }

    fn encode<T: Serialize>(&self, entries: &[T]) -> Result<String> {
        let mut list = String::from("[");
        for (i, entry) in entries.iter().enumerate() {
            let line = serde_json::to_string(entry)
                .map_err(|e| Error::internal("an entry cannot be encoded").caused_by(e))?;
            list.push_str(if i == 0 { "\n" } else { ",\n" });
            list.push_str(&line);
        }
        list.push_str("\n]");
        let Shape { version_member, version, list_member, .. } = self.shape;
        let mut text = String::new();
        let crc = checksum(&list);
        let _ = writeln!(
            text,
            "{{\"{version_member}\":{version},\"crc32c\":\"{crc}\",\"{list_member}\":{list}}}"
        );
        Ok(text)
    }
}

fn checksum(entries: &str) -> String {
    format!("{:08x}", crc32c::crc32c(entries.as_bytes()))
}
