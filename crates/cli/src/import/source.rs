//! The file as numbered batches of one of the formats that the ingest door takes.

use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use common::{Error, Result};
use formats::csv::Delimiter;

use super::Arguments;
use super::delimited::Delimited;
use super::input::{Input, Packing};
use super::lines::Lines;
use super::parquet_file::ParquetFile;

/// A batch is closed at about this size: large enough for the disk, small enough to repeat.
pub const BATCH_BYTES: usize = 1 << 20;
/// Places of a batch where its lines and those of the file part.
const JUMPS_MAX: usize = 200;
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

impl Format {
    fn name(self) -> &'static str {
        match self {
            Format::Csv => "CSV",
            Format::Ndjson => "NDJSON",
            Format::Parquet => "Parquet",
        }
    }
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
    /// As a header says it.
    pub fn lines_text(&self) -> String {
        let pairs: Vec<String> = self.lines.iter().map(|(b, f)| format!("{b}:{f}")).collect();
        pairs.join(",")
    }

    /// Time to close the batch: a header does not hold more.
    pub fn has_many_jumps(&self) -> bool {
        self.lines.len() >= JUMPS_MAX
    }

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
pub struct Source {
    pub input: Arc<Input>,
    pub rows: Rows,
}

/// How its rows are read.
pub enum Rows {
    Delimited(Delimited),
    Lines(Lines),
    Parquet(ParquetFile),
}

impl Source {
    pub fn open(arguments: &Arguments, path: &Path, sample_bytes: u64) -> Result<Source> {
        let input = Arc::new(Input::open(path, arguments.encoding.as_deref(), sample_bytes)?);
        let format = arguments.format.unwrap_or_else(|| format_of(path, &input.sample));
        if format != Format::Csv
            && let Some(option) = arguments.option_of_csv()
        {
            return Err(Error::invalid(format!("{option} is for delimited text")).hint(format!(
                "'{}' is read as {}",
                input.name(),
                format.name()
            )));
        }
        let rows = match format {
            Format::Parquet => Rows::Parquet(ParquetFile::open(path)?),
            Format::Ndjson => Rows::Lines(Lines::open(&input)?),
            Format::Csv => Rows::Delimited(Delimited::open(arguments, &input)?),
        };
        Ok(Source { input, rows })
    }

    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        match &mut self.rows {
            Rows::Delimited(s) => s.next_batch(),
            Rows::Lines(s) => s.next_batch(),
            Rows::Parquet(s) => s.next_batch(),
        }
    }

    /// Byte (row, for Parquet) and line of what comes next.
    pub fn place(&self) -> (u64, u64) {
        match &self.rows {
            Rows::Delimited(s) => (s.reader.position, s.reader.line),
            Rows::Lines(s) => (s.reader.position, s.reader.line),
            Rows::Parquet(s) => (s.position, s.position + 1),
        }
    }

    /// Goes to a place that `place` gave.
    pub fn seek(&mut self, (position, line): (u64, u64)) -> Result<()> {
        match &mut self.rows {
            Rows::Delimited(s) => s.reader.seek(position, line),
            Rows::Lines(s) => s.reader.seek(position, line),
            Rows::Parquet(s) => s.seek(position),
        }
    }

    /// In bytes, or rows for Parquet; none of what is not known before its end.
    pub fn length(&self) -> Option<u64> {
        match &self.rows {
            Rows::Parquet(s) => Some(s.rows),
            _ => self.input.length(),
        }
    }

    pub fn is_delimited(&self) -> bool {
        matches!(self.rows, Rows::Delimited(_))
    }

    pub fn counts_rows(&self) -> bool {
        matches!(self.rows, Rows::Parquet(_))
    }

    /// What the file was taken for, for people.
    pub fn understood(&self) -> String {
        let mut parts = vec![match &self.rows {
            Rows::Delimited(s) => {
                let between = match s.delimiter {
                    Delimiter::Char(b'\t') => "tabs".into(),
                    Delimiter::Char(c) => format!("'{}'", char::from(c)),
                    Delimiter::Whitespace => "blanks".into(),
                };
                format!("{} fields between {between}", s.columns.len())
            }
            Rows::Lines(_) => "a JSON object a line".into(),
            Rows::Parquet(s) => format!("Parquet, {} rows", s.rows),
        }];
        if let Rows::Delimited(s) = &self.rows {
            parts.push(match s.has_header {
                true => "named by the first line".into(),
                false => "without a header".into(),
            });
        }
        if !self.counts_rows() && self.input.encoding != encoding_rs::UTF_8 {
            parts.push(self.input.encoding.name().into());
        }
        parts.extend(self.input.packing.map(|p| match p {
            Packing::Gzip => "gzip".into(),
            Packing::Zstd => "zstd".into(),
        }));
        format!("{}: {}", self.input.name(), parts.join(", "))
    }
}

fn format_of(path: &Path, sample: &[u8]) -> Format {
    let packed = path.extension().is_some_and(|e| ["gz", "zst", "zstd"].iter().any(|p| e == *p));
    let stem = path.file_stem().map(Path::new);
    let named = if packed { stem.unwrap_or(path) } else { path };
    let extension = named.extension().map(|e| e.to_string_lossy().to_lowercase());
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
            ("a.ndjson.gz", "", Format::Ndjson),
            ("a.csv.zst", "{", Format::Csv),
            ("-", "{\"a\":1}", Format::Ndjson),
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
