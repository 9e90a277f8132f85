//! Guesses how an unknown file is written: the delimiter that gives every line the same number of
//! fields, whether the first line is a header, and the narrowest type that fits all values seen.

use arrow::datatypes::DataType;

use super::reader::unquoted;
use super::record::{self, Delimiter, Found};
use crate::text;
use crate::time;
use crate::types;

/// A sample shorter than this is taken for the whole file; of a longer one the last line, which
/// may be cut, does not count. More than this makes better types.
pub const SAMPLE_BYTES: usize = 64 * 1024;

/// Lines looked at to find the delimiter.
const LINES_MAX: usize = 1000;

/// What a file seems to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Sniffed {
    pub delimiter: Delimiter,
    pub has_header: bool,
    /// Names from the header, or c1, c2, …
    pub columns: Vec<(String, DataType)>,
}

/// Looks at the beginning of a file.
pub fn sniff(sample: &[u8]) -> Sniffed {
    let sample = sample.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(sample);
    let delimiter = delimiter_of(sample);
    let mut records = records(sample, delimiter, usize::MAX);
    let width = usual_width(&records).map_or(0, |(width, _)| width);
    records.retain(|r| r.len() == width);
    let has_header = is_header(&records);
    let header = if has_header { Some(records.remove(0)) } else { None };
    let names = names_of(header, width);
    let types = (0..width).map(|i| type_of(records.iter().map(|r| &r[i])));
    Sniffed { delimiter, has_header, columns: names.into_iter().zip(types).collect() }
}

/// A field's text and whether it stood in quotes.
type Value = (String, bool);

fn records(sample: &[u8], delimiter: Delimiter, lines_max: usize) -> Vec<Vec<Value>> {
    let whole = sample.len() < SAMPLE_BYTES;
    let (mut at, mut records, mut fields) = (0, vec![], vec![]);
    while at < sample.len() && records.len() < lines_max {
        let rest = &sample[at..];
        match record::next(rest, delimiter, usize::MAX, whole, &mut fields) {
            Found::Record { len } => {
                let text = String::from_utf8_lossy(&rest[..len]);
                // Broken UTF-8 moves positions; such a line says little anyway.
                if matches!(text, std::borrow::Cow::Borrowed(_)) {
                    records.push(fields.iter().map(|f| (unquoted(&text, *f), f.quoted)).collect());
                }
                at += len;
            }
            Found::Blank { len } | Found::Bad { len, .. } => at += len,
            Found::More => break,
        }
    }
    records
}

/// The most frequent number of fields, and the share of lines that have it.
fn usual_width(records: &[Vec<Value>]) -> Option<(usize, f64)> {
    let mut widths: Vec<usize> = records.iter().map(Vec::len).collect();
    widths.sort_unstable();
    let runs = widths.chunk_by(|a, b| a == b);
    let longest = runs.max_by_key(|run| run.len())?;
    Some((longest[0], longest.len() as f64 / widths.len() as f64))
}

fn delimiter_of(sample: &[u8]) -> Delimiter {
    let candidates = [b'\t', b',', b';', b'|'].map(Delimiter::Char);
    let mut best = (Delimiter::Char(b','), 0.0);
    for candidate in candidates {
        let found = usual_width(&records(sample, candidate, LINES_MAX));
        // The more lines agree the better; fields break ties.
        if let Some((width @ 2.., share)) = found
            && share >= 0.8
            && share + width as f64 * 1e-4 > best.1
        {
            best = (candidate, share + width as f64 * 1e-4);
        }
    }
    if best.1 == 0.0
        && let Some((2.., share)) = usual_width(&records(sample, Delimiter::Whitespace, LINES_MAX))
        && share >= 0.8
    {
        return Delimiter::Whitespace;
    }
    best.0
}

/// A header: distinct names, none of which reads as a value, over columns that hold something else.
fn is_header(records: &[Vec<Value>]) -> bool {
    let Some((first, others)) = records.split_first() else {
        return false;
    };
    let distinct = first.iter().enumerate().all(|(i, a)| first[..i].iter().all(|b| a.0 != b.0));
    let names = first
        .iter()
        .all(|(text, _)| !text.trim().is_empty() && type_of_text(text.trim()) == DataType::Utf8);
    if !distinct || !names {
        return false;
    }
    let typed = (0..first.len()).any(|i| type_of(others.iter().map(|r| &r[i])) != DataType::Utf8);
    let like_names = first.iter().all(|(text, _)| {
        let text = text.trim();
        text.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_alphanumeric() || "_ -./()[]%".contains(c))
    });
    let repeated = others.iter().any(|r| r.iter().zip(first).any(|(a, b)| a.0 == b.0));
    typed || (like_names && !repeated)
}

fn names_of(header: Option<Vec<Value>>, width: usize) -> Vec<String> {
    let header = header.unwrap_or_default();
    let mut names: Vec<String> = vec![];
    for i in 0..width {
        let given = header.get(i).map_or("", |(text, _)| text.trim());
        let name = if given.is_empty() { format!("c{}", i + 1) } else { given.to_string() };
        let taken = |name: &str| names.iter().any(|n| n.eq_ignore_ascii_case(name));
        let name = match taken(&name) {
            false => name,
            true => (2..).map(|n| format!("{name}_{n}")).find(|n| !taken(n)).unwrap_or(name),
        };
        names.push(name);
    }
    names
}

fn type_of<'a>(values: impl Iterator<Item = &'a Value>) -> DataType {
    let filled = values.filter(|(text, quoted)| *quoted || !text.trim().is_empty());
    let mut types = filled.map(|(text, _)| type_of_text(text.trim()));
    let Some(first) = types.next() else {
        return DataType::Utf8;
    };
    types.fold(first, |a, b| widen(&a, &b))
}

/// The type that holds both; TEXT holds all.
pub(crate) fn widen(a: &DataType, b: &DataType) -> DataType {
    use DataType as D;
    let number = |t: &DataType| matches!(t, D::Int64 | D::Float64);
    let time = |t: &DataType| matches!(t, D::Date32 | D::Timestamp(_, _));
    match (a, b) {
        _ if a == b => a.clone(),
        _ if number(a) && number(b) => D::Float64,
        _ if time(a) && time(b) => types::timestamp(),
        _ => D::Utf8,
    }
}

/// The narrowest type of one value. A number with a leading zero is a code, so it is text.
pub(crate) fn type_of_text(text: &str) -> DataType {
    let bytes = text.as_bytes();
    if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
        return DataType::Boolean;
    }
    if let Ok(number) = text::number(bytes) {
        let digits = text.trim_start_matches(['-', '+']);
        let code = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        let whole = digits.bytes().all(|b| b.is_ascii_digit());
        return match () {
            () if code => DataType::Utf8,
            () if !whole && number.to_f64().is_ok() => DataType::Float64,
            () if whole && number.to_i64().is_ok() => DataType::Int64,
            () => DataType::Utf8,
        };
    }
    if time::parse_date(bytes).is_some() {
        return DataType::Date32;
    }
    match time::parse_timestamp(bytes) {
        Some(_) => types::timestamp(),
        None => DataType::Utf8,
    }
}

#[cfg(test)]
#[path = "sniff_tests.rs"]
mod tests;
