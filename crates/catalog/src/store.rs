//! The catalog file: what is defined, as the text it was defined with. One JSON document with a
//! format version and a checksum, replaced as a whole, so that after a crash there is the old or
//! the new one. The bytes are described in `docs/formats/catalog.md`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Disk, Result, Version};
use serde::{Deserialize, Serialize};

use crate::document::{Document, Shape};

/// Raised when the document changes so that an older program could not read it.
pub const FORMAT_VERSION: u32 = 1;

const SHAPE: Shape = Shape {
    what: "catalog",
    version_member: "watershed_catalog",
    version: FORMAT_VERSION,
    list_member: "definitions",
    without: "what stands under 'sql/' is defined from there again; statements typed at run time \
              are in the file, to be copied by hand",
    is_private: true,
};

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
pub struct CatalogFile(Document);

impl CatalogFile {
    /// Creates the folder, not the file; a file that cannot be read is an error here already.
    pub fn open(disk: Arc<dyn Disk>, path: impl Into<PathBuf>) -> Result<Self> {
        let file = Self(Document::open(disk, path.into(), &SHAPE)?);
        file.load()?;
        Ok(file)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// All definitions in the order they were saved in; none if there is no file yet.
    pub fn load(&self) -> Result<Vec<Stored>> {
        self.0.load()
    }

    /// Replaces all definitions. After an error the old ones are still there.
    pub fn save(&self, definitions: &[Stored]) -> Result<()> {
        self.0.save(definitions)
    }
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
