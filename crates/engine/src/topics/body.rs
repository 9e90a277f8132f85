//! A request body into rows of a topic, each with its line and the value that the log keeps. It is
//! decoded in pieces: of millions of short lines only some are in memory as rows or refusals.

use std::sync::Arc;

use arrow::array::{BinaryArray, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use bytes::Bytes;
use catalog::{Format, Topic};
use common::{Error, Result};
use formats::json::Changed;
use formats::{BadLine, BodyKind, Refused, RefusedKind, csv, json, raw};

/// Records and refusals of a piece.
const RECORDS_MAX: usize = 16_384;
/// Bytes of the records of a piece, unless one alone is larger.
const BYTES_MAX: usize = 4 << 20;

/// A good row.
pub struct Row {
    /// From 1.
    pub line: u64,
    /// What the log keeps.
    pub value: Bytes,
    /// As it came.
    pub raw: Bytes,
}

/// Good rows of a body and what was refused among them.
pub struct Piece {
    pub batch: RecordBatch,
    pub rows: Vec<Row>,
    pub refused: Vec<BadLine>,
    /// The line with the names of the columns, which rows of CSV mean nothing without.
    pub header: Option<String>,
}

/// Takes a piece.
pub type Take<'a> = &'a mut dyn FnMut(Piece) -> Result<()>;

/// Decodes a whole body, piece by piece.
pub fn decode(
    body: &Bytes,
    kind: BodyKind,
    topic: &Topic,
    event_bytes_max: usize,
    take: Take<'_>,
) -> Result<()> {
    let schema = topic.schema();
    match (topic.format, kind) {
        (Format::Raw, BodyKind::Octets) => {
            decode_raw(body, raw::ContentKind::Whole, &schema, event_bytes_max, take)
        }
        (Format::Raw, BodyKind::Json(_) | BodyKind::Csv) => {
            decode_raw(body, raw::ContentKind::Lines, &schema, event_bytes_max, take)
        }
        (_, BodyKind::Json(kind)) => decode_json(body, kind, topic, event_bytes_max, take),
        (_, BodyKind::Octets) => {
            decode_json(body, json::ContentKind::Ndjson, topic, event_bytes_max, take)
        }
        (Format::Debezium, BodyKind::Csv) => {
            let what = format!("topic '{}' takes the change events of Debezium", topic.name);
            Err(Error::invalid(what).hint("send them as JSON; rows of CSV are no change events"))
        }
        (_, BodyKind::Csv) => decode_csv(body, topic, event_bytes_max, take),
    }
}

/// Records with their lines, gathered up to the limits of a piece.
struct Gathered<T> {
    records: Vec<T>,
    refused: Vec<BadLine>,
    bytes: usize,
}

impl<T> Gathered<T> {
    fn new() -> Gathered<T> {
        Gathered { records: vec![], refused: vec![], bytes: 0 }
    }

    fn full(&self) -> bool {
        self.records.len() + self.refused.len() >= RECORDS_MAX || self.bytes >= BYTES_MAX
    }
}

fn decode_raw(
    body: &Bytes,
    kind: raw::ContentKind,
    schema: &SchemaRef,
    event_bytes_max: usize,
    take: Take<'_>,
) -> Result<()> {
    let finish = |gathered: Gathered<raw::Record<'_>>, take: Take<'_>| {
        let records = gathered.records;
        let values = BinaryArray::from_iter_values(records.iter().map(|(_, bytes)| bytes));
        let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(values)])
            .map_err(|e| Error::internal(format!("raw records as rows: {e}")))?;
        let row = |(line, bytes): &raw::Record<'_>| as_it_came(*line, body.slice_ref(bytes));
        let rows = records.iter().map(row).collect();
        take(Piece { batch, rows, refused: gathered.refused, header: None })
    };
    let mut gathered = Gathered::new();
    for record in raw::split(body, kind, event_bytes_max) {
        match record {
            Ok(record) => {
                gathered.bytes += record.1.len();
                gathered.records.push(record);
            }
            Err(bad) => gathered.refused.push(bad),
        }
        if gathered.full() {
            finish(std::mem::replace(&mut gathered, Gathered::new()), take)?;
        }
    }
    finish(gathered, take)
}

fn decode_json(
    body: &Bytes,
    kind: json::ContentKind,
    topic: &Topic,
    event_bytes_max: usize,
    take: Take<'_>,
) -> Result<()> {
    let mut decoder = decoder_of(topic)?;
    let mut finish = |gathered: Gathered<json::Record<'_>>, take: Take<'_>| {
        let Gathered { records, mut refused, .. } = gathered;
        let (rows, faults) = rows_of(topic, &records);
        let decoded = decoder.decode(&rows)?;
        // A change event that is none has no row, and gives one fault only.
        let is_none = |r: &Refused| faults.binary_search_by_key(&r.record, |f| f.record).is_ok();
        let of_rows = decoded.refused.into_iter().filter(|r| !is_none(r));
        for r in of_rows.chain(faults.iter().cloned()) {
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
            as_it_came(record.line, body.slice_ref(record.bytes))
        };
        let rows = decoded.kept.iter().map(row).collect();
        take(Piece { rows, batch: decoded.batch, refused, header: None })
    };
    let mut gathered = Gathered::new();
    for record in json::split(body, kind, event_bytes_max) {
        match record {
            Ok(record) => {
                gathered.bytes += record.bytes.len();
                gathered.records.push(record);
            }
            Err(bad) => gathered.refused.push(bad),
        }
        if gathered.full() {
            finish(std::mem::replace(&mut gathered, Gathered::new()), take)?;
        }
    }
    finish(gathered, take)
}

/// The rows within records; of a change that removed one what it was, which has the key.
fn rows_of<'a>(topic: &Topic, records: &[json::Record<'a>]) -> (Vec<&'a [u8]>, Vec<Refused>) {
    if topic.format != Format::Debezium {
        return (records.iter().map(|r| r.bytes).collect(), vec![]);
    }
    let mut faults = vec![];
    let rows = (0..).zip(records).map(|(number, record)| {
        let row = match json::changed(number, record.bytes) {
            Ok(Changed::Row(row) | Changed::Gone(Some(row))) => return row,
            Ok(Changed::Gone(None)) => Refused {
                record: number,
                column: None,
                kind: RefusedKind::Missing,
                reason: "the change event does not say in 'before' which row is gone".into(),
            },
            Err(fault) => fault,
        };
        faults.push(row);
        &b""[..]
    });
    (rows.collect(), faults)
}

fn decoder_of(topic: &Topic) -> Result<json::Decoder> {
    Ok(json::Decoder::new(topic.schema(), None)?.with_defaults(topic.defaults()))
}

/// Where a column has a default, a field with nothing in it is that: CSV can't say more than that
/// nothing is there.
fn decode_csv(body: &Bytes, topic: &Topic, event_bytes_max: usize, take: Take<'_>) -> Result<()> {
    let options = csv::Options { record_bytes_max: event_bytes_max, ..csv::Options::default() };
    let relaxed = topic
        .columns
        .iter()
        .map(|c| Field::new(&c.name, c.data_type.clone(), c.nullable || c.default.is_some()));
    let mut reader = csv::Reader::new(Arc::new(Schema::new(relaxed.collect::<Vec<_>>())), options)?;
    let mut defaults = topic.defaults().next().map(|_| decoder_of(topic)).transpose()?;
    let header = csv::header_line(body).and_then(|line| String::from_utf8(line.to_vec()).ok());
    let mut give = |part: csv::Rows| {
        let encoded = json::encode(&part.batch)?;
        let row = |(i, value): (usize, &[u8])| Row {
            line: part.lines[i],
            value: Bytes::copy_from_slice(value),
            raw: without_end(body, part.starts[i] as usize..part.ends[i] as usize),
        };
        let rows = encoded.iter().enumerate().map(row).collect();
        let batch = match &mut defaults {
            None => part.batch,
            Some(decoder) => {
                let decoded = decoder.decode(&encoded.iter().collect::<Vec<_>>())?;
                if let Some(refused) = decoded.refused.first() {
                    return Err(Error::internal(format!(
                        "a row with defaults: {}",
                        refused.reason
                    )));
                }
                decoded.batch
            }
        };
        take(Piece { rows, batch, refused: part.refused, header: header.clone() })
    };
    // As short as lines may be, these are not many.
    for chunk in body.chunks(CSV_BYTES) {
        give(reader.feed(chunk)?)?;
    }
    give(reader.finish()?)
}

/// Without the end of its line.
fn without_end(body: &Bytes, range: std::ops::Range<usize>) -> Bytes {
    body.slice_ref(body[range].trim_ascii_end())
}

/// A row that the log keeps as it came.
fn as_it_came(line: u64, bytes: Bytes) -> Row {
    Row { line, raw: bytes.clone(), value: bytes }
}

/// Bytes of CSV decoded at a time.
const CSV_BYTES: usize = 256 << 10;
