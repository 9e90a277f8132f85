//! In front of every route: who may ask (loopback names only, no foreign web page), how many at
//! once, an id and a log line for each request, and a net under handlers that panic.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use common::{Error, Gauge};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::http::clock::Clock;
use crate::http::held;
use crate::problem::Problem;

const REQUEST_ID: &str = "x-request-id";

/// Routes that must answer however busy the process is.
const ALWAYS: [&str; 3] = ["/health", "/ready", "/metrics"];

/// The one middleware: id, checks, limit, counters, log line.
pub async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_string();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "other".to_string(), |m| m.as_str().to_string());
    let clock = request.extensions().get::<Arc<Clock>>().cloned();
    let _in_flight = Gauge::up(&app.counters.in_flight);
    let mut response = match admit(&app, request) {
        Ok((request, _place)) => held::answer(&app, clock, next.run(request).await),
        Err(problem) => problem.into_response(),
    };
    let took = started.elapsed();
    let status = response.status().as_u16();
    app.counters.request(&route, method.as_str(), status, took);
    tracing::debug!(%method, path, status, ms = took.as_secs_f64() * 1e3, id, "request");
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// The client's own id when it is harmless, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|v| v.to_str().ok());
    let harmless = |s: &&str| {
        (1..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    match given.filter(harmless) {
        Some(id) => id.to_string(),
        None => uuid::Uuid::now_v7().simple().to_string(),
    }
}

/// A place among the requests that are worked on, once it is taken.
type Place = Arc<Mutex<Option<OwnedSemaphorePermit>>>;

/// All places are taken.
#[derive(Debug)]
pub struct NoPlace;

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many requests at once")
    }
}

impl std::error::Error for NoPlace {}

impl From<NoPlace> for Error {
    fn from(no_place: NoPlace) -> Error {
        Error::unavailable(no_place.to_string())
            .hint("try again in a moment; the limit is http.requests_max")
    }
}

/// The request, and the place it has while it is worked on. One with a body takes its place when
/// the body is there: a slow client keeps nobody else from being served.
fn admit(app: &App, request: Request) -> Result<(Request, Place), Problem> {
    let named = Named::of(request.uri(), request.headers());
    named.check_host()?;
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        named.check_origin(request.headers())?;
    }
    let place = Place::default();
    if ALWAYS.contains(&request.uri().path()) {
        return Ok((request, place));
    }
    let (for_body, requests) = (place.clone(), app.limits.requests.clone());
    let take = move || {
        let permit = requests.try_acquire_owned().map_err(|_| NoPlace)?;
        *for_body.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
        Ok::<(), NoPlace>(())
    };
    if request.body().is_end_stream() {
        take().map_err(Error::from)?;
        return Ok((request, place));
    }
    let request = request.map(|body| {
        let pieces =
            body.into_data_stream().map_err(Box::<dyn std::error::Error + Send + Sync>::from);
        let last = futures::stream::once(async move { take().map(|()| Bytes::new()) });
        Body::from_stream(pieces.chain(last.map_err(Into::into)))
    });
    Ok((request, place))
}

/// Whom a request is for, by its target (absolute, or the `:authority` of HTTP/2) and by its
/// `Host`. Each name that is there counts.
struct Named<'a> {
    names: Vec<&'a str>,
}

impl<'a> Named<'a> {
    fn of(uri: &'a Uri, headers: &'a HeaderMap) -> Named<'a> {
        let target = uri.authority().map(Authority::as_str);
        let hosts = headers.get_all(header::HOST).into_iter();
        Named { names: target.into_iter().chain(hosts.map(text)).collect() }
    }

    /// Only loopback names: a foreign name that was made to point here (DNS rebinding) is refused.
    /// HTTP/1.0 may have none; browsers always send one.
    fn check_host(&self) -> Result<(), Error> {
        match self.names.iter().find(|name| !is_loopback(name)) {
            None => Ok(()),
            Some(host) => Err(Error::denied(format!("the host '{host}' is not served here")).hint(
                "ask for 127.0.0.1 or localhost: only loopback is open until accounts exist",
            )),
        }
    }

    /// A page from elsewhere must not change anything here. Browsers name themselves on such
    /// requests; other clients send neither header.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Error> {
        let is_own = |origin: &str| {
            let (scheme, rest) = origin.split_once("://").unwrap_or_default();
            let is_http = matches!(scheme, "http" | "https");
            let own = |name: &&str| name.eq_ignore_ascii_case(rest);
            is_http && !self.names.is_empty() && self.names.iter().all(own)
        };
        let mut origins = headers.get_all(header::ORIGIN).into_iter().map(text).peekable();
        let foreign = match origins.peek() {
            None => headers
                .get_all("sec-fetch-site")
                .into_iter()
                .any(|site| matches!(text(site), "cross-site" | "same-site")),
            Some(_) => !origins.all(is_own),
        };
        if foreign {
            let e = "a web page from another address may not change anything here";
            return Err(Error::denied(e));
        }
        Ok(())
    }
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or("?")
}

/// A loopback name or address, with a port or without, and nothing else.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').unwrap_or_default(),
        None => match host.find(':') {
            Some(at) => host.split_at(at),
            None => (host, ""),
        },
    };
    let has_port = port.strip_prefix(':').is_some_and(|port| {
        (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit())
    });
    (port.is_empty() || has_port)
        && (name.eq_ignore_ascii_case("localhost")
            || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}

/// Answer in place of a handler that panicked; the connection and the process go on.
pub fn panicked(app: &App, panic: Box<dyn Any + Send>) -> Response {
    app.counters.panics.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    tracing::error!(what, "a request handler panicked");
    Problem::from(Error::internal("the request failed because of a fault in Watershed"))
        .into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn named(target: &str, pairs: &[(&'static str, &'static str)]) -> (bool, bool) {
        let (uri, headers) = (target.parse().unwrap(), headers(pairs));
        let named = Named::of(&uri, &headers);
        (named.check_host().is_ok(), named.check_origin(&headers).is_ok())
    }

    #[test]
    fn hosts() {
        for (host, good) in [
            ("127.0.0.1:4680", true),
            ("localhost", true),
            ("LocalHost:1", true),
            ("[::1]:4680", true),
            ("[::1]", true),
            ("127.9.9.9", true),
            ("evil.example", false),
            ("localhost.evil.example:4680", false),
            ("192.168.1.5:4680", false),
            ("[::2]", false),
            ("", false),
            ("evil@127.0.0.1", false),
            ("evil@127.0.0.1:4680", false),
            ("127.0.0.1@evil", false),
            ("127.0.0.1:4680@evil", false),
            ("127.0.0.1:x@evil", false),
            ("localhost:80@evil:80", false),
            ("[::1]evil", false),
            ("[::1]@evil", false),
            ("[::1]:80@evil", false),
            ("::1", false),
            ("127.0.0.1:", false),
            ("127.0.0.1,evil", false),
        ] {
            assert_eq!(named("/", &[("host", host)]).0, good, "{host}");
        }
    }

    /// Absolute targets and `:authority` come the same way.
    #[test]
    fn targets() {
        let host = ("host", "127.0.0.1:4680");
        for (target, given, good) in [
            ("http://127.0.0.1:4680/", vec![], true),
            ("http://127.0.0.1:4680/", vec![host], true),
            ("http://evil.example/", vec![], false),
            ("http://evil.example/", vec![host], false),
            ("http://127.0.0.1@evil/", vec![host], false),
            ("http://evil@127.0.0.1/", vec![host], false),
            ("http://127.0.0.1:4680/", vec![("host", "evil.example")], false),
            ("/", vec![host, ("host", "evil.example")], false),
            ("/", vec![], true),
        ] {
            assert_eq!(named(target, &given).0, good, "{target} {given:?}");
        }
    }

    #[test]
    fn origins() {
        let host = ("host", "127.0.0.1:4680");
        let own = "http://127.0.0.1:4680";
        for (target, given, good) in [
            ("/", vec![host], true),
            ("/", vec![host, ("origin", own)], true),
            ("/", vec![host, ("origin", "http://127.0.0.1:9999")], false),
            ("/", vec![host, ("origin", "https://evil.example")], false),
            ("/", vec![host, ("origin", "http://evil@127.0.0.1:4680")], false),
            ("/", vec![host, ("origin", own), ("origin", "https://evil.example")], false),
            ("/", vec![host, ("origin", "evil://127.0.0.1:4680")], false),
            ("/", vec![host, ("origin", "null")], false),
            ("/", vec![("origin", own)], false),
            ("http://127.0.0.1:4680/", vec![("origin", own)], true),
            ("http://localhost:4680/", vec![host, ("origin", own)], false),
            ("http://127.0.0.1:4680/", vec![("origin", "https://evil.example")], false),
            ("/", vec![host, ("sec-fetch-site", "cross-site")], false),
            ("/", vec![host, ("sec-fetch-site", "same-origin")], true),
        ] {
            assert_eq!(named(target, &given).1, good, "{target} {given:?}");
        }
    }

    #[test]
    fn ids() {
        assert_eq!(request_id(&headers(&[("x-request-id", "abc-1")])), "abc-1");
        assert_ne!(request_id(&headers(&[("x-request-id", "a b\"")])), "a b\"");
        assert_eq!(request_id(&headers(&[])).len(), 32);
    }
}
