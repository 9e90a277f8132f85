//! `watershed view`: the views of a running platform and their rows.

use clap::{Args, Subcommand};
use common::Error;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::client::{Target, query, segment};
use crate::table::{self, Column};
use crate::topic::objects_table;
use crate::{Outcome, terminal};

/// Views: list, rows, rebuild.
#[derive(Subcommand)]
pub enum Command {
    /// All views and how they are doing.
    List(Listing),
    /// Rows of a view.
    Rows(RowsOf),
    /// Compute a view anew from all events; the old rows serve until it has caught up.
    Rebuild(Rebuild),
}

#[derive(Args)]
pub struct Listing {
    /// The answer as JSON, for scripts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub struct RowsOf {
    /// Name of the view.
    view: String,
    /// Only rows with this value: --where sensor=roof (may be given several times).
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    filters: Vec<String>,
    /// COLUMN or COLUMN.desc.
    #[arg(long)]
    order: Option<String>,
    /// At most this many rows.
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// `next` of the page before.
    #[arg(long)]
    after: Option<String>,
    #[command(flatten)]
    form: crate::sql::Form,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub struct Rebuild {
    /// Name of the view.
    view: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Deserialize)]
struct Page {
    columns: Vec<Column>,
    rows: Box<RawValue>,
    next: Option<String>,
}

pub fn run(command: &Command) -> Outcome {
    match command {
        Command::List(l) => list(l),
        Command::Rows(r) => rows(r),
        Command::Rebuild(r) => rebuild(r),
    }
}

fn rebuild(r: &Rebuild) -> Outcome {
    let path = format!("/api/views/{}/rebuild", segment(&r.view));
    let _: Value = r.target.connect()?.post(&path, &[], vec![])?;
    terminal::say(&format!("'{}' is computed anew: watershed view list", r.view));
    Ok(0)
}

fn list(l: &Listing) -> Outcome {
    let views: Vec<Value> = l.target.connect()?.get("/api/views")?;
    if l.json {
        terminal::say(&Value::from(views).to_string());
        return Ok(0);
    }
    let members = [
        ("name", "TEXT"),
        ("state", "TEXT"),
        ("rows", "BIGINT"),
        ("lag_events", "BIGINT"),
        ("epoch", "BIGINT"),
    ];
    terminal::say(&objects_table(&views, &members));
    Ok(0)
}

fn rows(r: &RowsOf) -> Outcome {
    let mut pairs = vec![
        ("limit", Some(r.limit.to_string())),
        ("order", r.order.clone()),
        ("after", r.after.clone()),
    ];
    for filter in &r.filters {
        let (column, value) = filter.split_once('=').ok_or_else(|| {
            Error::invalid(format!("--where {filter} has no '='"))
                .hint("write it as in --where sensor=roof")
        })?;
        pairs.push((column, Some(value.to_string())));
    }
    let path = format!("/api/views/{}{}", segment(&r.view), query(&pairs));
    let page: Page = r.target.connect()?.get(&path)?;
    if r.form.json {
        terminal::say(page.rows.get());
    } else {
        let cells = cells(&page)?;
        terminal::say(&match r.form.csv {
            true => table::csv(&page.columns, &cells),
            false => table::table(&page.columns, &cells),
        });
    }
    if let Some(next) = &page.next {
        terminal::complain(&format!("there is more: --after '{next}'"));
    }
    Ok(0)
}

/// Members of each row in the order of the columns.
fn cells(page: &Page) -> Result<Vec<table::Cells>, Error> {
    use std::collections::HashMap;
    let rows: Vec<HashMap<String, Box<RawValue>>> = serde_json::from_str(page.rows.get())
        .map_err(|e| Error::internal(format!("reading rows: {e}")))?;
    let row = |row: &HashMap<String, Box<RawValue>>| {
        page.columns.iter().map(|c| row.get(&c.name).and_then(|v| table::text(v))).collect()
    };
    Ok(rows.iter().map(row).collect())
}
