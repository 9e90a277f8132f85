//! `watershed topic produce`: each line of files or of stdin becomes a record, as with
//! `kafka-console-producer`, or is a record in JSON, as `topic consume --format json` writes it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, ValueEnum};
use common::{Error, Kind, Result};
use engine::Ingested;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::client::{Platform, Target, segment};
use crate::render::Faults;
use crate::{Outcome, terminal};

/// So much of the input is read ahead, in bytes; what has been read goes out as one request.
const READ_BYTES: usize = 1 << 20;
/// A request is sent when it is this large, in bytes.
const REQUEST_BYTES: usize = 2 << 20;
/// No record is larger, in bytes.
const LINE_BYTES_MAX: u64 = 64 << 20;

const EXAMPLES: &str = "Examples:
  printf 'roof:20.5\\ncellar:12\\n' | watershed topic produce words --key-separator :
  watershed topic produce readings events.ndjson --header source=import
  watershed topic consume a --format json | watershed topic produce b --format json";

/// Append records: each line of files or of stdin is one.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Name of the topic.
    topic: String,
    /// Files to read. Without: stdin.
    files: Vec<PathBuf>,
    /// The key of all records.
    #[arg(long, conflicts_with = "key_separator")]
    key: Option<String>,
    /// What stands in front of it in a line is the key.
    #[arg(long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// A line (or what follows the separator) that is this text is a tombstone.
    #[arg(long, value_name = "TEXT")]
    null_marker: Option<String>,
    /// A header of all records (may be given several times).
    #[arg(long = "header", value_name = "KEY=VALUE")]
    headers: Vec<String>,
    /// The partition of all records. Without: by the key.
    #[arg(long)]
    partition: Option<u32>,
    /// What a line is.
    #[arg(long, value_enum, default_value = "raw")]
    format: Format,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// The value, whatever it is.
    Raw,
    /// An object with value, key, headers, key_encoding and value_encoding; others do not count.
    Json,
}

/// Records that wait to be sent, and what became of the others.
struct Producer<'a> {
    arguments: &'a Arguments,
    platform: Platform,
    headers: Vec<Value>,
    waiting: Vec<String>,
    bytes: usize,
    accepted: u64,
    refused: u64,
}

pub fn run(a: &Arguments) -> Outcome {
    let headers = a.headers.iter().map(|h| header(h)).collect::<Result<_>>()?;
    let mut producer = Producer {
        arguments: a,
        platform: a.target.connect()?,
        headers,
        waiting: vec![],
        bytes: 0,
        accepted: 0,
        refused: 0,
    };
    let outcome = producer.read_all();
    let (n, topic) = (producer.accepted, &a.topic);
    if outcome.is_ok() || n > 0 {
        let records = if n == 1 { "record" } else { "records" };
        terminal::say(&format!("produced {n} {records} to '{topic}'"));
    }
    outcome?;
    Ok(if producer.refused > 0 { Kind::Invalid.exit_code() } else { 0 })
}

fn header(text: &str) -> Result<Value> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| {
        Error::invalid(format!("'{text}' is no header")).hint("write it as in --header key=value")
    })?;
    Ok(json!({ "key": key, "value": value }))
}

impl Producer<'_> {
    fn read_all(&mut self) -> Result<(), Faults> {
        if self.arguments.files.is_empty() {
            self.read("stdin", std::io::stdin())?;
        }
        for path in &self.arguments.files {
            let name = format!("'{}'", path.display());
            let file = File::open(path).map_err(|e| Error::io(format!("reading {name}"), e))?;
            self.read(&name, file)?;
        }
        Ok(())
    }

    fn read(&mut self, name: &str, input: impl Read) -> Result<(), Faults> {
        let mut reader = BufReader::with_capacity(READ_BYTES, input);
        let (mut line, mut number) = (vec![], 0_u64);
        loop {
            line.clear();
            let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            let read = read.map_err(|e| Error::io(format!("reading {name}"), e))?;
            if read == 0 {
                return self.send();
            }
            number += 1;
            if read as u64 == LINE_BYTES_MAX {
                let what = format!("{name} line {number} is longer than {LINE_BYTES_MAX} bytes");
                return Err(Error::too_large(what).into());
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let record = self.record(text).map_err(|e| {
                let at = Error::new(e.kind(), format!("{name} line {number}: {}", e.message()));
                match e.hint_text() {
                    Some(hint) => at.hint(hint),
                    None => at,
                }
            })?;
            if let Some(record) = record {
                self.bytes += record.len();
                self.waiting.push(record);
            }
            // Nobody waits for a record that stands ready while the input is silent.
            if reader.buffer().is_empty() || self.bytes >= REQUEST_BYTES {
                self.send()?;
            }
        }
    }

    /// A line as a record for the server; none for an empty line among JSON.
    fn record(&self, line: &[u8]) -> Result<Option<String>> {
        let mut record = match self.arguments.format {
            Format::Raw => self.raw(line)?,
            Format::Json if line.trim_ascii().is_empty() => return Ok(None),
            Format::Json => of_json(line)?,
        };
        if let Some(key) = &self.arguments.key {
            record.insert("key".into(), raw_json(&json!(key))?);
            record.remove("key_encoding");
        }
        if !self.headers.is_empty() {
            record.insert("headers".into(), raw_json(&json!(self.headers))?);
        }
        if let Some(partition) = self.arguments.partition {
            record.insert("partition".into(), raw_json(&json!(partition))?);
        }
        let encoded = serde_json::to_string(&record);
        encoded.map(Some).map_err(|e| Error::internal(format!("encoding a record: {e}")))
    }

    fn raw(&self, line: &[u8]) -> Result<Members> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (mut record, mut value) = (Map::new(), line);
        if let Some(separator) = &self.arguments.key_separator {
            let at = find(line, separator.as_bytes()).ok_or_else(|| {
                let what = format!("it has no key in front of '{separator}'");
                Error::invalid(what).hint("leave --key-separator out for records without keys")
            })?;
            put(&mut record, "key", &line[..at]);
            value = &line[at + separator.len()..];
        }
        if self.arguments.null_marker.as_ref().is_none_or(|m| m.as_bytes() != value) {
            put(&mut record, "value", value);
        }
        record.iter().map(|(name, value)| Ok((name.clone(), raw_json(value)?))).collect()
    }

    fn send(&mut self) -> Result<(), Faults> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let body = format!("{{\"records\":[{}]}}", self.waiting.join(","));
        self.waiting.clear();
        self.bytes = 0;
        let path = format!("/api/topics/{}/records", segment(&self.arguments.topic));
        let json = [("content-type", "application/json")];
        let answer: Ingested = self.platform.post(&path, &json, body.into_bytes())?;
        self.accepted += answer.accepted;
        self.refused += answer.refused;
        for e in &answer.errors {
            let column = e.column.as_ref().map(|c| format!("column {c}: ")).unwrap_or_default();
            terminal::complain(&format!("a record was refused: {column}{}", e.reason));
        }
        Ok(())
    }
}

type Members = std::collections::BTreeMap<String, Box<RawValue>>;

fn of_json(line: &[u8]) -> Result<Members> {
    let mut members: Members = serde_json::from_slice(line).map_err(|e| {
        Error::invalid(format!("it is no record: {e}"))
            .hint("write an object as in {\"key\": \"a\", \"value\": {\"n\": 1}}")
    })?;
    let known = ["key", "key_encoding", "value", "value_encoding", "headers"];
    // A null says the same as nothing, but for the server it is no text.
    members.retain(|name, value| known.contains(&name.as_str()) && value.get() != "null");
    Ok(members)
}

fn raw_json(value: &Value) -> Result<Box<RawValue>> {
    serde_json::value::to_raw_value(value)
        .map_err(|e| Error::internal(format!("encoding a record: {e}")))
}

/// Text as text, other bytes as base64.
fn put(record: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => record.insert(name.into(), text.into()),
        Err(_) => {
            record.insert(format!("{name}_encoding"), "base64".into());
            record.insert(name.into(), BASE64_STANDARD.encode(bytes).into())
        }
    };
}

fn find(line: &[u8], separator: &[u8]) -> Option<usize> {
    line.windows(separator.len().max(1)).position(|window| window == separator)
}
