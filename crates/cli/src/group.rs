//! `watershed group`: consumer groups of a running platform, as `kafka-consumer-groups` shows them.

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::client::{Target, segment};
use crate::table::value_text;
use crate::topic::{objects_table, reset_offsets};
use crate::{Outcome, terminal};

/// Consumer groups: list, describe, reset offsets, delete.
#[derive(Subcommand)]
pub enum Command {
    /// All groups with their lag: watershed group list.
    List(Listing),
    /// Members of a group, and how far they are: watershed group describe billing.
    Describe(Named),
    ResetOffsets(reset_offsets::Arguments),
    /// Remove a group that has no members, with its offsets: watershed group delete billing.
    Delete(Deleted),
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
pub struct Named {
    /// Name of the group.
    group: String,
    /// The answer as JSON, for scripts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub struct Deleted {
    /// Name of the group.
    group: String,
    #[command(flatten)]
    target: Target,
}

pub fn run(command: &Command) -> Outcome {
    match command {
        Command::List(l) => list(l),
        Command::Describe(n) => describe(n),
        Command::ResetOffsets(a) => reset_offsets::run(a),
        Command::Delete(d) => delete(d),
    }
}

fn list(l: &Listing) -> Outcome {
    let groups: Vec<Value> = l.target.connect()?.get("/api/groups")?;
    if l.json {
        terminal::say(&Value::from(groups).to_string());
        return Ok(0);
    }
    let members = [
        ("group", "TEXT"),
        ("state", "TEXT"),
        ("type", "TEXT"),
        ("members", "INT"),
        ("lag", "BIGINT"),
    ];
    terminal::say(&objects_table(&groups, &members));
    Ok(0)
}

fn describe(n: &Named) -> Outcome {
    let group: Value = n.target.connect()?.get(&format!("/api/groups/{}", segment(&n.group)))?;
    if n.json {
        terminal::say(&group.to_string());
        return Ok(0);
    }
    let list = |name: &str| group[name].as_array().cloned().unwrap_or_default();
    let columns = [
        ("topic", "TEXT"),
        ("partition", "INT"),
        ("current_offset", "BIGINT"),
        ("log_end_offset", "BIGINT"),
        ("lag", "BIGINT"),
        ("consumer_id", "TEXT"),
        ("host", "TEXT"),
        ("client_id", "TEXT"),
    ];
    terminal::say(&objects_table(&list("partitions"), &columns));
    let text = |name: &str| value_text(&group[name]).filter(|t| !t.is_empty());
    let or_none = |name: &str| text(name).unwrap_or_else(|| "none".into());
    terminal::say(&format!(
        "state {}, type {}, members {}, assignor {}, lag {}",
        or_none("state"),
        or_none("type"),
        list("members").len(),
        or_none("assignor"),
        or_none("lag"),
    ));
    Ok(0)
}

fn delete(d: &Deleted) -> Outcome {
    let path = format!("/api/groups/{}", segment(&d.group));
    let _: Value = d.target.connect()?.delete(&path)?;
    terminal::say(&format!("group '{}' is deleted", d.group));
    Ok(0)
}
