//! Delimited text to batches, chunk by chunk, so a file of any size is read in little memory. After
//! each row the byte position is known: an import that stops can go on behind its last row.
//!
//! An empty field without quotes is NULL. Blank lines give no rows. A line with a wrong number of
//! fields, a broken quote or a value that does not fit is refused alone, with its line.

use std::ops::Range;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use common::{Error, Result};

use super::record::{self, Delimiter, Found, Span};
use crate::column::Column;
use crate::fault::{BadLine, Fault, RAW_BYTES_MAX, RefusedKind};
use crate::json::too_large;
use crate::text;

/// Which column a field belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    /// By position; there is no header line.
    None,
    /// The first line names the columns, as in JSON: exactly, else without regard to case.
    /// Unknown names are ignored.
    FirstLine,
    /// These names, and no header line: how an import goes on in the middle of a file.
    Names(Vec<String>),
}

/// How a file is written.
#[derive(Clone, Debug)]
pub struct Options {
    pub delimiter: Delimiter,
    pub header: Header,
    /// Longer records are refused.
    pub record_bytes_max: usize,
    /// Where in the file the first byte stands that `feed` gets.
    pub start: Position,
}

impl Default for Options {
    /// What `text/csv` means: commas and a header line.
    fn default() -> Self {
        Self {
            delimiter: Delimiter::Char(b','),
            header: Header::FirstLine,
            record_bytes_max: 1 << 20,
            start: Position::default(),
        }
    }
}

/// A place between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Bytes before it.
    pub bytes: u64,
    /// The line that begins there, counted from 1.
    pub line: u64,
}

impl Default for Position {
    fn default() -> Self {
        Self { bytes: 0, line: 1 }
    }
}

/// The rows that became complete.
#[derive(Clone, Debug)]
pub struct Rows {
    /// With the schema given to the reader.
    pub batch: RecordBatch,
    /// Line where each row starts.
    pub lines: Vec<u64>,
    /// Byte position where each row starts.
    pub starts: Vec<u64>,
    /// Byte position behind each row.
    pub ends: Vec<u64>,
    pub refused: Vec<BadLine>,
    /// Behind all these rows and refusals.
    pub position: Position,
}

/// Reads one file or body.
#[derive(Debug)]
pub struct Reader {
    schema: SchemaRef,
    options: Options,
    columns: Vec<Column>,
    /// Column of each field, once known.
    mapping: Option<Vec<Option<usize>>>,
    names: Vec<String>,
    /// Bytes of a record that is not complete.
    carry: Vec<u8>,
    /// An oversized line being skipped: its line, its length so far and how it begins.
    skipping: Option<(u64, usize, Vec<u8>)>,
    position: Position,
    lines: Vec<u64>,
    starts: Vec<u64>,
    ends: Vec<u64>,
    refused: Vec<BadLine>,
    fields: Vec<Span>,
    scratch: String,
}

impl Reader {
    pub fn new(schema: SchemaRef, options: Options) -> Result<Self> {
        let columns = schema.fields().iter().map(|f| Column::new(f)).collect::<Result<_>>()?;
        let position = options.start;
        let mut reader = Self {
            schema,
            columns,
            mapping: None,
            names: vec![],
            carry: vec![],
            skipping: None,
            position,
            lines: vec![],
            starts: vec![],
            ends: vec![],
            refused: vec![],
            fields: vec![],
            scratch: String::new(),
            options,
        };
        match reader.options.header.clone() {
            Header::FirstLine => {}
            Header::Names(names) => reader.set_names(names)?,
            Header::None => {
                reader.mapping = Some((0..reader.columns.len()).map(Some).collect());
            }
        }
        Ok(reader)
    }

    /// The names of the header, once read: keep them to go on later with `Header::Names`.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Behind the last complete record.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Takes the next bytes and gives the rows that end in them. Chunks of about 1 MiB are good.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<Rows> {
        self.take(chunk, false)
    }

    /// There are no more bytes: the last line may lack its end.
    pub fn finish(&mut self) -> Result<Rows> {
        self.take(&[], true)
    }

    /// A whole body that is in memory, in batches of about `chunk_bytes`.
    pub fn read_all(&mut self, body: &[u8], chunk_bytes: usize) -> Result<Vec<Rows>> {
        let mut all = vec![];
        for chunk in body.chunks(chunk_bytes.max(1)) {
            all.push(self.feed(chunk)?);
        }
        all.push(self.finish()?);
        all.retain(|r| r.batch.num_rows() > 0 || !r.refused.is_empty());
        Ok(all)
    }

    fn take(&mut self, chunk: &[u8], last: bool) -> Result<Rows> {
        if chunk.len() > i32::MAX as usize / 2 {
            return Err(Error::too_large(format!("{} bytes of text at once", chunk.len()))
                .hint("feed smaller chunks"));
        }
        if self.carry.is_empty() {
            let used = self.scan(chunk, last)?;
            self.carry.extend_from_slice(&chunk[used..]);
        } else {
            let mut buffer = std::mem::take(&mut self.carry);
            buffer.extend_from_slice(chunk);
            let used = self.scan(&buffer, last)?;
            buffer.drain(..used);
            self.carry = buffer;
        }
        self.rows()
    }

    fn rows(&mut self) -> Result<Rows> {
        let columns = self.columns.iter_mut().map(Column::finish).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.lines.len()));
        let schema = Schema::new(self.schema.fields().clone());
        let batch = RecordBatch::try_new_with_options(schema.into(), columns, &options)
            .map_err(|e| Error::internal("parsed columns do not form a batch").caused_by(e))?;
        Ok(Rows {
            batch,
            lines: std::mem::take(&mut self.lines),
            starts: std::mem::take(&mut self.starts),
            ends: std::mem::take(&mut self.ends),
            refused: std::mem::take(&mut self.refused),
            position: self.position,
        })
    }

    /// Reads all complete records; the number of bytes they have.
    fn scan(&mut self, buffer: &[u8], last: bool) -> Result<usize> {
        let mut at = 0;
        if self.position.bytes == 0 {
            if !last && buffer.len() < 3 && b"\xEF\xBB\xBF".starts_with(buffer) {
                return Ok(0);
            }
            if buffer.starts_with(b"\xEF\xBB\xBF") {
                at = 3;
                self.position.bytes = 3;
            }
        }
        while at < buffer.len() {
            let fields_max = self.mapping.as_ref().map_or(usize::MAX, Vec::len);
            let rest = &buffer[at..];
            let mut fields = std::mem::take(&mut self.fields);
            let found = match self.skipping {
                Some(_) => self.skip_line(rest),
                None => record::next(rest, self.options.delimiter, fields_max, last, &mut fields),
            };
            let used = match found {
                Found::Blank { len } => self.advance(&rest[..len]),
                Found::Record { len } if self.swallows(&rest[..len]) => self.give_up(&rest[..len]),
                Found::Record { len } => {
                    self.record(&rest[..len], &fields)?;
                    self.advance(&rest[..len])
                }
                Found::Bad { len, reason } => {
                    self.refuse(Fault::new(RefusedKind::Parse, reason), &rest[..len]);
                    self.advance(&rest[..len])
                }
                Found::More => self.give_up(rest),
            };
            self.fields = fields;
            if used == 0 {
                break;
            }
            at += used;
        }
        if last && let Some((line, len, raw)) = self.skipping.take() {
            let fault = too_large(len, self.options.record_bytes_max);
            self.refused.push(BadLine::new(line, fault, &raw));
        }
        Ok(at)
    }

    fn advance(&mut self, used: &[u8]) -> usize {
        self.position.bytes += used.len() as u64;
        self.position.line += memchr::memchr_iter(b'\n', used).count() as u64;
        used.len()
    }

    /// Too long and over several lines: taken for an open quote, though its end may be in sight.
    fn swallows(&self, record: &[u8]) -> bool {
        let max = self.options.record_bytes_max;
        record.len() > max && memchr::memchr(b'\n', record).is_some_and(|at| at + 1 < record.len())
    }

    /// A record without end in sight: wait for more, unless it is too long already.
    fn give_up(&mut self, rest: &[u8]) -> usize {
        if rest.len() <= self.options.record_bytes_max {
            return 0;
        }
        if let Some(end) = memchr::memchr(b'\n', rest) {
            let line = &rest[..=end];
            self.refuse(Fault::new(RefusedKind::Parse, "a quoted field is not closed"), line);
            return self.advance(line);
        }
        let raw = rest[..rest.len().min(RAW_BYTES_MAX)].to_vec();
        self.skipping = Some((self.position.line, rest.len(), raw));
        self.position.bytes += rest.len() as u64;
        rest.len()
    }

    /// Goes on in an oversized line, up to its end.
    fn skip_line(&mut self, rest: &[u8]) -> Found {
        let Some(end) = memchr::memchr(b'\n', rest) else {
            if let Some(skipping) = &mut self.skipping {
                skipping.1 += rest.len();
            }
            return Found::Blank { len: rest.len() };
        };
        if let Some((line, len, raw)) = self.skipping.take() {
            let fault = too_large(len + end, self.options.record_bytes_max);
            self.refused.push(BadLine::new(line, fault, &raw));
        }
        Found::Blank { len: end + 1 }
    }

    fn refuse(&mut self, fault: Fault, raw: &[u8]) {
        self.refused.push(BadLine::new(self.position.line, fault, raw.trim_ascii_end()));
    }

    fn record(&mut self, raw: &[u8], fields: &[Span]) -> Result<()> {
        let len = raw.len() - usize::from(raw.ends_with(b"\n"));
        if len > self.options.record_bytes_max {
            self.refuse(too_large(len, self.options.record_bytes_max), raw);
            return Ok(());
        }
        let text = match std::str::from_utf8(raw) {
            Ok(text) => text,
            Err(_) if self.mapping.is_none() => {
                return Err(Error::invalid("the header line is not UTF-8"));
            }
            Err(e) => {
                let reason = format!("byte {} is not UTF-8", e.valid_up_to() + 1);
                self.refuse(Fault::new(RefusedKind::Encoding, reason), raw);
                return Ok(());
            }
        };
        if self.mapping.is_none() {
            let names = fields.iter().map(|f| unquoted(text, *f).trim().to_string()).collect();
            return self.set_names(names);
        }
        match self.push(text, fields) {
            Ok(()) => {
                self.lines.push(self.position.line);
                self.starts.push(self.position.bytes);
                self.ends.push(self.position.bytes + raw.len() as u64);
            }
            Err(fault) => {
                let rows = self.lines.len();
                self.columns.iter_mut().for_each(|c| c.truncate(rows));
                self.refuse(fault, raw);
            }
        }
        Ok(())
    }

    fn push(&mut self, text: &str, fields: &[Span]) -> Result<(), Fault> {
        let mapping = self.mapping.as_deref().unwrap_or_default();
        if fields.len() != mapping.len() {
            let reason = format!("expected {} fields, got {}", mapping.len(), fields.len());
            return Err(Fault::new(RefusedKind::Parse, reason));
        }
        for (field, column) in fields.iter().zip(mapping) {
            let Some(column) = column.and_then(|i| self.columns.get_mut(i)) else {
                continue;
            };
            let mut value = text.get(Range::from(*field)).unwrap_or_default();
            if field.doubled {
                self.scratch.clear();
                self.scratch.push_str(&unquoted(text, *field));
                value = &self.scratch;
            }
            text::push(column, value, field.quoted).map_err(|fault| fault.inside(&column.name))?;
        }
        let row = self.lines.len();
        for column in self.columns.iter_mut().filter(|c| c.len() == row) {
            column.push_missing(false).map_err(|fault| fault.inside(&column.name))?;
        }
        Ok(())
    }

    fn set_names(&mut self, names: Vec<String>) -> Result<()> {
        let mut mapping = Vec::with_capacity(names.len());
        for name in &names {
            let column = self.column_of(name);
            if column.is_some() && mapping.contains(&column) {
                return Err(Error::invalid(format!(
                    "two columns of the header are named '{name}'"
                )));
            }
            mapping.push(column);
        }
        if mapping.iter().all(Option::is_none) {
            let known: Vec<&str> = self.columns.iter().map(|c| c.name.as_str()).collect();
            return Err(Error::invalid(format!("no column is named in the header '{}'", {
                crate::fault::shorten(&names.join(","))
            }))
            .hint(format!("the first line must name columns: {}", known.join(", "))));
        }
        self.names = names;
        self.mapping = Some(mapping);
        Ok(())
    }

    fn column_of(&self, name: &str) -> Option<usize> {
        if let Some(exact) = self.columns.iter().position(|c| c.name == name) {
            return Some(exact);
        }
        let columns = self.columns.iter().enumerate();
        let mut near = columns.filter(|(_, c)| c.name.eq_ignore_ascii_case(name));
        match (near.next(), near.next()) {
            (Some((column, _)), None) => Some(column),
            _ => None,
        }
    }
}

/// The line with the names, of a body that begins with one.
pub fn header_line(body: &[u8]) -> Option<&[u8]> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let (mut at, mut fields) = (0, vec![]);
    loop {
        let rest = &body[at..];
        match record::next(rest, Delimiter::Char(b','), usize::MAX, true, &mut fields) {
            Found::Blank { len } if len > 0 => at += len,
            Found::Record { len } => return Some(rest[..len].trim_ascii_end()),
            _ => return None,
        }
    }
}

impl From<Span> for Range<usize> {
    fn from(span: Span) -> Self {
        span.start..span.end
    }
}

/// A field's text with doubled quotes made single.
pub(super) fn unquoted(text: &str, field: Span) -> String {
    let value = text.get(Range::from(field)).unwrap_or_default();
    if field.doubled { value.replace("\"\"", "\"") } else { value.to_string() }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
