//! A record as JSON shows it: text where the bytes are text, JSON where they are an object or a
//! list (or the topic's format is JSON), base64 otherwise, and always which of these it is.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use catalog::Format;
use common::{Error, Offset, Partition};
use log::records::RecordView;
use log::{Compression, Header};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::stores::text::rfc3339;

/// A record of a topic.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LogRecord")]
pub struct ShownRecord {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: String,
    /// Milliseconds since 1970.
    #[serde(skip)]
    pub timestamp_ms: i64,
    /// "CreateTime" or "LogAppendTime" (KIP-32).
    pub timestamp_type: &'static str,
    #[schemars(with = "Option<String>")]
    pub key: Shown,
    /// How `key` is to be read: "text", "base64", or none of both without a key.
    pub key_encoding: Option<&'static str>,
    /// Null for a tombstone.
    #[schemars(with = "Value")]
    pub value: Shown,
    /// How `value` is to be read: "json", "text", "base64", or none of them for a tombstone.
    pub value_encoding: Option<&'static str>,
    /// Size of the value in bytes.
    pub value_bytes: usize,
    pub headers: Vec<ShownHeader>,
    /// It is no row of the topic; the dead letters say why.
    pub refused: bool,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub batch: ShownBatch,
}

/// A header of a record.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LogHeader")]
pub struct ShownHeader {
    pub key: String,
    #[schemars(with = "Option<String>")]
    pub value: Shown,
    pub encoding: Option<&'static str>,
}

/// The batch in which a record came.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LogBatch")]
pub struct ShownBatch {
    pub base_offset: i64,
    pub records: i32,
    /// As it is stored.
    pub bytes: usize,
    /// Kafka's `compression.type`.
    pub compression: &'static str,
    /// Of idempotent and transactional producers (KIP-98).
    pub producer_id: Option<i64>,
    pub producer_epoch: Option<i16>,
    pub base_sequence: Option<i32>,
    pub transactional: bool,
}

/// Bytes as JSON.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Shown {
    Nothing,
    Text(String),
    /// As it was sent, to the last digit.
    Json(Box<RawValue>),
}

impl ShownRecord {
    pub(crate) fn new(
        partition: Partition,
        header: &Header,
        record: &RecordView<'_>,
        format: Format,
    ) -> ShownRecord {
        let mut shown = ShownRecord::empty(partition, record.offset, header);
        shown.timestamp_ms = record.timestamp_ms;
        shown.timestamp = rfc3339(record.timestamp_us());
        (shown.key, shown.key_encoding) = text(record.key);
        (shown.value, shown.value_encoding) = value(record.value, format);
        shown.value_bytes = record.value.map_or(0, <[u8]>::len);
        let one = |(key, value): (std::borrow::Cow<'_, str>, Option<&[u8]>)| {
            let (value, encoding) = text(value);
            ShownHeader { key: key.into_owned(), value, encoding }
        };
        shown.headers = record.headers().map(one).collect();
        shown
    }

    /// What is shown where a batch from `offset` on cannot be read.
    pub(crate) fn unreadable(
        partition: Partition,
        offset: Offset,
        header: &Header,
        e: &Error,
    ) -> ShownRecord {
        let mut shown = ShownRecord::empty(partition, offset, header);
        shown.error = Some(e.to_string());
        shown
    }

    fn empty(partition: Partition, offset: Offset, header: &Header) -> ShownRecord {
        let timestamp_ms = header.max_timestamp_ms;
        let of_producer = header.producer_id >= 0;
        ShownRecord {
            partition: partition.0,
            offset: offset.0,
            timestamp: rfc3339(timestamp_ms.saturating_mul(1_000)),
            timestamp_ms,
            timestamp_type: match header.is_log_append_time() {
                true => "LogAppendTime",
                false => "CreateTime",
            },
            key: Shown::Nothing,
            key_encoding: None,
            value: Shown::Nothing,
            value_encoding: None,
            value_bytes: 0,
            headers: vec![],
            refused: false,
            error: None,
            batch: ShownBatch {
                base_offset: header.base_offset,
                records: header.count,
                bytes: header.batch_len().unwrap_or(0),
                compression: compression_type(header.compression()),
                producer_id: of_producer.then_some(header.producer_id),
                producer_epoch: of_producer.then_some(header.producer_epoch),
                base_sequence: of_producer.then_some(header.base_sequence),
                transactional: header.is_transactional(),
            },
        }
    }

    /// About what it takes in an answer.
    pub(crate) fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|h| h.key.len() + h.value.bytes()).sum();
        self.key.bytes() + self.value.bytes() + headers
    }
}

impl Shown {
    fn bytes(&self) -> usize {
        match self {
            Shown::Nothing => 0,
            Shown::Text(text) => text.len(),
            Shown::Json(raw) => raw.get().len(),
        }
    }
}

fn value(bytes: Option<&[u8]>, format: Format) -> (Shown, Option<&'static str>) {
    let is_structure = |b: &&[u8]| {
        let first = b.iter().find(|byte| !byte.is_ascii_whitespace());
        format != Format::Raw || matches!(first, Some(b'{' | b'['))
    };
    let json = bytes.filter(is_structure).and_then(|b| serde_json::from_slice(b).ok());
    match json {
        Some(json) => (Shown::Json(json), Some("json")),
        None => text(bytes),
    }
}

fn text(bytes: Option<&[u8]>) -> (Shown, Option<&'static str>) {
    match bytes.map(|b| std::str::from_utf8(b).map_err(|_| b)) {
        None => (Shown::Nothing, None),
        Some(Ok(text)) => (Shown::Text(text.to_string()), Some("text")),
        Some(Err(bytes)) => (Shown::Text(BASE64_STANDARD.encode(bytes)), Some("base64")),
    }
}

fn compression_type(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
        Compression::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(bytes: &[u8], format: Format) -> String {
        let (shown, encoding) = value(Some(bytes), format);
        serde_json::to_string(&(encoding, shown)).unwrap()
    }

    #[test]
    fn bytes_are_shown_as_what_they_are() {
        let number = br#"{"n":12345678901234567890.10}"#;
        let raw = shown(number, Format::Raw);
        assert_eq!(raw, r#"["json",{"n":12345678901234567890.10}]"#);
        assert_eq!(shown(number, Format::Json), raw);
        assert_eq!(shown(b"42", Format::Json), r#"["json",42]"#);
        assert_eq!(shown(b"42", Format::Raw), r#"["text","42"]"#);
        assert_eq!(shown(b"{no json", Format::Json), r#"["text","{no json"]"#);
        assert_eq!(shown(b"\xff\0", Format::Json), r#"["base64","/wA="]"#);
        assert_eq!(shown(b"", Format::Raw), r#"["text",""]"#);
        assert!(matches!(value(None, Format::Json), (Shown::Nothing, None)));
    }
}
