//! `watershed restore`: makes a project folder of a backup. Every file is compared with the
//! backup's list before anything is said to be restored.

use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};

use common::{Error, Result};

use crate::stores::backup::{
    BackupFile, BackupInfo, FORMAT, MANIFEST, Manifest, STORES, copied, sum,
};
use crate::stores::project::Project;

/// Copies the backup in `from` into the folder `to`, which must be missing or empty. Stores go
/// where the backed-up `watershed.toml` has them.
pub fn restore(from: &Path, to: &Path) -> Result<BackupInfo, Vec<Error>> {
    let one = |e: Error| vec![e];
    let manifest = load(from).map_err(one)?;
    check(from, &manifest)?;
    let failed = |e| one(Error::io(format!("making '{}'", to.display()), e));
    fs::create_dir_all(to).map_err(failed)?;
    if fs::read_dir(to).map_err(failed)?.next().is_some() {
        let e = Error::already_exists(format!("the folder '{}' is not empty", to.display()));
        return Err(one(e.hint("restore into a new folder")));
    }
    let settings = from.join("watershed.toml");
    if settings.exists() {
        copy(&settings, &to.join("watershed.toml")).map_err(one)?;
    }
    let project = Project::load(to, &[])?;
    for file in manifest.files.iter().filter(|f| f.path != "watershed.toml") {
        let target = place(&project, &file.path);
        copy(&from.join(&file.path), &target).map_err(one)?;
    }
    Ok(manifest.info(to.to_path_buf()))
}

fn load(from: &Path) -> Result<Manifest> {
    let path = from.join(MANIFEST);
    let bytes = fs::read(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!(
            "'{}' is no whole backup: {MANIFEST} is missing",
            from.display()
        ))
        .hint("make one with: watershed backup DIR"),
        _ => Error::io(format!("reading '{}'", path.display()), e),
    })?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| {
        Error::corrupt(format!("'{}' is not the list of a backup: {e}", path.display()))
    })?;
    if manifest.watershed_backup > FORMAT {
        let (is, version) = (manifest.watershed_backup, &manifest.version);
        let e = Error::unsupported(format!("'{}' has format {is}", path.display()));
        return Err(e.hint(format!("use version {version} or newer, which wrote it")));
    }
    Ok(manifest)
}

/// All that is wrong with a backup's files.
fn check(from: &Path, manifest: &Manifest) -> Result<(), Vec<Error>> {
    let fault = |file: &BackupFile| check_file(from, file).err();
    let faults: Vec<Error> = manifest.files.iter().filter_map(fault).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn check_file(from: &Path, file: &BackupFile) -> Result<()> {
    let is_within = |c| matches!(c, Component::Normal(_));
    if !Path::new(&file.path).components().all(is_within) {
        return Err(Error::corrupt(format!("the backup names the file '{}'", file.path)));
    }
    let path = from.join(&file.path);
    if !path.exists() {
        return Err(Error::corrupt(format!("the backup has lost '{}'", path.display()))
            .hint("take another backup"));
    }
    let (bytes, crc) = sum(&path)?;
    if bytes != file.bytes || format!("{crc:08x}") != file.crc32c {
        return Err(Error::corrupt(format!("'{}' is not what was backed up", path.display()))
            .hint("take another backup"));
    }
    Ok(())
}

/// Where a file of the backup belongs in the project.
fn place(project: &Project, path: &str) -> PathBuf {
    let config = &project.config;
    let catalog = project.path(&config.catalog);
    let [log, views, lake] = STORES;
    let stores = [
        (log, project.log_dir()),
        (views, project.path(&config.views)),
        (lake, project.path(&config.lake)),
    ];
    for (prefix, dir) in stores {
        if let Ok(below) = Path::new(path).strip_prefix(prefix) {
            return dir.join(below);
        }
    }
    match path {
        "data/catalog.json" => catalog,
        "data/users.json" => catalog.with_file_name("users.json"),
        _ => project.dir.join(path),
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let failed = |e| Error::io(format!("writing '{}'", to.display()), e);
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let file = File::create_new(to).map_err(failed)?;
    copied(from, Some(&file), u64::MAX).map_err(failed)?;
    let mode = fs::metadata(from).map_err(failed)?.permissions();
    file.set_permissions(mode).and_then(|()| file.sync_all()).map_err(failed)
}
