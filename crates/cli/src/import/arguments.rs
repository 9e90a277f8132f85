//! What an import can be told.

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;
use common::{Error, Result};

use super::convert::Convert;
use super::source::Format;
use crate::client::Target;

/// Import files: CSV, TSV, space separated text, NDJSON or Parquet, also packed (gzip, zstd).
#[derive(Args)]
pub struct Arguments {
    /// Files, patterns as 'data/*.csv', or '-' for standard input; endings say what they hold.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The topic; made from what the files hold when there is none of this name.
    #[arg(long, value_name = "TOPIC")]
    pub into: String,
    /// csv, ndjson or parquet; found out from the file otherwise.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// utf-8, utf-16le, latin1, …; found out between UTF-8 and UTF-16 otherwise.
    #[arg(long, value_name = "NAME")]
    pub encoding: Option<String>,
    /// What stands between two fields: one character, 'tab' or 'space' (any run of blanks).
    #[arg(long)]
    pub delimiter: Option<String>,
    /// The first line names the columns.
    #[arg(long, conflicts_with = "no_header")]
    pub header: bool,
    /// The first line is data already.
    #[arg(long)]
    pub no_header: bool,
    /// Names of the columns, separated by commas, for files without a header.
    #[arg(long, value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Types of a new topic's columns that are not to be found out: id=TEXT,price=DECIMAL(10,2)
    #[arg(long, value_name = "NAME=TYPE,…")]
    pub types: Option<String>,
    /// Fields that mean NULL, separated by commas: NA,-
    #[arg(long, value_delimiter = ',', value_name = "TEXT,…", allow_hyphen_values = true)]
    null: Vec<String>,
    /// Numbers are written with a comma: 1.234,5
    #[arg(long)]
    decimal_comma: bool,
    /// How times are written, as strftime says it: '%d.%m.%Y %H:%M'
    #[arg(long, value_name = "FORMAT")]
    time_format: Option<String>,
    /// The zone of times that have none: Europe/Berlin
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Say what the files were taken for, and import nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Import it once more although it was imported.
    #[arg(long)]
    pub again: bool,
    /// The result as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: Target,
}

impl Arguments {
    pub fn convert(&self) -> Result<Convert> {
        let (format, zone) = (self.time_format.as_deref(), self.zone.as_deref());
        Convert::new(&self.null, self.decimal_comma, format, zone)
    }

    /// An option that is given and that only delimited text has.
    pub fn option_of_csv(&self) -> Option<&'static str> {
        let given = [
            ("--delimiter", self.delimiter.is_some()),
            ("--header", self.header),
            ("--no-header", self.no_header),
            ("--columns", !self.columns.is_empty()),
            ("--null", !self.null.is_empty()),
            ("--decimal-comma", self.decimal_comma),
            ("--time-format", self.time_format.is_some()),
            ("--zone", self.zone.is_some()),
        ];
        given.into_iter().find_map(|(name, given)| given.then_some(name))
    }

    /// The files that are meant, each once.
    pub fn paths(&self) -> Result<Vec<PathBuf>> {
        let mut paths: Vec<PathBuf> = vec![];
        for given in &self.files {
            let text = given.to_string_lossy();
            if !text.contains(['*', '?', '[']) || given.exists() {
                paths.push(given.clone());
                continue;
            }
            let bad = |e: &dyn std::fmt::Display| Error::invalid(format!("'{text}': {e}"));
            let found = glob::glob(&text).map_err(|e| bad(&e))?;
            let mut files = vec![];
            for path in found {
                files.push(path.map_err(|e| bad(&e))?);
            }
            files.retain(|p| !p.is_dir());
            if files.is_empty() {
                return Err(Error::not_found(format!("no file is like '{text}'")));
            }
            paths.extend(files);
        }
        let mut seen = HashSet::new();
        paths.retain(|p| seen.insert(p.clone()));
        if paths.len() > 1 && paths.iter().any(|p| p.as_os_str() == "-") {
            return Err(Error::invalid("standard input is imported alone"));
        }
        Ok(paths)
    }
}
