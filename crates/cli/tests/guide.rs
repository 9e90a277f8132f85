//! `docs/guide/*.md`: every block of the guide is run on the real program. Each page has a scratch
//! project and a platform of its own; the first block that needs it starts it. Read a page beside
//! this file; `BLESS=1` rewrites the output that stands in it.
//!
//! - ```` ```sql ````: statements, each ending with a line that ends with `;`. Lines `-- {…}` under
//!   one are all its rows as JSON, `-- error: text` is the error it must give.
//! - ```` ```sh ````: lines `$ command`, each with what it prints, and `[exit 2]` if it fails.
//! - ```` ```json ````: what the command before it printed.
//! - `file=name` after the language writes the block into the project; `toml` needs it.
//! - ```` ```text ````: is not run.
//!
//! `…` stands for any text, in JSON also for any value, and as a member for all others.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{self, PROGRAM, Project, Ran, Server};

/// The address that pages show for the platform.
const SHOWN: &str = "127.0.0.1:4680";

#[test]
fn every_block_runs() {
    for path in support::golden_files("docs/guide", "md") {
        let text = std::fs::read_to_string(&path).unwrap();
        check_links(&path, &text);
        let mut page = Page::new(&path);
        let got = page.run(&text);
        support::golden(&path, &got);
    }
}

/// Files that a page points to are there.
fn check_links(page: &Path, text: &str) {
    for (at, _) in text.match_indices("](") {
        let target = text[at + 2..].split([')', '#', ' ']).next().unwrap();
        let file = page.parent().unwrap().join(target);
        let outside = target.contains("://") || target.is_empty();
        assert!(outside || file.exists(), "{}: there is no '{target}'", page.display());
    }
}

struct Page {
    name: String,
    /// Until a block needs the platform.
    project: Option<Project>,
    server: Option<Server>,
    /// What the last command printed, for a block of JSON.
    printed: String,
}

impl Page {
    fn new(path: &Path) -> Page {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let project = Some(Project::new(""));
        Page { name, project, server: None, printed: String::new() }
    }

    /// Runs all blocks and gives the page as it should be.
    fn run(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut lines = text.lines().enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            let _ = writeln!(out, "{line}");
            let Some(info) = line.strip_prefix("```") else { continue };
            let mut block = String::new();
            for (_, line) in lines.by_ref().take_while(|(_, l)| *l != "```") {
                let _ = writeln!(block, "{line}");
            }
            let rest: Vec<&str> = lines.clone().map(|(_, l)| l).take(2).collect();
            let json_next = rest.contains(&"```json");
            let place = format!("docs/guide/{}:{}", self.name, number + 1);
            out.push_str(&self.block(&place, info, &block, json_next));
            out.push_str("```\n");
        }
        out
    }

    fn block(&mut self, place: &str, info: &str, block: &str, json_next: bool) -> String {
        match info.split_once(" file=") {
            Some(("sql" | "toml" | "json" | "text", name)) => {
                self.write(name, block);
                block.to_string()
            }
            None if info == "sql" => self.sql(place, block),
            None if info == "sh" => self.sh(place, block, json_next),
            None if info == "json" => self.json(place, block),
            None if info == "text" => block.to_string(),
            _ => panic!("{place}: unknown kind of block '{info}'"),
        }
    }

    /// Writes a file; a platform that runs is `dev` and takes it.
    fn write(&mut self, name: &str, text: &str) {
        let Some(server) = &mut self.server else {
            return self.project.as_ref().unwrap().write(name, text);
        };
        server.project.write(name, text);
        if name.starts_with("sql/") || name.starts_with("dashboards/") {
            server.wait_for_line("reloaded");
            settle(server);
        }
    }

    fn server(&mut self) -> &Server {
        if self.server.is_none() {
            let project = self.project.take().unwrap();
            self.server = Some(Server::start(project, "dev", &[]));
        }
        self.server.as_ref().unwrap()
    }

    fn sql(&mut self, place: &str, block: &str) -> String {
        let mut out = String::new();
        let mut lines = block.lines().peekable();
        let mut statement = String::new();
        while let Some(line) = lines.next() {
            let _ = writeln!(out, "{line}");
            let _ = writeln!(statement, "{line}");
            if !line.ends_with(';') {
                continue;
            }
            let mut under = vec![];
            while let Some(l) =
                lines.next_if(|l| ["-- {", "-- error: "].iter().any(|p| l.starts_with(p)))
            {
                under.push(l);
            }
            let ran = self.server().run(&["sql", "--json", &statement]);
            out.push_str(&expected_of(place, &statement, &under, &ran));
            settle(self.server());
            statement.clear();
        }
        assert_eq!(statement.trim(), "", "{place}: no ';' at the end");
        out
    }

    fn sh(&mut self, place: &str, block: &str, json_next: bool) -> String {
        let mut out = String::new();
        let mut lines = block.lines().peekable();
        while let Some(line) = lines.next() {
            let first = line.strip_prefix("$ ");
            let mut command =
                first.unwrap_or_else(|| panic!("{place}: no '$ ' before {line}")).to_string();
            let _ = writeln!(out, "{line}");
            while command.ends_with('\\') || command.matches('\'').count() % 2 == 1 {
                let more = lines.next().unwrap_or_else(|| panic!("{place}: an open quote"));
                let _ = write!(command, "\n{more}");
                let _ = writeln!(out, "{more}");
            }
            let mut want = String::new();
            while let Some(line) = lines.next_if(|l| !l.starts_with("$ ")) {
                let _ = writeln!(want, "{line}");
            }
            let got = self.command(&command);
            if json_next && lines.peek().is_none() {
                assert_eq!(want, "", "{place}: the output stands in the block below");
                self.printed = got;
                continue;
            }
            out.push_str(if alike(&want, &got) { &want } else { &got });
        }
        out
    }

    /// What a command prints, as the page shows it.
    fn command(&mut self, command: &str) -> String {
        let verb = command.strip_prefix("watershed ").and_then(|c| c.split(' ').next());
        if verb == Some("new") {
            return self.new_project(command);
        }
        if verb == Some("dev") {
            self.server();
            return String::new();
        }
        let server = self.server();
        let folder = Path::new(PROGRAM).parent().unwrap();
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let mut sh = shell(&server.project, command.replace(SHOWN, &server.address));
        let output = sh.env("PATH", path).env("WATERSHED_URL", server.url()).output().unwrap();
        settle(server);
        let ran = Ran::new(&output);
        let dir = server.project.path().to_string_lossy().into_owned();
        shown(&ran).replace(&server.address, SHOWN).replace(&dir, "DIR")
    }

    /// `watershed new name` makes the project of the page, and the page is in its folder from
    /// then on.
    fn new_project(&mut self, command: &str) -> String {
        let name = command.rsplit(' ').next().unwrap();
        let project = Project::new("");
        let ran = Ran::new(&project.command(&["new", name]).output().unwrap());
        let inner = Project::new("");
        for entry in ["watershed.toml", "sql", "tests", "dashboards", ".gitignore"] {
            let from = project.path().join(name).join(entry);
            let mut copy = Command::new("cp");
            copy.arg("-r").arg(from).arg(inner.path());
            assert!(copy.status().unwrap().success(), "{entry} is not there");
        }
        self.project = Some(inner);
        shown(&ran)
    }

    fn json(&mut self, place: &str, block: &str) -> String {
        let got: Value = serde_json::from_str(&self.printed)
            .unwrap_or_else(|e| panic!("{place}: {e} in what was printed: {}", self.printed));
        let want: Value =
            serde_json::from_str(block).unwrap_or_else(|e| panic!("{place}: {e} in the block"));
        match alike_json(&want, &got) {
            true => block.to_string(),
            false => format!("{}\n", serde_json::to_string_pretty(&got).unwrap()),
        }
    }
}

/// Waits until all views have all events, or have stopped as the page means them to.
fn settle(server: &Server) {
    server.wait_until("caught up", |s| {
        let views = s.get("/api/views").json();
        let done = |v: &Value| match v["state"].as_str() {
            Some("running") => v["lag_events"] == 0,
            state => state == Some("failed"),
        };
        views.as_array().is_some_and(|v| v.iter().all(done))
    });
}

fn shell(project: &Project, command: String) -> Command {
    let mut sh = Command::new("sh");
    for (name, value) in project.command(&[]).get_envs() {
        if let Some(value) = value {
            sh.env(name, value);
        }
    }
    sh.arg("-c").arg(format!("exec 2>&1\n{command}")).current_dir(project.path());
    sh.stdin(Stdio::null());
    sh
}

fn shown(ran: &Ran) -> String {
    let mut out = ran.out.lines().map(|l| format!("{}\n", l.trim_end())).collect::<String>();
    if ran.code != 0 {
        let _ = writeln!(out, "[exit {}]", ran.code);
    }
    out
}

/// The lines that should stand under a statement: those that do, if they hold.
fn expected_of(place: &str, statement: &str, under: &[&str], ran: &Ran) -> String {
    let error = under.iter().find_map(|l| l.strip_prefix("-- error: "));
    let got: String = match ran.code {
        0 => {
            let rows = ran.out.lines().map(str::trim).filter(|l| l.starts_with('{'));
            rows.map(|row| format!("-- {}\n", row.trim_end_matches(','))).collect()
        }
        _ => {
            let text = |name| ran.err.lines().find_map(|l: &str| l.strip_prefix(name));
            let message = text("error: ").unwrap_or(&ran.err);
            assert!(error.is_some(), "{place}: {statement}{}", ran.err);
            format!("-- error: {message}\n")
        }
    };
    let want: String = under.iter().map(|l| format!("{l}\n")).collect();
    // Rows that do not matter need not be shown.
    let kept = (under.is_empty() && ran.code == 0) || alike(&want, &got);
    if kept { want } else { got }
}

/// Whether a text has all the pieces between the `…`, in their order.
fn alike(want: &str, got: &str) -> bool {
    let pieces: Vec<&str> = want.split('…').collect();
    let [first, middle @ .., last] = pieces.as_slice() else { return want == got };
    let Some(mut rest) = got.strip_prefix(first) else { return false };
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn alike_json(want: &Value, got: &Value) -> bool {
    match (want, got) {
        (Value::String(text), _) if text == "…" => true,
        (Value::String(w), Value::String(g)) => alike(w, g),
        (Value::Object(w), Value::Object(g)) => {
            let open = w.contains_key("…");
            let all = w.iter().filter(|(k, _)| *k != "…");
            (open || w.len() == g.len())
                && all.into_iter().all(|(k, v)| g.get(k).is_some_and(|g| alike_json(v, g)))
        }
        (Value::Array(w), Value::Array(g)) => match w.split_last() {
            Some((Value::String(last), w)) if last == "…" => {
                w.len() <= g.len() && w.iter().zip(g).all(|(w, g)| alike_json(w, g))
            }
            _ => w.len() == g.len() && w.iter().zip(g).all(|(w, g)| alike_json(w, g)),
        },
        _ => want == got,
    }
}

#[test]
fn dots_stand_for_any_text() {
    assert!(alike("a … c\n", "a b c\n") && alike("", "") && alike("…", "x\ny\n"));
    assert!(!alike("a … c\n", "a b d\n") && !alike("", "x") && !alike("a\n", "a"));
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let got = json(r#"{"a": 1, "b": [{"c": "x y"}, 2]}"#);
    assert!(alike_json(&json(r#"{"a": "…", "b": [{"c": "x …"}, "…"]}"#), &got));
    assert!(alike_json(&json(r#"{"a": 1, "…": "…"}"#), &got));
    assert!(!alike_json(&json(r#"{"a": 1}"#), &got));
    assert!(!alike_json(&json(r#"{"a": 2, "…": "…"}"#), &got));
}
