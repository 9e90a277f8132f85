//! What is written reads back as the same rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};

use super::*;
use crate::csv::{Options, Reader};
use crate::json::Decoder;
use crate::types::parse;

fn batch() -> RecordBatch {
    let types = ["TEXT", "DOUBLE", "DECIMAL(6,2)", "BINARY", "TIMESTAMP", "STRUCT<a: TEXT>", "INT"];
    let fields = types.iter().enumerate();
    let fields = fields.map(|(i, t)| Field::new(format!("c,{i}"), parse(t).unwrap(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let records: [&[u8]; 3] = [
        br#"{"c,0":"say \"hi\",\n","c,1":1e300,"c,2":-0.05,"c,3":"AP8=","c,5":{"a":"x,\"y"}}"#,
        br#"{"c,0":"","c,4":"2026-01-01T00:00:00.000001Z","c,6":7}"#,
        br#"{"c,0":" x "}"#,
    ];
    let decoded = Decoder::new(schema, None).unwrap().decode(&records).unwrap();
    assert_eq!(decoded.refused, []);
    decoded.batch
}

#[test]
fn rows_round_trip() {
    let batch = batch();
    let mut out = vec![];
    write_rows(&batch, true, &mut out).unwrap();
    let text = String::from_utf8(out.clone()).unwrap();
    assert!(text.starts_with("\"c,0\",\"c,1\""), "{text}");
    assert!(text.ends_with("\n\"\",,,,2026-01-01T00:00:00.000001Z,,7\n\" x \",,,,,,\n"), "{text}");
    let mut reader = Reader::new(batch.schema(), Options::default()).unwrap();
    let read = reader.read_all(&out, usize::MAX).unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].batch, batch);
    assert!(read[0].refused.is_empty());
}

#[test]
fn without_header() {
    let column = Arc::new(StringArray::from(vec!["a", "b"]));
    let batch = RecordBatch::try_from_iter([("x", column as _)]).unwrap();
    let mut out = vec![];
    write_rows(&batch, false, &mut out).unwrap();
    assert_eq!(out, b"a\nb\n");
}
