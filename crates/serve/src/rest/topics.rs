//! `/api/topics`: events in, raw events out. An ingest answers only once all that it accepted is
//! durable, and counts what it refused line by line.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use common::{Error, Kind, Offset, Partition, Result};
use engine::{Event, Ingested, Origin, Shown, TopicInfo};
use formats::BodyKind;
use schemars::JsonSchema;
use serde::Serialize;

use super::parameters::{Parameters, Segments};
use crate::app::App;
use crate::body;
use crate::problem::{Answer, Problem};

/// `<import id>;<sequence>`: a repeat is answered with the first answer and appends nothing.
const IMPORT: &str = "watershed-import";
/// The file that the lines of a body are of, percent-encoded.
const FILE: &str = "watershed-file";
/// `<line of the body>:<line of the file>`, where the distance changes, separated by commas.
const LINES: &str = "watershed-lines";

pub async fn list(State(app): State<App>) -> Json<Vec<TopicInfo>> {
    Json(app.session.topics())
}

pub async fn describe(
    State(app): State<App>,
    Segments(topic): Segments<String>,
) -> Answer<Json<TopicInfo>> {
    Ok(Json(app.session.topic(&topic)?))
}

pub async fn ingest(
    State(app): State<App>,
    Segments(topic): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let content_type = match headers.get(header::CONTENT_TYPE) {
        None => None,
        Some(value) => {
            Some(value.to_str().map_err(|_| Error::invalid("the content type is not text"))?)
        }
    };
    let kind = BodyKind::of(content_type).map_err(unsupported_media)?;
    let import = import_mark(&headers)?;
    let origin = origin(&headers)?;
    // Before the body is read; its figures, and those of all others, are not asked for.
    app.session.partitions(&topic)?;
    let unpacked = body::read(&app, &headers, body).await.map_err(|e| match e.kind() {
        Kind::Unsupported => unsupported_media(e),
        _ => e.into(),
    })?;
    let ingested = match import {
        None => app.session.ingest(&topic, unpacked.bytes.clone(), kind).await?,
        Some((id, sequence)) => {
            let bytes = unpacked.bytes.clone();
            app.session.ingest_import(&topic, &id, sequence, bytes, kind, origin).await?
        }
    };
    answer(ingested)
}

/// What was taken; a problem when nothing was.
pub fn answer(ingested: Ingested) -> Answer<Response> {
    if ingested.accepted > 0 || ingested.refused == 0 {
        return Ok(Json(ingested).into_response());
    }
    let first = ingested.errors.first().map(|e| format!("line {}: {}", e.line, e.reason));
    let error = Error::invalid(match (ingested.refused, first) {
        (1, Some(first)) => format!("the only event was refused: {first}"),
        (n, Some(first)) => format!("all {n} events were refused, the first at {first}"),
        (n, None) => format!("all {n} events were refused"),
    });
    let members = serde_json::to_value(&ingested)
        .map_err(|e| Error::internal(format!("encoding the answer: {e}")))?;
    Err(Problem::with_members(error, members))
}

fn unsupported_media(e: Error) -> Problem {
    Problem::status(e, StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

fn import_mark(headers: &HeaderMap) -> Result<Option<(String, u64)>> {
    let Some(value) = headers.get(IMPORT) else {
        return Ok(None);
    };
    let bad = || {
        Error::invalid("the header 'Watershed-Import' does not parse")
            .hint("write an id of letters, digits and '-', then ';' and a number from 1")
    };
    let (id, sequence) = value.to_str().ok().and_then(|v| v.split_once(';')).ok_or_else(bad)?;
    let harmless = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match sequence.trim().parse() {
        Ok(n) if n > 0 && harmless && (1..=64).contains(&id.len()) => Ok(Some((id.into(), n))),
        _ => Err(bad()),
    }
}

fn origin(headers: &HeaderMap) -> Result<Option<Origin>> {
    let Some(file) = headers.get(FILE) else { return Ok(None) };
    let bad = || Error::invalid("the headers 'Watershed-File' and 'Watershed-Lines' do not parse");
    let file = file.to_str().map_err(|_| bad())?;
    let file = percent_encoding::percent_decode_str(file).decode_utf8_lossy().into_owned();
    let lines = headers.get(LINES).map_or(Ok(""), |value| value.to_str()).map_err(|_| bad())?;
    let pair = |pair: &str| -> Option<(u64, u64)> {
        let (body, file) = pair.split_once(':')?;
        Some((body.parse().ok()?, file.parse().ok()?))
    };
    let lines = lines.split(',').filter(|p| !p.is_empty());
    let lines = lines.map(|p| pair(p).ok_or_else(bad)).collect::<Result<_>>()?;
    Ok(Some(Origin { file, lines }))
}

/// Events of a topic.
#[derive(Serialize, JsonSchema)]
pub struct Events {
    events: Vec<TopicEvent>,
    /// By partition, where to go on; not for the last events.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<BTreeMap<String, i64>>,
}

/// An event as it was taken.
#[derive(Serialize, JsonSchema)]
struct TopicEvent {
    partition: i32,
    offset: i64,
    timestamp: String,
    key: Option<String>,
    /// JSON if it is JSON, else a text.
    #[schemars(with = "serde_json::Value")]
    value: Shown,
}

pub async fn read(
    State(app): State<App>,
    Segments(topic): Segments<String>,
    mut parameters: Parameters,
) -> Answer<Json<Events>> {
    let partitions = app.session.partitions(&topic)?.len() as i32;
    let tail = parameters.number("tail")?;
    let partition = parameters.number("partition")?;
    let from = parameters.take("from");
    let limit = parameters.limit(100, app.limits.rows_max)?;
    parameters.finish(&["partition", "from", "limit", "tail"])?;
    if let Some(n) = tail {
        let events = app.session.tail_topic(&topic, (n as usize).min(limit.max(1_000))).await?;
        return Ok(Json(Events { events: events.iter().map(event).collect(), next: None }));
    }
    let mut from = starts(partitions, partition, from.as_deref())?;
    let events = app.session.read_topic(&topic, from.clone(), limit).await?;
    for event in &events {
        from.insert(event.partition, event.offset.next());
    }
    let next = from.iter().map(|(p, o)| (p.to_string(), o.0)).collect();
    Ok(Json(Events { events: events.iter().map(event).collect(), next: Some(next) }))
}

/// Where to start in which partitions.
fn starts(
    partitions: i32,
    partition: Option<u64>,
    from: Option<&str>,
) -> Result<BTreeMap<Partition, Offset>> {
    let bad = || {
        Error::invalid(format!("from={} does not parse", from.unwrap_or_default()))
            .hint("write an offset (from=17), or one for each partition (from=0:17,1:4)")
    };
    let known = |p: u64| match i32::try_from(p) {
        Ok(p) if p < partitions => Ok(Partition(p)),
        _ => Err(Error::not_found(format!("there is no partition {p}"))
            .hint(format!("the topic has the partitions 0 to {}", partitions - 1))),
    };
    let all: Vec<Partition> = match partition {
        Some(p) => vec![known(p)?],
        None => (0..partitions).map(Partition).collect(),
    };
    let Some(text) = from else {
        return Ok(all.into_iter().map(|p| (p, Offset(0))).collect());
    };
    if let Ok(offset) = text.parse::<u32>() {
        return Ok(all.into_iter().map(|p| (p, Offset(i64::from(offset)))).collect());
    }
    let mut starts = BTreeMap::new();
    for pair in text.split(',') {
        let (p, offset) = pair.split_once(':').ok_or_else(bad)?;
        let p = known(p.trim().parse().map_err(|_| bad())?)?;
        let offset: i64 = offset.trim().parse().map_err(|_| bad())?;
        if offset < 0 {
            return Err(bad());
        }
        if all.contains(&p) {
            starts.insert(p, Offset(offset));
        }
    }
    Ok(starts)
}

fn event(event: &Event) -> TopicEvent {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    TopicEvent {
        partition: event.partition.0,
        offset: event.offset.0,
        timestamp: engine::text::rfc3339(event.timestamp_us),
        key: event.key.as_deref().map(text),
        value: match serde_json::from_slice(&event.value) {
            Ok(raw) => Shown::Json(raw),
            Err(_) => Shown::Text(text(&event.value)),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn where_to_start() {
        let start = |partition, from| {
            starts(2, partition, from)
                .map(|m| m.into_iter().map(|(p, o)| (p.0, o.0)).collect::<Vec<_>>())
        };
        assert_eq!(start(None, None).unwrap(), [(0, 0), (1, 0)]);
        assert_eq!(start(Some(1), Some("7")).unwrap(), [(1, 7)]);
        assert_eq!(start(None, Some("0:7,1:3")).unwrap(), [(0, 7), (1, 3)]);
        assert_eq!(start(None, Some("1:3")).unwrap(), [(1, 3)]);
        for (partition, from) in
            [(Some(2), None), (None, Some("x")), (None, Some("0:-1")), (None, Some("5:1"))]
        {
            assert!(start(partition, from).is_err(), "{partition:?} {from:?}");
        }
    }

    #[test]
    fn import_marks() {
        let mark = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IMPORT, header::HeaderValue::from_static(text));
            import_mark(&headers)
        };
        assert_eq!(mark("ab-1;7").unwrap(), Some(("ab-1".into(), 7)));
        for bad in ["ab", ";1", "ab;0", "ab;x", "a b;1", "a/b;1"] {
            assert!(mark(bad).is_err(), "{bad}");
        }
        assert_eq!(import_mark(&HeaderMap::new()).unwrap(), None);
    }
}
