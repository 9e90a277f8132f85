//! Every line of the README's boxes is run as it stands there, on the real program with ports of
//! the test's own. What builds from a fresh clone (`make …`) is looked up: CI runs it.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::{PROGRAM, Project, Server, free_port, root};

/// A box of the README: its language and its lines without comments.
struct Block {
    language: String,
    text: String,
}

fn blocks(readme: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = vec![];
    let mut inside = false;
    for line in readme.lines() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(language) => {
                inside = true;
                blocks.push(Block { language: language.into(), text: String::new() });
            }
            None if inside => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

/// A line of a shell without its comment, which begins behind three blanks at least.
fn command(line: &str) -> &str {
    line.split("  #").next().unwrap().trim()
}

fn shell(project: &Project, command: &str) -> (i32, String) {
    let folder = Path::new(PROGRAM).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", command])
        .envs(project.command(&[]).get_envs().filter_map(|(k, v)| Some((k, v?))))
        // cargo's search path has another librdkafka first, which kcat must not get.
        .env_remove("LD_LIBRARY_PATH")
        .env("PATH", path)
        .env("PGUSER", "anybody")
        .current_dir(project.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn every_line_of_the_readme_runs() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = blocks(&readme);
    let of = |language: &str| -> Vec<&Block> {
        blocks.iter().filter(|b| b.language == language).collect()
    };
    let [make, first, lines] = of("sh")[..] else { panic!("three boxes of a shell") };
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    for line in make.text.lines().map(command) {
        let target = line.strip_prefix("make ").unwrap_or_else(|| panic!("{line}"));
        assert!(makefile.contains(&format!("\n{target}:")), "there is no target '{target}'");
    }
    let clone = Project::empty();
    let line = command(first.text.trim());
    assert_eq!(line, "watershed new shop && watershed dev shop");
    let (code, said) = shell(&clone, "watershed new shop");
    assert_eq!(code, 0, "{said}");
    // The README's own definitions in the place of those that `new` writes.
    for made in ["sql", "dashboards"] {
        std::fs::remove_dir_all(clone.path().join("shop").join(made)).unwrap();
    }
    let sql = of("sql").iter().map(|b| b.text.as_str()).collect::<String>();
    clone.write("shop/sql/readme.sql", &sql);
    // A topic for what the import's line has.
    clone.write("shop/sql/cycles.sql", "CREATE TOPIC cycles (c1 INT, c2 INT, c3 DOUBLE);\n");
    let ports = [free_port(), free_port(), free_port()];
    let shown = ["4680", "4681", "4682"];
    let settings = format!(
        "[http]\nport = {}\n[pg]\nport = {}\n[kafka]\nport = {}\n",
        ports[0], ports[1], ports[2]
    );
    clone.write("shop/watershed.toml", &settings);
    // The commands find the platform by the settings of the folder they are in.
    clone.write("watershed.toml", &settings);
    clone.write("train_FD001.txt", "1 1 -0.0007\n1 2 0.0019\n");
    let event = |i: i32| {
        format!("{{\"sensor\":\"roof\",\"celsius\":{i},\"at\":\"2026-01-01T00:00:{i}Z\"}}\n")
    };
    clone.write("events.ndjson", &(10..20).map(event).collect::<String>());
    let port = ports.map(|p| p.to_string());
    let doors = ["--http-port", &port[0], "--pg-port", &port[1], "--kafka-port", &port[2]];
    let server = serve(&clone, &doors);
    let mut ran = 0;
    for line in lines.text.lines().map(command).filter(|l| !l.is_empty()) {
        let mut own = line.to_string();
        for (shown, port) in shown.iter().zip(&port) {
            own = own.replace(shown, port);
        }
        let is_endless = line.starts_with("curl -N");
        if is_endless {
            own = format!("timeout 3 {own} | head -2 | grep -q ^event:");
        }
        if line.starts_with("psql") && Command::new("psql").arg("--version").output().is_err() {
            continue;
        }
        let (code, said) = shell(&clone, &own);
        assert_eq!(code, 0, "{line}\n{said}");
        server.settle();
        ran += 1;
    }
    assert!(ran >= 8, "{ran} lines were run");
    // Posted and produced: every event is there twice.
    let twice = server.sql("SELECT count(*) FROM readings");
    assert_eq!(twice, json!([[20]]));
    assert_eq!(server.sql("SELECT count(*) FROM cycles"), json!([[2]]));
}

fn serve(clone: &Project, doors: &[&str]) -> Server {
    let inner = Project::empty();
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(clone.path().join("shop/.")).arg(inner.path());
    assert!(copy.status().unwrap().success());
    Server::start(inner, "dev", doors)
}
