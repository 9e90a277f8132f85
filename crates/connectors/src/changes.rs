//! Changes as rows for targets that know no weights: an updating view's rows get the column
//! `_op`, `+` for a row that came and `-` for one that went. Shared by the file and http sinks.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use common::{Error, Result};

/// Name of the added column.
pub const OP: &str = "_op";

/// The rows to write; `_op` comes first where there are weights.
pub fn with_op(changes: &RecordBatch, weights: Option<&Int8Array>) -> Result<RecordBatch> {
    let Some(weights) = weights else {
        return Ok(changes.clone());
    };
    let op: StringArray =
        weights.iter().map(|w| Some(if w.unwrap_or(1) < 0 { "-" } else { "+" })).collect();
    let schema = changes.schema();
    let mut fields = vec![Arc::new(Field::new(OP, DataType::Utf8, false))];
    fields.extend(schema.fields().iter().cloned());
    let mut columns: Vec<ArrayRef> = vec![Arc::new(op)];
    columns.extend(changes.columns().iter().cloned());
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|e| Error::internal(format!("adding the column '{OP}': {e}")))
}

/// One JSON object per line, without its NULLs: the shape in which topics take rows in.
pub fn ndjson(rows: &RecordBatch) -> Result<Vec<u8>> {
    let encoded = formats::json::encode(rows)?;
    let mut lines = Vec::with_capacity(encoded.bytes.len() + encoded.len());
    for row in encoded.iter() {
        lines.extend_from_slice(row);
        lines.push(b'\n');
    }
    Ok(lines)
}
