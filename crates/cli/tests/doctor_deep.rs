//! `watershed doctor --deep` on a stopped project: it names what is damaged in each store, by its
//! kind's exit code, and leaves every byte as it was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::{Project, READINGS};

const VIEW: &str = "CREATE MATERIALIZED VIEW hot AS SELECT sensor, count(*) AS n FROM readings
GROUP BY sensor;";

/// Without the ports, which others may use.
const DEEP: &[&str] =
    &["doctor", ".", "--deep", "--http-port", "0", "--pg-port", "0", "--kafka-port", "0"];

/// All files with their bytes.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(contents(&path)),
            false => drop(all.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    all
}

/// Exit code and what it said; nothing may be changed.
fn deep(project: &Project, more: &[&str]) -> (i32, String) {
    let before = contents(project.path());
    let arguments = [DEEP, &["--url", "http://127.0.0.1:1"], more].concat();
    let output = project.command(&arguments).output().unwrap();
    assert_eq!(contents(project.path()), before, "doctor changed something");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

/// Files in a folder of the project's data whose path ends so, the largest first.
fn find(project: &Project, folder: &str, ending: &str) -> Vec<PathBuf> {
    let all = contents(&project.path().join("data").join(folder));
    let mut found: Vec<_> = all.into_iter().collect();
    found.retain(|(path, bytes)| path.to_string_lossy().ends_with(ending) && !bytes.is_empty());
    found.sort_by_key(|(_, bytes)| std::cmp::Reverse(bytes.len()));
    found.into_iter().map(|(path, _)| path).collect()
}

/// A stopped project with something in each store.
fn filled() -> Project {
    let server = Project::new(&format!("{READINGS}\n{VIEW}")).serve(&[
        "--set",
        "lake.archive_interval=100 ms",
        "--set",
        "log.segment_bytes_max=1 KiB",
    ]);
    for i in 0..40 {
        let event = format!(
            r#"{{"sensor":"s{i} {}","celsius":20.5,"at":"2026-01-01T10:00:00Z"}}"#,
            "x".repeat(100)
        );
        assert_eq!(server.post("/api/topics/readings", &event).status, 200);
    }
    let lake = server.project.path().join("data/lake");
    server.wait_until("archived", |_| {
        contents(&lake).keys().any(|path| path.extension().is_some_and(|e| e == "parquet"))
    });
    server.stop().1
}

#[test]
fn what_is_whole_is_said_to_be_and_nothing_is_touched() {
    let project = filled();
    let (code, said) = deep(&project, &[]);
    assert_eq!(code, 0, "{said}");
    for part in ["log", "segments", "keyspaces", "definitions", "tables", "all is well"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, said) = deep(&project, &["--json"]);
    assert_eq!(code, 0, "{said}");
    let findings: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
    let findings = findings.as_array().unwrap();
    assert!(findings.iter().all(|f| f["good"] == true), "{said}");
    for store in ["log", "views", "catalog", "lake"] {
        assert!(findings.iter().any(|f| f["check"] == store), "{store}: {said}");
    }
}

#[test]
fn each_kind_of_missing_file_is_named() {
    let project = filled();
    let mut victims = vec![];
    let mut segments = find(&project, "log", ".log");
    segments.sort();
    assert!(segments.len() > 3, "{segments:?}");
    victims.extend([segments[0].clone(), segments[1].clone()]);
    victims.extend(segments.last().cloned());
    victims.extend(find(&project, "log/topics", ".json"));
    victims.extend(find(&project, "lake", ".parquet").first().cloned());
    victims.extend(find(&project, "lake", "00000000000000000000.json"));
    victims.extend(find(&project, "", "catalog.json"));
    let keyed = find(&project, "views/keyspaces/0", "current");
    assert!(victims.len() >= 7 && !keyed.is_empty(), "{victims:?} {keyed:?}");
    let aside = project.path().join("aside");
    for lost in victims.iter().chain(&keyed) {
        std::fs::rename(lost, &aside).unwrap();
        let (code, said) = deep(&project, &[]);
        assert_eq!(code, 9, "{}: {said}", lost.display());
        let name = lost.file_name().unwrap().to_string_lossy().into_owned();
        // The description's name is an id; its folders tell. The store's list has another name.
        let is_named = said.contains(&name) || said.contains("belongs to no topic");
        let is_named = is_named || (keyed.contains(lost) && said.contains("list of keyspaces"));
        assert!(is_named, "{}: {said}", lost.display());
        std::fs::rename(&aside, lost).unwrap();
    }
    assert_eq!(deep(&project, &[]).0, 0);
}

#[test]
fn a_flipped_bit_is_found_in_each_store() {
    let project = filled();
    let mut victims = find(&project, "log", ".log");
    victims.sort();
    victims.truncate(2);
    victims.extend(find(&project, "log/topics", ".json"));
    victims.extend(find(&project, "lake", ".parquet").first().cloned());
    victims.extend(find(&project, "", "catalog.json"));
    for damaged in &victims {
        let good = std::fs::read(damaged).unwrap();
        let mut bytes = good.clone();
        // Of a Parquet file the footer: its length.
        let is_parquet = damaged.extension().is_some_and(|e| e == "parquet");
        let at = if is_parquet { good.len() - 1 } else { good.len() / 2 };
        bytes[at] ^= 0x10;
        std::fs::write(damaged, &bytes).unwrap();
        let (code, said) = deep(&project, &["--json"]);
        assert_eq!(code, 9, "{}: {said}", damaged.display());
        let name = damaged.file_name().unwrap().to_string_lossy().into_owned();
        assert!(said.contains(&name), "{}: {said}", damaged.display());
        std::fs::write(damaged, &good).unwrap();
    }
    // Of the keyed store not every byte counts, but of a few some do.
    let mut found = 0;
    for damaged in find(&project, "views", "") {
        let good = std::fs::read(&damaged).unwrap();
        let used = good.iter().rposition(|b| *b != 0).unwrap_or(0);
        let mut bytes = good.clone();
        bytes[used / 2] ^= 0x10;
        std::fs::write(&damaged, &bytes).unwrap();
        let (code, said) = deep(&project, &[]);
        if code != 0 {
            assert!(said.contains("data/views"), "{said}");
            assert!(!said.contains("watershed-doctor"), "the copy is named: {said}");
            found += 1;
        }
        std::fs::write(&damaged, &good).unwrap();
    }
    assert!(found > 0);
}

#[test]
fn a_running_platform_is_asked_to_stop() {
    let server = Project::new(READINGS).serve(&[]);
    let ran = server.run(DEEP);
    let said = ran.out;
    assert_eq!(ran.code, 4, "{said}");
    assert!(said.contains("in use by process") && said.contains("stop it"), "{said}");
    assert!(said.contains("catalog") && said.contains("tables"), "what is safe is checked: {said}");
    assert_eq!(server.get("/health").status, 200);
}
