//! The console: files built from `console/` and embedded in the binary. Hashed assets may be kept
//! for ever, the page itself is asked for anew each time (ETag). Nothing is loaded from elsewhere,
//! and the content security policy holds the browser to that.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use common::Error;
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::problem::Problem;
use crate::rest;

#[derive(RustEmbed)]
#[folder = "../../console/dist/"]
#[allow_missing = true]
struct Files;

/// Everything from our own files. Nothing inline is needed: charts set styles through the DOM, and
/// the editor lives in a shadow root with adopted style sheets (`console/src/lib/editor.ts`).
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <title>Watershed</title><body><h1>Watershed is running</h1>\
    <p>This binary was built without the console. Build it with <code>make console</code> \
    (it needs Node 20) and build the program again.</p>\
    <p>The REST interface works: <a href=\"/api/status\">/api/status</a>, \
    <a href=\"/api/openapi.json\">/api/openapi.json</a>.</p></body></html>";

/// Everything that no other route answers.
pub async fn fallback(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    if path.starts_with("/api/") || path == "/api" {
        return Problem::from(unknown_path(path)).into_response();
    }
    if !matches!(method, Method::GET | Method::HEAD) {
        return rest::method_not_allowed(method).await.into_response();
    }
    let name = path.trim_start_matches('/');
    if let Some(file) = Files::get(name).filter(|_| !name.is_empty()) {
        return serve(name, &file, &headers);
    }
    // Pages are addressed by paths of their own; a missing file must not look like one.
    if name.rsplit('/').next().is_some_and(|last| last.contains('.')) {
        return Problem::from(unknown_path(path)).into_response();
    }
    match Files::get("index.html") {
        Some(file) => serve("index.html", &file, &headers),
        None => with_policy((StatusCode::OK, [HTML], NOT_BUILT).into_response()),
    }
}

const HTML: (header::HeaderName, &str) = (header::CONTENT_TYPE, "text/html; charset=utf-8");

fn unknown_path(path: &str) -> Error {
    let e = Error::unknown("path", path, rest::ROUTES.iter().map(|r| r.path));
    match e.hint_text() {
        Some(_) => e,
        None => e.hint("all paths stand in /api/openapi.json"),
    }
}

fn serve(name: &str, file: &EmbeddedFile, headers: &HeaderMap) -> Response {
    let etag = etag(file);
    let asked = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let cache = if name.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let builder = Response::builder()
        .header(header::ETAG, &etag)
        .header(header::CACHE_CONTROL, cache)
        .header(header::VARY, "accept-encoding");
    let known = asked.is_some_and(|a| a.split(',').any(|t| t.trim() == etag || t.trim() == "*"));
    let response = if known {
        builder.status(StatusCode::NOT_MODIFIED).body(Body::empty())
    } else {
        let builder = builder.header(header::CONTENT_TYPE, content_type(name));
        match packed(name, file).filter(|_| accepts_gzip(headers)) {
            Some(gzip) => builder.header(header::CONTENT_ENCODING, "gzip").body(gzip.into()),
            None => builder.body(match &file.data {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes).into(),
                Cow::Owned(bytes) => bytes.clone().into(),
            }),
        }
    };
    match response {
        Ok(response) => with_policy(response),
        Err(e) => Problem::from(Error::internal(e.to_string())).into_response(),
    }
}

fn with_policy(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn etag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let hex: String = hash[..12].iter().map(|b| format!("{b:02x}")).collect();
    format!("\"{hex}\"")
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok());
    accepted.unwrap_or("").split(',').any(|c| {
        let mut parts = c.split(';').map(str::trim);
        parts.next() == Some("gzip") && parts.next() != Some("q=0")
    })
}

/// The gzip form of a text file, made on first use and kept.
fn packed(name: &str, file: &EmbeddedFile) -> Option<Bytes> {
    static PACKED: OnceLock<Mutex<HashMap<String, Bytes>>> = OnceLock::new();
    if file.data.len() < 512 || content_type(name).starts_with("image/png") {
        return None;
    }
    let mut known =
        PACKED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bytes) = known.get(name) {
        return Some(bytes.clone());
    }
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
    encoder.write_all(&file.data).ok()?;
    let bytes = Bytes::from(encoder.finish().ok()?);
    known.insert(name.to_string(), bytes.clone());
    Some(bytes)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or("") {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn get(path: &'static str, headers: HeaderMap) -> Response {
        fallback(Method::GET, Uri::from_static(path), headers).await
    }

    #[tokio::test]
    async fn pages_assets_and_unknown_paths() {
        for (path, status) in
            [("/", 200), ("/views/minute_avg", 200), ("/nothing.js", 404), ("/api/nothing", 404)]
        {
            assert_eq!(get(path, HeaderMap::new()).await.status().as_u16(), status, "{path}");
        }
        let response = get("/", HeaderMap::new()).await;
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap_or("");
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"));
    }

    #[tokio::test]
    async fn an_unchanged_page_is_not_sent_again() {
        let first = get("/", HeaderMap::new()).await;
        let Some(etag) = first.headers().get(header::ETAG) else {
            return;
        }; // console not built
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, etag.clone());
        assert_eq!(get("/", headers).await.status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn who_takes_gzip() {
        for (accept, takes) in
            [("gzip, br", true), ("br;q=1, gzip;q=0.5", true), ("gzip;q=0", false), ("", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accept));
            assert_eq!(accepts_gzip(&headers), takes, "{accept}");
        }
    }
}
