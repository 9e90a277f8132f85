//! `make bench-nexmark`: each query of Nexmark as a view over the same JSON events, from its
//! CREATE until it has all of them; how much it took for a core, and whether it has as many rows as
//! the query has in batch.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::http::Client;
use crate::nexmark::Generator;
use crate::server::{Scratch, Server, free_port};
use crate::{Result, binary, flag, root};

const EVENTS: u64 = 1_000_000;
/// Events of a request.
const BATCH: u64 = 10_000;
/// A view that has not come to the end by then is told so.
const LONGEST: Duration = Duration::from_secs(240);
const SIDE_ROWS: u64 = 12;

struct Measured {
    query: String,
    seconds: f64,
    cpu: f64,
    state: u64,
    rows: u64,
    /// What batch has.
    batch: Result<u64>,
}

pub fn run(args: &[String]) -> Result<()> {
    let binary = binary(args)?;
    let events = flag(args, "--events").map_or(Ok(EVENTS), |n| n.parse());
    let events = events.map_err(|e| format!("--events: {e}"))?;
    let only = flag(args, "--queries");
    let is_asked = |name: &str| only.as_ref().is_none_or(|o| o.split(',').any(|q| q == name));
    let (definitions, queries) = cases()?;
    let project = Scratch::new("bench-nexmark")?;
    project.write("sql/all.sql", &definitions)?;
    let server = Server::start(&binary, &project.0, free_port()?, &project.0.join("log.txt"))?;
    fill(server.port, events)?;
    let mut measured = vec![];
    for (name, query) in queries.iter().filter(|(name, _)| is_asked(name)) {
        let one = measure(&server, name, query)?;
        println!("{}", line(&one, events));
        measured.push(one);
    }
    server.stop()?;
    let table = table(&measured, events);
    println!("{table}");
    match only {
        Some(_) => Ok(()),
        None => crate::bench::write("bench-nexmark", &table),
    }
}

/// The definitions of the parity cases, and their queries.
fn cases() -> Result<(String, Vec<(String, String)>)> {
    let folder = root().join("tests/sql/nexmark_one");
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
    let tables = read(&folder.join("tables.txt"))?;
    let create = between(&tables, "create\n", "\ninput ").ok_or("tables.txt has no 'create'")?;
    // The log alone has the events, so that all queries read JSON.
    let create = create.replace("partitions = 1", "partitions = 1, archive = false");
    let mut queries = vec![];
    for number in 0..=22 {
        let name = format!("q{number:02}");
        let case = read(&folder.join(format!("{name}.slt")))?;
        let query = between(&case, "view\n", "\n----").ok_or(format!("{name}: no view"))?;
        queries.push((name, query.to_string()));
    }
    Ok((create, queries))
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(inside, _)| inside)
}

fn fill(port: u16, events: u64) -> Result<()> {
    let mut http = Client::new(port);
    let mut post = |topic: &str, body: &str| {
        let path = format!("/api/topics/{topic}");
        let (status, answer) =
            http.request("POST", &path, "application/x-ndjson", body.as_bytes())?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        match status == 200 && answer.contains("\"refused\":0") {
            true => Ok(()),
            false => Err(format!("status {status}: {answer}")),
        }
    };
    let side = |key| format!("{{\"key\":{key},\"value\":\"side {key}\"}}\n");
    post("side_input", &(0..SIDE_ROWS).map(side).collect::<String>())?;
    let mut generator = Generator::new(42);
    let mut body = String::new();
    for sent in (0..events).step_by(BATCH as usize) {
        body.clear();
        (sent..events.min(sent + BATCH)).for_each(|_| generator.next_into(&mut body));
        post("nexmark", &body)?;
    }
    Ok(())
}

fn measure(server: &Server, name: &str, query: &str) -> Result<Measured> {
    let mut http = Client::new(server.port);
    let (began, before) = (Instant::now(), server.cpu_seconds()?);
    statement(&mut http, &format!("CREATE MATERIALIZED VIEW {name} AS {query}"))?;
    let (state, rows) = loop {
        let status = http.get("/api/status")?;
        let view = &status["views"][0];
        if view["state"] == "failed" {
            return Err(format!("{name}: {}", view["error"]));
        }
        if view["lag_events"] == 0 && view["state"] == "running" {
            break (view["state_bytes"].as_u64(), view["rows"].as_u64());
        }
        if began.elapsed() > LONGEST {
            return Err(format!("{name}: still {} events behind", view["lag_events"]));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), server.cpu_seconds()? - before);
    let batch = http.sql(&format!("SELECT count(*) FROM ({query}) AS q"));
    let count = |rows: Vec<Vec<serde_json::Value>>| rows.first()?.first()?.as_u64();
    let batch = batch.and_then(|rows| count(rows).ok_or_else(|| "no count".to_string()));
    statement(&mut http, &format!("DROP MATERIALIZED VIEW {name}"))?;
    let (state, rows) = (state.unwrap_or_default(), rows.unwrap_or_default());
    Ok(Measured { query: name.to_string(), seconds, cpu, state, rows, batch })
}

fn statement(http: &mut Client, text: &str) -> Result<()> {
    let body = serde_json::json!({ "query": text }).to_string();
    let (status, answer) = http.request("POST", "/api/sql", "application/json", body.as_bytes())?;
    match status {
        200 => Ok(()),
        _ => Err(format!("{text}: {}", String::from_utf8_lossy(&answer))),
    }
}

fn line(one: &Measured, events: u64) -> String {
    let Measured { query, seconds, cpu, state, rows, batch } = one;
    let same = match batch {
        Ok(n) if n == rows => "as batch".to_string(),
        Ok(n) => format!("batch has {n}"),
        Err(e) => format!("batch: {}", e.chars().take(80).collect::<String>()),
    };
    format!(
        "| {query} | {:.0} | {:.0} | {cpu:.1} | {:.0} | {rows} | {same} |",
        events as f64 / seconds / 1e3,
        events as f64 / cpu / 1e3,
        *state as f64 / 1e6,
    )
}

fn table(measured: &[Measured], events: u64) -> String {
    let mut out = String::from(
        "| query | K events/s | K events per core-second | CPU s | state, MB | rows | checked |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for one in measured {
        out.push_str(&line(one, events));
        out.push('\n');
    }
    let logs: f64 = measured.iter().map(|m| (events as f64 / m.cpu).ln()).sum();
    let mean = (logs / measured.len().max(1) as f64).exp();
    out.push_str(&format!(
        "\n{events} events as JSON in one topic with one partition; each query a materialized view \
         (rows written, each epoch one durable commit), from CREATE to lag 0; CPU of the whole \
         server. Geometric mean: {:.0} K events per core-second. Machine: {}.\n",
        mean / 1e3,
        crate::bench::machine()
    ));
    out
}
