//! What many tests need: a project in a scratch folder, the program running on it, a bare HTTP
//! client that shows exactly what came back, and masks for what differs from run to run.

pub mod shapes;
pub mod typescript;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_watershed");
/// Long enough for a loaded two-core machine; a healthy test needs a fraction of it.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const READINGS: &str = "CREATE TOPIC readings (
  sensor TEXT NOT NULL, celsius DOUBLE, at TIMESTAMP,
  WATERMARK FOR at AS at - INTERVAL '5 seconds',
  CHECK (celsius BETWEEN -60 AND 200)
) WITH (key = 'sensor', partitions = 1);
";

pub const MINUTES: &str = "CREATE MATERIALIZED VIEW minute_avg AS
SELECT sensor, window(at, '1 minute') AS w, avg(celsius) AS celsius, count(*) AS n
FROM readings GROUP BY sensor, window(at, '1 minute');
";

/// Repository root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A port that nobody uses, below those the system gives to clients: one of these could take it
/// before the server does.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let start = (std::process::id() % 100) as u16 * 100;
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A project folder that is removed again.
pub struct Project {
    pub dir: TempDir,
    pub state: TempDir,
    /// Of the environment of every command.
    pub variables: Vec<(String, String)>,
}

impl Project {
    pub fn new(sql: &str) -> Project {
        let project = Project::empty();
        project.write("sql/project.sql", sql);
        project
    }

    pub fn empty() -> Project {
        let (dir, state) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        Project { dir, state, variables: vec![] }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A command of the program with a clean environment, in this folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("HOME", self.state.path())
            .env("XDG_STATE_HOME", self.state.path())
            .env("RUST_MIN_STACK", "16777216")
            .envs(self.variables.clone());
        command
    }

    /// Starts `serve` with more arguments and waits until it is ready.
    pub fn serve(self, more: &[&str]) -> Server {
        Server::start(self, "serve", more)
    }

    /// The same with variables in its environment.
    pub fn serve_with(mut self, more: &[&str], variables: &[(&str, &str)]) -> Server {
        self.variables = variables.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        self.serve(more)
    }
}

/// A running program.
pub struct Server {
    pub project: Project,
    pub child: Child,
    pub address: String,
    lines: mpsc::Receiver<String>,
    seen: String,
}

impl Server {
    pub fn start(project: Project, verb: &str, more: &[&str]) -> Server {
        let mut server = Server::spawn(project, verb, more);
        // A sink may have complained about its own address before.
        let mut line = server.wait_for_line("http://127.0.0.1:");
        while line.contains(" WARN ") {
            line = server.wait_for_line("http://127.0.0.1:");
        }
        server.found_at(&line);
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = server.get("/ready");
            if answer.status == 200 {
                return server;
            }
            let (why, printed) = (answer.text(), server.printed());
            assert!(Instant::now() < until, "not ready within {PATIENCE:?}: {why}\n{printed}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts `serve` where it may well fail: see `wait_for_start`.
    pub fn start_unready(project: Project, more: &[&str]) -> Server {
        Server::spawn(project, "serve", more)
    }

    /// Waits until the doors are open, or gives all that a failed start said.
    pub fn wait_for_start(&mut self) -> Result<(), String> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push_str(&format!("{line}\n"));
                    if line.contains("http://127.0.0.1:") && !line.contains(" WARN ") {
                        self.found_at(&line);
                        return Ok(());
                    }
                }
                Err(_) => return Err(self.seen.clone()),
            }
        }
    }

    fn found_at(&mut self, line: &str) {
        let at = line.find("127.0.0.1:").unwrap();
        self.address = line[at..].split_whitespace().next().unwrap().to_string();
    }

    fn spawn(project: Project, verb: &str, more: &[&str]) -> Server {
        let mut arguments = vec![verb, "."];
        if !more.contains(&"--http-port") {
            arguments.extend(["--http-port", "0"]);
        }
        if !more.contains(&"--pg-port") {
            arguments.extend(["--pg-port", "0"]);
        }
        if !more.contains(&"--kafka-port") {
            arguments.extend(["--kafka-port", "0"]);
        }
        if verb == "dev" {
            arguments.push("--no-open");
        }
        arguments.extend(more);
        let mut child = project
            .command(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        follow(child.stdout.take().unwrap(), sender.clone());
        follow(child.stderr.take().unwrap(), sender);
        Server { project, child, address: String::new(), lines, seen: String::new() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for a line of stdout or stderr that contains `text`.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push_str(&line);
                    self.seen.push('\n');
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => break,
            }
        }
        panic!("no line with '{text}' in:\n{}", self.seen);
    }

    /// Everything printed so far.
    pub fn printed(&mut self) -> &str {
        while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(50)) {
            self.seen.push_str(&line);
            self.seen.push('\n');
        }
        &self.seen
    }

    pub fn wait_until(&self, what: &str, check: impl Fn(&Server) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !check(self) {
            assert!(Instant::now() < until, "not {what} within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until all views have all events.
    pub fn settle(&self) {
        self.wait_until("caught up", |s| {
            let views = s.get("/api/views").json();
            let done = |v: &Value| {
                v["state"] == "running" && v["lag_events"] == 0 && v["serves_previous"].is_null()
            };
            views.as_array().is_some_and(|v| v.iter().all(done))
        });
    }

    /// A running program's verb against this server.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self
            .project
            .command(arguments)
            .env("WATERSHED_URL", self.url())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran::new(&output)
    }

    /// With something on standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.project.command(arguments);
        command.env("WATERSHED_URL", self.url()).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ran::new(&child.wait_with_output().unwrap())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send("POST", path, &[], body.as_ref())
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        try_send(&self.address, method, path, headers, body).unwrap_or_default()
    }

    /// Rows of a query.
    pub fn sql(&self, query: &str) -> Value {
        let answer = self.post("/api/sql", serde_json::json!({ "query": query }).to_string());
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        answer.json()["rows"].clone()
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    #[allow(unsafe_code)] // no safe way to send a signal without another crate
    pub fn signal(&self, signal: i32) {
        // SAFETY: the child is ours and not waited for yet, so its id can't name another process.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }

    /// Kills without warning and gives the project back.
    pub fn kill(mut self) -> Project {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.take_project()
    }

    /// Asks for a stop, waits, and gives back the exit code and the project.
    pub fn stop(mut self) -> (Option<i32>, Project) {
        self.signal(libc::SIGTERM);
        let status = self.child.wait().unwrap();
        (status.code(), self.take_project())
    }

    fn take_project(&mut self) -> Project {
        let empty = Project::empty();
        std::mem::replace(&mut self.project, empty)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- printed by the program\n{}", self.printed());
        }
    }
}

fn follow(stream: impl Read + Send + 'static, lines: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}

/// What a command gave.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn new(output: &Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn ok(self) -> Ran {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }
}

/// What came back over HTTP.
#[derive(Default, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {} {}", self.status, self.text()))
    }
}

/// One exchange on a connection of its own. The request may be cut short on purpose elsewhere; here
/// the answer is read even when the server stops reading the body half way.
pub fn try_send(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("host: {address}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if method != "GET" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    let writer = stream.try_clone()?;
    let owned = body.to_vec();
    let sending = std::thread::spawn(move || {
        let mut writer = writer;
        // The server may refuse and close before it read all.
        let _ = writer.write_all(&owned);
    });
    let answer = read_answer(&mut BufReader::new(stream));
    let _ = sending.join();
    answer
}

pub fn read_answer(reader: &mut impl BufRead) -> std::io::Result<Answer> {
    let mut answer = read_head(reader)?;
    let chunked = answer.header("transfer-encoding") == Some("chunked");
    let length = answer.header("content-length").and_then(|l| l.parse().ok());
    if chunked {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let n = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
            let mut chunk = vec![0; n + 2];
            reader.read_exact(&mut chunk)?;
            answer.body.extend_from_slice(&chunk[..n]);
            if n == 0 {
                break;
            }
        }
    } else if let Some(length) = length {
        answer.body = vec![0; length];
        reader.read_exact(&mut answer.body)?;
    }
    Ok(answer)
}

pub fn read_head(reader: &mut impl BufRead) -> std::io::Result<Answer> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let mut answer = Answer { status, ..Answer::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => answer.headers.push((name.into(), value.into())),
            None => return Ok(answer),
        }
    }
}

/// Compares with a golden file, or rewrites it under `BLESS=1`.
pub fn golden(path: &Path, got: &str) {
    if std::env::var_os("BLESS").is_some_and(|v| v == "1") {
        std::fs::write(path, got).unwrap();
        return;
    }
    let want = std::fs::read_to_string(path).unwrap_or_default();
    if want != got {
        let differing = want.lines().zip(got.lines()).position(|(a, b)| a != b);
        let line = differing.unwrap_or(want.lines().count().min(got.lines().count())) + 1;
        panic!("{} differs from line {line} on (BLESS=1 rewrites it); got:\n{got}", path.display());
    }
}

/// Golden files with an extension, sorted.
pub fn golden_files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join(folder))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no golden files in {folder}");
    files
}

/// Members whose values differ from run to run.
const VOLATILE: [&str; 18] = [
    "elapsed_ms",
    "timestamp",
    "last_arrived",
    "uptime_s",
    "memory_bytes",
    "disk_bytes",
    "events_per_second",
    "records_per_second",
    "bytes_per_second",
    "max_timestamp",
    "freshness_ms",
    "epoch",
    "version",
    "project",
    "bytes",
    "at",
    "id",
    "state_bytes",
];

/// Replaces volatile members of an answer; `at` only where it is the arrival of a dead letter.
pub fn mask(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let letter = members.contains_key("raw") && members.contains_key("reason");
            for (name, member) in members.iter_mut() {
                let volatile = VOLATILE.contains(&name.as_str())
                    && (letter || !["at", "id"].contains(&name.as_str()));
                // A rate is known from the second second on.
                let rate = member.is_null() && name.ends_with("_per_second");
                if volatile && (member.is_number() || member.is_string() || rate) {
                    *member = "MASKED".into();
                } else {
                    mask(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}
