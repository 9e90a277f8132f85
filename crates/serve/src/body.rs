//! Reads request bodies piece by piece, unpacking gzip and zstd on the way. Memory never passes the
//! limit: a bomb is refused while it unpacks, and all bodies together draw on one account.

use std::error::Error as _;
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use common::{Error, Result};
use futures::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use crate::app::{App, BODY_PERMIT_BYTES, HttpLimits};
use crate::guard::NoPlace;

/// A client that sends nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// More than any body takes; what is added to a clock has an end.
const EARNED_MAX: Duration = Duration::from_secs(1 << 20);
/// Largest window a zstd body may ask for: 2^26 bytes.
const ZSTD_WINDOW_LOG_MAX: u32 = 26;

/// An unpacked body and the memory it was granted; dropping it gives the memory back.
pub struct Unpacked {
    pub bytes: Bytes,
    _permits: Option<OwnedSemaphorePermit>,
}

/// Reads the whole body, unpacked.
pub async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Unpacked> {
    let max = app.limits.body_bytes_max;
    if let Some(length) = content_length(headers)
        && length > max as u64
    {
        return Err(too_large(max, "the request body"));
    }
    let mut decoder = Decoder::new(headers, max)?;
    let mut permits: Option<OwnedSemaphorePermit> = None;
    let mut pieces = body.into_data_stream();
    let (began, mut received) = (Instant::now(), 0);
    loop {
        let until = patience(&app.limits.http, began, received);
        let piece = match tokio::time::timeout_at(until, pieces.next()).await {
            Err(_) => return Err(too_slow(&app.limits.http)),
            Ok(None) => break,
            Ok(Some(Err(e))) => return Err(cut_off(&e)),
            Ok(Some(Ok(piece))) => piece,
        };
        received += piece.len() as u64;
        app.counters.body_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        decoder.push(&piece)?;
        let needed = decoder.held() / BODY_PERMIT_BYTES + 1;
        let held = permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if needed > held {
            let more = app.limits.bodies.clone().try_acquire_many_owned((needed - held) as u32);
            let more = more.map_err(|_| {
                Error::unavailable("the bodies of running requests take all memory granted to them")
                    .hint("send fewer or smaller requests at once")
            })?;
            match &mut permits {
                Some(permits) => permits.merge(more),
                None => permits = Some(more),
            }
        }
    }
    Ok(Unpacked { bytes: decoder.finish()?.into(), _permits: permits })
}

/// Reads a body that is one JSON document; `example` says what is expected. Error: `Invalid`.
pub async fn json<T: serde::de::DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    example: &str,
) -> Result<T> {
    let unpacked = read(app, headers, body).await?;
    if unpacked.bytes.is_empty() {
        return Err(Error::invalid("the body is empty").hint(example));
    }
    serde_json::from_slice(&unpacked.bytes)
        .map_err(|e| Error::invalid(format!("the body does not parse: {e}")).hint(example))
}

/// Until when the next piece must be there.
fn patience(limits: &HttpLimits, began: Instant, received: u64) -> Instant {
    let silent = Instant::now() + SILENCE_MAX;
    match limits.body_rate_min {
        0 => silent,
        rate => {
            let earned = Duration::from_millis(received.saturating_mul(1_000) / rate);
            silent.min(began + limits.body_grace + earned.min(EARNED_MAX))
        }
    }
}

fn too_slow(limits: &HttpLimits) -> Error {
    let rate = limits.body_rate_min;
    Error::cancelled("the body came too slowly").hint(format!(
        "nothing of it was taken; send {rate} bytes a second at least (http.body_rate_min), and \
         something every {} s",
        SILENCE_MAX.as_secs()
    ))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(max: usize, what: &str) -> Error {
    Error::too_large(format!("{what} is larger than {max} bytes")).hint(
        "send it in smaller pieces ('watershed import' does so for files), \
         or raise http.body_bytes_max",
    )
}

fn cut_off(e: &axum::Error) -> Error {
    if e.source().is_some_and(|inner| inner.is::<NoPlace>()) {
        return NoPlace.into();
    }
    Error::invalid(format!("the body ended before it was complete: {e}"))
        .hint("nothing of it was taken; send the request again")
}

/// Bytes up to a limit; a write beyond it fails with `TooMuch`.
struct Limited {
    bytes: Vec<u8>,
    max: usize,
}

#[derive(Debug)]
struct TooMuch;

impl std::fmt::Display for TooMuch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("too much")
    }
}

impl std::error::Error for TooMuch {}

impl Write for Limited {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + piece.len() > self.max {
            return Err(io::Error::other(TooMuch));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Coding {
    Plain(Limited),
    Gzip(Box<flate2::write::MultiGzDecoder<Limited>>),
    Zstd { decoder: Box<ZstdDecoder<'static>>, out: Limited, frame_open: bool },
}

struct Decoder {
    coding: Coding,
    max: usize,
    any: bool,
}

impl Decoder {
    fn new(headers: &HeaderMap, max: usize) -> Result<Decoder> {
        let name = headers.get(header::CONTENT_ENCODING).map(|v| v.to_str().unwrap_or("?").trim());
        let out = Limited { bytes: vec![], max };
        let coding = match name.map(str::to_ascii_lowercase).as_deref() {
            None | Some("" | "identity") => Coding::Plain(out),
            Some("gzip" | "x-gzip") => {
                Coding::Gzip(Box::new(flate2::write::MultiGzDecoder::new(out)))
            }
            Some("zstd") => {
                let mut decoder =
                    ZstdDecoder::new().map_err(|e| Error::io("starting a zstd decoder", e))?;
                decoder
                    .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))
                    .map_err(|e| Error::io("starting a zstd decoder", e))?;
                Coding::Zstd { decoder: Box::new(decoder), out, frame_open: false }
            }
            Some(other) => {
                return Err(Error::unsupported(format!("unknown content encoding '{other}'"))
                    .hint("send the body plain, or as gzip or zstd"));
            }
        };
        Ok(Decoder { coding, max, any: false })
    }

    fn held(&self) -> usize {
        match &self.coding {
            Coding::Plain(out) | Coding::Zstd { out, .. } => out.bytes.len(),
            Coding::Gzip(gzip) => gzip.get_ref().bytes.len(),
        }
    }

    fn push(&mut self, piece: &[u8]) -> Result<()> {
        self.any |= !piece.is_empty();
        let (name, pushed) = match &mut self.coding {
            Coding::Plain(out) => ("plain", out.write_all(piece)),
            Coding::Gzip(gzip) => ("gzip", gzip.write_all(piece)),
            Coding::Zstd { decoder, out, frame_open } => {
                ("zstd", push_zstd(decoder, out, frame_open, piece))
            }
        };
        pushed.map_err(|e| self.fault(name, &e))
    }

    fn finish(self) -> Result<Vec<u8>> {
        let (max, any) = (self.max, self.any);
        match self.coding {
            Coding::Plain(out) => Ok(out.bytes),
            Coding::Gzip(_) | Coding::Zstd { .. } if !any => Ok(vec![]),
            Coding::Gzip(gzip) => match gzip.finish() {
                Ok(out) => Ok(out.bytes),
                Err(e) if is_too_much(&e) => Err(too_large(max, "the unpacked body")),
                Err(_) => Err(half("gzip")),
            },
            Coding::Zstd { frame_open: true, .. } => Err(half("zstd")),
            Coding::Zstd { out, .. } => Ok(out.bytes),
        }
    }

    fn fault(&self, name: &str, e: &io::Error) -> Error {
        if is_too_much(e) {
            let what = if name == "plain" { "the request body" } else { "the unpacked body" };
            return too_large(self.max, what);
        }
        Error::invalid(format!("the body is not valid {name}: {e}"))
            .hint("nothing of it was taken; check Content-Encoding and send it again")
    }
}

fn half(name: &str) -> Error {
    Error::invalid(format!("the {name} body ends in the middle or fails its checksum"))
        .hint("nothing of it was taken; send it again")
}

fn is_too_much(e: &io::Error) -> bool {
    e.get_ref().is_some_and(|inner| inner.is::<TooMuch>())
}

fn push_zstd(
    decoder: &mut ZstdDecoder<'static>,
    out: &mut Limited,
    frame_open: &mut bool,
    piece: &[u8],
) -> io::Result<()> {
    let mut buffer = [0u8; 32 << 10];
    let mut input = InBuffer::around(piece);
    while input.pos() < piece.len() || *frame_open {
        let mut output = OutBuffer::around(&mut buffer[..]);
        let hint = decoder.run(&mut input, &mut output)?;
        let written = output.pos();
        *frame_open = hint != 0;
        out.write_all(&buffer[..written])?;
        let full = written == buffer.len();
        if input.pos() == piece.len() && !full {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
