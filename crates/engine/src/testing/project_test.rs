//! `watershed test`: a project's `tests/*.toml` on a virtual clock. Each test readers rows at given
//! times, restarts and moves watermarks, and compares the view with the expected rows, in stream
//! and in batch.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arrow::array::RecordBatch;
use bytes::Bytes;
use common::{Error, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stores::project::{Project, files, read_toml};
use crate::stores::text::parse_rfc3339;
use crate::testing::replay::Replay;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    test: Vec<Test>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    name: String,
    view: String,
    #[serde(default)]
    step: Vec<Step>,
    expect: Expect,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at: Option<String>,
    into: Option<String>,
    #[serde(default)]
    rows: Vec<toml::Table>,
    /// Raw lines, for what does not parse.
    #[serde(default)]
    lines: Vec<String>,
    #[serde(default)]
    restart: bool,
    #[serde(default)]
    watermark: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    #[serde(default)]
    rows: Vec<toml::Table>,
    dead_letters: Option<usize>,
    #[serde(default)]
    dead_letter: Vec<BTreeMap<String, toml::Value>>,
}

/// How many files with tests there are; or all faults of their grammar.
pub(crate) fn files_of(project: &Project) -> Result<usize, Vec<Error>> {
    let paths = files(&project.dir.join("tests"), "toml").map_err(|e| vec![e])?;
    let read = |path: &PathBuf| read_toml::<File>(path, &project.relative(path)).err();
    let faults: Vec<Error> = paths.iter().filter_map(read).collect();
    if faults.is_empty() { Ok(paths.len()) } else { Err(faults) }
}

/// How a test ended.
#[derive(Clone, Debug, Serialize)]
pub struct TestResult {
    pub file: String,
    pub name: String,
    pub passed: bool,
    /// What differs, one line each.
    pub differences: Vec<String>,
    /// Why it could not be run to its end, as problem details.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Value>,
    /// How long it ran.
    pub seconds: f64,
}

/// All tests of a project.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TestReport {
    pub results: Vec<TestResult>,
    pub passed: usize,
    pub failed: usize,
}

impl TestReport {
    fn add(&mut self, file: &str, name: &str, ran: Result<Vec<String>, Vec<Error>>, from: Instant) {
        let (differences, problems) = match ran {
            Ok(differences) => (differences, vec![]),
            Err(faults) => (vec![], faults.iter().map(Error::to_json).collect()),
        };
        let passed = differences.is_empty() && problems.is_empty();
        self.passed += usize::from(passed);
        self.failed += usize::from(!passed);
        self.results.push(TestResult {
            file: file.into(),
            name: name.into(),
            passed,
            differences,
            problems,
            seconds: from.elapsed().as_secs_f64(),
        });
    }
}

/// Runs the tests whose name contains `filter`. One that can't be run has failed, and so has a file
/// that does not parse; the others are run. Only what stands under `sql/` must be without fault.
pub fn run<'a>(
    project: &'a Project,
    filter: Option<&'a str>,
) -> BoxFuture<'a, Result<TestReport, Vec<Error>>> {
    run_all(project, filter).boxed()
}

async fn run_all(project: &Project, filter: Option<&str>) -> Result<TestReport, Vec<Error>> {
    let texts = project.sql_texts().map_err(|e| vec![e])?;
    let mut report = TestReport::default();
    for path in files(&project.dir.join("tests"), "toml").map_err(|e| vec![e])? {
        let (shown, from) = (project.relative(&path), Instant::now());
        let file: File = match read_toml(&path, &shown) {
            Ok(file) => file,
            Err(e) => {
                report.add(&shown, "(the file)", Err(vec![e]), from);
                continue;
            }
        };
        for test in file.test {
            if filter.is_some_and(|f| !test.name.contains(f)) {
                continue;
            }
            let from = Instant::now();
            let folder = Scratch::new().map_err(|e| vec![e])?;
            let start = test.step.iter().find_map(|s| s.at.as_deref()).and_then(parse_rfc3339);
            let replay = Replay::open(&folder.0, &texts, start.unwrap_or_default()).await?;
            let ran = run_test(replay, &test).await.map_err(|e| vec![e]);
            report.add(&shown, &test.name, ran, from);
        }
    }
    Ok(report)
}

/// A folder that is removed again.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("watershed-test-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).map_err(|e| Error::io("making a test folder", e))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn run_test(mut replay: Replay, test: &Test) -> Result<Vec<String>> {
    for step in &test.step {
        run_step(&mut replay, test, step).await?;
    }
    compare(&replay, test).await
}

async fn run_step(replay: &mut Replay, test: &Test, step: &Step) -> Result<()> {
    if let Some(at) = &step.at {
        replay.clock.set(time(at)?);
    }
    if let Some(topic) = &step.into {
        let mut body = String::new();
        for row in &step.rows {
            body.push_str(&json(&toml::Value::Table(row.clone())).to_string());
            body.push('\n');
        }
        for line in &step.lines {
            body.push_str(line);
            body.push('\n');
        }
        replay.ingest(topic, Bytes::from(body)).await?;
        replay.catch_up(&test.view)?;
        replay.commit(&test.view)?;
    }
    for (topic, at) in &step.watermark {
        replay.advance_watermark(&test.view, topic, time(at)?)?;
        replay.commit(&test.view)?;
    }
    if step.restart {
        replay.crash(&test.view)?;
    }
    Ok(())
}

fn time(text: &str) -> Result<i64> {
    parse_rfc3339(text).ok_or_else(|| {
        Error::invalid(format!("'{text}' is not a time"))
            .hint("write it as \"2026-01-01T10:00:00Z\"")
    })
}

async fn compare(replay: &Replay, test: &Test) -> Result<Vec<String>> {
    let mut differences = vec![];
    let expected: Vec<Value> =
        test.expect.rows.iter().map(|r| json(&toml::Value::Table(r.clone()))).collect();
    for (mode, rows) in
        [("stream", replay.rows(&test.view)?), ("batch", replay.batch_rows(&test.view).await?)]
    {
        let actual = objects(&rows)?;
        differences.extend(difference(mode, &expected, &actual));
    }
    let letters = replay.dead_letters()?;
    if let Some(n) = test.expect.dead_letters
        && n != letters.len()
    {
        let reasons: Vec<String> =
            letters.iter().map(|l| format!("{}: {}", l.kind, l.reason)).collect();
        differences.push(format!(
            "expected {n} dead letters, there are {} [{}]",
            letters.len(),
            reasons.join("; ")
        ));
    }
    let shown: Vec<Value> =
        letters.iter().map(|l| serde_json::to_value(l).unwrap_or_default()).collect();
    for wanted in &test.expect.dead_letter {
        let found = shown.iter().any(|l| wanted.iter().all(|(k, v)| same(&json(v), &l[k])));
        if !found {
            let wanted: Vec<String> =
                wanted.iter().map(|(k, v)| format!("{k} = {}", json(v))).collect();
            differences.push(format!("there is no dead letter with {}", wanted.join(", ")));
        }
    }
    Ok(differences)
}

/// Rows as JSON objects.
fn objects(batch: &RecordBatch) -> Result<Vec<Value>> {
    let mut bytes = vec![b'['];
    formats::json::write_rows(batch, formats::json::Shape::Objects, &mut bytes)?;
    bytes.push(b']');
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::internal(format!("reading back the rows of a view: {e}")))
}

/// Expected rows name only the columns they care about; each must match a row of its own.
fn difference(mode: &str, expected: &[Value], actual: &[Value]) -> Vec<String> {
    let mut rest: Vec<&Value> = actual.iter().collect();
    let mut out = vec![];
    for row in expected {
        match rest.iter().position(|a| same(row, a)) {
            Some(i) => {
                rest.remove(i);
            }
            None => out.push(format!("{mode}: missing row {row}")),
        }
    }
    out.extend(rest.iter().map(|row| format!("{mode}: unexpected row {row}")));
    out
}

/// Whether `actual` has all that `expected` names; floats within 1e-9.
fn same(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(e), Value::Object(a)) => {
            e.iter().all(|(k, v)| a.get(k).is_some_and(|x| same(v, x)))
        }
        (Value::Array(e), Value::Array(a)) => {
            e.len() == a.len() && e.iter().zip(a).all(|(e, a)| same(e, a))
        }
        (Value::Number(e), Value::Number(a)) => match (e.as_f64(), a.as_f64()) {
            (Some(e), Some(a)) => (e - a).abs() <= 1e-9 * e.abs().max(a.abs()).max(1.0),
            _ => e == a,
        },
        // TOML has no null.
        (Value::String(e), Value::Null) => e == "NULL",
        (Value::String(e), Value::String(a)) => {
            e == a || matches!((parse_rfc3339(e), parse_rfc3339(a)), (Some(e), Some(a)) if e == a)
        }
        _ => expected == actual,
    }
}

fn json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(s) => s.as_str().into(),
        toml::Value::Integer(n) => (*n).into(),
        toml::Value::Float(n) => (*n).into(),
        toml::Value::Boolean(b) => (*b).into(),
        toml::Value::Datetime(d) => d.to_string().into(),
        toml::Value::Array(a) => a.iter().map(json).collect(),
        toml::Value::Table(t) => {
            Value::Object(t.iter().map(|(k, v)| (k.clone(), json(v))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn compares_what_is_named() {
        let actual = [json!({"k": "a", "n": 2.0, "x": null}), json!({"k": "b", "n": 1})];
        let expected = [json!({"k": "b"}), json!({"k": "a", "n": 2, "x": "NULL"})];
        assert!(difference("stream", &expected, &actual).is_empty());
        let expected = [json!({"k": "b"}), json!({"k": "c"})];
        assert_eq!(
            difference("batch", &expected, &actual),
            [
                "batch: missing row {\"k\":\"c\"}",
                "batch: unexpected row {\"k\":\"a\",\"n\":2.0,\"x\":null}"
            ]
        );
    }
}
