//! The parity suite: every case of `tests/sql/**/*.slt` has one expected answer and is run in
//! batch, in stream in small random batches, and in stream killed at random commits and restored.
//! Run by `make parity`, `CASES=joins` some of it; `BLESS=1` rewrites the expected rows from the
//! batch run.
//!
//! A case file holds sections, each begun by a word at the start of a line:
//! `create` SQL definitions · `input TOPIC` rows as JSON lines · `view` a query, then `----` and
//! its rows (`|` between columns, sorted) · `error` a query, then `----` and the error's text ·
//! `late N` rows that must be dead letters · `exclude MODE: reason` · `with FILE` the definitions of
//! a file that several cases share, and its inputs of the topics the query names · `#` comments.

use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use engine::replay::Replay;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

#[derive(Default)]
struct Case {
    create: String,
    inputs: Vec<(String, String)>,
    view: String,
    error: bool,
    expected: Vec<String>,
    late: usize,
    excluded: Vec<String>,
    shares: bool,
}

/// What a mode gave, as text, and which columns are floats.
struct Rows {
    rows: Vec<Vec<String>>,
    floats: Vec<bool>,
}

/// DataFusion plans recursively; debug builds need deep stacks.
const STACK: usize = 64 << 20;

// A test for each, so that they share the machine's cores.

#[test]
fn batch() {
    in_mode("batch");
}

#[test]
fn stream() {
    in_mode("stream");
}

#[test]
fn restored() {
    in_mode("restored");
}

fn in_mode(mode: &'static str) {
    let cases = std::thread::Builder::new().stack_size(STACK);
    let failed = cases.spawn(move || all_cases(mode)).unwrap().join().unwrap();
    assert!(failed.is_empty(), "{} failed\n{}", failed.len(), failed.join("\n"));
}

/// Says which cases failed, and why.
fn all_cases(mode: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql");
    let filter = std::env::var("CASES").unwrap_or_default();
    let filter: Vec<&str> = filter.split(',').collect();
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(1, |d| d.as_nanos() as u64));
    let bless = std::env::var_os("BLESS").is_some();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut passed, mut excluded, mut cases, mut failed) = (0, 0, 0, vec![]);
    for path in slt_files(&root) {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        if !filter.iter().any(|f| name.contains(f)) {
            continue;
        }
        cases += 1;
        let text = fs::read_to_string(&path).unwrap();
        let case = parse(&root, &text).unwrap_or_else(|e| panic!("{name}: {e}"));
        if bless {
            if mode == "batch" {
                let rows = runtime.block_on(run(&case, mode, seed));
                let rows = rows.unwrap_or_else(|e| Rows::text(&e));
                fs::write(&path, blessed(&text, &rows.lines())).unwrap();
            }
            continue;
        }
        if case.excluded.iter().any(|e| e == mode) || (case.error && mode == "restored") {
            excluded += usize::from(!case.error);
            continue;
        }
        match check(&case, runtime.block_on(run(&case, mode, seed))) {
            Ok(()) => passed += 1,
            Err(why) => failed.push(format!("{name} [{mode}] (SEED={seed})\n{why}")),
        }
    }
    eprintln!("{mode}: {cases} cases, {excluded} excluded, {passed} passed, SEED={seed}");
    assert!(cases > 0, "no case has such a name");
    failed
}

fn slt_files(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut pending = vec![root.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).expect("tests/sql is there") {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "slt") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn parse(root: &Path, text: &str) -> Result<Case, String> {
    let mut case = sections(root, text)?;
    if case.view.trim().is_empty() {
        return Err("there is no view".into());
    }
    if case.shares {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let named: Vec<&str> = case.view.split(|c| !word(c)).collect();
        case.inputs.retain(|(topic, _)| named.contains(&topic.as_str()));
    }
    Ok(case)
}

fn sections(root: &Path, text: &str) -> Result<Case, String> {
    let mut case = Case::default();
    let mut section = String::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let starts = !line.starts_with([' ', '{', '|', '-']);
        match words.next() {
            Some(word @ ("create" | "view" | "error")) if starts && words.next().is_none() => {
                section = word.to_string();
                case.error |= word == "error";
            }
            Some("input") if starts && line.split_whitespace().count() == 2 => {
                section = "input".into();
                case.inputs.push((line.split_whitespace().nth(1).unwrap().into(), String::new()));
            }
            Some("late") if starts && line.split_whitespace().count() == 2 => {
                let n = line.split_whitespace().nth(1).unwrap();
                case.late = n.parse().map_err(|_| format!("late '{n}'"))?;
            }
            Some("with") if starts && section.is_empty() => {
                let file = root.join(line.trim_start_matches("with").trim());
                let shared = fs::read_to_string(&file).map_err(|e| format!("{line}: {e}"))?;
                case = Case { shares: true, ..sections(root, &shared)? };
            }
            Some("exclude") if starts => {
                let rest = line.trim_start_matches("exclude").trim();
                let (mode, reason) = rest.split_once(':').ok_or("an exclusion needs a reason")?;
                if reason.trim().len() < 8 {
                    return Err(format!("exclude {mode}: say why"));
                }
                case.excluded.push(mode.trim().into());
            }
            _ if line.starts_with('#') => {}
            _ if line == "----" => section = "rows".into(),
            _ => match section.as_str() {
                "create" => case.create.push_str(&format!("{line}\n")),
                "view" | "error" => case.view.push_str(&format!("{line}\n")),
                "input" if !line.trim().is_empty() => {
                    case.inputs.last_mut().unwrap().1.push_str(&format!("{line}\n"));
                }
                "rows" if !line.is_empty() => case.expected.push(line.into()),
                _ => {}
            },
        }
    }
    Ok(case)
}

fn blessed(text: &str, rows: &[String]) -> String {
    let head = text.split("\n----").next().unwrap();
    let mut out = format!("{}\n----\n", head.trim_end());
    for row in rows {
        out.push_str(row);
        out.push('\n');
    }
    out
}

/// The rows of a mode, sorted; Err is the text of the error the case ends with.
async fn run(case: &Case, mode: &str, seed: u64) -> Result<Rows, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let text = format!(
        "{};\nCREATE MATERIALIZED VIEW the_view{} AS {}",
        case.create.trim().trim_end_matches(';'),
        // Else the faulty row alone is left out.
        if case.error { " WITH (on_error = 'stop')" } else { "" },
        case.view.trim()
    );
    let texts = [sql::Text { file: None, text: text.as_str().into() }];
    let mut replay = Replay::open(dir.path(), &texts, 1_767_225_600_000_000)
        .await
        .map_err(|e| e.iter().map(message).collect::<Vec<_>>().join("\n"))?;
    if mode == "restored" {
        // A plan that came out in another way at the next start could not take up its state.
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let again = Replay::open(dir.path(), &texts, 1_767_225_600_000_000).await;
        let again = again.map_err(|e| e.iter().map(message).collect::<Vec<_>>().join("\n"))?;
        assert_eq!(replay.fingerprint("the_view"), again.fingerprint("the_view"));
        assert!(again.fingerprint("the_view").is_some_and(|f| f.contains("plan-")));
    }
    let mut rng = SmallRng::seed_from_u64(seed ^ mode.len() as u64);
    for piece in pieces(case, mode, &mut rng) {
        let answer =
            replay.ingest(&piece.0, Bytes::from(piece.1)).await.map_err(|e| message(&e))?;
        if answer.refused > 0 {
            return Err(format!("inputs of cases must be good: {:?}", answer.errors));
        }
        if mode == "batch" && case.late == 0 {
            continue;
        }
        replay.catch_up("the_view").map_err(|e| message(&e))?;
        if rng.random_bool(0.5) {
            replay.commit("the_view").map_err(|e| message(&e))?;
        }
        if mode == "restored" && rng.random_bool(0.3) {
            replay.crash("the_view").map_err(|e| message(&e))?;
        }
    }
    if mode != "batch" || case.late > 0 {
        replay.catch_up("the_view").map_err(|e| message(&e))?;
        replay.commit("the_view").map_err(|e| message(&e))?;
    }
    let letters = replay.dead_letters().map_err(|e| message(&e))?;
    let late = letters.iter().filter(|l| l.view.as_deref() == Some("the_view")).count();
    if late != case.late {
        return Err(format!("{} late rows expected, got {late}: {letters:?}", case.late));
    }
    let batch = match mode {
        "batch" => replay.batch_rows("the_view").await.map_err(|e| message(&e))?,
        _ => replay.rows("the_view").map_err(|e| message(&e))?,
    };
    rows(&batch).map_err(|e| e.to_string())
}

/// Inputs cut into pieces: topics interleaved at random, the rows of a topic in their order. A
/// case with late rows is not interleaved, for lateness depends on the order.
fn pieces(case: &Case, mode: &str, rng: &mut SmallRng) -> Vec<(String, String)> {
    let mut queues: Vec<(String, Vec<String>)> = vec![];
    for (topic, body) in &case.inputs {
        let mut lines: Vec<&str> = body.lines().collect();
        let mut parts = vec![];
        while !lines.is_empty() {
            let n = match (case.late, mode) {
                (0, "batch") => lines.len(),
                (0, _) => rng.random_range(1..=3),
                // What is late is known between batches.
                _ => 1,
            };
            let part: Vec<&str> = lines.drain(..n.min(lines.len())).collect();
            parts.push(part.join("\n"));
        }
        queues.push((topic.clone(), parts));
    }
    let mut order: Vec<usize> = vec![];
    for (i, (_, parts)) in queues.iter().enumerate() {
        order.extend(std::iter::repeat_n(i, parts.len()));
    }
    if case.late == 0 {
        order.shuffle(rng);
    }
    let mut queues: Vec<_> =
        queues.into_iter().map(|(topic, parts)| (topic, parts.into_iter())).collect();
    order.into_iter().map(|i| (queues[i].0.clone(), queues[i].1.next().unwrap())).collect()
}

fn message(e: &common::Error) -> String {
    match e.hint_text() {
        Some(hint) => format!("{} ({hint})", e.message()),
        None => e.message().to_string(),
    }
}

fn rows(batch: &RecordBatch) -> Result<Rows, ArrowError> {
    let options = FormatOptions::default().with_null("NULL");
    let columns = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let row = |i| columns.iter().map(|c| c.value(i).to_string()).collect::<Vec<_>>();
    let mut rows: Vec<Vec<String>> = (0..batch.num_rows()).map(row).collect();
    rows.sort_by_key(|cells| cells.join("|"));
    let floats = batch.columns().iter().map(|c| c.data_type().is_floating()).collect();
    Ok(Rows { rows, floats })
}

fn check(case: &Case, outcome: Result<Rows, String>) -> Result<(), String> {
    let actual = match outcome {
        Ok(rows) if case.error => {
            return Err(format!("expected an error, got rows: {:?}", rows.lines()));
        }
        Ok(rows) => rows,
        Err(e) if case.error => Rows::text(&e),
        Err(e) => return Err(format!("error: {e}")),
    };
    let same = actual.rows.len() == case.expected.len()
        && actual.rows.iter().zip(&case.expected).all(|(a, e)| actual.same(a, e));
    match same {
        true => Ok(()),
        false => Err(format!(
            "expected:\n  {}\nactual:\n  {}",
            case.expected.join("\n  "),
            actual.lines().join("\n  ")
        )),
    }
}

impl Rows {
    /// Lines that are no rows: an error.
    fn text(text: &str) -> Rows {
        Rows { rows: text.lines().map(|l| vec![l.to_string()]).collect(), floats: vec![] }
    }

    fn lines(&self) -> Vec<String> {
        self.rows.iter().map(|cells| cells.join("|")).collect()
    }

    /// Exact, but floats within 1e-9 relative.
    fn same(&self, actual: &[String], expected: &str) -> bool {
        let cells: Vec<&str> = expected.split('|').collect();
        if cells.len() != actual.len() || self.floats.len() != actual.len() {
            return actual.join("|") == expected;
        }
        let mut pairs = actual.iter().zip(cells).zip(&self.floats);
        pairs.all(|((a, e), float)| a == e || *float && near(a, e))
    }
}

fn near(a: &str, b: &str) -> bool {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
        _ => false,
    }
}
