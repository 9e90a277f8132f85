//! A small HTTP server that fails as told, and what arrives there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use catalog::Options;
use common::SystemClock;
use connector::Health;
use connector::conformance::{Bench, Seen, check_sink, sample, sample_schema};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::*;
use std::str::FromStr;

/// What the server does with a request.
#[derive(Clone)]
enum Answer {
    /// Status line and headers, then a body.
    With(&'static str, &'static str),
    /// Takes the body, then hangs up without a word.
    TakeAndHangUp,
    HangUp,
    Never,
}

const OK: Answer = Answer::With("204 No Content", "");

#[derive(Clone)]
struct Request {
    headers: BTreeMap<String, String>,
    body: String,
    taken: bool,
}

struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    health: Arc<Health>,
}

impl Server {
    /// Answers by the script, then 204.
    async fn start(script: Vec<Answer>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(vec![]));
        let kept = requests.clone();
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, script.clone(), kept.clone()));
            }
        });
        Server { port, requests, health: Arc::default() }
    }

    fn sink(&self, pairs: &[(&str, &str)]) -> Result<Box<dyn Sink>> {
        let mut options: Options = [
            ("url", format!("http://me:secret@127.0.0.1:{}/in?token=secret", self.port).as_str()),
            ("retry_delay_min", "1 ms"),
            ("retry_delay_max", "5 ms"),
        ]
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .into();
        options.extend(pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())));
        self.sink_of(Outside::of_folder("."), options)
    }

    /// As a statement that was typed makes it.
    fn typed(&self, url: &str, allowed: &[&str], pairs: &[(&str, &str)]) -> Result<Box<dyn Sink>> {
        let rules = connector::Rules {
            project_dir: ".".into(),
            secrets: connector::Secrets::new("no such folder"),
            files_allowed: vec![],
            http_allowed: allowed.iter().map(|a| a.to_string()).collect(),
            secrets_allowed: vec![],
            own: vec![],
            of_owner: vec![],
        };
        let all = [("url", url), ("retry_attempts_max", "1")].into_iter().chain(pairs.to_vec());
        let options = all.map(|(k, v)| (k.to_string(), v.to_string())).collect();
        self.sink_of(Outside::new(Arc::new(rules), false), options)
    }

    fn sink_of(&self, outside: Outside, options: Options) -> Result<Box<dyn Sink>> {
        let (clock, health) = (Arc::new(SystemClock), self.health.clone());
        let name = "hot alerts".into();
        let ctx = Context { name, outside, schema: sample_schema(), clock, health };
        crate::sink("http", &options, ctx)
    }

    fn taken(&self) -> Vec<Request> {
        self.requests.lock().unwrap().iter().filter(|r| r.taken).cloned().collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<Mutex<VecDeque<Answer>>>,
    requests: Arc<Mutex<Vec<Request>>>,
) {
    while let Some((headers, body)) = read_request(&mut stream).await {
        let answer = script.lock().unwrap().pop_front().unwrap_or(OK);
        let taken = match &answer {
            Answer::With(head, _) => head.starts_with('2'),
            Answer::TakeAndHangUp => true,
            Answer::HangUp | Answer::Never => false,
        };
        requests.lock().unwrap().push(Request { headers, body, taken });
        match answer {
            Answer::With(head, body) => {
                let text =
                    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(text.as_bytes()).await.unwrap();
            }
            Answer::Never => tokio::time::sleep(Duration::from_secs(60)).await,
            Answer::TakeAndHangUp | Answer::HangUp => return,
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<(BTreeMap<String, String>, String)> {
    let mut bytes = vec![];
    let head_end = loop {
        if let Some(i) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break i + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut headers: BTreeMap<String, String> = head
        .lines()
        .filter_map(|l| l.split_once(": "))
        .map(|(k, v)| (k.to_lowercase(), v.to_string()))
        .collect();
    headers.insert("request".into(), head.lines().next()?.into());
    let len: usize = headers["content-length"].parse().ok()?;
    while bytes.len() < head_end + len {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((headers, String::from_utf8(bytes[head_end..].to_vec()).ok()?))
}

#[async_trait]
impl Bench for Server {
    fn make(&self) -> Result<Box<dyn Sink>> {
        self.sink(&[])
    }

    /// As a receiver sees it that drops repeated keys.
    async fn seen(&self) -> Result<Vec<Seen>> {
        let mut by_key: BTreeMap<String, String> = BTreeMap::new();
        for request in self.taken() {
            by_key.entry(request.headers["idempotency-key"].clone()).or_insert(request.body);
        }
        let lines = by_key.values().flat_map(|b| b.lines());
        let rows = lines.map(|l| serde_json::from_str::<Value>(l).unwrap());
        Ok(rows
            .map(|row| Seen {
                id: row["id"].as_i64().unwrap(),
                name: row["name"].as_str().unwrap().into(),
                op: row["_op"].as_str().map(Into::into),
            })
            .collect())
    }
}

#[tokio::test]
async fn conforms() {
    let mut servers = vec![];
    for _ in 0..9 {
        servers.push(Server::start(vec![]).await);
    }
    let servers = Mutex::new(servers);
    let fresh = || Ok(servers.lock().unwrap().pop().unwrap());
    check_sink(fresh, Delivery::AtLeastOnce).await.unwrap();
}

async fn post(server: &Server, pairs: &[(&str, &str)]) -> Result<()> {
    let mut sink = server.sink(pairs)?;
    sink.open(sample_schema()).await?;
    sink.write(Epoch(17), &sample([1, 5])?, None).await?;
    sink.prepare(Epoch(17)).await?;
    sink.commit(Epoch(17)).await
}

#[tokio::test]
async fn posts_ndjson_with_key_and_headers() {
    let server = Server::start(vec![]).await;
    post(&server, &[("headers", r"X-Team: data, X-List: a\, b")]).await.unwrap();
    let [request] = &server.taken()[..] else { unreachable!() };
    let header = |name: &str| request.headers[name].as_str();
    assert_eq!(header("request"), "POST /in?token=secret HTTP/1.1");
    assert_eq!(header("content-type"), "application/x-ndjson");
    assert_eq!((header("x-team"), header("x-list")), ("data", "a, b"));
    assert!(header("idempotency-key").starts_with("hot%20alerts/17/1-"), "{:?}", request.headers);
    assert_eq!(
        request.body,
        "{\"id\":1,\"name\":\"comma, quote \\\" and 'tick'\",\"value\":1.0}\n\
         {\"id\":5,\"name\":\"plain\",\"value\":5.0}\n"
    );
}

#[tokio::test]
async fn failures_that_pass_are_outlived_under_one_key() {
    let busy = Answer::With("503 Service Unavailable", "busy");
    let many = Answer::With("429 Too Many Requests\r\nretry-after: 1", "");
    let server = Server::start(vec![
        busy.clone(),
        Answer::HangUp,
        many,
        Answer::TakeAndHangUp,
        Answer::With("500 Oops", "oh"),
    ])
    .await;
    let start = Instant::now();
    post(&server, &[]).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "Retry-After was not honoured");
    let requests = server.requests.lock().unwrap().clone();
    assert_eq!((requests.len(), server.taken().len()), (6, 2));
    let first = (&requests[0].headers["idempotency-key"], &requests[0].body);
    assert!(requests.iter().all(|r| (&r.headers["idempotency-key"], &r.body) == first));
    assert_eq!((server.health.retries(), server.health.error()), (5, None));
    assert_eq!(server.seen().await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_epoch_that_came_back_larger_is_no_repeat() {
    let server = Server::start(vec![]).await;
    for ids in [1..4, 1..5] {
        let mut sink = server.make().unwrap();
        sink.open(sample_schema()).await.unwrap();
        sink.write(Epoch(2), &sample(ids).unwrap(), None).await.unwrap();
        sink.prepare(Epoch(2)).await.unwrap();
    }
    let ids: std::collections::BTreeSet<_> =
        server.seen().await.unwrap().iter().map(|s| s.id).collect();
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn large_epochs_go_in_several_requests() {
    let server = Server::start(vec![OK, Answer::HangUp, Answer::With("502 Bad", "")]).await;
    let mut sink = server.sink(&[("body_bytes_max", "100")]).unwrap();
    sink.open(sample_schema()).await.unwrap();
    for from in [0, 10, 20] {
        sink.write(Epoch(1), &sample(from..from + 10).unwrap(), None).await.unwrap();
    }
    sink.prepare(Epoch(1)).await.unwrap();
    let taken = server.taken();
    assert!(
        taken.len() >= 10 && taken.iter().all(|r| r.body.len() <= 100 && r.body.ends_with('\n'))
    );
    let mut ids: Vec<_> = taken
        .iter()
        .flat_map(|r| r.body.lines())
        .map(|l| serde_json::from_str::<Value>(l).unwrap()["id"].as_i64().unwrap())
        .collect();
    ids.dedup();
    assert_eq!(ids, (0..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn failures_that_stay_end_with_the_reason_and_no_secrets() {
    let no = Answer::With("401 Unauthorized", "who are you?");
    let moved = Answer::With("302 Found\r\nlocation: https://else.where/in", "");
    let server = Server::start(vec![no, moved]).await;
    let at = format!("'http://127.0.0.1:{}/in'", server.port);
    let e = post(&server, &[]).await.unwrap_err();
    assert_eq!(e.kind(), Kind::Denied);
    assert_eq!(
        e.to_string(),
        format!("'hot alerts': {at} answered 401 Unauthorized (check the option 'headers')")
    );
    let e = post(&server, &[]).await.unwrap_err().to_string();
    assert!(e.ends_with("(redirects are not followed; use url = 'https://else.where/in')"), "{e}");
    assert_eq!(server.requests.lock().unwrap().len(), 2);

    let server = Server::start(vec![Answer::Never, Answer::Never]).await;
    let e = post(&server, &[("timeout", "50 ms"), ("retry_attempts_max", "2")]).await.unwrap_err();
    assert_eq!(e.kind(), Kind::Unavailable);
    assert!(
        e.to_string().contains("gave up after 2 attempts") && !e.to_string().contains("secret")
    );

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server { port: closed.local_addr().unwrap().port(), ..server };
    drop(closed);
    let e = post(&server, &[("retry_attempts_max", "2")]).await.unwrap_err();
    assert!(e.to_string().to_lowercase().contains("refused"), "{e}");
    assert!(server.health.retries() > 0 && server.health.error().is_some());
}

#[tokio::test]
async fn mistakes_are_named() {
    let server = Server::start(vec![]).await;
    let fails = |pairs: &[(&str, &str)]| server.sink(pairs).err().unwrap().to_string();
    assert_eq!(
        fails(&[("url", "ftp://x/")]),
        "option 'url': 'ftp' is not http or https (write it as in 'https://host/path')"
    );
    assert!(fails(&[("url", "nowhere")]).starts_with("option 'url': this is no URL"));
    assert_eq!(
        fails(&[("headers", "A: b, secret")]),
        "option 'headers': header 2 has no colon (write 'Name: value, Name: value'; a comma in a \
         value is '\\,')"
    );
    assert_eq!(fails(&[("headers", "a b: secret")]), "option 'headers': 'a b' can't be sent");
    let exactly = fails(&[("delivery", "exactly_once")]);
    assert!(exactly.contains("can't be kept by the sink connector 'http'"), "{exactly}");
}

#[tokio::test]
async fn a_typed_sink_reaches_no_address_of_this_network() {
    let server = Server::start(vec![]).await;
    let port = server.port;
    for host in
        ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]"]
    {
        let e = server.typed(&format!("http://{host}:{port}/"), &["other"], &[]).err().unwrap();
        assert_eq!(e.kind(), Kind::Denied, "{host}");
        assert!(e.hint_text().unwrap().contains("http.allowed"), "{host}: {e}");
    }
    // A name is looked up when it is connected to: here one that this machine has for itself.
    let name = Name::from_str("localhost").unwrap();
    let e = PublicOnly { port }.resolve(name).await.err().unwrap();
    assert!(e.downcast_ref::<Error>().is_some_and(|e| e.kind() == Kind::Denied), "{e}");
    let client = Client::builder().no_proxy().dns_resolver(Arc::new(PublicOnly { port }));
    let failed = client.build().unwrap().get(format!("http://localhost:{port}/")).send().await;
    assert!(failed.is_err());
    assert!(server.requests.lock().unwrap().is_empty());
    let mut sink = server
        .typed(&format!("http://localhost:{port}/"), &[&format!("localhost:{port}")], &[])
        .unwrap();
    sink.open(sample_schema()).await.unwrap();
    sink.write(Epoch(1), &sample([1]).unwrap(), None).await.unwrap();
    sink.prepare(Epoch(1)).await.unwrap();
    assert_eq!(server.taken().len(), 1);
}

#[tokio::test]
async fn a_redirect_leads_nowhere_and_an_answer_gives_nothing_away() {
    let inner = Server::start(vec![]).await;
    let to = format!("307 Moved\r\nlocation: http://127.0.0.1:{}/", inner.port);
    let echo = Answer::With("400 Bad", "you sent Authorization: Bearer canary, so: canary");
    let server = Server::start(vec![Answer::With(to.leak(), ""), echo]).await;
    let url = format!("http://127.0.0.1:{}/", server.port);
    let allowed = format!("127.0.0.1:{}", server.port);
    for said in ["redirects are not followed", "you sent ***"] {
        let headers = [("headers", "Authorization: Bearer canary")];
        let mut sink = server.typed(&url, &[&allowed], &headers).unwrap();
        sink.open(sample_schema()).await.unwrap();
        sink.write(Epoch(1), &sample([1]).unwrap(), None).await.unwrap();
        let e = sink.prepare(Epoch(1)).await.unwrap_err().to_string();
        assert!(e.contains(said) && !e.contains("canary"), "{e}");
        let health = server.health.error();
        assert!(!format!("{health:?}").contains("canary"), "{health:?}");
    }
    assert!(inner.requests.lock().unwrap().is_empty());
}

#[test]
fn waits_as_asked() {
    let at = DateTime::parse_from_rfc3339("2026-11-22T10:00:00Z").unwrap().timestamp_micros();
    assert_eq!(retry_after("120", at), Some(Duration::from_secs(120)));
    assert_eq!(retry_after("Sun, 22 Nov 2026 10:00:30 GMT", at), Some(Duration::from_secs(30)));
    assert_eq!(retry_after("Sun, 22 Nov 2026 09:00:00 GMT", at), Some(Duration::ZERO));
    assert_eq!(retry_after("soon", at), None);
}
