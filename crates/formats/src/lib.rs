//! Bytes to Arrow and back: how doors, importers, pipelines and file sinks read and write events.
//! No I/O, no sockets, no DataFusion. Read `json/decode.rs` first: it is the hot path, and its
//! contract (one bad record never harms its neighbours) holds for all formats.

mod cells;
mod column;
pub mod csv;
mod fault;
pub mod headers;
mod hidden;
pub mod json;
mod number;
pub mod raw;
pub mod schema;
mod text;
mod time;
pub mod types;
pub mod widen;

pub use fault::{BadLine, Refused, RefusedKind};
pub use hidden::{HIDDEN, hidden_fields};

use common::{Error, Result};

/// A time without a zone, as microseconds of a clock on a wall.
pub fn wall_clock(text: &[u8]) -> Option<i64> {
    match time::parse_timestamp(text) {
        Some((us, time::Zone::None)) => Some(us),
        _ => None,
    }
}

/// What a request body or a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    Json(json::ContentKind),
    Csv,
    /// Bytes of which the sender says nothing: of a JSON topic they are NDJSON.
    Octets,
}

impl BodyKind {
    /// From a `Content-Type`. None and what curl sends by itself mean NDJSON.
    pub fn of(content_type: Option<&str>) -> Result<Self> {
        let kind = content_type.unwrap_or("").split(';').next().unwrap_or("").trim();
        match kind.to_ascii_lowercase().as_str() {
            ""
            | "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/x-www-form-urlencoded"
            | "text/plain" => Ok(Self::Json(json::ContentKind::Ndjson)),
            "application/octet-stream" => Ok(Self::Octets),
            "application/json" | "text/json" => Ok(Self::Json(json::ContentKind::Json)),
            "text/csv" | "application/csv" => Ok(Self::Csv),
            _ => Err(Error::unsupported(format!("cannot read the content type '{kind}'"))
                .hint("send application/x-ndjson, application/json or text/csv")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        let ndjson = BodyKind::Json(json::ContentKind::Ndjson);
        for (text, want) in [
            (None, Some(ndjson)),
            (Some("application/x-www-form-urlencoded"), Some(ndjson)),
            (
                Some("application/JSON; charset=utf-8"),
                Some(BodyKind::Json(json::ContentKind::Json)),
            ),
            (Some("text/csv"), Some(BodyKind::Csv)),
            (Some("application/octet-stream"), Some(BodyKind::Octets)),
            (Some("image/png"), None),
        ] {
            assert_eq!(BodyKind::of(text).ok(), want, "{text:?}");
        }
    }
}
