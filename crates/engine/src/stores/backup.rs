//! `watershed backup`: a copy of the whole project while it runs, as of one moment. For that moment
//! the log is held (`log::Log::cut`), so that the log, the keyed store that follows it, and the
//! lake that follows both fit together; links keep what they had, and the copying is done after.
//!
//! A backup is a project folder with its data in the usual places and `backup.json`, the list of
//! all its files with their checksums, written last. `restore.rs` reads it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Error, Kind, Result};
use connector::Outside;
use log::BACKUP_STAGE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::stores::project::{Project, files};
use crate::stores::text::rfc3339;

/// Raised when an older program could not restore it.
pub(crate) const FORMAT: u32 = 1;
pub(crate) const MANIFEST: &str = "backup.json";
/// Where a backup's stores are, whatever the project's settings are.
pub(crate) const STORES: [&str; 3] = ["data/log", "data/views", "data/lake"];
/// What is not a store is copied from these.
const FOLDERS: [(&str, &str); 3] = [("sql", "sql"), ("dashboards", "toml"), ("tests", "toml")];
/// Views come and go while a large store is copied.
const ATTEMPTS: usize = 3;

/// What a backup holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub watershed_backup: u32,
    /// The program that wrote it.
    pub version: String,
    /// The moment it shows.
    pub at: String,
    /// Records in the log.
    pub records: u64,
    pub files: Vec<BackupFile>,
}

impl Manifest {
    /// What is told of a copy that stands in `to`.
    pub(crate) fn info(self, to: PathBuf) -> BackupInfo {
        BackupInfo {
            to,
            at: self.at,
            records: self.records,
            files: self.files.len(),
            bytes: self.files.iter().map(|f| f.bytes).sum(),
        }
    }
}

/// A file of a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackupFile {
    /// Below the backup's folder.
    pub path: String,
    pub bytes: u64,
    pub crc32c: String,
}

/// What was written.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Backup")]
pub struct BackupInfo {
    pub to: PathBuf,
    pub at: String,
    pub records: u64,
    pub files: usize,
    pub bytes: u64,
}

/// Who may choose where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupBy {
    /// A person at this machine: wherever the system lets them write.
    Owner,
    /// Somebody at a door: where `files.allowed` lets statements write.
    Door,
}

/// Copies the project with all its data into the folder `to`, which must be missing or empty.
pub async fn backup(inner: &Arc<Inner>, to: &str, by: BackupBy) -> Result<BackupInfo> {
    let Ok(_one) = inner.backing_up.try_lock() else {
        return Err(Error::conflict("a backup is being made already").hint("wait for its end"));
    };
    inner.check_open()?;
    let to = match by {
        BackupBy::Owner => PathBuf::from(to),
        BackupBy::Door => Outside::new(inner.rules.clone(), false).path(to)?,
    };
    let mut attempt = 1;
    loop {
        match try_backup(inner, &to).await {
            Err(e)
                if matches!(e.kind(), Kind::NotFound | Kind::Unavailable)
                    && attempt < ATTEMPTS
                    && inner.check_open().is_ok() =>
            {
                attempt += 1;
                tracing::info!("the backup begins again: {e}");
            }
            done => return done,
        }
    }
}

async fn try_backup(inner: &Arc<Inner>, to: &Path) -> Result<BackupInfo> {
    let target = Target::make(to)?;
    let mut moment = Moment::default();
    {
        // No definition changes, nothing is archived or dropped.
        let _texts = inner.texts.lock().await;
        let _turn = inner.archive.turn().await;
        let inner = inner.clone();
        moment = blocking(move || {
            moment.take(&inner)?;
            Ok(moment)
        })
        .await?;
    }
    let inner = inner.clone();
    blocking(move || moment.copy(&inner, target)).await
}

/// The folder that is written to. What is in it goes unless the backup is whole.
struct Target {
    dir: PathBuf,
    is_whole: bool,
}

impl Target {
    fn make(dir: &Path) -> Result<Target> {
        let failed = |e| Error::io(format!("making '{}'", dir.display()), e);
        // Passwords and events are in it.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        if fs::read_dir(dir).map_err(failed)?.next().is_some() {
            let e = Error::already_exists(format!("the folder '{}' is not empty", dir.display()));
            return Err(e.hint("choose another; a backup never replaces one"));
        }
        Ok(Target { dir: dir.to_path_buf(), is_whole: false })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let inside = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        for entry in inside.filter(|_| !self.is_whole) {
            let path = entry.path();
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
    }
}

/// Links to the files of one moment; removed when dropped.
struct Stage(PathBuf);

impl Stage {
    fn make(store: &Path) -> Result<Stage> {
        let dir = store.join(format!("{BACKUP_STAGE}{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir_all(&dir)
            .map_err(|e| Error::io(format!("making '{}'", dir.display()), e))?;
        Ok(Stage(dir))
    }

    /// Keeps a file under its path, whatever becomes of its name; false if it is not there.
    fn keep(&self, store: &Path, path: &Path) -> io::Result<bool> {
        let (from, to) = (store.join(path), self.0.join(path));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::hard_link(&from, &to) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            // A file system without links.
            Err(_) => fs::copy(&from, &to).map(|_| true),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0) {
            tracing::warn!("links of a backup are still in '{}': {e}", self.0.display());
        }
    }
}

/// Removes what a crash left of a backup under way.
pub(crate) fn remove_stages(project: &Project) -> Result<()> {
    for store in [project.log_dir(), project.path(&project.config.lake)] {
        let failed = |e| Error::io(format!("looking at '{}'", store.display()), e);
        for entry in fs::read_dir(&store).into_iter().flatten() {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_string_lossy().starts_with(BACKUP_STAGE) {
                fs::remove_dir_all(entry.path()).map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// What there was at one moment.
#[derive(Default)]
struct Moment {
    log: Option<(Stage, log::Cut)>,
    views: Option<(kv::Snapshot, Vec<String>)>,
    lake: Option<Stage>,
    /// Small files, by their path in the backup.
    small: Vec<(String, Vec<u8>)>,
    at_us: i64,
}

impl Moment {
    fn take(&mut self, inner: &Inner) -> Result<()> {
        let project = &inner.project;
        self.take_lake(&project.path(&project.config.lake))?;
        self.take_small(project)?;
        let store = project.log_dir();
        let mut stage = Some(Stage::make(&store)?);
        inner.log.cut(&mut |cut| {
            let Some(links) = stage.take() else { return Ok(()) };
            self.at_us = inner.clock.now_us();
            self.views = Some((inner.kv.snapshot()?, inner.kv.keyspaces()?));
            for file in &cut.files {
                let failed = |e| Error::io(format!("linking '{}'", file.path.display()), e);
                if !links.keep(&store, &file.path).map_err(failed)? && file.is_needed {
                    let path = store.join(&file.path);
                    let e = Error::corrupt(format!("the segment '{}' is missing", path.display()));
                    return Err(e.hint("see: watershed doctor --deep"));
                }
            }
            self.log = Some((links, cut));
            Ok(())
        })
    }

    fn take_lake(&mut self, store: &Path) -> Result<()> {
        let failed = |e| Error::io(format!("linking the lake '{}'", store.display()), e);
        let stage = Stage::make(store)?;
        let mut pending = vec![PathBuf::new()];
        while let Some(dir) = pending.pop() {
            for entry in fs::read_dir(store.join(&dir)).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let shown = name.to_string_lossy();
                if shown.starts_with(BACKUP_STAGE) || shown.ends_with("~dropped") || shown == "LOCK"
                {
                    continue;
                }
                let path = dir.join(&name);
                match entry.file_type().map_err(failed)?.is_dir() {
                    true => pending.push(path),
                    false => {
                        stage.keep(store, &path).map_err(failed)?;
                    }
                }
            }
        }
        self.lake = Some(stage);
        Ok(())
    }

    fn take_small(&mut self, project: &Project) -> Result<()> {
        let catalog = project.path(&project.config.catalog);
        let users = catalog.with_file_name("users.json");
        self.read(&catalog, "data/catalog.json")?;
        self.read(&users, "data/users.json")?;
        let secrets = project.dir.join("data/secrets");
        for entry in fs::read_dir(&secrets).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            self.read(&entry.path(), &format!("data/secrets/{name}"))?;
        }
        self.read(&project.dir.join("watershed.toml"), "watershed.toml")?;
        for (folder, extension) in FOLDERS {
            for path in files(&project.dir.join(folder), extension)? {
                self.read(&path, &project.relative(&path))?;
            }
        }
        Ok(())
    }

    fn read(&mut self, from: &Path, path: &str) -> Result<()> {
        match fs::read(from) {
            Ok(bytes) => self.small.push((path.to_string(), bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(format!("reading '{}'", from.display()), e)),
        }
        Ok(())
    }

    /// Writes all of it into the folder, the list of its files last.
    fn copy(self, inner: &Arc<Inner>, mut target: Target) -> Result<BackupInfo> {
        let mut out = Writer { dir: target.dir.clone(), files: vec![] };
        let mut records = 0;
        let [log, views, lake] = STORES;
        if let Some((stage, cut)) = &self.log {
            records = cut.records;
            for (path, bytes) in &cut.small {
                out.write(&format!("{log}/{}", path.display()), bytes)?;
            }
            for file in &cut.files {
                let from = stage.0.join(&file.path);
                if from.exists() {
                    out.copy(&from, &format!("{log}/{}", file.path.display()), file.len)?;
                }
            }
        }
        if let Some((snapshot, names)) = &self.views {
            let dir = target.dir.join(views);
            inner.kv.copy_to(snapshot, names, &dir)?;
            for path in all_files(&dir)? {
                let shown = path.strip_prefix(&target.dir).unwrap_or(&path).display().to_string();
                out.take_in(&path, shown)?;
            }
        }
        if let Some(stage) = &self.lake {
            for path in all_files(&stage.0)? {
                let below = path.strip_prefix(&stage.0).unwrap_or(&path);
                out.copy(&path, &format!("{lake}/{}", below.display()), None)?;
            }
        }
        for (path, bytes) in &self.small {
            out.write(path, bytes)?;
        }
        let info = out.finish(&self, records)?;
        target.is_whole = true;
        Ok(info)
    }
}

/// Writes files and notes what they are.
struct Writer {
    dir: PathBuf,
    files: Vec<BackupFile>,
}

impl Writer {
    fn create(&self, path: &str) -> Result<(PathBuf, File)> {
        let to = self.dir.join(path);
        let failed = |e| Error::io(format!("writing '{}'", to.display()), e);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(&to).map_err(failed)?;
        Ok((to, file))
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let (to, mut file) = self.create(path)?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(|e| Error::io(format!("writing '{}'", to.display()), e))?;
        self.note(path.to_string(), bytes.len() as u64, crc32c::crc32c(bytes));
        Ok(())
    }

    /// Copies a file, or its first `len` bytes.
    fn copy(&mut self, from: &Path, path: &str, len: Option<u64>) -> Result<()> {
        let (to, file) = self.create(path)?;
        let copied = copied(from, Some(&file), len.unwrap_or(u64::MAX))
            .and_then(|sum| file.sync_all().map(|()| sum));
        let (bytes, crc) =
            copied.map_err(|e| Error::io(format!("copying into '{}'", to.display()), e))?;
        if len.is_some_and(|len| len != bytes) {
            let e = Error::internal(format!("'{}' was cut while it was copied", from.display()));
            return Err(e.hint("make the backup again"));
        }
        self.note(path.to_string(), bytes, crc);
        Ok(())
    }

    /// Notes a file that is there.
    fn take_in(&mut self, at: &Path, path: String) -> Result<()> {
        let (bytes, crc) = sum(at)?;
        self.note(path, bytes, crc);
        Ok(())
    }

    fn note(&mut self, path: String, bytes: u64, crc: u32) {
        self.files.push(BackupFile { path, bytes, crc32c: format!("{crc:08x}") });
    }

    fn finish(self, moment: &Moment, records: u64) -> Result<BackupInfo> {
        let manifest = Manifest {
            watershed_backup: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_string(),
            at: rfc3339(moment.at_us),
            records,
            files: self.files,
        };
        let bytes = serde_json::to_vec_pretty(&manifest)
            .map_err(|e| Error::internal(format!("encoding the list of files: {e}")))?;
        let mut folders = vec![self.dir.clone()];
        while let Some(dir) = folders.pop() {
            let failed = |e| Error::io(format!("syncing '{}'", dir.display()), e);
            File::open(&dir).and_then(|d| d.sync_all()).map_err(failed)?;
            let inside = fs::read_dir(&dir).map_err(failed)?.flatten();
            folders.extend(inside.map(|e| e.path()).filter(|p| p.is_dir()));
        }
        let disk = common::SystemDisk;
        let path = self.dir.join(MANIFEST);
        common::disk::write_atomically(&disk, &path, &bytes)
            .map_err(|e| Error::io(format!("writing '{}'", path.display()), e))?;
        Ok(manifest.info(self.dir))
    }
}

/// Length and checksum of a file.
pub(crate) fn sum(path: &Path) -> Result<(u64, u32)> {
    copied(path, None, u64::MAX).map_err(|e| Error::io(format!("reading '{}'", path.display()), e))
}

/// Copies up to `len` bytes; how many there were, and their checksum.
pub(crate) fn copied(from: &Path, mut to: Option<&File>, len: u64) -> io::Result<(u64, u32)> {
    let mut from = File::open(from)?.take(len);
    let (mut bytes, mut crc) = (0, 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = from.read(&mut buffer)?;
        if n == 0 {
            return Ok((bytes, crc));
        }
        bytes += n as u64;
        crc = crc32c::crc32c_append(crc, &buffer[..n]);
        if let Some(to) = &mut to {
            to.write_all(&buffer[..n])?;
        }
    }
}

/// All files below a folder, sorted.
fn all_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e| Error::io(format!("reading '{}'", dir.display()), e);
    let (mut found, mut pending) = (vec![], vec![dir.to_path_buf()]);
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() { pending.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}
