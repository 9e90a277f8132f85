//! `tests/http/*.http`: exchanges as they go over the wire. A file begins with the project's SQL;
//! each exchange starts with `### title`, then the request, `---`, and the answer, which is
//! rewritten by `BLESS=1`. Each answer is held against the OpenAPI document, too.

use std::path::Path;

use serde_json::Value;

use crate::support::{self, Answer, Project, Server, shapes};

/// Headers that are part of an answer's contract.
const HEADERS: [&str; 4] = ["content-type", "retry-after", "location", "allow"];

#[test]
fn exchanges() {
    for path in support::golden_files("tests/http", "http") {
        run(&path);
    }
}

fn run(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut parts = text.split("\n### ");
    let head = parts.next().unwrap();
    let sql = head.strip_prefix("### ").map_or(head, |_| "");
    let server = Project::new(sql).serve(&[]);
    let document = server.get("/api/openapi.json").json();
    let mut got = format!("{}\n", head.trim_end());
    for part in parts {
        let (request, _) = part.split_once("\n---\n").unwrap_or((part, ""));
        let answer = exchange(&server, &document, request);
        got.push_str(&format!("\n### {}\n---\n{answer}", request.trim_end()));
    }
    support::golden(path, &got);
}

fn exchange(server: &Server, document: &Value, request: &str) -> String {
    let (_title, request) = request.split_once('\n').expect("a request under the title");
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let mut lines = head.lines();
    let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
    let headers: Vec<(&str, &str)> = lines.filter_map(|l| l.split_once(": ")).collect();
    let answer = server.send(method, path, &headers, body.trim_end().as_bytes());
    if method == "POST" && path.starts_with("/api/topics/") && answer.status == 200 {
        server.settle();
    }
    shapes::check(document, method, path, &answer);
    show(&answer)
}

fn show(answer: &Answer) -> String {
    let mut out = format!("{}\n", answer.status);
    for name in HEADERS {
        if let Some(value) = answer.header(name) {
            out.push_str(&format!("{name}: {value}\n"));
        }
    }
    out.push('\n');
    match serde_json::from_slice::<Value>(&answer.body) {
        Ok(mut value) => {
            support::mask(&mut value);
            out.push_str(&serde_json::to_string_pretty(&value).unwrap());
        }
        Err(_) => out.push_str(&answer.text()),
    }
    out.push('\n');
    out
}
