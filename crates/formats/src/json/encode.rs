//! Arrow rows as JSON: `encode` for appending rows to a JSON topic, which leaves NULL members out
//! and reads back exactly, and `write_rows` for answers, which names every column.
//!
//! TIMESTAMP is RFC 3339 in UTC, DECIMAL a number with its exact digits, BINARY base64. NaN and the
//! infinities, which JSON lacks, are written as the texts "NaN", "Infinity" and "-Infinity": no
//! NULL hides them in an answer, and a topic's decoder refuses them visibly.

use arrow::array::RecordBatch;
use common::Result;

use crate::cells::{Field, write_object};

/// Rows as JSON objects, end to end.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    pub bytes: Vec<u8>,
    /// End of each row in `bytes`.
    pub ends: Vec<usize>,
}

impl Encoded {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Each row's bytes.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

fn fields_of(batch: &RecordBatch) -> Result<Vec<Field>> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    columns.map(|(f, c)| Field::new(f.name(), c)).collect()
}

/// Each row as a compact JSON object without its NULLs.
pub fn encode(batch: &RecordBatch) -> Result<Encoded> {
    objects(batch, false)
}

/// Each row with its NULLs, where a member that is left out means a column's default.
pub fn encode_nulls(batch: &RecordBatch) -> Result<Encoded> {
    objects(batch, true)
}

fn objects(batch: &RecordBatch, nulls: bool) -> Result<Encoded> {
    let fields = fields_of(batch)?;
    let mut encoded = Encoded { bytes: vec![], ends: Vec::with_capacity(batch.num_rows()) };
    for row in 0..batch.num_rows() {
        write_object(&fields, row, nulls, &mut encoded.bytes);
        encoded.ends.push(encoded.bytes.len());
    }
    Ok(encoded)
}

/// How a row is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{"sensor":"a","celsius":20.5}`
    Objects,
    /// `["a",20.5]`
    Arrays,
}

/// Appends the rows, commas between them. The caller writes the brackets around: a comma also goes
/// before the first row unless `out` is empty or ends with `[`, so batches can follow each other.
pub fn write_rows(batch: &RecordBatch, shape: Shape, out: &mut Vec<u8>) -> Result<()> {
    let fields = fields_of(batch)?;
    for row in 0..batch.num_rows() {
        if !matches!(out.last(), None | Some(b'[')) {
            out.push(b',');
        }
        match shape {
            Shape::Objects => write_object(&fields, row, true, out),
            Shape::Arrays => {
                out.push(b'[');
                for (i, field) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    field.cells.write_json(row, true, out);
                }
                out.push(b']');
            }
        }
    }
    Ok(())
}

/// A JSON string of UTF-8 bytes.
pub(crate) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut start = 0;
    for (i, byte) in text.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text[start..i]);
        start = i + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&text[start..]);
    out.push(b'"');
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
