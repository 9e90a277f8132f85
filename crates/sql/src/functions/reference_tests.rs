//! `docs/reference/functions.md`: every function with an example, made of `tests/functions/` by
//! running it. `BLESS=1` writes the page; without it, it is compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use common::Error;
use datafusion::execution::SessionState;

use super::{aggregates, names, scalars, windows};
use crate::analyzer::view_rules;
use crate::passes::spark_names;
use crate::testing::{place, run, shown_rows, state};

/// The rows that aggregates are shown with.
const TABLE: &str = "t(k, x, y, at) AS (VALUES
  ('a', 1, 2.0, TIMESTAMP '2024-01-01 10:00:00'), ('b', 5, 3.5, TIMESTAMP '2024-01-01 10:04:00'),
  ('a', 2, NULL, TIMESTAMP '2024-01-01 10:12:00'), ('b', NULL, 1.0, TIMESTAMP '2024-01-01 10:20:00'))";

/// The other names of each function.
fn aliases() -> BTreeMap<String, BTreeSet<String>> {
    let mut groups: Vec<BTreeSet<String>> = vec![];
    let mut add = |name: &str, more: &[String]| {
        groups.push(more.iter().cloned().chain([name.to_string()]).collect());
    };
    scalars().iter().for_each(|f| add(f.name(), f.aliases()));
    aggregates().iter().for_each(|f| add(f.name(), f.aliases()));
    windows().iter().for_each(|f| add(f.name(), f.aliases()));
    spark_names::names().for_each(|(name, of)| add(of, &[name.to_string()]));
    let mut aliases: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for group in groups {
        for name in &group {
            aliases.entry(name.clone()).or_default().extend(group.iter().cloned());
        }
    }
    aliases
}

/// What an example gives, row by row; none if it is another value each time.
async fn shown(state: &SessionState, example: &str) -> Result<Option<String>, Error> {
    let query = format!("WITH {TABLE} SELECT {example}");
    let plan = crate::plan_query(state, &query, &place(&query)).await?;
    if view_rules::check(&plan).is_err() {
        return Ok(None);
    }
    let (_, batches) = run(state, &query).await?;
    Ok(Some(shown_rows(&batches).join("<br>")))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[tokio::test]
async fn every_function_is_in_the_reference() {
    let state = state().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let examples = std::fs::read_to_string(root.join("tests/functions/examples.txt")).unwrap();
    let aliases = aliases();
    let primary: BTreeSet<&str> = examples.lines().filter_map(|l| l.split(" | ").next()).collect();
    let mut missing: BTreeSet<String> = names().into_iter().collect();
    let mut page = String::from(HEAD);
    let mut faults = vec![];
    for line in examples.lines().filter(|l| !l.is_empty()) {
        if let Some(family) = line.strip_prefix("# ") {
            write!(page, "\n## {family}\n\n| function | example | gives |\n| --- | --- | --- |\n")
                .unwrap();
            continue;
        }
        let (name, example) = line.split_once(" | ").unwrap();
        if !missing.remove(name) {
            faults.push(format!("{name} is no function, or is there twice"));
        }
        let mut also = vec![];
        for alias in aliases.get(name).into_iter().flatten() {
            if !primary.contains(alias.as_str()) && missing.remove(alias) {
                also.push(format!("`{alias}`"));
            }
        }
        let also = if also.is_empty() { String::new() } else { format!(", {}", also.join(", ")) };
        let gives = match shown(&state, example).await {
            Ok(Some(gives)) => format!("`{}`", cell(&gives).replace("<br>", "`<br>`")),
            Ok(None) => "another value each time; not in a view".into(),
            Err(e) => {
                faults.push(format!("{example}: {}", e.message()));
                continue;
            }
        };
        writeln!(page, "| `{name}`{also} | `{}` | {gives} |", cell(example)).unwrap();
    }
    faults.extend(missing.iter().map(|name| format!("{name} has no example")));
    assert!(faults.is_empty(), "tests/functions/examples.txt:\n{}", faults.join("\n"));
    let path = root.join("docs/reference/functions.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "docs/reference/functions.md is not what the examples give: BLESS=1");
}

const HEAD: &str = "# Functions

Every function with an example and what it gives, made by running it (`tests/functions/examples.txt`). A query, a view and a CHECK have the same functions with the same
result; those that give another value each time can't stand in a view. Beside them there are the operators of SQL, `CASE`, `CAST`, `try_cast`, `LIKE`, `ILIKE`, `RLIKE`,
`BETWEEN`, `IN`, `IS DISTINCT FROM`, `EXTRACT`, `INTERVAL`, `a[i]`, `struct.field` and `LATERAL VIEW [pos]explode`. Aggregates take `DISTINCT`, `FILTER (WHERE …)` and `OVER (…)`.

The examples with rows read this table:

| k | x | y | at |
| --- | --- | --- | --- |
| a | 1 | 2.0 | 2024-01-01 10:00 |
| b | 5 | 3.5 | 2024-01-01 10:04 |
| a | 2 | NULL | 2024-01-01 10:12 |
| b | NULL | 1.0 | 2024-01-01 10:20 |
";
