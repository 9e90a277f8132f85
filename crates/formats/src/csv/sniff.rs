//! Guesses how an unknown file is written: the delimiter that gives every line the same number of
//! fields, whether the first line is a header, and the narrowest type that fits all values seen.

use super::reader::unquoted;
use super::record::{self, Delimiter, Found};
use crate::schema::{Shape, shape_of_text};

/// Lines looked at to find the delimiter.
const LINES_MAX: usize = 1000;

/// What a file seems to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Sniffed {
    pub delimiter: Delimiter,
    pub has_header: bool,
    /// Names from the header as they stand there, or c1, c2, …
    pub columns: Vec<(String, Shape)>,
}

/// Looks at the beginning of a file; `whole`: that is all of it, else the last line, which may be
/// cut, does not count. Who knows the delimiter, or whether there is a header, says so.
pub fn sniff(
    sample: &[u8],
    whole: bool,
    delimiter: Option<Delimiter>,
    has_header: Option<bool>,
) -> Sniffed {
    let sample = sample.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(sample);
    let delimiter = delimiter.unwrap_or_else(|| delimiter_of(sample, whole));
    let mut records = records(sample, delimiter, whole, usize::MAX);
    let width = usual_width(&records).map_or(0, |(width, _)| width);
    records.retain(|r| r.len() == width);
    let has_header = has_header.unwrap_or_else(|| is_header(&records)) && !records.is_empty();
    let header = if has_header { Some(records.remove(0)) } else { None };
    let names = names_of(header, width);
    let shapes = (0..width).map(|i| shape_of(records.iter().map(|r| &r[i])));
    Sniffed { delimiter, has_header, columns: names.into_iter().zip(shapes).collect() }
}

/// A field's text and whether it stood in quotes.
type Value = (String, bool);

fn records(sample: &[u8], delimiter: Delimiter, whole: bool, lines_max: usize) -> Vec<Vec<Value>> {
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

fn delimiter_of(sample: &[u8], whole: bool) -> Delimiter {
    let candidates = [b'\t', b',', b';', b'|'].map(Delimiter::Char);
    let mut best = (Delimiter::Char(b','), 0.0);
    for candidate in candidates {
        let found = usual_width(&records(sample, candidate, whole, LINES_MAX));
        // The more lines agree the better; fields break ties.
        if let Some((width @ 2.., share)) = found
            && share >= 0.8
            && share + width as f64 * 1e-4 > best.1
        {
            best = (candidate, share + width as f64 * 1e-4);
        }
    }
    if best.1 == 0.0
        && let words = records(sample, Delimiter::Whitespace, whole, LINES_MAX)
        && let Some((2.., share)) = usual_width(&words)
        && share >= 0.8
    {
        return Delimiter::Whitespace;
    }
    best.0
}

/// A header: names, none of which reads as a value, over columns that hold something else. Over
/// columns of text the names have to look like names, and none may come again; one may be missing
/// or there twice where the columns are not all text.
fn is_header(records: &[Vec<Value>]) -> bool {
    let Some((first, others)) = records.split_first() else {
        return false;
    };
    let named = |v: &&Value| !v.0.trim().is_empty();
    let distinct = first.iter().enumerate().all(|(i, a)| first[..i].iter().all(|b| a.0 != b.0));
    let all_text = first.iter().filter(named).all(|(t, _)| shape_of_text(t.trim()) == Shape::Text);
    if !all_text || !first.iter().any(|v| named(&v)) {
        return false;
    }
    let typed = (0..first.len()).any(|i| !is_text(others.iter().map(|r| &r[i])));
    if typed && first.iter().filter(named).count() * 2 > first.len() {
        return true;
    }
    let like_names = first.iter().all(|(text, _)| {
        let text = text.trim();
        text.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_alphanumeric() || "_ -./()[]%".contains(c))
    });
    let repeated = others.iter().any(|r| r.iter().zip(first).any(|(a, b)| a.0 == b.0));
    distinct && like_names && !repeated
}

fn names_of(header: Option<Vec<Value>>, width: usize) -> Vec<String> {
    match header {
        Some(header) => header.into_iter().map(|(text, _)| text.trim().to_string()).collect(),
        None => (1..=width).map(|i| format!("c{i}")).collect(),
    }
}

fn shape_of<'a>(values: impl Iterator<Item = &'a Value>) -> Shape {
    let filled = values.filter(|(text, quoted)| *quoted || !text.trim().is_empty());
    filled.map(|(text, _)| shape_of_text(text.trim())).fold(Shape::Unknown, Shape::merge)
}

fn is_text<'a>(values: impl Iterator<Item = &'a Value>) -> bool {
    matches!(shape_of(values), Shape::Text | Shape::Unknown)
}

#[cfg(test)]
#[path = "sniff_tests.rs"]
mod tests;
