//! The crash loop: clients post batches while the real binary is killed with SIGKILL at random
//! moments and started again. At the end every acknowledged event must be there once, in the log,
//! in the archive and in the views, and the views must equal the batch answer.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::http::Client;
use crate::server::{Scratch, Server, free_port};
use crate::{Result, binary, flag};

const CLIENTS: u64 = 3;
const BATCH: u64 = 50;

const CONFIG: &str = "[lake]\narchive_interval = \"1 s\"\n[query]\nrows_max = 4000000000\n";
const DEFINITIONS: &str = r#"
CREATE TOPIC events (
  id TEXT NOT NULL, k TEXT, v BIGINT, at TIMESTAMP,
  WATERMARK FOR at AS at - INTERVAL '1 hour'
) WITH (partitions = 3, key = 'k');
CREATE TOPIC newest (id TEXT NOT NULL, k TEXT NOT NULL, v BIGINT)
WITH (partitions = 2, key = 'k', format = 'upsert');
"#;

/// Views, one for each operator with a state of its own.
const VIEWS: [(&str, &str); 9] = [
    ("totals", "SELECT k, count(*) AS n, sum(v) AS total, max(id) AS last FROM events GROUP BY k"),
    (
        "seconds",
        "SELECT k, window(at, '1 second') AS w, count(*) AS n, sum(v) AS total FROM events \
         GROUP BY k, window(at, '1 second')",
    ),
    (
        "sessions",
        "SELECT k, session_window(at, '2 seconds') AS w, count(*) AS n FROM events \
         WHERE v < 30 GROUP BY k, session_window(at, '2 seconds')",
    ),
    (
        "counted",
        "SELECT k, approx_percentile(v, 0.9) AS p, mode(v % 7) AS m, collect_set(v % 5) AS s, \
         approx_count_distinct(v) AS n FROM events GROUP BY k",
    ),
    (
        "last",
        "SELECT k, id, v FROM events QUALIFY \
              row_number() OVER (PARTITION BY k ORDER BY id DESC) <= 3",
    ),
    (
        "steps",
        "SELECT id, v, lag(id) OVER (PARTITION BY k ORDER BY id) AS before FROM events \
         WHERE v % 97 = 5",
    ),
    (
        "pairs",
        "SELECT a.k, count(*) AS n FROM events a LEFT JOIN events b \
         ON a.id = b.id AND b.v > 500 GROUP BY a.k",
    ),
    ("rows_now", "SELECT k, id, v FROM newest WHERE v > 100"),
    ("sum_now", "SELECT count(*) AS n, sum(v) AS total FROM newest"),
];

/// Events acknowledged, and those whose request failed half-way.
#[derive(Default)]
struct Ledger {
    acknowledged: Vec<String>,
    unknown: Vec<String>,
}

pub fn run(args: &[String]) -> Result<()> {
    let kills: u64 =
        flag(args, "--kills").map_or(Ok(50), |n| n.parse()).map_err(|e| format!("--kills: {e}"))?;
    let seed: u64 = match flag(args, "--seed") {
        Some(n) => n.parse().map_err(|e| format!("--seed: {e}"))?,
        None => std::time::UNIX_EPOCH.elapsed().map_or(1, |d| d.as_nanos() as u64),
    };
    let binary = binary(args)?;
    let project = Scratch::new("crash")?;
    project.write("watershed.toml", CONFIG)?;
    let views = VIEWS.map(|(name, query)| format!("CREATE MATERIALIZED VIEW {name} AS {query};\n"));
    project.write("sql/events.sql", &format!("{DEFINITIONS}{}", views.concat()))?;
    let log = project.0.join("server.log");
    println!("crash loop: {kills} kills, seed {seed}");
    let ledger = load(&binary, &project.0, &log, kills, seed)?;
    let report = balance(&binary, &project.0, &log, &ledger);
    if report.is_err() {
        let kept = std::env::temp_dir().join("watershed-crash.log");
        let _ = std::fs::copy(&log, &kept);
        eprintln!("the server's log is kept in {}", kept.display());
    }
    report.map_err(|e| format!("{e} (seed {seed})"))
}

fn load(binary: &Path, project: &Path, log: &Path, kills: u64, seed: u64) -> Result<Ledger> {
    let port = free_port()?;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let alive = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|c| {
            let (ledger, stop, alive) = (ledger.clone(), stop.clone(), alive.clone());
            std::thread::spawn(move || client(c, port, &ledger, &stop, &alive))
        })
        .collect();
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        let server = Server::start(binary, project, port, log)?;
        slowest = slowest.max(server.ready_after);
        alive.store(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(rng.random_range(20..1500)));
        server.kill()?;
        alive.store(0, Ordering::SeqCst);
    }
    stop.store(true, Ordering::SeqCst);
    for c in clients {
        c.join().map_err(|_| "a client panicked")?;
    }
    println!("slowest start to ready after a kill: {} ms", slowest.as_millis());
    let ledger = std::mem::take(&mut *ledger.lock().map_err(|_| "poisoned")?);
    Ok(ledger)
}

fn client(c: u64, port: u16, ledger: &Mutex<Ledger>, stop: &AtomicBool, alive: &AtomicU64) {
    let mut http = Client::new(port);
    let mut next = 0u64;
    while !stop.load(Ordering::SeqCst) {
        if alive.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        }
        let mut body = String::new();
        let mut ids = vec![];
        for _ in 0..BATCH {
            let id = format!("{c}-{next:08}");
            let (k, v) = (next % 17, next % 1000);
            let second = 1_767_225_600 + next / 500;
            body.push_str(&format!(
                "{{\"id\":\"{id}\",\"k\":\"k{k}\",\"v\":{v},\"at\":{}}}\n",
                second * 1000 + next % 1000
            ));
            ids.push(id);
            next += 1;
        }
        let path = "/api/topics/events";
        match http.request("POST", path, "application/x-ndjson", body.as_bytes()) {
            Ok((200, _)) => lock(ledger).acknowledged.extend(ids),
            Ok((status, _)) if status < 500 => {
                lock(ledger).unknown.push(format!("status {status}"))
            }
            _ => {
                lock(ledger).unknown.extend(ids);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        // Whether it was taken or not: the view has to be what batch says.
        let path = "/api/topics/newest";
        let _ = http.request("POST", path, "application/x-ndjson", body.as_bytes());
    }
}

fn lock(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn balance(binary: &Path, project: &Path, log: &Path, ledger: &Ledger) -> Result<()> {
    let port = free_port()?;
    let server = Server::start(binary, project, port, log)?;
    let mut http = Client::new(port);
    caught_up(&mut http)?;
    // Everything is archived now, so a read of the topic reads the archive.
    let mut times: HashMap<String, u64> = HashMap::new();
    for row in http.sql("SELECT id FROM events")? {
        *times.entry(row[0].as_str().unwrap_or_default().to_string()).or_default() += 1;
    }
    let lost = ledger.acknowledged.iter().filter(|id| !times.contains_key(*id)).count();
    let doubled = times.values().filter(|n| **n > 1).count();
    let mut known: std::collections::HashSet<&String> = ledger.acknowledged.iter().collect();
    known.extend(&ledger.unknown);
    let strangers = times.keys().filter(|id| !known.contains(id)).count();
    let mut differ = 0;
    let mut rows = vec![];
    for (name, query) in VIEWS {
        let (n, wrong) = differing(&mut http, name, query)?;
        rows.push(format!("{name} {wrong} of {n}"));
        // A view without rows proves nothing.
        differ += wrong + usize::from(n == 0);
    }
    let letters = http.get("/api/dead-letters?limit=1")?["total"].as_u64().unwrap_or_default();
    println!(
        "acknowledged {}, of unknown fate {} ({} of them stored), in the log and archive {}\n\
         lost {lost}, doubled {doubled}, never sent {strangers}, dead letters {letters}\n\
         view rows that differ from batch: {}",
        ledger.acknowledged.len(),
        ledger.unknown.len(),
        ledger.unknown.iter().filter(|id| times.contains_key(*id)).count(),
        times.len(),
        rows.join(", "),
    );
    server.stop()?;
    let wrong = lost + doubled + strangers + differ + letters as usize;
    match (wrong, ledger.acknowledged.is_empty()) {
        (0, false) => Ok(()),
        (0, true) => Err("no event was acknowledged: nothing was tested".into()),
        _ => Err("accounts do not balance".into()),
    }
}

/// Waits until views and archive have everything.
fn caught_up(http: &mut Client) -> Result<()> {
    let began = Instant::now();
    loop {
        let status: Value = http.get("/api/status")?;
        let lag = |list: &Value| -> u64 {
            list.as_array().into_iter().flatten().filter_map(|v| v["lag_events"].as_u64()).sum()
        };
        let behind = lag(&status["views"]) + lag(&status["archive"]);
        let epochs = status["views"].as_array().is_some_and(|v| !v.is_empty());
        if behind == 0 && epochs && began.elapsed() > Duration::from_secs(2) {
            return Ok(());
        }
        if began.elapsed() > Duration::from_secs(120) {
            return Err(format!("still {behind} events behind after 120 s: {status}"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The rows of a view, and how many differ from those of its query.
fn differing(http: &mut Client, name: &str, query: &str) -> Result<(usize, usize)> {
    let mut sorted = |query: &str| -> Result<Vec<String>> {
        let rows = http.sql(query).map_err(|e| format!("{name}: {e}"))?;
        let mut rows: Vec<String> = rows.into_iter().map(|r| Value::from(r).to_string()).collect();
        rows.sort();
        Ok(rows)
    };
    let (view, batch) = (sorted(&format!("SELECT * FROM {name}"))?, sorted(query)?);
    if let Some((has, wanted)) = view.iter().zip(&batch).find(|(a, b)| a != b) {
        println!("the first that differs of {name}: {has}, batch says {wanted}");
    }
    let pairs = view.iter().zip(&batch).filter(|(a, b)| a != b).count();
    Ok((view.len(), pairs + view.len().abs_diff(batch.len())))
}
