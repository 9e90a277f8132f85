//! A platform in a scratch folder with a clock that stands, statements in and rows out, waiting
//! with a deadline, and children that crash at a fail point.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use common::{Error, Kind, Result};
use engine::{Ingested, Outcome, Platform, Principal, Project, Session};
use formats::BodyKind;
use formats::json::ContentKind;
use tempfile::TempDir;
use testkit::VirtualClock;
use tokio::runtime::Runtime;

/// 2026-01-01.
pub const T0: i64 = 1_767_225_600_000_000;
pub const SECOND: i64 = 1_000_000;
/// Long enough for a loaded machine; a healthy test needs a fraction of it.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const EVENTS: &str = "CREATE TOPIC events (id BIGINT NOT NULL, k TEXT, v BIGINT)
WITH (partitions = 2, key = 'k');
";
pub const TOTALS: &str = "CREATE MATERIALIZED VIEW totals AS
SELECT k, count(*) AS n, sum(v) AS total FROM events GROUP BY k;
";
pub const BATCH: &str = "SELECT k, count(*) AS n, sum(v) AS total FROM events GROUP BY k";

/// Nothing by itself: tests say when something is archived and when retention is applied.
const QUIET: [(&str, &str); 4] = [
    ("lake.archive_interval", "1 day"),
    ("lake.archive_bytes", "1024 MiB"),
    ("log.retention_interval", "1 day"),
    ("stream.epoch_interval_min", "1 ms"),
];

pub type Settings<'a> = &'a [(&'static str, &'a str)];

/// A platform that is running.
pub struct Bench {
    /// As the program itself.
    pub platform: Session,
    pub opened: Platform,
    pub clock: VirtualClock,
    pub place: Place,
    runtime: Runtime,
}

/// Where it is, and with what settings.
#[derive(Clone)]
pub struct Place {
    dir: Arc<TempDir>,
    settings: Vec<(&'static str, String)>,
    now_us: i64,
}

impl Place {
    pub fn new(sql: &str, settings: Settings) -> Place {
        let settings = settings.iter().map(|(k, v)| (*k, v.to_string())).collect();
        let place = Place { dir: Arc::new(TempDir::new().unwrap()), settings, now_us: T0 };
        place.write("sql/project.sql", sql);
        place
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Opens without applying what stands in `sql/`.
    pub fn open(self) -> Result<Bench> {
        let runtime = runtime();
        let clock = VirtualClock::new(self.now_us);
        let opened = open(&runtime, self.path(), &self.settings, clock.clone());
        opened.map(|opened| Bench {
            platform: system(&opened),
            opened,
            clock,
            place: self,
            runtime,
        })
    }

    /// Opens and applies. A query that was cut off computes on for a moment, in this process, and
    /// keeps what it reads open.
    pub fn start(self) -> Bench {
        let since = Instant::now();
        let bench = loop {
            match self.clone().open() {
                Err(e) if e.kind() == Kind::Conflict && since.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                opened => break opened.unwrap(),
            }
        };
        bench.apply().unwrap_or_else(|e| panic!("{e:?}"));
        bench
    }

    /// Runs a scenario in a child until it crashes at a fail point.
    pub fn crash(&self, scenario: &str, at: &str) {
        let output = self.child(scenario, at);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.signal(), Some(libc_abort()), "{scenario} at {at}: {said}");
    }

    fn child(&self, scenario: &str, at: &str) -> std::process::Output {
        let settings: Vec<String> = self.settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
        Command::new(std::env::current_exe().unwrap())
            .args(["platform::support::child", "--exact", "--nocapture"])
            .env("WATERSHED_TEST_SCENARIO", scenario)
            .env("WATERSHED_TEST_DIR", self.path())
            .env("WATERSHED_TEST_SETTINGS", settings.join("\n"))
            .env("WATERSHED_TEST_NOW", self.now_us.to_string())
            .env(common::fail_point::VARIABLE, at)
            .output()
            .unwrap()
    }
}

fn libc_abort() -> i32 {
    6
}

fn system(opened: &Platform) -> Session {
    opened.as_user(Principal::System)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(16 << 20)
        .enable_all()
        .build()
        .unwrap()
}

fn open(
    runtime: &Runtime,
    dir: &Path,
    settings: &[(&'static str, String)],
    clock: VirtualClock,
) -> Result<Platform> {
    let mut flags: Vec<(&str, String)> = QUIET.map(|(k, v)| (k, v.to_string())).to_vec();
    flags.extend(settings.iter().cloned());
    let project = Project::load(dir, &flags).unwrap();
    let opening = Platform::open(project, Arc::new(clock));
    runtime.block_on(runtime.spawn(opening)).unwrap()
}

/// The other half of `Place::crash`: does nothing in an ordinary run.
#[test]
fn child() {
    let variable = |name: &str| std::env::var(format!("WATERSHED_TEST_{name}")).ok();
    let Some(scenario) = variable("SCENARIO") else { return };
    let dir = PathBuf::from(variable("DIR").unwrap());
    let text = variable("SETTINGS").unwrap().leak();
    let settings: Vec<(&'static str, String)> =
        text.lines().map(|l| l.split_once('=').unwrap()).map(|(k, v)| (k, v.into())).collect();
    let now_us = variable("NOW").unwrap().parse().unwrap();
    let (runtime, clock) = (runtime(), VirtualClock::new(now_us));
    let opened = open(&runtime, &dir, &settings, clock.clone()).unwrap();
    // The folder is the parent's to remove.
    let mut dir_of = TempDir::new().unwrap();
    dir_of.disable_cleanup(true);
    let place = Place { dir: Arc::new(dir_of), settings, now_us };
    let bench = Bench { platform: system(&opened), opened, clock, place, runtime };
    bench.apply().unwrap();
    super::scenario(&scenario, &bench);
}

impl Bench {
    pub fn new(sql: &str) -> Bench {
        Place::new(sql, &[]).start()
    }

    pub fn on<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.block_on(self.runtime.spawn(work)).unwrap()
    }

    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.runtime.spawn(work)
    }

    pub fn apply(&self) -> Result<engine::ApplyReport, Vec<Error>> {
        let platform = self.platform.clone();
        self.on(async move { platform.apply_project().await })
    }

    /// Rows of a statement, columns between bars; or what it says.
    pub fn try_sql(&self, statement: &str) -> Result<Vec<String>> {
        let (platform, statement) = (self.platform.clone(), statement.to_string());
        self.on(async move { platform.execute(&statement).await }).map(|o| shown(&o))
    }

    pub fn sql(&self, statement: &str) -> Vec<String> {
        self.try_sql(statement).unwrap_or_else(|e| panic!("{statement}: {e}"))
    }

    /// The same, in the order of the text.
    pub fn sorted(&self, statement: &str) -> Vec<String> {
        let mut rows = self.sql(statement);
        rows.sort();
        rows
    }

    pub fn refused(&self, statement: &str) -> Error {
        self.try_sql(statement).expect_err(statement)
    }

    pub fn try_send(&self, topic: &str, body: &str) -> Result<Ingested> {
        let (platform, topic, body) = (self.platform.clone(), topic.to_string(), body.to_string());
        self.on(async move { platform.ingest(&topic, body.into(), ndjson()).await })
    }

    pub fn send(&self, topic: &str, body: &str) -> Ingested {
        self.try_send(topic, body).unwrap()
    }

    pub fn csv(&self, topic: &str, body: &str) -> Ingested {
        let (platform, topic, body) = (self.platform.clone(), topic.to_string(), body.to_string());
        let taken =
            self.on(async move { platform.ingest(&topic, body.into(), BodyKind::Csv).await });
        taken.unwrap()
    }

    pub fn import(&self, topic: &str, sequence: u64, body: &str) -> Result<Ingested> {
        let (platform, topic, body) = (self.platform.clone(), topic.to_string(), body.to_string());
        self.on(async move {
            platform.ingest_import(&topic, "file", sequence, body.into(), ndjson(), None).await
        })
    }

    pub fn archive(&self) -> Result<()> {
        let platform = self.platform.clone();
        self.on(async move { platform.archive_now().await })
    }

    pub fn retention(&self) {
        let platform = self.platform.clone();
        self.on(async move { platform.retention_now().await }).unwrap();
    }

    /// Waits until a statement gives these rows (in any order).
    #[track_caller]
    pub fn until(&self, statement: &str, expected: &[String]) {
        let mut expected = expected.to_vec();
        expected.sort();
        let since = Instant::now();
        loop {
            let rows = self.sorted(statement);
            if rows == expected {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "{statement}: {rows:?}, expected {expected:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until `totals` is the batch answer over the same events.
    #[track_caller]
    pub fn until_equal(&self) {
        let expected = self.sorted(BATCH);
        self.until("SELECT * FROM totals", &expected);
    }

    #[track_caller]
    pub fn wait(&self, what: &str, mut is: impl FnMut(&Bench) -> bool) {
        let since = Instant::now();
        while !is(self) {
            assert!(since.elapsed() < PATIENCE, "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the log holds from each partition's start: its first offset.
    pub fn starts(&self, topic: &str) -> Vec<i64> {
        let (platform, topic) = (self.platform.clone(), topic.to_string());
        self.on(async move {
            let mut starts = vec![];
            for p in platform.partitions(&topic).unwrap() {
                let from = [(p, common::Offset(0))].into();
                let events = platform.read_topic(&topic, from, 1).await.unwrap();
                starts.extend(events.first().map(|e| e.offset.0));
            }
            starts
        })
    }

    pub fn close(self) -> Place {
        let opened = self.opened.clone();
        self.on(async move { opened.shutdown().await }).unwrap();
        let mut place = self.place.clone();
        place.now_us = common::Clock::now_us(&self.clock);
        place
    }

    pub fn reopen(self) -> Bench {
        self.close().start()
    }
}

pub fn ndjson() -> BodyKind {
    BodyKind::Json(ContentKind::Ndjson)
}

/// Events with these ids, of five keys.
pub fn events(ids: std::ops::Range<u64>) -> String {
    ids.map(|i| format!("{{\"id\":{i},\"k\":\"k{}\",\"v\":{i}}}\n", i % 5)).collect()
}

pub fn strings<T: ToString>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    values.into_iter().map(|v| v.to_string()).collect()
}

fn shown(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::Message(text) => vec![text.clone()],
        Outcome::Written(written) => vec![written.to_string()],
        Outcome::Rows { batches, .. } => batches.iter().flat_map(rows).collect(),
    }
}

pub fn rows(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> =
        batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let row = |i| columns.iter().map(|c| c.value(i).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

#[track_caller]
pub fn assert_kind(e: &Error, kind: Kind, says: &[&str]) {
    let text = match e.hint_text() {
        Some(hint) => format!("{e} ({hint})"),
        None => e.to_string(),
    };
    assert_eq!(e.kind(), kind, "{text}");
    for part in says {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}

/// All files below a folder.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}
