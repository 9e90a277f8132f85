//! The house rules as a test: headers, sizes, leftover marks, edges between crates, absolute
//! paths. Old offences stand in `xtask/ratchet.txt` and may only shrink.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{Result, root};

const FILE_LINES: usize = 800;
const FUNCTION_LINES: usize = 70;
const LINE_COLUMNS: usize = 100;

pub struct Offence {
    pub path: String,
    pub rule: &'static str,
    pub text: String,
}

pub fn run() -> Result<()> {
    let mut offences = vec![];
    for path in tracked()? {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        paths(&path, &text, &mut offences);
        if path.ends_with(".rs") {
            rust(&path, &text, &mut offences);
        }
    }
    edges(&mut offences)?;
    workspace_hack(&mut offences)?;
    crate::rooms::check(&root(), &tracked()?, &mut offences)?;
    crate::pages::check(&root(), &tracked()?, &mut offences)?;
    if !crate::docs::fresh()? {
        return Err("docs/reference is stale: run make docs".into());
    }
    let allowed = ratchet()?;
    let mut counts: BTreeMap<(String, &str), Vec<&Offence>> = BTreeMap::new();
    for o in &offences {
        counts.entry((o.path.clone(), o.rule)).or_default().push(o);
    }
    let mut faults = 0;
    for ((path, rule), found) in &counts {
        let most = allowed.get(&format!("{path} {rule}")).copied().unwrap_or_default();
        if found.len() > most {
            faults += found.len();
            for o in found {
                println!("{path}: {rule}: {}", o.text);
            }
        }
    }
    for (key, most) in &allowed {
        let now = counts.iter().find(|((p, r), _)| format!("{p} {r}") == *key);
        let n = now.map_or(0, |(_, found)| found.len());
        if n < *most {
            faults += 1;
            println!("xtask/ratchet.txt: '{key}' has {n} offences now: lower it from {most}");
        }
    }
    println!("tidy: {} files looked at, {faults} faults", tracked()?.len());
    if faults == 0 { Ok(()) } else { Err("not tidy".into()) }
}

/// Files git knows or would add.
fn tracked() -> Result<Vec<String>> {
    let out = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .map_err(|e| format!("git: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    Ok(text.lines().filter(|p| root().join(p).is_file()).map(String::from).collect())
}

/// `path rule count` a line.
fn ratchet() -> Result<BTreeMap<String, usize>> {
    let text = std::fs::read_to_string(root().join("xtask/ratchet.txt")).unwrap_or_default();
    let mut allowed = BTreeMap::new();
    for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let (key, n) = line.rsplit_once(' ').ok_or_else(|| format!("ratchet.txt: '{line}'"))?;
        allowed.insert(key.to_string(), n.parse().map_err(|e| format!("ratchet.txt: {e}"))?);
    }
    Ok(allowed)
}

fn paths(path: &str, text: &str, offences: &mut Vec<Offence>) {
    if path.ends_with("package-lock.json") || path.ends_with("tidy.rs") {
        return;
    }
    for (i, line) in text.lines().enumerate() {
        for root in ["/work/", "/root/", "/home/"] {
            let at = line.find(root);
            let alone = at.is_some_and(|at| {
                let before = line[..at].chars().next_back();
                before.is_none_or(|c| !c.is_alphanumeric() && !"./_-}$".contains(c))
            });
            if alone {
                let text = format!("line {}: an absolute path of a machine", i + 1);
                offences.push(Offence { path: path.into(), rule: "path", text });
            }
        }
    }
}

fn rust(path: &str, text: &str, offences: &mut Vec<Offence>) {
    let mut add = |rule, text: String| offences.push(Offence { path: path.into(), rule, text });
    let lines: Vec<&str> = text.lines().collect();
    // Tables of cases are long and wide by nature.
    let test = path.ends_with("_tests.rs") || path.contains("/tests/");
    let product = path.contains("/src/");
    if product && !text.starts_with("//!") {
        add("header", "a file opens with what it is (//!)".into());
    }
    if lines.len() > FILE_LINES {
        add("file", format!("{} lines, {FILE_LINES} at most", lines.len()));
    }
    for (i, line) in lines.iter().enumerate() {
        let n = line.chars().count();
        if n > LINE_COLUMNS && !line.contains('"') && !test {
            add("line", format!("line {}: {n} columns", i + 1));
        }
        for mark in ["TODO", "FIXME", "todo!(", "unimplemented!(", "#[ignore]"] {
            if line.contains(mark) && !path.ends_with("tidy.rs") {
                add("mark", format!("line {}: leftover {mark}", i + 1));
            }
        }
    }
    for (i, n) in functions(&lines) {
        if n > FUNCTION_LINES && !test {
            add("function", format!("line {}: a function of {n} lines", i + 1));
        }
    }
}

/// Start and length of every function, by rustfmt's layout: it ends at the `}` of its indent.
fn functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let mut found = vec![];
    for (i, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let head = code
            .trim_start_matches("pub ")
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub(super) ")
            .trim_start_matches("const ")
            .trim_start_matches("async ")
            .trim_start_matches("unsafe ");
        if !head.starts_with("fn ") {
            continue;
        }
        let end = lines[i..].iter().position(|l| {
            let c = l.trim_start();
            l.len() - c.len() == indent && (c == "}" || c.ends_with(';') || c.ends_with("{}"))
        });
        found.extend(end.map(|n| (i, n + 1)));
    }
    found
}

/// What Cargo.toml names for all stands in `workspace-hack`, too, which each crate has for tests.
fn workspace_hack(offences: &mut Vec<Offence>) -> Result<()> {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).map_err(|e| e.to_string());
    let (all, hack) = (read("Cargo.toml")?, "crates/workspace-hack/Cargo.toml");
    let listed = read(hack)?;
    let named = all.split("[workspace.dependencies]").nth(1).unwrap_or_default();
    let named = named.split("\n[").next().unwrap_or_default();
    for line in named.lines().filter(|l| l.contains(" = ") && !l.contains("path = ")) {
        let name = line.split(" = ").next().unwrap_or_default();
        if !listed.lines().any(|l| l.starts_with(&format!("{name} = "))) {
            let text = format!("'{name}' of Cargo.toml is missing");
            offences.push(Offence { path: hack.into(), rule: "hack", text });
        }
    }
    for path in tracked()?.iter().filter(|p| p.starts_with("crates/") && p.ends_with("Cargo.toml"))
    {
        if path != hack && !read(path)?.contains("\nworkspace-hack = ") {
            let text = "workspace-hack is missing among the dev-dependencies".into();
            offences.push(Offence { path: path.clone(), rule: "hack", text });
        }
    }
    Ok(())
}

/// Dependencies between our crates against the table in ARCHITECTURE.md.
fn edges(offences: &mut Vec<Offence>) -> Result<()> {
    let page =
        std::fs::read_to_string(root().join("ARCHITECTURE.md")).map_err(|e| e.to_string())?;
    let mut allowed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut above: BTreeSet<String> = BTreeSet::new();
    for line in page.lines().filter(|l| l.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let name = cells[0].trim_matches(['`', ' ', '|']).to_string();
        let last = cells.last().copied().unwrap_or_default().trim_matches(['|', ' ']);
        let uses: BTreeSet<String> = match last {
            "–" => BTreeSet::new(),
            "all above but testkit" => above.iter().filter(|n| *n != "testkit").cloned().collect(),
            list => list.split(',').map(|n| n.trim().to_string()).collect(),
        };
        allowed.insert(name.clone(), uses);
        above.insert(name);
    }
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .map_err(|e| format!("cargo metadata: {e}"))?;
    let metadata: Value = serde_json::from_slice(&out.stdout).map_err(|e| e.to_string())?;
    let room = |package: &str| match package {
        "watershed" => "cli".to_string(),
        other => other.trim_start_matches("watershed-").to_string(),
    };
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        // It is empty, and a dev-dependency of all.
        if !name.starts_with("watershed") || name == "watershed-workspace-hack" {
            continue;
        }
        let crate_path = format!("crates/{}/Cargo.toml", room(name));
        let Some(uses) = allowed.get(&room(name)) else {
            let text = format!("'{name}' has no row in ARCHITECTURE.md");
            offences.push(Offence { path: crate_path, rule: "edge", text });
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            if !on.starts_with("watershed") || dependency["kind"] == "dev" {
                continue;
            }
            if !uses.contains(&room(on)) {
                let text = format!("uses '{}', which ARCHITECTURE.md does not allow", room(on));
                offences.push(Offence { path: crate_path.clone(), rule: "edge", text });
            }
        }
    }
    if !Path::new(&root()).join("docs/decisions").is_dir() {
        return Err("docs/decisions is missing".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_functions() {
        let text = "impl A {\n    pub fn a(\n        x: u8,\n    ) -> u8 {\n        x\n    }\n\n    fn b();\n}\n";
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(functions(&lines), [(1, 5), (7, 1)]);
    }

    #[test]
    fn finds_offences() {
        let mut offences = vec![];
        rust("crates/a/src/a.rs", "fn a() {\n    // TODO later\n}\n", &mut offences);
        paths("a.sh", "cd /work/main\n", &mut offences);
        paths("a.sh", "curl $URL/work/main\n", &mut offences);
        let rules: Vec<_> = offences.iter().map(|o| o.rule).collect();
        assert_eq!(rules, ["header", "mark", "path"]);
    }
}
