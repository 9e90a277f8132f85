//! Where the lake is: folders of this machine now. What Delta's writer leaves out for them is done
//! here: a file is synced before a commit names it, and a commit before it counts. Without that a
//! power cut could keep a commit and lose its data file.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use common::{Error, Result};
use url::Url;

use crate::fault;

/// The lake's own place.
pub(crate) struct Place(PathBuf);

/// The place of one table in it.
#[derive(Clone, Debug)]
pub(crate) struct TablePlace(PathBuf);

impl Place {
    /// From a location as in the configuration (`file:data/lake`); a relative one starts at `base`.
    pub fn open(location: &str, base: &Path) -> Result<Place> {
        let root = folder(location, base)?;
        let bad = |e| Error::io(format!("cannot find the lake '{}'", root.display()), e);
        Ok(Place(std::path::absolute(&root).map_err(bad)?))
    }

    /// Makes it if it is not there.
    pub fn create(&self) -> Result<()> {
        let bad = |e| Error::io(format!("cannot create the lake '{}'", self.0.display()), e);
        fs::create_dir_all(&self.0).map_err(bad)
    }

    pub fn table(&self, topic: &str) -> TablePlace {
        TablePlace(self.0.join(folder_name(topic)))
    }

    /// Names and places of all tables, by name; none without a lake.
    pub fn tables(&self) -> Result<Vec<(String, TablePlace)>> {
        let failed = |e| Error::io(format!("cannot read '{}'", self.0.display()), e);
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(e) => return Err(failed(e)),
        };
        let mut tables = vec![];
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // What is being dropped is nobody's any more.
            if entry.path().is_dir() && !name.ends_with("~dropped") {
                tables.push((name, TablePlace(entry.path())));
            }
        }
        tables.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(tables)
    }
}

impl fmt::Display for TablePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl TablePlace {
    pub fn url(&self) -> Result<Url> {
        let bad = |()| Error::invalid(format!("'{self}' cannot hold a table"));
        Url::from_directory_path(&self.0).map_err(bad)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Of the table's log of versions.
    pub fn log(&self) -> PathBuf {
        self.0.join("_delta_log")
    }

    /// Makes it if it is not there.
    pub fn create(&self) -> Result<()> {
        let bad = |e| Error::io(format!("cannot create '{self}'"), e);
        fs::create_dir_all(&self.0).map_err(bad)
    }

    /// The table's name is on disk.
    pub async fn created(&self) -> Result<()> {
        let dir = self.0.clone();
        blocking(move || {
            sync(&dir, [])?;
            dir.parent().map_or(Ok(()), |parent| sync(parent, []))
        })
        .await
    }

    /// Data files are on disk before a commit names them.
    pub async fn data_written(&self, names: Vec<String>) -> Result<()> {
        let dir = self.0.clone();
        blocking(move || sync(&dir, names.iter().map(String::as_str))).await
    }

    /// A commit stands once its entry is on disk, and its name in the folder.
    pub async fn committed(&self, version: u64) -> Result<()> {
        let log = self.log();
        blocking(move || {
            let names =
                [format!("{version:020}.json"), format!("{version:020}.checkpoint.parquet")];
            sync(&log, names.iter().map(String::as_str).chain(["_last_checkpoint"]))
        })
        .await
    }

    /// True if there are data files, which only a table with a log can have written.
    pub fn has_data(&self) -> bool {
        let Ok(entries) = fs::read_dir(&self.0) else { return false };
        entries.flatten().any(|e| e.path().extension().is_some_and(|x| x == "parquet"))
    }

    /// See `unwritten`.
    pub async fn set_aside_unwritten(&self) -> Result<Option<String>> {
        let place = self.clone();
        blocking(move || unwritten(&place)).await
    }

    /// Removes a table at once, even if the process ends midway: first it loses its name.
    pub async fn remove(&self) -> Result<()> {
        let dir = self.0.clone();
        blocking(move || remove(&dir)).await
    }
}

/// Runs file work that may take its time off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::cancelled("the archive's work was cancelled").caused_by(e)),
    }
}

/// A location as in the configuration (`file:data/lake`, `file:///var/lake`, `/var/lake`) as a
/// folder; relative ones start at `base`.
fn folder(location: &str, base: &Path) -> Result<PathBuf> {
    let path = match location.split_once(':') {
        Some(("file", rest)) => rest.strip_prefix("//").unwrap_or(rest),
        Some((scheme, _)) if scheme.len() > 1 && !scheme.contains('/') => {
            let text = format!("the lake '{location}' is at a place of kind '{scheme}'");
            return Err(Error::unsupported(text).hint("only local folders yet: file:path"));
        }
        _ => location,
    };
    if path.is_empty() {
        return Err(Error::invalid("the lake has no location").hint("as in 'file:data/lake'"));
    }
    Ok(base.join(path))
}

/// Longer names are cut, with a digest of the whole: file systems take 255 bytes.
const FOLDER_NAME_BYTES_MAX: usize = 255;

/// A topic's folder name: its own name, with all but plain characters as `~` and two hex digits.
fn folder_name(topic: &str) -> String {
    let mut name = String::new();
    for byte in topic.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => name.push(byte as char),
            _ => name.push_str(&format!("~{byte:02x}")),
        }
    }
    if name.len() > FOLDER_NAME_BYTES_MAX {
        // FNV-1a: the same in every release.
        let hash = topic.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        name.truncate(FOLDER_NAME_BYTES_MAX - 18);
        name.push_str(&format!("~~{hash:016x}"));
    }
    name
}

/// Syncs files of a folder and the folder itself.
fn sync<'a>(dir: &Path, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let at = |path: &Path, e: io::Error| Error::io(format!("cannot sync '{}'", path.display()), e);
    for name in names {
        let path = dir.join(name);
        match File::open(&path).and_then(|f| f.sync_all()) {
            // A checkpoint's name is a guess: it is written only now and then.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(|e| at(&path, e))?,
        }
    }
    File::open(dir).and_then(|f| f.sync_all()).map_err(|e| at(dir, e))
}

/// Takes the newest entry of a table's log for not written when it is empty: a power cut came
/// between its name and its bytes, and nothing relies on a commit before both are synced. Returns
/// its name. One that is there in part is damage, and an error to whoever reads it.
fn unwritten(place: &TablePlace) -> Result<Option<String>> {
    let log = place.log();
    let bad = |e| Error::io(format!("cannot read '{}'", log.display()), e);
    let entries = match fs::read_dir(&log) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(bad)?,
    };
    let (mut newest, mut empty): (Option<String>, Vec<String>) = (None, vec![]);
    for entry in entries {
        let entry = entry.map_err(bad)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let version = name.strip_suffix(".json").unwrap_or_default();
        if version.len() != 20 || !version.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        if entry.metadata().map_err(bad)?.len() == 0 {
            empty.push(name.clone());
        }
        if newest.as_ref().is_none_or(|n| *n < name) {
            newest = Some(name);
        }
    }
    let Some(name) = newest else { return Ok(None) };
    // Readers take an empty entry for a commit of nothing.
    if let Some(lost) = empty.iter().find(|e| **e != name) {
        return Err(fault::corrupt(place, format_args!("the entry '{lost}' of its log is empty")));
    }
    if empty.is_empty() {
        return Ok(None);
    }
    let path = log.join(&name);
    let aside = log.join(format!("{name}.unwritten"));
    let failed = |e| Error::io(format!("cannot set '{}' aside", path.display()), e);
    fs::rename(&path, &aside).map_err(failed)?;
    sync(&log, [])?;
    Ok(Some(name))
}

fn remove(dir: &Path) -> Result<()> {
    let mut gone = dir.as_os_str().to_owned();
    gone.push("~dropped");
    let gone = PathBuf::from(gone);
    let bad = |e| Error::io(format!("cannot remove '{}'", dir.display()), e);
    // What an earlier removal left.
    match fs::remove_dir_all(&gone) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(bad(e)),
        _ => {}
    }
    match fs::rename(dir, &gone) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(bad)?,
    }
    fs::remove_dir_all(&gone).map_err(bad)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn locations_and_names() {
        let base = Path::new("/project");
        for (location, path) in [
            ("file:data/lake", "/project/data/lake"),
            ("data/lake", "/project/data/lake"),
            ("/var/lake", "/var/lake"),
            ("file:///var/lake", "/var/lake"),
        ] {
            assert_eq!(folder(location, base).unwrap(), Path::new(path), "{location}");
        }
        assert!(folder("s3://bucket/x", base).unwrap_err().to_string().contains("'s3'"));
        assert!(folder("file:", base).is_err());
        assert_eq!(folder_name("plays-2_a"), "plays-2_a");
        assert_eq!(folder_name("../é x"), "~2e~2e~2f~c3~a9~20x");
        let long: Vec<String> =
            [".".repeat(248), ".".repeat(249)].iter().map(|n| folder_name(n)).collect();
        assert!(long[0] != long[1] && long.iter().all(|n| n.len() == 255), "{long:?}");
        assert_eq!(folder_name(&"x".repeat(249)), "x".repeat(249));
    }
}
