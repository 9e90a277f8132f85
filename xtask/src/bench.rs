//! `make bench-spine`: start, memory, size and ingest of the optimised binary, as a table on the
//! terminal and in docs/benchmarks.md. Machines are noisy: medians of several rounds, with spread.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::http::Client;
use crate::server::{Scratch, Server, free_port};
use crate::{Result, binary, flag, root};

const ROUNDS: usize = 5;
const CONNECTIONS: u64 = 4;
const BATCH: u64 = 1_000;
const SECONDS: u64 = 6;

const TOPIC: &str = r#"
CREATE TOPIC events (
  id BIGINT, sensor TEXT, kind TEXT, value DOUBLE, unit TEXT, note TEXT, at TIMESTAMP,
  WATERMARK FOR at AS at - INTERVAL '5 seconds'
) WITH (partitions = 4);
"#;
const VIEW: &str = r#"
CREATE MATERIALIZED VIEW minutes AS
SELECT sensor, window(at, '1 minute') AS w, count(*) AS n, avg(value) AS value
FROM events GROUP BY sensor, window(at, '1 minute');
"#;

struct Figure {
    name: &'static str,
    goal: &'static str,
    value: String,
}

pub fn run(args: &[String]) -> Result<()> {
    let binary = binary(args)?;
    let mut figures = vec![];
    figures.push(start_to_ready(&binary)?);
    figures.push(idle_memory(&binary)?);
    let size = std::fs::metadata(&binary).map_err(|e| e.to_string())?.len();
    figures.push(Figure {
        name: "binary size",
        goal: "",
        value: format!("{:.0} MB", size as f64 / 1e6),
    });
    figures.extend(ingest(&binary, "HTTP ingest, log only", "", "")?);
    figures.extend(ingest(&binary, "HTTP ingest with a minute view", VIEW, "")?);
    let each = "the same, each reader decoding (`log.row_cache_bytes = 0`)";
    figures.extend(ingest(&binary, each, VIEW, "[log]\nrow_cache_bytes = \"0\"\n")?);
    for (option, name, goal) in [
        ("--cold-build-seconds", "cold build of make demo", "< 25 min"),
        ("--rebuild-seconds", "rebuild of make demo after one line of the engine", ""),
    ] {
        if let Some(seconds) = flag(args, option) {
            figures.push(Figure { name, goal, value: format!("{seconds} s") });
        }
    }
    let table = table(&figures);
    println!("{table}");
    write("bench-spine", &table)
}

/// The middle value, the smallest and the largest.
pub fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |i: usize| values.get(i).copied().unwrap_or_default();
    (at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
}

fn start_to_ready(binary: &Path) -> Result<Figure> {
    let project = Scratch::new("bench-start")?;
    project.write("sql/all.sql", &format!("{TOPIC}{VIEW}"))?;
    let log = project.0.join("log.txt");
    let mut times = vec![];
    for round in 0..=ROUNDS {
        let server = Server::start(binary, &project.0, free_port()?, &log)?;
        // The first start makes the project; what is measured is an existing one.
        if round == 0 {
            post_for(server.port, 2, 0)?;
        } else {
            times.push(server.ready_after.as_secs_f64() * 1000.0);
        }
        server.stop()?;
    }
    let (mid, min, max) = median(times);
    Ok(Figure {
        name: "start to ready, existing project",
        goal: "< 1 s",
        value: format!("{mid:.0} ms ({min:.0}–{max:.0})"),
    })
}

fn idle_memory(binary: &Path) -> Result<Figure> {
    let project = Scratch::new("bench-idle")?;
    copy(&root().join("examples/sensors"), &project.0)?;
    let server = Server::start(binary, &project.0, free_port()?, &project.0.join("log.txt"))?;
    std::thread::sleep(Duration::from_secs(20));
    let cpu = server.cpu_seconds()?;
    std::thread::sleep(Duration::from_secs(10));
    let cpu = (server.cpu_seconds()? - cpu) * 10.0;
    let memory = server.memory()?;
    server.stop()?;
    Ok(Figure {
        name: "memory of the demo after 30 s",
        goal: "< 150 MB",
        value: format!("{:.0} MB, {cpu:.1} % of a core", memory as f64 / 1e6),
    })
}

/// `settings` are those of the project, as `watershed.toml` has them.
fn ingest(binary: &Path, name: &'static str, view: &str, settings: &str) -> Result<Vec<Figure>> {
    let mut rates = vec![];
    let mut cpu_per_million = vec![];
    for _ in 0..3 {
        let project = Scratch::new("bench-ingest")?;
        project.write("sql/all.sql", &format!("{TOPIC}{view}"))?;
        project.write("watershed.toml", settings)?;
        let server = Server::start(binary, &project.0, free_port()?, &project.0.join("log.txt"))?;
        let before = server.cpu_seconds()?;
        let began = Instant::now();
        let mut threads = vec![];
        for c in 0..CONNECTIONS {
            let port = server.port;
            threads.push(std::thread::spawn(move || post_for(port, SECONDS, c)));
        }
        let mut n = 0;
        for t in threads {
            n += t.join().map_err(|_| "a client panicked")??;
        }
        rates.push(n as f64 / began.elapsed().as_secs_f64());
        cpu_per_million.push((server.cpu_seconds()? - before) / (n as f64 / 1e6));
        server.stop()?;
    }
    let (mid, min, max) = median(rates);
    let (cpu, _, _) = median(cpu_per_million);
    Ok(vec![Figure {
        name,
        goal: "",
        value: format!(
            "{:.0} K events/s ({:.0}–{:.0}), {cpu:.1} CPU s per million",
            mid / 1e3,
            min / 1e3,
            max / 1e3
        ),
    }])
}

/// Posts batches of 200-byte events for some seconds; returns the events acknowledged.
fn post_for(port: u16, seconds: u64, connection: u64) -> Result<u64> {
    let mut http = Client::new(port);
    let mut body = String::new();
    for i in 0..BATCH {
        let id = connection * 1_000_000_000 + i;
        body.push_str(&format!(
            "{{\"id\":{id:010},\"sensor\":\"sensor-{:04}\",\"kind\":\"temperature\",\"value\":{}.25,\
             \"unit\":\"celsius\",\"note\":\"a note of some length that makes two hundred bytes\",\
             \"at\":\"2026-01-01T10:00:{:02}.123Z\"}}\n",
            i % 500, i % 90, i % 59
        ).replace("\"id\":0", "\"id\":1"));
    }
    let began = Instant::now();
    let mut n = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        let (status, answer) =
            http.request("POST", "/api/topics/events", "application/x-ndjson", body.as_bytes())?;
        if status != 200 {
            return Err(format!("status {status}: {}", String::from_utf8_lossy(&answer)));
        }
        n += BATCH;
    }
    Ok(n)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let fault = |e: std::io::Error| format!("copying {}: {e}", from.display());
    for entry in std::fs::read_dir(from).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let target = to.join(entry.file_name());
        if entry.file_name() == "data" {
            continue;
        }
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).map_err(fault)?;
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target).map_err(fault)?;
        }
    }
    Ok(())
}

fn table(figures: &[Figure]) -> String {
    let mut out = String::from("| figure | goal | measured |\n| --- | --- | --- |\n");
    for f in figures {
        out.push_str(&format!("| {} | {} | {} |\n", f.name, f.goal, f.value));
    }
    out.push_str(&format!("\nMachine: {}.\n", machine()));
    out
}

pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|l| l.starts_with("model name"));
    let model = model.and_then(|l| l.split(':').nth(1)).unwrap_or("unknown CPU").trim();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = Command::new("uname").arg("-r").output().map(|o| o.stdout).unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}", String::from_utf8_lossy(&kernel).trim())
}

/// Replaces a table in docs/benchmarks.md.
pub fn write(name: &str, table: &str) -> Result<()> {
    let (begins, ends) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let path = root().join("docs/benchmarks.md");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let (Some(begin), Some(end)) = (text.find(&begins), text.find(&ends)) else {
        return Err(format!("{} has no {begins} … {ends}", path.display()));
    };
    let new = format!("{}{begins}\n\n{table}\n{}", &text[..begin], &text[end..]);
    std::fs::write(&path, new).map_err(|e| format!("{}: {e}", path.display()))
}
