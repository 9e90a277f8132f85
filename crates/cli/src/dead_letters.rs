//! `watershed dead-letters`: what was refused, and why.

use clap::Args;
use serde_json::Value;

use crate::client::{Target, query};
use crate::topic::objects_table;
use crate::{Outcome, terminal};

/// List events that were refused, newest first.
#[derive(Args)]
pub struct Arguments {
    /// Only of this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Only of this kind: parse, type, missing, check, too_large, late, future,
    /// compute, encoding.
    #[arg(long)]
    kind: Option<String>,
    /// At most this many rows.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// `next` of the page before.
    #[arg(long)]
    after: Option<String>,
    /// The answer as JSON, for scripts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub fn run(a: &Arguments) -> Outcome {
    let query = query(&[
        ("topic", a.topic.clone()),
        ("kind", a.kind.clone()),
        ("limit", Some(a.limit.to_string())),
        ("after", a.after.clone()),
    ]);
    let page: Value = a.target.connect()?.get(&format!("/api/dead-letters{query}"))?;
    if a.json {
        terminal::say(&page.to_string());
        return Ok(0);
    }
    let rows = page["rows"].as_array().cloned().unwrap_or_default();
    let members = ["at", "topic", "kind", "line", "column", "reason", "raw"].map(|n| (n, "TEXT"));
    terminal::say(&objects_table(&rows, &members));
    if let Some(next) = page["next"].as_str() {
        terminal::complain(&format!("there is more ({} in all): --after '{next}'", page["total"]));
    }
    Ok(0)
}
