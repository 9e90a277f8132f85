//! In front of every route: who may ask (loopback names only, no foreign web page), how many at
//! once, an id and a log line for each request, and a net under handlers that panic.

use std::any::Any;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use common::Error;

use crate::app::{App, Gauge};
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
    let _in_flight = Gauge::up(&app.counters, |c| &c.in_flight);
    let mut response = match admit(&app, &method, &path, request.headers()) {
        Ok(_permit) => next.run(request).await,
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

fn admit(
    app: &App,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, Problem> {
    check_host(headers)?;
    if !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        check_origin(headers)?;
    }
    if ALWAYS.contains(&path) {
        return Ok(None);
    }
    match app.limits.requests.clone().try_acquire_owned() {
        Ok(permit) => Ok(Some(permit)),
        Err(_) => Err(Error::unavailable("too many requests at once")
            .hint("try again in a moment; the limit is http.requests_max")
            .into()),
    }
}

/// Only loopback names: a foreign name that was made to point here (DNS rebinding) is refused.
fn check_host(headers: &HeaderMap) -> Result<(), Error> {
    let host = headers.get(header::HOST).map(|v| v.to_str().unwrap_or("?"));
    match host {
        // HTTP/2 carries the name elsewhere, and HTTP/1.0 none; browsers always send it.
        None => Ok(()),
        Some(host) if is_loopback(host) => Ok(()),
        Some(host) => Err(Error::denied(format!("the host '{host}' is not served here"))
            .hint("ask for 127.0.0.1 or localhost: only loopback is open until accounts exist")),
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A page from elsewhere must not change anything here. Browsers name themselves on such requests;
/// other clients send neither header.
fn check_origin(headers: &HeaderMap) -> Result<(), Error> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let foreign = match (text("origin"), text("host")) {
        (None, _) => text("sec-fetch-site").is_some_and(|s| s == "cross-site" || s == "same-site"),
        (Some(origin), Some(host)) => origin.split_once("://").map(|(_, rest)| rest) != Some(host),
        (Some(_), None) => true,
    };
    if foreign {
        return Err(Error::denied("a web page from another address may not change anything here"));
    }
    Ok(())
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
        pairs.iter().map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn hosts() {
        for (host, good) in [
            ("127.0.0.1:4680", true),
            ("localhost", true),
            ("LocalHost:1", true),
            ("[::1]:4680", true),
            ("127.9.9.9", true),
            ("evil.example", false),
            ("localhost.evil.example:4680", false),
            ("192.168.1.5:4680", false),
            ("[::2]", false),
            ("", false),
        ] {
            assert_eq!(check_host(&headers(&[("host", host)])).is_ok(), good, "{host}");
        }
    }

    #[test]
    fn origins() {
        let host = ("host", "127.0.0.1:4680");
        for (given, good) in [
            (vec![host], true),
            (vec![host, ("origin", "http://127.0.0.1:4680")], true),
            (vec![host, ("origin", "http://127.0.0.1:9999")], false),
            (vec![host, ("origin", "https://evil.example")], false),
            (vec![host, ("origin", "null")], false),
            (vec![host, ("sec-fetch-site", "cross-site")], false),
            (vec![host, ("sec-fetch-site", "same-origin")], true),
        ] {
            assert_eq!(check_origin(&headers(&given)).is_ok(), good, "{given:?}");
        }
    }

    #[test]
    fn ids() {
        assert_eq!(request_id(&headers(&[("x-request-id", "abc-1")])), "abc-1");
        assert_ne!(request_id(&headers(&[("x-request-id", "a b\"")])), "a b\"");
        assert_eq!(request_id(&headers(&[])).len(), 32);
    }
}
