//! The catalog file: what is defined, as the text it was defined with. One JSON document with a
//! format version and a checksum, replaced as a whole, so that after a crash there is the old or
//! the new one. The bytes are described in `docs/formats/catalog.md`.

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Disk, Error, Result, Version, disk};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Raised when the document changes so that an older program could not read it.
pub const FORMAT_VERSION: u32 = 1;

/// A definition as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// As written in `CREATE …`.
    pub kind: String,
    pub name: String,
    /// Counted up with every change of the definition.
    pub version: Version,
    /// The file it stands in, relative to the project folder; none when typed into a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The whole `CREATE` statement.
    pub statement: String,
}

/// The file that holds all definitions.
pub struct CatalogFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

#[derive(Deserialize)]
struct Document<'a> {
    watershed_catalog: u32,
    crc32c: String,
    #[serde(borrow)]
    definitions: &'a RawValue,
}

impl CatalogFile {
    /// Creates the folder, not the file; a file that cannot be read is an error here already.
    pub fn open(disk: Arc<dyn Disk>, path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        if let Some(dir) = path.parent() {
            disk.create_dir_all(dir)
                .map_err(|e| Error::io(format!("cannot create '{}'", dir.display()), e))?;
        }
        let file = Self { disk, path };
        file.load()?;
        Ok(file)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All definitions in the order they were saved in; none if there is no file yet.
    pub fn load(&self) -> Result<Vec<Stored>> {
        let bytes = match disk::read(&*self.disk, &self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(vec![]),
            Err(e) => {
                return Err(Error::io(format!("cannot read '{}'", self.path.display()), e));
            }
        };
        self.decode(&bytes)
    }

    /// Replaces all definitions. After an error the old ones are still there.
    pub fn save(&self, definitions: &[Stored]) -> Result<()> {
        let text = encode(definitions)?;
        disk::write_atomically(&*self.disk, &self.path, text.as_bytes())
            .map_err(|e| Error::io(format!("cannot write '{}'", self.path.display()), e))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<Stored>> {
        #[derive(Deserialize)]
        struct OnlyVersion {
            watershed_catalog: u32,
        }
        let text = std::str::from_utf8(bytes).map_err(|_| self.damaged("it is not UTF-8"))?;
        let bad = |e: serde_json::Error| self.damaged(&e.to_string());
        let OnlyVersion { watershed_catalog: version } = serde_json::from_str(text).map_err(bad)?;
        if version > FORMAT_VERSION {
            let text = format!(
                "the catalog '{}' has format version {version}, \
                 this program knows {FORMAT_VERSION}",
                self.path.display()
            );
            return Err(Error::unsupported(text)
                .hint("a newer watershed wrote this data folder; start that one"));
        }
        let document: Document = serde_json::from_str(text).map_err(bad)?;
        let definitions = document.definitions.get();
        if version == 0 || document.watershed_catalog != version {
            return Err(self.damaged("its format version is wrong"));
        }
        if document.crc32c != checksum(definitions) {
            return Err(self.damaged("its checksum is wrong"));
        }
        serde_json::from_str(definitions).map_err(bad)
    }

    fn damaged(&self, why: &str) -> Error {
        let path = self.path.display();
        Error::corrupt(format!("the catalog '{path}' is damaged: {why}")).hint(format!(
            "move it away to start without it: what stands under 'sql/' is defined from there \
             again; statements typed at run time are in the file, to be copied by hand from \
             '{path}'"
        ))
    }
}

/// One definition a line, for those who must read it with the eye.
fn encode(definitions: &[Stored]) -> Result<String> {
    let mut list = String::from("[");
    for (i, definition) in definitions.iter().enumerate() {
        let line = serde_json::to_string(definition)
            .map_err(|e| Error::internal("a definition cannot be encoded").caused_by(e))?;
        list.push_str(if i == 0 { "\n" } else { ",\n" });
        list.push_str(&line);
    }
    list.push_str("\n]");
    let mut text = String::new();
    let crc = checksum(&list);
    let _ = writeln!(
        text,
        "{{\"watershed_catalog\":{FORMAT_VERSION},\"crc32c\":\"{crc}\",\"definitions\":{list}}}"
    );
    Ok(text)
}

fn checksum(definitions: &str) -> String {
    format!("{:08x}", crc32c::crc32c(definitions.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::{Kind, SystemDisk};

    /// Version 1 as released; never edit, add a new one beside it.
    const GOLDEN_1: &str = include_str!("../tests/golden/catalog-1.json");

    fn some() -> Vec<Stored> {
        let stored =
            |kind: &str, name: &str, version, file: Option<&str>, statement: &str| Stored {
                kind: kind.into(),
                name: name.into(),
                version: Version(version),
                file: file.map(Into::into),
                statement: statement.into(),
            };
        let view = "CREATE MATERIALIZED VIEW größe AS\n  SELECT \"a b\", '\\' FROM readings";
        vec![
            stored("TOPIC", "readings", 3, Some("sql/a.sql"), "CREATE TOPIC readings (a INT)"),
            stored("MATERIALIZED VIEW", "größe", 1, None, view),
        ]
    }

    fn file(dir: &Path) -> CatalogFile {
        CatalogFile::open(Arc::new(SystemDisk), dir.join("data/catalog.json")).unwrap()
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = file(dir.path());
        assert_eq!(catalog.load().unwrap(), []);
        catalog.save(&some()).unwrap();
        assert_eq!(file(dir.path()).load().unwrap(), some());
        assert_eq!(std::fs::read_to_string(catalog.path()).unwrap(), GOLDEN_1);
        catalog.save(&[]).unwrap();
        assert_eq!(file(dir.path()).load().unwrap(), []);
        // A crash while writing leaves this beside the file; it is not read.
        catalog.save(&some()).unwrap();
        std::fs::write(dir.path().join("data/catalog.json.new"), "half").unwrap();
        assert_eq!(file(dir.path()).load().unwrap(), some());
    }

    #[test]
    fn every_damaged_byte_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = file(dir.path());
        for at in 0..GOLDEN_1.len() - 1 {
            let mut bytes = GOLDEN_1.as_bytes().to_vec();
            bytes[at] ^= 1;
            // Within what JSON takes for white space nothing was changed.
            if bytes[at].is_ascii_whitespace() && GOLDEN_1.as_bytes()[at].is_ascii_whitespace() {
                continue;
            }
            std::fs::write(catalog.path(), &bytes).unwrap();
            let e = catalog.load().unwrap_err();
            assert_eq!(e.kind(), Kind::Corrupt, "byte {at}: {e}");
        }
        for cut in [0, 1, 40, GOLDEN_1.len() - 2] {
            std::fs::write(catalog.path(), &GOLDEN_1[..cut]).unwrap();
            let e = catalog.load().unwrap_err();
            assert_eq!(e.kind(), Kind::Corrupt);
            let hint = e.hint_text().unwrap();
            assert!(hint.contains("sql/") && hint.contains("data/catalog.json"), "{hint}");
        }
        assert!(CatalogFile::open(Arc::new(SystemDisk), catalog.path()).is_err());
    }

    #[test]
    fn a_newer_version_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = file(dir.path());
        let newer = GOLDEN_1.replace("_catalog\":1", "_catalog\":2");
        std::fs::write(catalog.path(), newer).unwrap();
        let e = catalog.load().unwrap_err();
        assert_eq!(e.kind(), Kind::Unsupported);
        assert!(e.to_string().contains("format version 2"), "{e}");
    }
}
