//! The `file` sink: one file per epoch with changes, exactly once. A file is staged under a hidden
//! name, synced at `prepare`, and renamed at `commit`, so readers of the folder see whole files
//! only and the epoch in the name makes every repetition land on the same file.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};

use arrow::array::{Int8Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use common::{Epoch, Error, Result};
use connector::{
    Context, Delivery, OptionKind, OptionSpec, Outside, Promise, Role, Sink, Spec, Values,
};
use tokio::fs;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use crate::changes::{ndjson, with_op};

pub const SPEC: Spec = Spec {
    name: "file",
    role: Role::Sink,
    doc: "One file per epoch; each appears at once and whole.",
    options: &[
        OptionSpec::with_default(
            "format",
            OptionKind::OneOf(&["csv", "ndjson"]),
            "ndjson",
            "What is in the files; an updating view's rows have the column _op, + or -.",
        ),
        OptionSpec::required(
            "path",
            OptionKind::Path,
            "a folder, or a file name with {epoch} in it, as in 'out/alerts-{epoch}.csv'",
        ),
    ],
    delivery: Promise {
        kept: &[Delivery::ExactlyOnce, Delivery::AtLeastOnce, Delivery::AtMostOnce],
        how: "an epoch's file is synced before the epoch is committed and named by its number",
        why_not: "it keeps every promise",
    },
};

/// A staged file that is still being written, and one that is safe but not to be seen yet.
const WRITING: &str = "writing";
const PREPARED: &str = "prepared";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Ndjson,
}

/// Makes the sink; fails when the path can't name one file per epoch.
pub fn make(values: &Values, ctx: Context) -> Result<Box<dyn Sink>> {
    let (format, extension) = match values.text("format")? {
        "csv" => (Format::Csv, "csv"),
        _ => (Format::Ndjson, "ndjson"),
    };
    let names = Names::new(&ctx.outside.path(values.text("path")?)?, extension)?;
    let outside = ctx.outside;
    Ok(Box::new(FileSink { names, outside, format, current: None, fresh: true }))
}

struct FileSink {
    names: Names,
    outside: Outside,
    format: Format,
    current: Option<Staged>,
    /// No commit since the start: files that an earlier process prepared may lie about.
    fresh: bool,
}

/// The file of the epoch under way.
struct Staged {
    epoch: Epoch,
    /// None once prepared.
    file: Option<fs::File>,
    /// Bytes of whole batches; what a failed write left after them is cut off.
    len: u64,
    torn: bool,
}

#[async_trait]
impl Sink for FileSink {
    async fn open(&mut self, _schema: SchemaRef) -> Result<Option<Epoch>> {
        self.current = None;
        self.fresh = true;
        self.check_folder()?;
        let dir = &self.names.dir;
        fs::create_dir_all(dir).await.map_err(|e| failed("creating", dir, e))?;
        let mut last = None;
        for name in list(dir).await? {
            if self.names.staged_epoch(&name, WRITING).is_some() {
                remove(&dir.join(name)).await?;
            } else {
                last = last.max(self.names.epoch_of(&name));
            }
        }
        Ok(last)
    }

    async fn write(
        &mut self,
        epoch: Epoch,
        changes: &RecordBatch,
        weights: Option<&Int8Array>,
    ) -> Result<()> {
        if self.current.as_ref().is_none_or(|c| c.epoch != epoch || c.file.is_none()) {
            self.start(epoch).await?;
        }
        let path = self.names.staged(epoch, WRITING);
        let Some(Staged { file: Some(file), len, torn, .. }) = &mut self.current else {
            return Err(Error::internal("the sink 'file' has no staged file"));
        };
        let bytes = encode(self.format, &with_op(changes, weights)?, *len == 0)?;
        let append = async {
            if *torn {
                file.set_len(*len).await?;
                file.seek(SeekFrom::Start(*len)).await?;
            }
            *torn = true;
            file.write_all(&bytes).await?;
            file.flush().await
        };
        append.await.map_err(|e| failed("writing", &path, e))?;
        *torn = false;
        *len += bytes.len() as u64;
        Ok(())
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<()> {
        let prepared = self.names.staged(epoch, PREPARED);
        let Some(current) = self.current.as_mut().filter(|c| c.epoch == epoch) else {
            // No rows this time: what an earlier try of this epoch had prepared must not show.
            return remove(&prepared).await;
        };
        if let Some(file) = &mut current.file {
            let writing = self.names.staged(epoch, WRITING);
            if current.torn {
                file.set_len(current.len).await.map_err(|e| failed("writing", &writing, e))?;
                current.torn = false;
            }
            file.sync_all().await.map_err(|e| failed("syncing", &writing, e))?;
            rename(&writing, &prepared).await?;
            current.file = None;
        }
        sync_dir(&self.names.dir).await
    }

    async fn commit(&mut self, epoch: Epoch) -> Result<()> {
        let prepared = self.names.staged(epoch, PREPARED);
        let found = fs::try_exists(&prepared).await;
        if found.map_err(|e| failed("looking for", &prepared, e))? {
            rename(&prepared, &self.names.path(epoch)).await?;
        }
        if self.fresh {
            for name in list(&self.names.dir).await? {
                if self.names.staged_epoch(&name, PREPARED).is_some() {
                    remove(&self.names.dir.join(name)).await?;
                }
            }
        }
        sync_dir(&self.names.dir).await?;
        self.fresh = false;
        Ok(())
    }
}

impl FileSink {
    /// A folder on the way may have become a link since the path was checked.
    fn check_folder(&self) -> Result<()> {
        let dir = &self.names.dir;
        if self.outside.path(&dir.to_string_lossy())? == *dir {
            return Ok(());
        }
        Err(Error::denied(format!("'{}' leads elsewhere than at first", dir.display()))
            .hint("a folder was replaced by a link; put it back, or make the sink anew"))
    }

    async fn start(&mut self, epoch: Epoch) -> Result<()> {
        self.current = None;
        self.check_folder()?;
        remove(&self.names.staged(epoch, PREPARED)).await?;
        let path = self.names.staged(epoch, WRITING);
        remove(&path).await?;
        // Only a new file: never one that a link of that name leads to.
        let file = fs::File::options().write(true).create_new(true).open(&path).await;
        let file = file.map_err(|e| failed("creating", &path, e))?;
        self.current = Some(Staged { epoch, file: Some(file), len: 0, torn: false });
        Ok(())
    }
}

fn encode(format: Format, rows: &RecordBatch, first: bool) -> Result<Vec<u8>> {
    match format {
        Format::Ndjson => ndjson(rows),
        Format::Csv => {
            let mut bytes = vec![];
            formats::csv::write_rows(rows, first, &mut bytes)?;
            Ok(bytes)
        }
    }
}

/// Which file belongs to which epoch.
struct Names {
    dir: PathBuf,
    prefix: String,
    suffix: String,
}

impl Names {
    fn new(path: &Path, extension: &str) -> Result<Names> {
        const MARK: &str = "{epoch}";
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let dir = path.parent().unwrap_or(Path::new("")).to_path_buf();
        if dir.to_string_lossy().contains(MARK) {
            return Err(Error::invalid(format!("'{MARK}' stands in the folder of the path"))
                .hint("it belongs into the file name, as in 'out/alerts-{epoch}.csv'"));
        }
        if let Some((prefix, suffix)) = name.split_once(MARK) {
            let (prefix, suffix) = (prefix.to_string(), suffix.to_string());
            return Ok(Names { dir, prefix, suffix });
        }
        if let Some((stem, extension)) = name.rsplit_once('.')
            && ["csv", "json", "jsonl", "ndjson", "tsv", "txt"].contains(&extension)
        {
            return Err(Error::invalid(format!("the path '{name}' names a single file"))
                .hint(format!("each epoch is a file: '{stem}-{MARK}.{extension}'")));
        }
        let suffix = format!(".{extension}");
        Ok(Names { dir: path.to_path_buf(), prefix: "part-".into(), suffix })
    }

    /// Padded, so that names sort like epochs.
    fn name(&self, epoch: Epoch) -> String {
        format!("{}{:012}{}", self.prefix, epoch.0, self.suffix)
    }

    fn path(&self, epoch: Epoch) -> PathBuf {
        self.dir.join(self.name(epoch))
    }

    /// Hidden: tools that read a folder leave names with a dot in front out.
    fn staged(&self, epoch: Epoch, state: &str) -> PathBuf {
        self.dir.join(format!(".{}.{state}", self.name(epoch)))
    }

    fn epoch_of(&self, name: &str) -> Option<Epoch> {
        let digits = name.strip_prefix(&self.prefix)?.strip_suffix(&self.suffix)?;
        let all_digits = digits.len() >= 12 && digits.bytes().all(|b| b.is_ascii_digit());
        all_digits.then(|| digits.parse().ok().map(Epoch)).flatten()
    }

    fn staged_epoch(&self, name: &str, state: &str) -> Option<Epoch> {
        self.epoch_of(name.strip_prefix('.')?.strip_suffix(state)?.strip_suffix('.')?)
    }
}

fn failed(doing: &str, path: &Path, e: std::io::Error) -> Error {
    Error::io(format!("{doing} '{}'", path.display()), e)
}

async fn list(dir: &Path) -> Result<Vec<String>> {
    let mut names = vec![];
    let mut entries = fs::read_dir(dir).await.map_err(|e| failed("reading", dir, e))?;
    while let Some(entry) = entries.next_entry().await.map_err(|e| failed("reading", dir, e))? {
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Removing what is not there succeeds.
async fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path).await {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("removing", path, e)),
        _ => Ok(()),
    }
}

async fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).await.map_err(|e| failed("renaming", from, e))
}

/// A renamed file is safe once its folder is.
async fn sync_dir(dir: &Path) -> Result<()> {
    let synced = async { fs::File::open(dir).await?.sync_all().await };
    synced.await.map_err(|e| failed("syncing", dir, e))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
