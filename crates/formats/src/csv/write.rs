//! Batches as comma-separated text, for the file sink and exports. NULL is nothing and an empty
//! text is `""`, so that reading gives the same rows; nested values are JSON.

use arrow::array::RecordBatch;
use common::Result;

use crate::cells::Cells;

/// Appends the rows, after a header line if asked for. Lines end with `\n`.
pub fn write_rows(batch: &RecordBatch, header: bool, out: &mut Vec<u8>) -> Result<()> {
    if header {
        for (i, field) in batch.schema().fields().iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            write_field(field.name().as_bytes(), out);
        }
        out.push(b'\n');
    }
    let columns = batch.columns().iter().map(Cells::new).collect::<Result<Vec<_>>>()?;
    let mut text = vec![];
    for row in 0..batch.num_rows() {
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            if column.is_null(row) {
                continue;
            }
            text.clear();
            column.write_text(row, &mut text);
            write_field(&text, out);
        }
        out.push(b'\n');
    }
    Ok(())
}

fn write_field(text: &[u8], out: &mut Vec<u8>) {
    let special = |b: &u8| matches!(b, b',' | b'"' | b'\n' | b'\r');
    let blank = |b: Option<&u8>| b.is_none_or(u8::is_ascii_whitespace);
    if !(blank(text.first()) || blank(text.last()) || text.iter().any(special)) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for byte in text {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
