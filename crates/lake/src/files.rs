//! The local folder under the archive: names of table folders, and the syncs that the object store
//! leaves out. Without them a power cut could keep a commit and lose its data file.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use common::{Error, Result};

use crate::fault;

/// A location as in the configuration (`file:data/lake`, `file:///var/lake`, `/var/lake`) as a
/// folder; relative ones start at `base`.
pub(crate) fn folder(location: &str, base: &Path) -> Result<PathBuf> {
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
pub(crate) fn folder_name(topic: &str) -> String {
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

/// True if there are data files, which only a table with a log can have written.
pub(crate) fn has_data(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    entries.flatten().any(|e| e.path().extension().is_some_and(|x| x == "parquet"))
}

/// Syncs files of a folder and the folder itself.
pub(crate) fn sync<'a>(dir: &Path, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
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
pub(crate) fn set_aside_unwritten(dir: &Path) -> Result<Option<String>> {
    let log = dir.join("_delta_log");
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
        return Err(fault::corrupt(dir, format_args!("the entry '{lost}' of its log is empty")));
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

/// Removes a table at once, even if the process ends midway: first it loses its name.
pub(crate) fn remove(dir: &Path) -> Result<()> {
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
