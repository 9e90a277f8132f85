//! The file as numbered batches of one of the formats that the ingest door takes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap::ValueEnum;
use common::{Error, Result};
use formats::csv::Delimiter;

use super::Arguments;
use super::delimited::Delimited;
use super::lines::Lines;
use super::parquet_file::ParquetFile;

/// A batch is closed at about this size: large enough for the disk, small enough to repeat.
pub const BATCH_BYTES: usize = 1 << 20;
/// So much of a file is looked at to find its delimiter and types.
pub const SAMPLE_BYTES: u64 = 16 << 20;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Fields between commas, tabs, semicolons, bars or blanks.
    Csv,
    /// One JSON object a line.
    Ndjson,
    Parquet,
}

/// One request body.
#[derive(Debug, Default)]
pub struct Batch {
    pub body: Vec<u8>,
    pub content_type: &'static str,
    pub rows: u64,
    /// Behind this batch: byte, or row for Parquet.
    pub position: u64,
    /// Line that begins there.
    pub next_line: u64,
    /// Line in the body → line in the file, where the distance changes.
    pub lines: Vec<(u64, u64)>,
}

impl Batch {
    /// Line of the file for a line of the body.
    pub fn source_line(&self, body_line: u64) -> u64 {
        let after = self.lines.partition_point(|(body, _)| *body <= body_line);
        match after.checked_sub(1).and_then(|i| self.lines.get(i)) {
            Some((body, source)) => source + (body_line - body),
            None => body_line,
        }
    }

    /// Notes that the next line of the body stems from this line of the file.
    pub fn note_line(&mut self, body_line: u64, source_line: u64) {
        if self.lines.is_empty() || self.source_line(body_line) != source_line {
            self.lines.push((body_line, source_line));
        }
    }
}

/// An open file.
pub enum Source {
    Delimited(Delimited),
    Lines(Lines),
    Parquet(ParquetFile),
}

impl Source {
    pub fn open(arguments: &Arguments) -> Result<Source> {
        let path = &arguments.file;
        let sample = sample(path)?;
        let format = arguments.format.unwrap_or_else(|| format_of(path, &sample));
        Ok(match format {
            Format::Parquet => Source::Parquet(ParquetFile::open(path)?),
            Format::Ndjson => Source::Lines(Lines::open(path, sample)?),
            Format::Csv => Source::Delimited(Delimited::open(arguments, &sample)?),
        })
    }

    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        match self {
            Source::Delimited(s) => s.next_batch(),
            Source::Lines(s) => s.next_batch(),
            Source::Parquet(s) => s.next_batch(),
        }
    }

    /// Byte (row, for Parquet) and line of what comes next.
    pub fn place(&self) -> (u64, u64) {
        match self {
            Source::Delimited(s) => (s.reader.position, s.reader.line),
            Source::Lines(s) => (s.reader.position, s.reader.line),
            Source::Parquet(s) => (s.position, s.position + 1),
        }
    }

    /// Goes to a place that `place` gave.
    pub fn seek(&mut self, (position, line): (u64, u64)) -> Result<()> {
        match self {
            Source::Delimited(s) => s.reader.seek(position, line),
            Source::Lines(s) => s.reader.seek(position, line),
            Source::Parquet(s) => s.seek(position),
        }
    }

    /// In bytes, or rows for Parquet.
    pub fn length(&self) -> u64 {
        match self {
            Source::Delimited(s) => s.reader.length,
            Source::Lines(s) => s.reader.length,
            Source::Parquet(s) => s.rows,
        }
    }

    pub fn counts_rows(&self) -> bool {
        matches!(self, Source::Parquet(_))
    }
}

fn sample(path: &Path) -> Result<Vec<u8>> {
    let failed = |e| Error::io(format!("reading '{}'", path.display()), e);
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(Error::invalid(format!("'{}' is a folder", path.display()))
            .hint("import its files one by one"));
    }
    let mut sample = vec![];
    file.take(SAMPLE_BYTES).read_to_end(&mut sample).map_err(failed)?;
    Ok(sample)
}

fn format_of(path: &Path, sample: &[u8]) -> Format {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("parquet") => return Format::Parquet,
        Some("ndjson" | "jsonl" | "json") => return Format::Ndjson,
        Some("csv" | "tsv") => return Format::Csv,
        _ => {}
    }
    if sample.starts_with(b"PAR1") {
        return Format::Parquet;
    }
    match sample.iter().find(|b| !b.is_ascii_whitespace()) {
        Some(b'{' | b'[') => Format::Ndjson,
        _ => Format::Csv,
    }
}

/// `--delimiter` as people write it.
pub fn delimiter(text: &str) -> Result<Delimiter> {
    match text {
        "tab" | "\\t" | "\t" => Ok(Delimiter::Char(b'\t')),
        "space" | "whitespace" | " " => Ok(Delimiter::Whitespace),
        "comma" => Ok(Delimiter::Char(b',')),
        "semicolon" => Ok(Delimiter::Char(b';')),
        "pipe" | "bar" => Ok(Delimiter::Char(b'|')),
        one if one.len() == 1 && one != "\"" && one != "\n" => {
            Ok(Delimiter::Char(one.as_bytes()[0]))
        }
        _ => Err(Error::invalid(format!("'{text}' is not a delimiter"))
            .hint("give one character, or 'tab' or 'space'")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn formats_and_delimiters() {
        for (name, sample, format) in [
            ("a.csv", "", Format::Csv),
            ("a.jsonl", "", Format::Ndjson),
            ("a.parquet", "", Format::Parquet),
            ("a.txt", "1 2 3", Format::Csv),
            ("a.txt", " {\"a\":1}", Format::Ndjson),
            ("a", "PAR1...", Format::Parquet),
        ] {
            assert_eq!(format_of(Path::new(name), sample.as_bytes()), format, "{name}");
        }
        assert_eq!(delimiter(";").unwrap(), Delimiter::Char(b';'));
        assert_eq!(delimiter("tab").unwrap(), Delimiter::Char(b'\t'));
        assert!(delimiter("ab").is_err() && delimiter("\"").is_err());
    }

    #[test]
    fn lines_map_back() {
        let mut batch = Batch::default();
        // A header in the body, a record over two lines, a blank line left out.
        for (body, source) in [(2, 10), (3, 11), (5, 14)] {
            batch.note_line(body, source);
        }
        for (body, source) in [(2, 10), (3, 11), (4, 12), (5, 14), (6, 15)] {
            assert_eq!(batch.source_line(body), source, "{body}");
        }
    }
}
