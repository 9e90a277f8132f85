//! The interactive SQL shell: history, completion of keywords and names, statements over several
//! lines until their semicolon, `\d` and its relatives.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use common::Error;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, Helper, Highlighter, Hinter};
use serde_json::Value;

use crate::client::{Platform, segment};
use crate::sql::{Form, run_one};
use crate::table::{Column, table, value_text};
use crate::{Outcome, render::Faults, terminal};

const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "ANTI",
    "AS",
    "ASC",
    "AVG",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CHECK",
    "COUNT",
    "CREATE",
    "CROSS",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FIRST",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IN",
    "INNER",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "LAST",
    "LEFT",
    "LIKE",
    "LIMIT",
    "MATERIALIZED",
    "MAX",
    "MIN",
    "NOT",
    "NULL",
    "NULLS",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "PARTITION",
    "RIGHT",
    "SELECT",
    "SHOW",
    "SINK",
    "SINKS",
    "SOURCE",
    "SOURCES",
    "SUM",
    "THEN",
    "TOPIC",
    "TOPICS",
    "TRUE",
    "UNION",
    "USING",
    "VALUES",
    "VIEW",
    "VIEWS",
    "WATERMARK",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];

const HELP: &str = "\
Statements end with a semicolon and may stand on several lines.
  \\d          topics and views
  \\d NAME     columns of a topic or view
  \\h          this help
  \\q          leave (or Ctrl-D)
Tab completes keywords and names; arrow up brings back earlier statements.";

/// Reads and runs until the user leaves.
pub fn run(platform: &Platform, url: &str, form: Form) -> Outcome {
    let words = Rc::new(RefCell::new(words(platform)?));
    let config = Config::builder().history_ignore_space(true).auto_add_history(false).build();
    let failed = |e: ReadlineError| Error::internal(format!("reading the terminal: {e}"));
    let mut editor: Editor<Completion, FileHistory> =
        Editor::with_config(config).map_err(failed)?;
    editor.set_helper(Some(Completion { words: words.clone() }));
    let history = history_file();
    if let Some(path) = &history {
        // No history yet is not a fault.
        let _ = editor.load_history(path);
    }
    terminal::say(&format!("Watershed at {url}. \\h for help, \\q to leave."));
    loop {
        match editor.readline("watershed> ") {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => {
                if !has_password(&line) {
                    let _ = editor.add_history_entry(line.trim());
                }
                if !command(platform, line.trim(), form, &words) {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(e) => return Err(failed(e).into()),
        }
    }
    if let Some(path) = &history {
        if let Some(dir) = path.parent() {
            let _ = std::fs::create_dir_all(dir);
        }
        let _ = editor.save_history(path);
    }
    Ok(0)
}

/// Passwords are not for a file that keeps every line.
fn has_password(line: &str) -> bool {
    line.to_ascii_uppercase().contains("PASSWORD")
}

fn history_file() -> Option<PathBuf> {
    crate::run::state_dir().map(|d| d.join("sql_history"))
}

/// Runs a line; false ends the shell.
fn command(platform: &Platform, line: &str, form: Form, words: &RefCell<Vec<String>>) -> bool {
    let ran = match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["\\q" | "exit" | "quit"] => return false,
        ["\\h" | "\\?" | "help"] => {
            terminal::say(HELP);
            Ok(())
        }
        ["\\d"] => list(platform),
        ["\\d", name] => describe(platform, name.trim_end_matches(';')),
        [first, ..] if first.starts_with('\\') => {
            Err(Error::invalid(format!("unknown command '{first}'")).hint("\\h lists them").into())
        }
        _ => statements(platform, line, form, words),
    };
    if let Err(faults) = ran {
        terminal::complain(&faults.render());
    }
    true
}

fn statements(
    platform: &Platform,
    text: &str,
    form: Form,
    names: &RefCell<Vec<String>>,
) -> Result<(), Faults> {
    for statement in engine::split(text).statements {
        run_one(platform, statement, form)?;
        let first = statement.split_whitespace().next().unwrap_or("");
        if ["CREATE", "DROP"].iter().any(|w| first.eq_ignore_ascii_case(w)) {
            *names.borrow_mut() = words(platform)?;
        }
    }
    Ok(())
}

fn columns_of(object: &Value) -> Vec<&Value> {
    object["columns"].as_array().map(|c| c.iter().collect()).unwrap_or_default()
}

/// Keywords and all names there are.
fn words(platform: &Platform) -> Result<Vec<String>, Faults> {
    let mut words: Vec<String> = KEYWORDS.iter().map(ToString::to_string).collect();
    for path in ["/api/topics", "/api/views"] {
        for object in platform.get::<Vec<Value>>(path)? {
            words.extend(object["name"].as_str().map(str::to_string));
            let names = columns_of(&object).into_iter().filter_map(|c| c["name"].as_str());
            words.extend(names.map(str::to_string));
        }
    }
    words.sort_unstable();
    words.dedup();
    Ok(words)
}

fn heading(names: &[&str]) -> Vec<Column> {
    names.iter().map(|n| Column { name: n.to_string(), kind: "TEXT".into() }).collect()
}

fn list(platform: &Platform) -> Result<(), Faults> {
    let mut rows = vec![];
    for (kind, path) in [("topic", "/api/topics"), ("view", "/api/views")] {
        for object in platform.get::<Vec<Value>>(path)? {
            let columns = columns_of(&object).len().to_string();
            rows.push(vec![value_text(&object["name"]), Some(kind.into()), Some(columns)]);
        }
    }
    terminal::say(&table(&heading(&["name", "kind", "columns"]), &rows));
    Ok(())
}

fn describe(platform: &Platform, name: &str) -> Result<(), Faults> {
    let views: Vec<Value> = platform.get("/api/views")?;
    let object = match views.into_iter().find(|v| v["name"] == name) {
        Some(view) => view,
        None => platform.get(&format!("/api/topics/{}/schema", segment(name)))?,
    };
    let row = |c: &Value| {
        let null = if c["nullable"] == false { "no" } else { "yes" };
        vec![value_text(&c["name"]), value_text(&c["type"]), Some(null.into())]
    };
    let rows: Vec<_> = columns_of(&object).into_iter().map(row).collect();
    terminal::say(&table(&heading(&["column", "type", "null"]), &rows));
    Ok(())
}

#[derive(Helper, Hinter, Highlighter)]
struct Completion {
    words: Rc<RefCell<Vec<String>>>,
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let (start, found) = candidates(&self.words.borrow(), line, at);
        Ok((start, found))
    }
}

/// Where the word under the cursor starts, and what it may become.
fn candidates(words: &[String], line: &str, at: usize) -> (usize, Vec<String>) {
    let before = &line[..at];
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let start = before
        .rfind(|c| !is_word(c))
        .map_or(0, |i| i + before[i..].chars().next().map_or(1, char::len_utf8));
    let prefix = before[start..].to_lowercase();
    if prefix.is_empty() {
        return (start, vec![]);
    }
    let lower_case = before[start..].chars().next().is_some_and(char::is_lowercase);
    let fits = words.iter().filter(|w| w.to_lowercase().starts_with(&prefix));
    let shown = fits.map(|w| {
        // Keywords follow the case that the user began to type.
        if lower_case && KEYWORDS.contains(&w.as_str()) { w.to_lowercase() } else { w.clone() }
    });
    (start, shown.collect())
}

impl Validator for Completion {
    fn validate(&self, ctx: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = ctx.input().trim();
        let command = text.starts_with('\\') || ["exit", "quit", "help"].contains(&text);
        let complete = command || engine::split(text).rest.is_none();
        Ok(match complete {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_names_and_keywords() {
        let words: Vec<String> =
            ["SELECT", "readings", "sensor", "SET"].iter().map(ToString::to_string).collect();
        assert_eq!(candidates(&words, "sel", 3), (0, vec!["select".to_string()]));
        assert_eq!(candidates(&words, "SEL", 3), (0, vec!["SELECT".to_string()]));
        assert_eq!(candidates(&words, "x FROM rea", 10), (7, vec!["readings".to_string()]));
        assert_eq!(candidates(&words, "é.sens", 7).1, ["sensor"]);
        assert_eq!(candidates(&words, "SELECT ", 7).1.len(), 0);
    }

    #[test]
    fn keywords_stand_in_order() {
        assert!(KEYWORDS.is_sorted());
    }
}
