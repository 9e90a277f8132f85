//! A request body into rows of a topic, each with its line and the value that the log keeps.

use std::sync::Arc;

use arrow::array::{BinaryArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use catalog::{Format, Topic};
use common::{Error, Result};
use formats::{BadLine, BodyKind, csv, json, raw};

/// The good rows of a body and what was refused.
pub struct Body {
    pub batch: RecordBatch,
    /// Line and value of each row.
    pub rows: Vec<(u64, Bytes)>,
    pub refused: Vec<BadLine>,
}

/// Decodes a whole body.
pub fn decode(body: &Bytes, kind: BodyKind, topic: &Topic, event_bytes_max: usize) -> Result<Body> {
    let schema = topic.schema();
    match (topic.format, kind) {
        (Format::Json, BodyKind::Json(kind)) => decode_json(body, kind, &schema, event_bytes_max),
        (Format::Json, BodyKind::Octets) => {
            decode_json(body, json::ContentKind::Ndjson, &schema, event_bytes_max)
        }
        (Format::Json, BodyKind::Csv) => decode_csv(body, &schema, event_bytes_max),
        (Format::Raw, BodyKind::Octets) => {
            decode_raw(body, raw::ContentKind::Whole, schema, event_bytes_max)
        }
        (Format::Raw, BodyKind::Json(_) | BodyKind::Csv) => {
            decode_raw(body, raw::ContentKind::Lines, schema, event_bytes_max)
        }
    }
}

fn decode_raw(
    body: &Bytes,
    kind: raw::ContentKind,
    schema: SchemaRef,
    event_bytes_max: usize,
) -> Result<Body> {
    let (records, refused) = raw::split(body, kind, event_bytes_max);
    let values = BinaryArray::from_iter_values(records.iter().map(|(_, bytes)| bytes));
    let batch = RecordBatch::try_new(schema, vec![Arc::new(values)])
        .map_err(|e| Error::internal(format!("raw records as rows: {e}")))?;
    let row = |(line, bytes): &raw::Record<'_>| (*line, body.slice_ref(bytes));
    Ok(Body { batch, rows: records.iter().map(row).collect(), refused })
}

fn decode_json(
    body: &Bytes,
    kind: json::ContentKind,
    schema: &SchemaRef,
    event_bytes_max: usize,
) -> Result<Body> {
    let mut refused = vec![];
    let mut records = vec![];
    for record in json::split(body, kind, event_bytes_max) {
        match record {
            Ok(record) => records.push(record),
            Err(bad) => refused.push(bad),
        }
    }
    let values: Vec<&[u8]> = records.iter().map(|r| r.bytes).collect();
    let decoded = json::Decoder::new(schema.clone(), None)?.decode(&values)?;
    for r in decoded.refused {
        let record = &records[r.record as usize];
        refused.push(BadLine {
            line: record.line,
            column: r.column,
            kind: r.kind,
            reason: r.reason,
            raw: record.bytes.to_vec(),
        });
    }
    let row = |i: &u32| {
        let record = &records[*i as usize];
        (record.line, body.slice_ref(record.bytes))
    };
    Ok(Body { rows: decoded.kept.iter().map(row).collect(), batch: decoded.batch, refused })
}

fn decode_csv(body: &Bytes, schema: &SchemaRef, event_bytes_max: usize) -> Result<Body> {
    let options = csv::Options { record_bytes_max: event_bytes_max, ..csv::Options::default() };
    let mut reader = csv::Reader::new(schema.clone(), options)?;
    let parts = [reader.feed(body)?, reader.finish()?];
    let batches: Vec<&RecordBatch> = parts.iter().map(|p| &p.batch).collect();
    let batch = arrow::compute::concat_batches(schema, batches)
        .map_err(|e| Error::internal(format!("joining rows: {e}")))?;
    let encoded = json::encode(&batch)?;
    let lines = parts.iter().flat_map(|p| p.lines.iter().copied());
    let rows = lines.zip(encoded.iter().map(Bytes::copy_from_slice)).collect();
    let refused = parts.into_iter().flat_map(|p| p.refused).collect();
    Ok(Body { batch, rows, refused })
}
