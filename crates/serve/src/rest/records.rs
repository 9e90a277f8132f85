//! `/api/topics/{topic}/records`: records with key, headers and the batch they came in, read from
//! an offset, a time or the end, or by key; and produced, as a Kafka producer does it.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use common::{Error, Offset, Partition, Result};
use engine::{ProducerRecord, RecordQuery, RecordsFrom, ShownRecord};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::parameters::{Parameters, Segments};
use super::topics::answer;
use crate::app::App;
use crate::body;
use crate::problem::Answer;

/// A page of records.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LogRecords")]
pub struct Page {
    records: Vec<ShownRecord>,
    /// To be given as `from`.
    next: String,
    /// There is no more.
    end: bool,
}

pub async fn read(
    State(app): State<App>,
    Segments(topic): Segments<String>,
    mut parameters: Parameters,
) -> Answer<Json<Page>> {
    let partition = parameters.number("partition")?;
    let from = parameters.take("from");
    let key = parameters.take("key").map(String::into_bytes);
    let limit = parameters.limit(100, app.limits.rows_max)?;
    parameters.finish(&["partition", "from", "key", "limit"])?;
    let partition = partition.map(|p| Partition(i32::try_from(p).unwrap_or(i32::MAX)));
    let from = starts(from.as_deref().unwrap_or("earliest"))?;
    let page = app.session.records(&topic, RecordQuery { partition, from, key, limit }).await?;
    let next: Vec<String> = page.next.iter().map(|(p, o)| format!("{p}:{o}")).collect();
    Ok(Json(Page { records: page.records, next: next.join(","), end: page.end }))
}

/// A place, or an offset for each of some partitions (`0:17,1:4`).
fn starts(text: &str) -> Result<RecordsFrom> {
    let by_partition = |text: &str| {
        let mut offsets = BTreeMap::new();
        for pair in text.split(',') {
            let (partition, offset) = pair.split_once(':')?;
            let offset: i64 = offset.parse().ok().filter(|o| *o >= 0)?;
            offsets.insert(Partition(partition.parse().ok()?), Offset(offset));
        }
        Some(offsets)
    };
    match by_partition(text) {
        Some(offsets) => Ok(RecordsFrom::Offsets(offsets)),
        None => text.parse().map(RecordsFrom::At),
    }
}

/// Records to be appended.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewRecords")]
#[serde(deny_unknown_fields)]
pub struct Produce {
    records: Vec<Given>,
}

/// A record to be appended.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewRecord")]
#[serde(deny_unknown_fields)]
struct Given {
    #[serde(default)]
    key: Option<String>,
    /// text (if left out) or base64.
    #[serde(default)]
    key_encoding: Option<String>,
    /// A text, or any JSON; null is a tombstone.
    #[serde(default)]
    #[schemars(with = "Value")]
    value: Option<Box<RawValue>>,
    /// text, json or base64.
    #[serde(default)]
    value_encoding: Option<String>,
    #[serde(default)]
    headers: Vec<GivenHeader>,
    /// As the key says, if left out.
    #[serde(default)]
    partition: Option<i32>,
}

/// A header of a new record.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewHeader")]
#[serde(deny_unknown_fields)]
struct GivenHeader {
    key: String,
    #[serde(default)]
    value: String,
    /// text (if left out) or base64.
    #[serde(default)]
    encoding: Option<String>,
}

pub async fn produce(
    State(app): State<App>,
    Segments(topic): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let example = r#"send JSON: {"records": [{"key": "a", "value": {"n": 1}}]}"#;
    let Produce { records } = body::json(&app, &headers, body, example).await?;
    if records.is_empty() {
        return Err(Error::invalid("there are no records").hint(example).into());
    }
    let records = records.into_iter().map(record).collect::<Result<Vec<_>>>()?;
    answer(app.session.produce(&topic, records).await?)
}

fn record(given: Given) -> Result<ProducerRecord> {
    let key = given.key.map(|key| decoded(key, given.key_encoding.as_deref())).transpose()?;
    let value = match given.value.as_deref().map(RawValue::get) {
        None | Some("null") => None,
        Some(raw) => Some(value(raw, given.value_encoding.as_deref())?),
    };
    let header = |h: GivenHeader| Ok((h.key, decoded(h.value, h.encoding.as_deref())?));
    let headers = given.headers.into_iter().map(header).collect::<Result<_>>()?;
    Ok(ProducerRecord { key, value, headers, partition: given.partition.map(Partition) })
}

/// A text is meant as its characters, anything else as the JSON that it is.
fn value(raw: &str, encoding: Option<&str>) -> Result<Bytes> {
    if encoding == Some("json") {
        return Ok(Bytes::copy_from_slice(raw.as_bytes()));
    }
    match serde_json::from_str::<String>(raw) {
        Ok(text) => decoded(text, encoding),
        Err(_) if encoding.is_none() => Ok(Bytes::copy_from_slice(raw.as_bytes())),
        Err(_) => Err(Error::invalid("a value with an encoding must be a text")
            .hint("leave value_encoding out, or write json")),
    }
}

fn decoded(text: String, encoding: Option<&str>) -> Result<Bytes> {
    match encoding {
        None | Some("text") => Ok(text.into()),
        Some("base64") => {
            let bad = |e| Error::invalid(format!("'{text}' is not base64: {e}"));
            BASE64_STANDARD.decode(&text).map(Bytes::from).map_err(bad)
        }
        Some(other) => Err(Error::invalid(format!("there is no encoding '{other}'"))
            .hint("write text or base64; for values json, too")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_and_cursors() {
        assert!(matches!(starts("earliest").unwrap(), RecordsFrom::At(_)));
        assert!(matches!(starts("2026-01-01T00:00:00Z").unwrap(), RecordsFrom::At(_)));
        let RecordsFrom::Offsets(offsets) = starts("0:17,3:4").unwrap() else {
            unreachable!("a cursor is no place")
        };
        let pairs: Vec<(i32, i64)> = offsets.iter().map(|(p, o)| (p.0, o.0)).collect();
        assert_eq!(pairs, [(0, 17), (3, 4)]);
        for bad in ["0:-1", "x:1", "0:1,", "soon"] {
            assert!(starts(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn records_come_as_text_json_or_base64() {
        let of = |json: &str| record(serde_json::from_str(json).unwrap());
        let value = |json: &str| of(json).map(|r| r.value.map(|v| v.to_vec()));
        assert_eq!(value(r#"{"value": "a"}"#).unwrap().unwrap(), b"a");
        assert_eq!(
            value(r#"{"value": "a", "value_encoding": "json"}"#).unwrap().unwrap(),
            b"\"a\""
        );
        assert_eq!(value(r#"{"value": {"n": 1.10}}"#).unwrap().unwrap(), br#"{"n": 1.10}"#);
        assert_eq!(
            value(r#"{"value": "/wA=", "value_encoding": "base64"}"#).unwrap().unwrap(),
            b"\xff\0"
        );
        assert_eq!(value(r#"{"key": "a", "value": null}"#).unwrap(), None);
        assert_eq!(value(r#"{"key": "a"}"#).unwrap(), None);
        for bad in [
            r#"{"value": "a", "value_encoding": "hex"}"#,
            r#"{"value": "?", "value_encoding": "base64"}"#,
            r#"{"value": 1, "value_encoding": "text"}"#,
            r#"{"key": "?", "key_encoding": "base64"}"#,
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
        let given = of(r#"{"key": "k", "headers": [{"key": "h", "value": "v"}], "partition": 2}"#);
        let given = given.unwrap();
        assert_eq!(given.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(given.headers, [("h".to_string(), Bytes::from_static(b"v"))]);
        assert_eq!(given.partition, Some(Partition(2)));
    }
}
