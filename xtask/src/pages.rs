//! What the pages for developers name is there: files between back-quotes, and functions of types.

use std::path::Path;

use crate::Result;
use crate::tidy::Offence;

/// Places in the repository; other paths are those of users' projects.
const ROOTS: [&str; 8] =
    ["crates/", "console/", "dev/", "docs/", "examples/", "tests/", "xtask/", ".ci/"];

pub fn check(root: &Path, files: &[String], offences: &mut Vec<Offence>) -> Result<()> {
    let is_page = |p: &&String| {
        let named = ["ARCHITECTURE.md", "CONTRIBUTING.md", "STYLE.md"].contains(&p.as_str());
        named || (p.starts_with("docs/") && p.ends_with(".md"))
    };
    let read = |p: &String| std::fs::read_to_string(root.join(p)).map_err(|e| e.to_string());
    let is_code = |p: &&String| p.ends_with(".rs");
    let code = files.iter().filter(is_code).map(read).collect::<Result<Vec<String>>>()?;
    for path in files.iter().filter(is_page) {
        for (i, line) in read(path)?.lines().enumerate() {
            for name in line.split('`').skip(1).step_by(2) {
                if let Some(why) = missing(name, files, &code) {
                    let text = format!("line {}: `{name}` {why}", i + 1);
                    offences.push(Offence { path: path.clone(), rule: "page", text });
                }
            }
        }
    }
    Ok(())
}

fn missing(name: &str, files: &[String], code: &[String]) -> Option<&'static str> {
    let is_word = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_alphanumeric() || c == '_');
    if let Some((of, function)) = name.split_once("::") {
        let function = function.trim_end_matches("()");
        let is_type = is_word(of) && of.starts_with(|c: char| c.is_uppercase());
        let is_lower = function.starts_with(|c: char| c.is_lowercase());
        if !is_type || !is_word(function) || !is_lower {
            return None;
        }
        let (owner, made) = (format!(" {of} "), format!("fn {function}"));
        let has = |c: &&String| c.contains(&owner) && c.contains(&made);
        return code.iter().find(has).is_none().then_some("is no function here");
    }
    let is_path = name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let is_ours = ROOTS.iter().any(|r| name.starts_with(r)) || name.ends_with(".rs");
    if !is_path || !is_ours || name.contains("..") {
        return None;
    }
    // `engine/session.rs` is crates/engine/src/session.rs.
    let short = |p: &str| p.trim_start_matches("crates/").replacen("/src/", "/", 1);
    let wanted = name.trim_end_matches('/');
    let is_it = |p: &String| {
        let (p, short) = (p.as_str(), short(p));
        let ends = |p: &str| p == wanted || p.ends_with(&format!("/{wanted}"));
        ends(p) || ends(&short) || p.starts_with(&format!("{wanted}/"))
    };
    (!files.iter().any(is_it)).then_some("is not there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_functions_are_looked_up() {
        let files = ["crates/log/src/read.rs", "dev/setup", "docs/a.md"].map(String::from);
        let code = ["impl Log {\n    pub fn open(".to_string()];
        let wrong = ["log/write.rs", "write.rs", "dev/gone", "Log::close", "docs/b.md"];
        let right = [
            "log/read.rs",
            "read.rs",
            "crates/log/src/read.rs",
            "crates/log",
            "dev/setup",
            "docs/a.md",
            "Log::open",
            "Log::open()",
            "sql/mine.sql",
            "Kind::Exhausted",
            "a < b",
        ];
        for name in wrong {
            assert!(missing(name, &files, &code).is_some(), "{name}");
        }
        for name in right {
            assert!(missing(name, &files, &code).is_none(), "{name}");
        }
    }
}
