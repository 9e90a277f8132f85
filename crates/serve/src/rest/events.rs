//! Server-sent events as text, and the answer they are sent with. An event may come in parts: its
//! data is then several lines, which a client puts together again.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use common::{Epoch, Error};
use futures::{Stream, StreamExt};

/// Comments at this pace keep proxies and clients from giving up a quiet stream.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Such a comment.
pub const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// A whole event; its data is one line.
pub fn event(name: &str, data: &str) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// The beginning of an event that has an epoch; the first line of its data follows.
pub fn begin(name: &str, epoch: Epoch) -> Vec<u8> {
    format!("event: {name}\nid: {epoch}\ndata: ").into_bytes()
}

pub fn error(e: &Error) -> Bytes {
    event("error", &e.to_json().to_string())
}

/// Sends events, unbuffered by anything on the way.
pub fn answer(events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        (header::CACHE_CONTROL.as_str(), "no-cache"),
        ("x-accel-buffering", "no"),
    ];
    (headers, Body::from_stream(events.map(Ok::<Bytes, Infallible>))).into_response()
}
