//! `watershed backup` and `restore`: a copy of a platform under load is one moment of it, a damaged
//! one is refused, and data folders that do not belong together are found.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kafka::Broker;
use crate::kafka_groups::Transaction;
use crate::support::{MINUTES, PATIENCE, Project, READINGS, Ran, Server, try_send};

const BANK: &str = "
    CREATE TOPIC transfers (payer TEXT, payee TEXT, cents BIGINT) WITH (partitions = 3);
    CREATE TOPIC debits (n BIGINT) WITH (partitions = 1);
    CREATE TOPIC credits (n BIGINT) WITH (partitions = 1);
    CREATE MATERIALIZED VIEW balances AS
    SELECT account, sum(cents) AS cents, count(*) AS n FROM (
      SELECT payer AS account, -cents AS cents FROM transfers
      UNION ALL SELECT payee AS account, cents FROM transfers)
    GROUP BY account;
    CREATE MATERIALIZED VIEW debited AS SELECT n % 7 AS k, count(*) AS rows FROM debits GROUP BY n % 7;
    CREATE MATERIALIZED VIEW credited AS SELECT n % 7 AS k, count(*) AS rows FROM credits GROUP BY n % 7;
";

/// What was acknowledged.
#[derive(Default)]
struct Load {
    transfers: AtomicU64,
    transactions: AtomicU64,
    stop: AtomicBool,
}

impl Load {
    /// Twenty transfers a request.
    fn transfer(&self, address: &str) {
        for i in (0..).step_by(20) {
            let row = |i: u64| {
                let (payer, payee) = (i % 13, (i * 7 + 1) % 13);
                format!("{{\"payer\":\"a{payer}\",\"payee\":\"a{payee}\",\"cents\":{}}}\n", i % 97)
            };
            let body: String = (i..i + 20).map(row).collect();
            let path = "/api/topics/transfers";
            let answer = try_send(address, "POST", path, &[], body.as_bytes()).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            self.transfers.fetch_add(20, Ordering::SeqCst);
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// One record to each of two topics, or to none.
    fn transact(&self, broker: std::net::TcpStream) {
        let mut socket = broker;
        for i in 0.. {
            let mut txn = Transaction::begin(&mut socket, "bank", 4);
            let value = format!("{{\"n\":{i}}}");
            for topic in ["debits", "credits"] {
                assert_eq!(txn.add(topic, 0, 3), 0);
                assert_eq!(txn.send(topic, &value, 0), 0);
            }
            let commits = i % 5 != 4;
            assert_eq!(txn.end(commits, 4), 0);
            self.transactions.fetch_add(u64::from(commits), Ordering::SeqCst);
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    fn now(&self) -> (u64, u64) {
        (self.transfers.load(Ordering::SeqCst), self.transactions.load(Ordering::SeqCst))
    }
}

/// Tells the load to stop, also when a check fails.
struct Stop<'a>(&'a Load);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_backup_under_load_is_one_moment() {
    let often = [
        "--set",
        "lake.archive_interval=1 s",
        "--set",
        "log.retention_interval=1 s",
        "--set",
        "log.segment_bytes_max=64 KiB",
    ];
    let broker = Broker::start(BANK, &often);
    let load = Load::default();
    let mut taken = vec![];
    thread::scope(|scope| {
        let address = broker.server.address.clone();
        let socket = broker.connect();
        let load = &load;
        scope.spawn(move || load.transfer(&address));
        scope.spawn(move || load.transact(socket));
        let _stop = Stop(load);
        for n in 1..=3 {
            let (transfers, transactions) = load.now();
            let until = std::time::Instant::now() + PATIENCE;
            while load.now().0 < transfers + 400 || load.now().1 < transactions + 20 {
                assert!(std::time::Instant::now() < until, "the load stands still");
                thread::sleep(Duration::from_millis(20));
            }
            let before = load.now();
            let ran = broker.server.run(&["backup", &format!("backups/{n}")]).ok();
            assert!(ran.out.contains("has the project as of"), "{}", ran.out);
            taken.push((n, before, load.now()));
        }
    });
    let source = broker.server.kill();
    for (n, before, after) in taken {
        let copy = Project::empty();
        let from = source.path().join(format!("backups/{n}"));
        let ran = run(&copy, &["restore", &from.display().to_string(), "."]);
        assert!(ran.ok().out.contains("start it: watershed serve ."));
        run(&copy, &["doctor", "--deep"]).ok();
        balances(Broker::on(copy, &[]).server, before, after);
    }
}

fn run(project: &Project, arguments: &[&str]) -> Ran {
    let unused = ("WATERSHED_URL", "http://127.0.0.1:1");
    Ran::new(&project.command(arguments).env(unused.0, unused.1).output().unwrap())
}

/// All that was acknowledged before the backup and nothing by halves.
fn balances(server: Server, before: (u64, u64), after: (u64, u64)) {
    server.settle();
    let number = |query: &str| server.sql(query)[0][0].as_u64().unwrap_or_default();
    let transfers = number("SELECT count(*) FROM transfers");
    // A request may be in the log and not yet answered.
    assert!((before.0..=after.0 + 20).contains(&transfers), "{transfers} {before:?} {after:?}");
    assert_eq!(server.sql("SELECT sum(cents), sum(n) FROM balances"), json!([[0, 2 * transfers]]));
    let batch = "SELECT account, sum(cents) AS cents, count(*) AS n FROM (
        SELECT payer AS account, -cents AS cents FROM transfers
        UNION ALL SELECT payee AS account, cents FROM transfers) GROUP BY account ORDER BY account";
    assert_eq!(server.sql("SELECT * FROM balances ORDER BY account"), server.sql(batch));
    // A transaction whose end was decided and not yet written everywhere is ended at the start; one
    // that was open is seen by nobody.
    let side = |s: &Server, topic: &str| s.sql(&format!("SELECT n FROM {topic} ORDER BY n"));
    server.wait_until("both sides", |s| side(s, "debits") == side(s, "credits"));
    server.settle();
    let sides = ["debits", "credits"].map(|topic| side(&server, topic));
    assert_eq!(sides[0], sides[1]);
    let committed = sides[0].as_array().unwrap().len() as u64;
    assert!((before.1..=after.1 + 1).contains(&committed), "{committed} {before:?} {after:?}");
    for (view, topic) in [("debited", "debits"), ("credited", "credits")] {
        assert_eq!(number(&format!("SELECT sum(rows) FROM {view}")), committed, "{topic}");
    }
    // It goes on where it was.
    let row = "{\"payer\":\"x\",\"payee\":\"y\",\"cents\":5}\n";
    assert_eq!(server.post("/api/topics/transfers", row).status, 200);
    server.settle();
    let payee = "SELECT cents FROM balances WHERE account = 'y'";
    assert_eq!(server.sql(payee), json!([[5]]));
    assert_eq!(number("SELECT count(*) FROM transfers"), transfers + 1);
}

fn some_readings(server: &Server) {
    let row = |i: i32| {
        format!(
            "{{\"sensor\":\"s{}\",\"celsius\":{i},\"at\":\"2026-01-01T00:00:{i:02}Z\"}}\n",
            i % 3
        )
    };
    let body: String = (10..40).map(row).collect();
    assert_eq!(server.post("/api/topics/readings", body).status, 200);
    server.settle();
}

#[test]
fn a_damaged_backup_is_refused() {
    let project = Project::new(&format!("{READINGS}{MINUTES}"));
    project.write("notes.txt", "not part of it");
    let server = project.serve(&[]);
    some_readings(&server);
    server.run(&["sql", "CREATE USER ada PASSWORD 'long enough, and more'"]).ok();
    let rows = server.sql("SELECT * FROM minute_avg ORDER BY sensor");
    let denied = server.run(&["backup", "/nowhere/else"]);
    assert_eq!(denied.code, 5, "{}", denied.err);
    assert!(denied.err.contains("files.allowed"), "{}", denied.err);
    let (_, project) = server.stop();
    // Nothing runs: the folder itself is opened.
    let ran = run(&project, &["backup", "saved", "--json"]).ok();
    let done: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(done["records"], 30);
    assert_eq!(run(&project, &["backup", "saved"]).code, 4, "it is not replaced");
    let saved = project.path().join("saved");
    assert!(!saved.join("notes.txt").exists());
    let copy = Project::empty();
    let target = copy.path().display().to_string();
    let restored = |project: &Project| run(project, &["restore", "saved", &target]);
    let users = saved.join("data/users.json");
    let bytes = std::fs::read(&users).unwrap();
    std::fs::write(&users, [&bytes[..], b" "].concat()).unwrap();
    let ran = restored(&project);
    assert_eq!(ran.code, 9, "{}", ran.err);
    assert!(ran.err.contains("data/users.json' is not what was backed up"), "{}", ran.err);
    std::fs::remove_file(&users).unwrap();
    assert!(restored(&project).err.contains("has lost"));
    assert_eq!(std::fs::read_dir(copy.path()).unwrap().count(), 0, "nothing was written");
    std::fs::write(&users, bytes).unwrap();
    std::fs::rename(saved.join("backup.json"), saved.join("backup")).unwrap();
    assert!(restored(&project).err.contains("is no whole backup"));
    std::fs::rename(saved.join("backup"), saved.join("backup.json")).unwrap();
    restored(&project).ok();
    assert_eq!(restored(&project).code, 4, "the folder is not empty any more");
    let server = copy.serve(&[]);
    assert_eq!(server.sql("SELECT * FROM minute_avg ORDER BY sensor"), rows);
    assert!(server.run(&["sql", "SHOW USERS"]).ok().out.contains("ada"));
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
}

/// As `cp -r` of a running platform may leave it: each store of another moment.
#[test]
fn stores_of_different_moments_are_found() {
    let server = Project::new(&format!("{READINGS}{MINUTES}")).serve(&[]);
    some_readings(&server);
    let (_, project) = server.stop();
    let aside = tempfile::TempDir::new().unwrap();
    copy_folder(&project.path().join("data"), aside.path());
    let server = project.serve(&[]);
    some_readings(&server);
    let (_, project) = server.stop();
    // The log is older than what follows it.
    let log = project.path().join("data/log");
    std::fs::remove_dir_all(&log).unwrap();
    copy_folder(&aside.path().join("log"), &log);
    let found = run(&project, &["doctor", "--deep"]);
    assert_eq!(found.code, 9, "{}{}", found.out, found.err);
    assert!(found.out.contains("are not of one moment"), "{}", found.out);
    let server = project.serve(&[]);
    let stopped = || server.get("/api/views").json()[0]["error"].clone();
    server.wait_until("stopped", |_| stopped().is_object());
    assert!(stopped()["detail"].as_str().unwrap().contains("are not of one moment"));
    let said = server.run(&["doctor"]);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains("view rebuild minute_avg"), "{}", said.out);
    let read = "SELECT sum(n) FROM minute_avg";
    assert_eq!(server.run(&["sql", read]).code, 8);
    server.run(&["view", "rebuild", "minute_avg"]).ok();
    server.settle();
    assert_eq!(server.sql(read), json!([[30]]));
    assert_eq!(server.run(&["view", "rebuild", "minutes"]).code, 3);
}
