//! Delimited text as CSV bodies for the server. Lines of comma separated files go out as they are;
//! other delimiters are rewritten. Only where records and fields end is decided here: values are
//! judged by the server.

use std::sync::Arc;

use common::{Error, Result};
use formats::csv::{Delimiter, Sniffed};
use formats::schema::Shape;

use super::Arguments;
use super::convert::{Convert, Kind};
use super::input::Input;
use super::lines::LineReader;
use super::source::{BATCH_BYTES, Batch, delimiter};

/// A quoted field that goes on for longer is taken for a stray quote.
const QUOTED_BYTES_MAX: usize = 1 << 20;

/// A file of delimited text.
pub struct Delimited {
    pub reader: LineReader,
    pub delimiter: Delimiter,
    /// Names and types as far as the file tells.
    pub columns: Vec<(String, Shape)>,
    /// Names are the file's own or the user's, and not made up.
    pub named: bool,
    /// The first record names the columns.
    pub has_header: bool,
    /// Header line of each body: the topic's columns in the order of the file's fields.
    pub header: Vec<u8>,
    pub convert: Convert,
    /// What the fields are to be.
    pub kinds: Vec<Kind>,
}

impl Delimited {
    pub fn open(arguments: &Arguments, input: &Arc<Input>) -> Result<Delimited> {
        if input.sample.trim_ascii().is_empty() {
            let what = if input.sample.is_empty() { "is empty" } else { "has no rows" };
            return Err(Error::invalid(format!("'{}' {what}", input.name())));
        }
        let convert = arguments.convert()?;
        let given = arguments.delimiter.as_deref().map(delimiter).transpose()?;
        let has_header = match (arguments.header, arguments.no_header) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        let sniffed = sniff(input, given, has_header, &convert);
        let Sniffed { delimiter, has_header, columns } = sniffed;
        let mut reader = LineReader::open(input)?;
        let mut columns = columns;
        if has_header {
            let names = header_names(&mut reader, delimiter, &input.name())?;
            if names.len() != columns.len() {
                columns = names.iter().map(|n| (n.clone(), Shape::Text)).collect();
            }
            for (column, name) in columns.iter_mut().zip(names) {
                column.0 = name;
            }
        }
        let mut named = has_header;
        if !arguments.columns.is_empty() {
            rename(&mut columns, &arguments.columns)?;
            named = true;
        }
        let (header, kinds) = (vec![], vec![]);
        Ok(Delimited { reader, delimiter, columns, named, has_header, header, convert, kinds })
    }

    /// Sets the names that the server reads the fields by.
    pub fn set_header(&mut self, names: &[String]) {
        let quoted: Vec<String> =
            names.iter().map(|n| format!("\"{}\"", n.replace('"', "\"\""))).collect();
        self.header = quoted.join(",").into_bytes();
        self.header.push(b'\n');
    }

    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        let mut batch = Batch { content_type: "text/csv", ..Batch::default() };
        batch.body.extend_from_slice(&self.header);
        let mut body_line = 2;
        let mut record = vec![];
        while batch.body.len() < BATCH_BYTES && !batch.has_many_jumps() {
            let source_line = self.reader.line;
            if !self.next_record(&mut record)? {
                break;
            }
            if record.trim_ascii().is_empty() {
                continue;
            }
            batch.rows += 1;
            batch.note_line(body_line, source_line);
            let before = batch.body.len();
            write_record(&record, self.delimiter, &self.convert, &self.kinds, &mut batch.body);
            body_line += batch.body[before..].iter().filter(|b| **b == b'\n').count() as u64;
        }
        (batch.position, batch.next_line) = (self.reader.position, self.reader.line);
        Ok((batch.rows > 0).then_some(batch))
    }

    fn next_record(&mut self, record: &mut Vec<u8>) -> Result<bool> {
        next_record(&mut self.reader, self.delimiter, record)
    }
}

/// One record with its line end: several lines when a quoted field holds line ends.
fn next_record(
    reader: &mut LineReader,
    delimiter: Delimiter,
    record: &mut Vec<u8>,
) -> Result<bool> {
    record.clear();
    if !reader.next(record)? {
        return Ok(false);
    }
    let first = record.len();
    while ends_in_quotes(record, delimiter) {
        let before = record.len();
        let more = reader.next(record)?;
        if !more || record.len() > QUOTED_BYTES_MAX || before == record.len() {
            // A stray quote: only the first line is the record, and the server refuses it.
            reader.give_back(&record[first..]);
            record.truncate(first);
            break;
        }
    }
    if !record.ends_with(b"\n") {
        record.push(b'\n');
    }
    Ok(true)
}

/// What the file seems to be, read with the delimiter that was given, as the server will read it.
fn sniff(
    input: &Input,
    given: Option<Delimiter>,
    has_header: Option<bool>,
    convert: &Convert,
) -> Sniffed {
    let sniffed = formats::csv::sniff(&input.sample, input.whole, given, has_header);
    if !convert.is_needed() {
        return sniffed;
    }
    let (delimiter, comma) = (sniffed.delimiter, Delimiter::Char(b','));
    let mut rewritten = vec![];
    for line in input.sample.split_inclusive(|b| *b == b'\n') {
        write_record(line, delimiter, convert, &[], &mut rewritten);
    }
    let has_header = Some(sniffed.has_header);
    let found = formats::csv::sniff(&rewritten, input.whole, Some(comma), has_header);
    Sniffed { delimiter, ..found }
}

fn header_names(reader: &mut LineReader, d: Delimiter, name: &str) -> Result<Vec<String>> {
    let mut record = vec![];
    while record.trim_ascii().is_empty() {
        if !next_record(reader, d, &mut record)? {
            return Err(Error::invalid(format!("'{name}' has no header")));
        }
    }
    let mut fields = vec![];
    for (bytes, quoted) in fields_of(record.trim_ascii_end(), d) {
        let text = std::str::from_utf8(bytes).map_err(|_| {
            Error::invalid(format!("the header of '{name}' is not UTF-8"))
                .hint("say what it is: --encoding latin1")
        })?;
        let text = if quoted { text.replace("\"\"", "\"") } else { text.to_string() };
        fields.push(text.trim().to_string());
    }
    Ok(fields)
}

fn rename(columns: &mut [(String, Shape)], names: &[String]) -> Result<()> {
    if names.len() != columns.len() {
        return Err(Error::invalid(format!(
            "--columns names {} columns, the file has {}",
            names.len(),
            columns.len()
        )));
    }
    for (column, name) in columns.iter_mut().zip(names) {
        column.0 = name.trim().to_string();
    }
    Ok(())
}

/// Whether the last field of a record is open: it began with a quote that was not closed.
fn ends_in_quotes(record: &[u8], delimiter: Delimiter) -> bool {
    let mut at = 0;
    loop {
        at += skip_blanks(&record[at..], delimiter);
        if record.get(at) == Some(&b'"') {
            match quoted_end(record, at) {
                Some(end) => at = end,
                None => return true,
            }
        }
        match record[at..].iter().position(|b| is_delimiter(*b, delimiter)) {
            Some(next) => at += next + 1,
            None => return false,
        }
    }
}

fn skip_blanks(bytes: &[u8], delimiter: Delimiter) -> usize {
    match delimiter {
        Delimiter::Whitespace => bytes.iter().take_while(|b| **b == b' ' || **b == b'\t').count(),
        Delimiter::Char(_) => 0,
    }
}

fn is_delimiter(byte: u8, delimiter: Delimiter) -> bool {
    match delimiter {
        Delimiter::Char(c) => byte == c,
        Delimiter::Whitespace => byte == b' ' || byte == b'\t',
    }
}

/// Position behind the closing quote of the field that begins at `at`.
fn quoted_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    while let Some(next) = bytes.get(i..)?.iter().position(|b| *b == b'"') {
        i += next + 1;
        if bytes.get(i) != Some(&b'"') {
            return Some(i);
        }
        i += 1;
    }
    None
}

/// Fields of a record without its line end: what is inside the quotes, and whether there were any.
fn fields_of(record: &[u8], delimiter: Delimiter) -> Vec<(&[u8], bool)> {
    let mut fields = vec![];
    let mut at = 0;
    loop {
        at += skip_blanks(&record[at..], delimiter);
        if delimiter == Delimiter::Whitespace && at == record.len() && !fields.is_empty() {
            return fields;
        }
        let quoted = record.get(at) == Some(&b'"');
        let close = if quoted { quoted_end(record, at) } else { None };
        let from = close.unwrap_or(at);
        let rest = &record[from..];
        let end = rest.iter().position(|b| is_delimiter(*b, delimiter)).map(|i| from + i);
        let until = end.unwrap_or(record.len());
        match close {
            Some(close) if close == until => fields.push((&record[at + 1..close - 1], true)),
            _ => fields.push((&record[at..until], false)),
        }
        match end {
            Some(end) => at = end + 1,
            None => return fields,
        }
    }
}

/// Appends a record as comma separated text, its fields as the server reads them.
fn write_record(
    record: &[u8],
    delimiter: Delimiter,
    convert: &Convert,
    kinds: &[Kind],
    out: &mut Vec<u8>,
) {
    if delimiter == Delimiter::Char(b',') && !convert.is_needed() {
        out.extend_from_slice(record);
        return;
    }
    let trimmed = record.strip_suffix(b"\n").unwrap_or(record);
    let trimmed = trimmed.strip_suffix(b"\r").unwrap_or(trimmed);
    for (i, (field, quoted)) in fields_of(trimmed, delimiter).into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let kind = kinds.get(i).copied().unwrap_or(Kind::Any);
        match std::str::from_utf8(field) {
            Ok(text) if convert.is_needed() => {
                if let Some(text) = convert.field(text, quoted, kind) {
                    write_field(text.as_bytes(), quoted, out);
                }
            }
            _ => write_field(field, quoted, out),
        }
    }
    out.push(b'\n');
}

fn write_field(field: &[u8], quoted: bool, out: &mut Vec<u8>) {
    if quoted {
        // Doubled quotes inside stay doubled.
        out.push(b'"');
        out.extend_from_slice(field);
        out.push(b'"');
    } else if field.iter().any(|b| matches!(b, b',' | b'"' | b'\r')) {
        out.push(b'"');
        for byte in field {
            out.extend_from_slice(if *byte == b'"' { b"\"\"" } else { std::slice::from_ref(byte) });
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(record: &str, delimiter: Delimiter) -> String {
        let mut out = vec![];
        write_record(record.as_bytes(), delimiter, &Convert::default(), &[], &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn rewrites_delimiters() {
        let tab = Delimiter::Char(b'\t');
        for (record, delimiter, csv) in [
            ("a,\"b\",c\r\n", Delimiter::Char(b','), "a,\"b\",c\r\n"),
            ("a\tb,c\t\n", tab, "a,\"b,c\",\n"),
            ("a\t\"x\ty\"\"z\"\tc\n", tab, "a,\"x\ty\"\"z\",c\n"),
            ("5\" pipe\tx\n", tab, "\"5\"\" pipe\",x\n"),
            ("  1  2.5 \t x  \n", Delimiter::Whitespace, "1,2.5,x\n"),
            ("1 2 3", Delimiter::Whitespace, "1,2,3\n"),
            ("a;;c\n", Delimiter::Char(b';'), "a,,c\n"),
        ] {
            assert_eq!(rewritten(record, delimiter), csv, "{record:?}");
        }
    }

    #[test]
    fn knows_open_quotes() {
        let comma = Delimiter::Char(b',');
        for (record, open) in [
            ("a,\"b\n", true),
            ("a,\"b\"\n", false),
            ("a,\"b\"\"\n", true),
            ("5\" pipe,b\n", false),
            ("\"a\nb\",\"c\n", true),
            ("", false),
        ] {
            assert_eq!(ends_in_quotes(record.as_bytes(), comma), open, "{record:?}");
        }
    }
}
