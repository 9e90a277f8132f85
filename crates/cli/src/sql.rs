//! `watershed sql`: one statement from the command line, a file from stdin, or the shell.

use std::io::Read;

use clap::Args;
use common::Error;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client::{Platform, Target};
use crate::render::Faults;
use crate::table::{self, Column};
use crate::{Outcome, shell, terminal};

/// Run SQL: one statement, a file from stdin, or an interactive shell.
#[derive(Args)]
pub struct Arguments {
    /// The statement; without it a shell starts, or stdin is read.
    query: Option<String>,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    target: Target,
}

/// How rows are written.
#[derive(Args, Clone, Copy, Default)]
pub struct Form {
    /// Rows as JSON objects, in one array.
    #[arg(long)]
    pub json: bool,
    /// Rows as CSV with a header line.
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

/// Answer to a statement.
#[derive(Deserialize)]
pub struct Answer {
    #[serde(default)]
    columns: Vec<Column>,
    #[serde(default)]
    rows: Vec<Vec<Box<RawValue>>>,
    #[serde(default)]
    rows_omitted: bool,
    message: Option<String>,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let platform = arguments.target.connect()?;
    if let Some(query) = &arguments.query {
        return run_text(&platform, query, arguments.form);
    }
    if terminal::interactive() {
        return shell::run(&platform, &arguments.target.url(), arguments.form);
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|e| Error::io("reading SQL from stdin", e))?;
    run_text(&platform, &text, arguments.form)
}

/// Runs all statements of a text, one after the other, until one fails.
fn run_text(platform: &Platform, text: &str, form: Form) -> Outcome {
    let split = engine::split(text);
    let mut all = split.statements;
    all.extend(split.rest);
    if all.is_empty() {
        return Err(Error::invalid("there is no statement to run").into());
    }
    for statement in all {
        run_one(platform, statement, form)?;
    }
    Ok(0)
}

/// Runs one statement and shows its answer.
pub fn run_one(platform: &Platform, statement: &str, form: Form) -> Result<(), Faults> {
    let answer: Answer = platform.sql(statement)?;
    terminal::say(&show(&answer, form));
    if answer.rows_omitted {
        terminal::complain(&format!(
            "only the first {} rows are shown (query.rows_max); narrow the query or use LIMIT",
            answer.rows.len()
        ));
    }
    Ok(())
}

fn show(answer: &Answer, form: Form) -> String {
    if let Some(message) = &answer.message {
        return match form.json {
            true => serde_json::json!({ "message": message }).to_string(),
            false => message.clone(),
        };
    }
    if form.json {
        return json(answer);
    }
    let cells = |row: &Vec<Box<RawValue>>| row.iter().map(|v| table::text(v)).collect();
    let rows: Vec<table::Cells> = answer.rows.iter().map(cells).collect();
    match form.csv {
        true => table::csv(&answer.columns, &rows),
        false => table::table(&answer.columns, &rows),
    }
}

fn json(answer: &Answer) -> String {
    let object = |row: &Vec<Box<RawValue>>| {
        let members =
            answer.columns.iter().zip(row).map(|(column, value)| {
                format!("{}: {}", serde_json::json!(column.name), value.get())
            });
        format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
    };
    match answer.rows.iter().map(object).collect::<Vec<_>>() {
        rows if rows.is_empty() => "[]".into(),
        rows => format!("[\n  {}\n]", rows.join(",\n  ")),
    }
}
