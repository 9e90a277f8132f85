//! One process per store: an exclusive `flock` on the file `LOCK` in the project's data folder and
//! in the folder of each store, released by the system even after a crash. Stores may stand
//! elsewhere than in the data folder, where another project could be pointed to them too; two
//! platforms on one log would give out the same offsets twice.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use common::{Error, Result};

use crate::stores::project::Project;

const FILE: &str = "LOCK";

/// Held as long as the platform is open.
#[derive(Debug)]
pub struct StoreLocks {
    _files: Vec<File>,
}

/// The folders a platform needs for itself, and what is in them.
pub(crate) fn folders(project: &Project) -> Vec<(&'static str, PathBuf)> {
    let config = &project.config;
    let catalog = project.path(&config.catalog);
    let of_catalog = catalog.parent().unwrap_or(&project.dir).to_path_buf();
    vec![
        ("data", project.dir.join("data")),
        ("log", project.log_dir()),
        ("views", project.path(&config.views)),
        ("lake", project.path(&config.lake)),
        // The users stand beside it.
        ("catalog", of_catalog),
    ]
}

impl StoreLocks {
    /// Takes all locks, or says which store is in use and by whom.
    pub fn take(project: &Project) -> Result<StoreLocks> {
        let owner = full(&project.dir);
        let mut taken: Vec<PathBuf> = vec![];
        let mut files = vec![];
        for (store, dir) in folders(project) {
            let making = || format!("making the {store} folder '{}'", dir.display());
            // What is in it is nobody else's business: events, passwords, tokens.
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
            made.map_err(|e| Error::io(making(), e))?;
            if store == "data" {
                connector::tighten(&dir, 0o700)?;
            }
            // Two stores of one project may share a folder.
            let dir = full(&dir);
            if !taken.contains(&dir) {
                files.push(lock(store, &dir, &owner)?);
                taken.push(dir);
            }
        }
        Ok(StoreLocks { _files: files })
    }
}

/// Keeps platforms from starting while somebody looks at the stores; writes nothing.
pub(crate) struct SharedLocks {
    _files: Vec<File>,
}

impl SharedLocks {
    /// Fails with `Conflict` if a platform has one of the stores open.
    pub fn take(project: &Project) -> Result<SharedLocks> {
        let mut files = vec![];
        for (store, dir) in folders(project) {
            // Without a lock file nobody was ever there.
            let Ok(mut file) = File::open(dir.join(FILE)) else { continue };
            if let Err(fs::TryLockError::WouldBlock) = file.try_lock_shared() {
                let text = in_use(store, &dir, &mut file).message().to_string();
                let hint = "log and views can be checked only while no platform runs: stop it and \
                            ask again, or ask for a copy of the folder";
                return Err(Error::conflict(text).hint(hint));
            }
            files.push(file);
        }
        Ok(SharedLocks { _files: files })
    }
}

/// Whether a platform ever had the project open.
pub(crate) fn was_open(project: &Project) -> bool {
    project.dir.join("data").join(FILE).exists()
}

fn lock(store: &str, dir: &Path, owner: &Path) -> Result<File> {
    let path = dir.join(FILE);
    let doing = |verb: &str| format!("{verb} '{}'", path.display());
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| Error::io(doing("opening"), e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(in_use(store, dir, &mut file)),
        Err(fs::TryLockError::Error(e)) => return Err(Error::io(doing("locking"), e)),
    }
    let write = |file: &mut File| -> std::io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}\n{}\n", std::process::id(), owner.display())
    };
    write(&mut file).map_err(|e| Error::io(doing("writing"), e))?;
    Ok(file)
}

fn in_use(store: &str, dir: &Path, file: &mut File) -> Error {
    let who = read_holder(file);
    let text = format!("the {store} folder '{}' is in use by {who}", dir.display());
    let e = Error::conflict(text);
    match store {
        "data" => e.hint("stop that watershed first, or use another project folder"),
        _ => e.hint(format!("stop that watershed first, or set {store} to another place")),
    }
}

fn read_holder(file: &mut File) -> String {
    let mut holder = String::new();
    let _ = file.read_to_string(&mut holder);
    let mut lines = holder.lines();
    match (lines.next(), lines.next()) {
        (Some(id), Some(project)) => format!("process {id} of the project '{project}'"),
        (Some(id), None) => format!("process {id}"),
        _ => "another process".to_string(),
    }
}

fn full(dir: &Path) -> PathBuf {
    dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn project(dir: &Path, flags: &[(&str, String)]) -> Project {
        fs::create_dir_all(dir).unwrap();
        Project::load(dir, flags).unwrap()
    }

    #[test]
    fn a_second_one_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let project = project(dir.path(), &[]);
        let first = StoreLocks::take(&project).unwrap();
        let e = StoreLocks::take(&project).unwrap_err();
        assert_eq!(e.kind(), common::Kind::Conflict);
        let owner = full(dir.path());
        for part in [
            format!("process {}", std::process::id()),
            format!("project '{}'", owner.display()),
            format!("data folder '{}'", owner.join("data").display()),
        ] {
            assert!(e.to_string().contains(&part), "{part}: {e}");
        }
        assert!(SharedLocks::take(&project).is_err());
        drop(first);
        let looking = SharedLocks::take(&project).unwrap();
        assert!(StoreLocks::take(&project).is_err());
        drop(looking);
        StoreLocks::take(&project).unwrap();
    }

    #[test]
    fn the_data_folder_is_its_owners_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let project = project(dir.path(), &[]);
        let data = dir.path().join("data");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        drop(StoreLocks::take(&project).unwrap());
        assert_eq!(mode(&data), 0o700);
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
        drop(StoreLocks::take(&project).unwrap());
        assert_eq!(mode(&data), 0o700);
    }

    #[test]
    fn each_store_is_locked_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        for store in ["log", "views", "lake", "catalog"] {
            let place = match store {
                "catalog" => format!("file:{}/{store}/catalog.json", shared.display()),
                _ => format!("file:{}/{store}", shared.display()),
            };
            let flags = [(store, place)];
            let first = StoreLocks::take(&project(&dir.path().join("a"), &flags)).unwrap();
            let other = project(&dir.path().join("b"), &flags);
            let e = StoreLocks::take(&other).unwrap_err();
            let text = e.to_string();
            let folder = full(&shared.join(store));
            assert!(text.contains(&format!("{store} folder '{}'", folder.display())), "{text}");
            assert!(text.contains("/a'") && text.contains(&format!("set {store}")), "{text}");
            drop(first);
            StoreLocks::take(&other).unwrap();
        }
    }

    #[test]
    fn stores_of_one_project_may_share_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let flags = [("catalog", "file:data/log/catalog.json".to_string())];
        StoreLocks::take(&project(dir.path(), &flags)).unwrap();
    }
}
