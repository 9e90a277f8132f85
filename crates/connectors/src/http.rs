//! The `http` sink: posts each epoch's rows as NDJSON. An HTTP server can't be asked what it has
//! taken, so the promise is at least once; the `Idempotency-Key` lets a receiver drop repeats.
//! Rows are sent at `prepare`, before the engine commits, so that a crash repeats, never loses.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int8Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use chrono::DateTime;
use common::{Clock, Epoch, Error, Kind, Result};
use connector::{
    Context, Delivery, OptionKind, OptionSpec, Outside, Promise, Reach, RetryAfter, Role, Sink,
    Spec, Values, is_public, not_public,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};

use crate::changes::{ndjson, with_op};

pub const SPEC: Spec = Spec {
    name: "http",
    role: Role::Sink,
    doc: "Posts the rows of each epoch as NDJSON.",
    options: &[
        OptionSpec::with_default(
            "body_bytes_max",
            OptionKind::Bytes,
            "4 MiB",
            "An epoch with more is sent in several requests.",
        ),
        OptionSpec::optional(
            "headers",
            OptionKind::List,
            "Headers of each request, as in 'Authorization: Bearer ${secret:token}, X-Team: data'.",
        )
        .secret(),
        OptionSpec::with_default(
            "timeout",
            OptionKind::Duration { min_us: 1_000 },
            "30 s",
            "Longest time for one request.",
        ),
        OptionSpec::required("url", OptionKind::Url, "where to post, as in 'https://host/path'"),
    ],
    delivery: Promise {
        kept: &[Delivery::AtLeastOnce],
        how: "rows are posted until they are confirmed, then the epoch is committed; repeats of \
              one request carry the same Idempotency-Key",
        why_not: "an HTTP server can't be asked which epochs it has taken, so after a crash the \
                  last one is sent again",
    },
};

/// So much of an answer is shown in an error.
const ANSWER_CHARS_MAX: usize = 200;

/// Makes the sink; fails on a URL or header that can't be sent.
pub fn make(values: &Values, ctx: Context) -> Result<Box<dyn Sink>> {
    let url = parse_url(values.text("url")?)?;
    let timeout = values.duration("timeout")?;
    let mut client = Client::builder()
        .timeout(timeout)
        // A redirected POST turns into a GET, whose success would mean nothing.
        .redirect(redirect::Policy::none())
        .default_headers(parse_headers(&values.list("headers"))?)
        .user_agent(concat!("watershed/", env!("CARGO_PKG_VERSION")));
    match check_reach(values.text("url")?, &ctx.outside)? {
        // A proxy would look the name up by itself.
        Reach::Public => {
            let port = url.port_or_known_default().unwrap_or(0);
            client = client.no_proxy().dns_resolver(Arc::new(PublicOnly { port }));
        }
        Reach::All if is_loopback(&url) => client = client.no_proxy(),
        Reach::All => {}
    }
    let client =
        client.build().map_err(|e| Error::internal("making an HTTP client failed").caused_by(e))?;
    Ok(Box::new(HttpSink {
        client,
        shown: shown(&url),
        has_user: !url.username().is_empty() || url.password().is_some(),
        url,
        name: header_text(&ctx.name),
        clock: ctx.clock,
        body_bytes_max: usize::try_from(values.bytes("body_bytes_max")?.max(1))
            .unwrap_or(usize::MAX),
        epoch: Epoch(0),
        part: 1,
        pending: vec![],
    }))
}

/// Which addresses the host of the URL may have.
pub(crate) fn check_reach(url: &str, outside: &Outside) -> Result<Reach> {
    let url = parse_url(url)?;
    let port = url.port_or_known_default().unwrap_or(0);
    outside.host(url.host_str().unwrap_or(""), port)
}

/// Looks names up at each connect and leaves out what is not public: whatever a name meant when
/// the sink was made, it can't be turned into an address of this network later.
struct PublicOnly {
    port: u16,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let port = self.port;
        Box::pin(async move {
            let host = name.as_str().to_string();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let addresses: Vec<_> = found.filter(|a| is_public(a.ip())).collect();
            if addresses.is_empty() {
                return Err(not_public(&host, port).into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

struct HttpSink {
    client: Client,
    url: Url,
    has_user: bool,
    /// The URL without what may be secret in it.
    shown: String,
    name: String,
    clock: Arc<dyn Clock>,
    body_bytes_max: usize,
    epoch: Epoch,
    /// Number of the next request of this epoch.
    part: u32,
    /// Lines of this epoch that are not confirmed yet.
    pending: Vec<u8>,
}

#[async_trait]
impl Sink for HttpSink {
    async fn open(&mut self, _schema: SchemaRef) -> Result<Option<Epoch>> {
        self.start(Epoch(0));
        Ok(None)
    }

    async fn write(
        &mut self,
        epoch: Epoch,
        changes: &RecordBatch,
        weights: Option<&Int8Array>,
    ) -> Result<()> {
        if self.epoch != epoch {
            self.start(epoch);
        }
        while self.pending.len() >= self.body_bytes_max {
            self.send_part().await?;
        }
        let mut bytes = ndjson(&with_op(changes, weights)?)?;
        // From here on nothing fails, so a repeated call can't double lines.
        self.pending.append(&mut bytes);
        Ok(())
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<()> {
        while self.epoch == epoch && !self.pending.is_empty() {
            self.send_part().await?;
        }
        Ok(())
    }
}

impl HttpSink {
    fn start(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.part = 1;
        self.pending.clear();
    }

    /// Posts as many whole lines as fit, at least one.
    async fn send_part(&mut self) -> Result<()> {
        let end = part_end(&self.pending, self.body_bytes_max);
        let body = &self.pending[..end];
        // The content belongs into the key: the second try of an epoch after a crash may hold
        // more rows than the first, and a receiver must not take it for a repeat.
        let key = format!("{}/{}/{}-{:016x}", self.name, self.epoch, self.part, fingerprint(body));
        let response = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/x-ndjson")
            .header("Idempotency-Key", key)
            .body(body.to_vec())
            .send()
            .await
            .map_err(|e| self.not_sent(e))?;
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        self.pending.drain(..end);
        self.part += 1;
        Ok(())
    }

    fn not_sent(&self, e: reqwest::Error) -> Error {
        let e = e.without_url();
        let mut what = format!("posting to '{}': {e}", self.shown);
        // The reason (refused, no such host, …) stands at the end of the chain.
        let mut cause = std::error::Error::source(&e);
        while let Some(inner) = cause {
            if let Some(ours) = inner.downcast_ref::<Error>() {
                let refused = Error::new(ours.kind(), format!("{what}: {}", ours.message()));
                return refused.hint(ours.hint_text().unwrap_or_default());
            }
            cause = inner.source();
            if cause.is_none() {
                what = format!("{what}: {inner}");
            }
        }
        Error::unavailable(what).caused_by(e)
    }

    async fn refused(&self, response: Response) -> Error {
        let status = response.status();
        let kind = match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Kind::Unavailable
            }
            s if s.is_server_error() => Kind::Unavailable,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::Denied,
            StatusCode::NOT_FOUND | StatusCode::GONE => Kind::NotFound,
            StatusCode::PAYLOAD_TOO_LARGE => Kind::TooLarge,
            _ => Kind::Invalid,
        };
        let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
        let wait = header(RETRY_AFTER).and_then(|v| retry_after(v, self.clock.now_us()));
        let location = header(LOCATION).map(str::to_string);
        let mut what = format!("'{}' answered {status}", self.shown);
        let answer = match self.has_user {
            // It may repeat the header that is made of name and password.
            true => String::new(),
            false => response.text().await.unwrap_or_default(),
        };
        let answer: String = answer.trim().chars().take(ANSWER_CHARS_MAX).collect();
        if !answer.is_empty() {
            what = format!("{what}: {answer}");
        }
        let error = Error::new(kind, what);
        let error = match (kind, location) {
            (_, Some(to)) => error.hint(format!("redirects are not followed; use url = '{to}'")),
            (Kind::Denied, _) => error.hint("check the option 'headers'"),
            (Kind::TooLarge, _) => error.hint("lower the option 'body_bytes_max'"),
            _ => error,
        };
        match wait {
            Some(wait) => error.caused_by(RetryAfter(wait)),
            None => error,
        }
    }
}

fn part_end(pending: &[u8], max: usize) -> usize {
    if pending.len() <= max {
        return pending.len();
    }
    let newline = |b: &u8| *b == b'\n';
    let within = pending[..max].iter().rposition(newline);
    within.or_else(|| pending.iter().position(newline)).map_or(pending.len(), |i| i + 1)
}

/// FNV-1a: the same on every machine and in every version.
fn fingerprint(bytes: &[u8]) -> u64 {
    let step = |hash: u64, b: &u8| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Seconds, or a date as HTTP writes it.
fn retry_after(text: &str, now_us: i64) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    Some(Duration::from_micros(at.timestamp_micros().saturating_sub(now_us).max(0).unsigned_abs()))
}

fn parse_url(text: &str) -> Result<Url> {
    let bad = |why: String| {
        Error::invalid(format!("option 'url': {why}")).hint("write it as in 'https://host/path'")
    };
    let url = Url::parse(text).map_err(|e| bad(format!("this is no URL: {e}")))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(bad(format!("'{}' is not http or https", url.scheme())));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or("").trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn shown(url: &Url) -> String {
    let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or(""), url.path())
}

fn parse_headers(items: &[String]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (i, item) in items.iter().enumerate() {
        // Values may be secret: errors name the header at most.
        let (name, value) = item.split_once(':').ok_or_else(|| {
            Error::invalid(format!("option 'headers': header {} has no colon", i + 1))
                .hint("write 'Name: value, Name: value'; a comma in a value is '\\,'")
        })?;
        let bad = || Error::invalid(format!("option 'headers': '{name}' can't be sent"));
        let parsed = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| bad())?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.append(parsed, value);
    }
    Ok(headers)
}

/// A name as header text: what is not plain is written as %XX.
fn header_text(name: &str) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_-.".contains(b);
    name.bytes()
        .map(|b| if plain(&b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
