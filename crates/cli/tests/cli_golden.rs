//! `tests/cli/*.txt`: sessions at the command line. A file begins with the project's SQL; each
//! line `$ command` is run by a shell in the project's folder against a running platform, and
//! what it prints (and its exit code, when not 0) is rewritten by `BLESS=1`.

use std::path::Path;
use std::process::Stdio;

use crate::support::{self, PROGRAM, Project, Server};

#[test]
fn sessions() {
    for path in support::golden_files("tests/cli", "txt") {
        run(&path);
    }
}

fn run(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let head = text.split("\n$ ").next().unwrap();
    let server = Project::new(head).serve(&[]);
    let mut got = format!("{}\n", head.trim_end());
    for command in text.lines().filter_map(|l| l.strip_prefix("$ ")) {
        got.push_str(&format!("\n$ {command}\n{}", session(&server, command)));
    }
    support::golden(path, &got);
}

fn session(server: &Server, command: &str) -> String {
    let folder = Path::new(PROGRAM).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let output = server
        .project
        .command(&[])
        .env("PATH", &path)
        .get_envs()
        .fold(std::process::Command::new("sh"), |mut sh, (name, value)| {
            if let Some(value) = value {
                sh.env(name, value);
            }
            sh
        })
        .arg("-c")
        .arg(format!("{command} 2>&1"))
        .env("WATERSHED_URL", server.url())
        .env("ROOT", support::root())
        .current_dir(server.project.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if command.contains("import") {
        server.settle();
    }
    let mut out = mask(&String::from_utf8_lossy(&output.stdout), server);
    let code = output.status.code().unwrap_or(-1);
    if code != 0 {
        out.push_str(&format!("[exit {code}]\n"));
    }
    out
}

fn mask(text: &str, server: &Server) -> String {
    let dir = server.project.path().to_string_lossy().into_owned();
    let name = server.project.path().file_name().unwrap().to_string_lossy().into_owned();
    let root = support::root().to_string_lossy().into_owned();
    let mut out = text.replace(&dir, "DIR").replace(&name, "PROJECT");
    out = out.replace(&root, "ROOT").replace(&server.address, "ADDRESS");
    out = out.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let mut last = "";
    let lines = out.lines().map(|line| {
        let row_of_views = line.contains("| running |") && last.contains('+');
        last = line;
        match (line.rfind(" in "), line.rsplit_once('|')) {
            // Only the duration at the end of a report.
            (Some(at), _) if line.ends_with(" s") => format!("{} in N s", &line[..at]),
            // How many epochs there were by now is a matter of time.
            (_, Some((row, epoch))) if row_of_views => format!("{row}|{:>1$}", "N", epoch.len()),
            _ => line.to_string(),
        }
    });
    lines.map(|l| format!("{l}\n")).collect()
}
