//! `watershed topic consume`: records from a place in a topic on, once or for ever, for people and
//! for scripts.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client::{Platform, Target, query, segment};
use crate::render::Faults;
use crate::table::{Cells, Column, table, text};
use crate::{Outcome, terminal};

/// Records asked for at once.
const PAGE: u64 = 500;
/// How often it is asked whether there is more.
const PACE: Duration = Duration::from_millis(250);

const EXAMPLES: &str = "Examples:
  watershed topic consume readings --from -20
  watershed topic consume readings --from 2026-01-01T00:00:00Z --max 100 --format json
  watershed topic consume readings --follow --format raw --print-key";

/// Read records: all, from a place on, or as they come.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Name of the topic.
    topic: String,
    /// Where to begin: earliest, latest, an offset, -20 for the last 20, or a time [default:
    /// earliest; with --follow: latest].
    #[arg(long, visible_alias = "offset", allow_hyphen_values = true)]
    from: Option<String>,
    /// Only this partition.
    #[arg(long)]
    partition: Option<u32>,
    /// Only records with this key.
    #[arg(long)]
    key: Option<String>,
    /// At most this many records.
    #[arg(long, visible_alias = "max-messages", value_name = "N")]
    max: Option<u64>,
    /// Go on when there is nothing more, and wait.
    #[arg(long, short)]
    follow: bool,
    /// How records are written [default: table; with --follow: json].
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// In format raw: the key and a tab in front of each value.
    #[arg(long)]
    print_key: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// One JSON object in a line, with all that is known of the record.
    Json,
    /// The bytes of the value, and a line's end.
    Raw,
    /// Columns.
    Table,
}

#[derive(Deserialize)]
struct Page {
    records: Vec<Box<RawValue>>,
    next: String,
    end: bool,
}

/// What of a record is shown.
#[derive(Deserialize)]
struct Record {
    partition: i32,
    offset: i64,
    timestamp: String,
    key: Option<String>,
    key_encoding: Option<String>,
    value: Option<Box<RawValue>>,
    value_encoding: Option<String>,
    headers: Vec<Header>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    key: String,
    value: Option<String>,
}

pub fn run(a: &Arguments) -> Outcome {
    let platform = a.target.connect()?;
    let default = if a.follow { "latest" } else { "earliest" };
    let format = a.format.unwrap_or(if a.follow { Format::Json } else { Format::Table });
    let mut from = a.from.clone().unwrap_or_else(|| default.into());
    // The last ones come at once, or not at all.
    let mut tail = from.strip_prefix('-').and_then(|n| n.parse::<u64>().ok());
    let mut left = a.max.unwrap_or(u64::MAX);
    let mut is_drawn = a.follow;
    while left > 0 {
        let limit = tail.unwrap_or(PAGE).clamp(1, left);
        let page = read(&platform, a, &from, limit)?;
        left -= (page.records.len() as u64).min(left);
        let is_last = !a.follow && (page.end || tail.take().is_some());
        from = page.next;
        if format == Format::Table && (!page.records.is_empty() || is_last && !is_drawn) {
            let rows = page.records.iter().map(|raw| parse(raw).map(cells));
            terminal::say(&draw(&rows.collect::<Result<Vec<_>, _>>()?));
            is_drawn = true;
        } else {
            for raw in &page.records {
                match format {
                    Format::Raw => terminal::bytes(&raw_line(&parse(raw)?, a.print_key)),
                    _ => terminal::say(raw.get()),
                }
            }
        }
        if is_last {
            break;
        }
        if page.end {
            std::thread::sleep(PACE);
        }
    }
    Ok(0)
}

fn read(platform: &Platform, a: &Arguments, from: &str, limit: u64) -> Result<Page, Faults> {
    let query = query(&[
        ("from", Some(from.to_string())),
        ("partition", a.partition.map(|p| p.to_string())),
        ("key", a.key.clone()),
        ("limit", Some(limit.to_string())),
    ]);
    platform.get(&format!("/api/topics/{}/records{query}", segment(&a.topic)))
}

fn parse(raw: &RawValue) -> Result<Record, Faults> {
    serde_json::from_str(raw.get()).map_err(|e| {
        let what = format!("a record does not parse: {e}");
        common::Error::invalid(what).hint("is that a Watershed of this version?").into()
    })
}

fn draw(rows: &[Cells]) -> String {
    let columns = [
        ("partition", "INT"),
        ("offset", "BIGINT"),
        ("timestamp", "TEXT"),
        ("key", "TEXT"),
        ("value", "TEXT"),
        ("headers", "TEXT"),
    ];
    table(&columns.map(|(n, k)| Column { name: n.into(), kind: k.into() }), rows)
}

fn cells(record: Record) -> Cells {
    let header = |h: &Header| format!("{}={}", h.key, h.value.as_deref().unwrap_or("NULL"));
    let headers: Vec<String> = record.headers.iter().map(header).collect();
    let value = record.value.as_deref().and_then(text);
    vec![
        Some(record.partition.to_string()),
        Some(record.offset.to_string()),
        Some(record.timestamp),
        record.key,
        record.error.map(|e| format!("cannot be read: {e}")).or(value),
        Some(headers.join(", ")),
    ]
}

fn raw_line(record: &Record, with_key: bool) -> Vec<u8> {
    let mut line = vec![];
    if with_key {
        line.extend(field(record.key.clone(), record.key_encoding.as_deref()));
        line.push(b'\t');
    }
    // JSON as it was sent, a text without its quotes.
    let value = record.value.as_deref().and_then(|raw| match record.value_encoding.as_deref() {
        Some("json") => Some(raw.get().to_string()),
        _ => text(raw),
    });
    line.extend(field(value, record.value_encoding.as_deref()));
    line.push(b'\n');
    line
}

/// The bytes that a text stands for; nothing is shown as Kafka's tools do.
fn field(text: Option<String>, encoding: Option<&str>) -> Vec<u8> {
    match (text, encoding) {
        (None, _) => b"null".to_vec(),
        (Some(text), Some("base64")) => {
            BASE64_STANDARD.decode(&text).unwrap_or_else(|_| text.into_bytes())
        }
        (Some(text), _) => text.into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;

    use super::*;

    #[test]
    fn raw_lines_are_the_bytes_that_were_sent() {
        let line = |members: Value| {
            let mut record = serde_json::json!({
                "partition": 0, "offset": 0, "timestamp": "", "headers": [],
            });
            record.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            let raw = serde_json::value::to_raw_value(&record).unwrap();
            raw_line(&parse(&raw).unwrap_or_else(|_| unreachable!("it is a record")), true)
        };
        let json = serde_json::json!({ "value": "a", "value_encoding": "json" });
        assert_eq!(line(json), b"null\t\"a\"\n");
        let text = serde_json::json!({ "key": "k", "value": "a", "value_encoding": "text" });
        assert_eq!(line(text), b"k\ta\n");
        let bytes = serde_json::json!({
            "key": "/w==", "key_encoding": "base64", "value": "/wA=", "value_encoding": "base64",
        });
        assert_eq!(line(bytes), b"\xff\t\xff\0\n");
        assert_eq!(line(serde_json::json!({ "key": "k" })), b"k\tnull\n");
    }
}
