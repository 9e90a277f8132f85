//! Checks all tables of a lake without changing anything, for `watershed doctor --deep`: the log of
//! each has no gap and can be read, and each data file it names is there, as long as it says, and
//! has a Parquet footer.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use common::{Error, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::fault;
use crate::lake::{Lake, Table};
use crate::place::{Place, TablePlace};

/// What was looked at, and what is wrong.
#[derive(Debug, Default)]
pub struct Checked {
    pub tables: usize,
    pub files: usize,
    pub faults: Vec<Error>,
}

impl Lake {
    /// Checks the tables in a local folder, which need not exist.
    pub fn check<'a>(location: &'a str, base: &'a Path) -> BoxFuture<'a, Result<Checked>> {
        Self::check_all(location, base).boxed()
    }

    async fn check_all(location: &str, base: &Path) -> Result<Checked> {
        let mut checked = Checked::default();
        for (name, place) in Place::open(location, base)?.tables()? {
            checked.tables += 1;
            if let Err(e) = checked.table(&name, &place).await {
                checked.faults.push(e);
            }
        }
        Ok(checked)
    }
}

impl Checked {
    async fn table(&mut self, name: &str, place: &TablePlace) -> Result<()> {
        check_versions(place)?;
        let table = Table::new(name, place.clone())?;
        let Some(opened) = table.refresh().await? else {
            return Err(fault::corrupt(place, "it has no '_delta_log'"));
        };
        let data = opened.state.snapshot().try_log_data();
        let data = data.map_err(|e| fault::error(place, "read", e))?;
        let named: Vec<(String, i64)> =
            data.iter().map(|file| (file.path().into_owned(), file.size())).collect();
        for (name, size) in named {
            self.files += 1;
            if let Err(why) = check_file(&place.path().join(&name), size) {
                self.faults.push(fault::corrupt(place, format!("the data file '{name}' {why}")));
            }
        }
        Ok(())
    }
}

/// Versions are numbered without a gap, from 0 or from where a checkpoint begins.
fn check_versions(place: &TablePlace) -> Result<()> {
    let log = place.log();
    let failed = |e| Error::io(format!("cannot read '{}'", log.display()), e);
    let entries = match fs::read_dir(&log) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(fault::corrupt(place, "its '_delta_log' is gone"));
        }
        Err(e) => return Err(failed(e)),
    };
    let (mut versions, mut checkpoints) = (vec![], vec![]);
    for entry in entries {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        let Some(version) = name.get(..20).and_then(|digits| digits.parse::<u64>().ok()) else {
            continue;
        };
        match &name[20..] {
            ".json" => versions.push(version),
            rest if rest.ends_with(".parquet") => checkpoints.push(version),
            _ => {}
        }
    }
    versions.sort_unstable();
    let gap = versions.windows(2).find(|pair| pair[1] != pair[0] + 1).map(|pair| pair[0] + 1);
    let first = versions.first().copied().filter(|v| *v > 0);
    let lost = first.filter(|v| !checkpoints.iter().any(|c| c + 1 >= *v)).map(|_| 0);
    match gap.or(lost).or(versions.is_empty().then_some(0)) {
        Some(version) => {
            let text = format!("'_delta_log/{version:020}.json' is missing");
            Err(fault::corrupt(place, text))
        }
        None => Ok(()),
    }
}

/// What is wrong with a data file.
fn check_file(path: &Path, size: i64) -> std::result::Result<(), String> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err("is missing".into()),
        other => other.map_err(|e| format!("cannot be read: {e}"))?,
    };
    let len = file.metadata().map_err(|e| format!("cannot be read: {e}"))?.len();
    if i64::try_from(len).ok() != Some(size) {
        return Err(format!("has {len} bytes, not {size}"));
    }
    let reader = SerializedFileReader::new(file).map_err(|e| format!("is no Parquet: {e}"))?;
    read_columns(&reader).map_err(|e| format!("cannot be unpacked: {e}"))
}

/// Unpacks every page: there is no checksum, but what is packed seldom survives a flipped bit.
fn read_columns(reader: &dyn FileReader) -> parquet::errors::Result<()> {
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group)?;
        for column in 0..group.num_columns() {
            let mut pages = group.get_column_page_reader(column)?;
            while pages.get_next_page()?.is_some() {}
        }
    }
    Ok(())
}
