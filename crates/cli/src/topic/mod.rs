//! `watershed topic`: the topics of a running platform. Records go in by `produce.rs` and come out
//! by `consume.rs`.

mod consume;
mod delete_records;
mod produce;
pub mod reset_offsets;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::client::{Target, query, segment};
use crate::table::{Column, table, value_text};
use crate::{Outcome, terminal};

/// Topics: list, describe, create, drop, produce, consume.
#[derive(Subcommand)]
pub enum Command {
    /// All topics.
    List(Listing),
    /// Columns, settings and partitions of a topic.
    Describe(Named),
    /// Make a topic: watershed topic create readings "sensor TEXT NOT NULL, celsius DOUBLE".
    Create(Create),
    /// Remove a topic that was made at run time.
    Drop(Named),
    /// The last events.
    Tail(Tail),
    Produce(produce::Arguments),
    Consume(consume::Arguments),
    DeleteRecords(delete_records::Arguments),
    ResetOffsets(reset_offsets::Arguments),
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
    /// Name of the topic.
    name: String,
    /// The answer as JSON, for scripts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub struct Create {
    /// Name of the topic.
    name: String,
    /// Column definitions as in CREATE TOPIC.
    columns: String,
    /// Options as in WITH (…), for instance "partitions = 4".
    #[arg(long)]
    with: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub struct Tail {
    /// Name of the topic.
    name: String,
    /// How many events.
    #[arg(short, default_value_t = 10)]
    n: u32,
    #[command(flatten)]
    target: Target,
}

pub fn run(command: &Command) -> Outcome {
    match command {
        Command::List(l) => list(l),
        Command::Describe(n) => describe(n),
        Command::Create(c) => create(c),
        Command::Drop(n) => statement(&n.target, &format!("DROP TOPIC {}", quoted(&n.name))),
        Command::Tail(t) => tail(t),
        Command::Produce(a) => produce::run(a),
        Command::Consume(a) => consume::run(a),
        Command::DeleteRecords(a) => delete_records::run(a),
        Command::ResetOffsets(a) => reset_offsets::run(a),
    }
}

/// A name as SQL takes it, whatever it contains.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn statement(target: &Target, text: &str) -> Outcome {
    let answer: Value = target.connect()?.sql(text)?;
    terminal::say(answer["message"].as_str().unwrap_or("done"));
    Ok(0)
}

fn create(c: &Create) -> Outcome {
    let with = c.with.as_ref().map(|w| format!(" WITH ({w})")).unwrap_or_default();
    statement(&c.target, &format!("CREATE TOPIC {} ({}){with}", quoted(&c.name), c.columns))
}

/// Members of objects as a table.
pub fn objects_table(objects: &[Value], members: &[(&str, &str)]) -> String {
    let columns: Vec<Column> = members
        .iter()
        .map(|(name, kind)| Column { name: name.to_string(), kind: kind.to_string() })
        .collect();
    let row = |o: &Value| members.iter().map(|(name, _)| value_text(&o[*name])).collect();
    table(&columns, &objects.iter().map(row).collect::<Vec<_>>())
}

fn list(l: &Listing) -> Outcome {
    let topics: Vec<Value> = l.target.connect()?.get("/api/topics")?;
    if l.json {
        terminal::say(&Value::from(topics).to_string());
        return Ok(0);
    }
    let members = [
        ("name", "TEXT"),
        ("format", "TEXT"),
        ("partitions", "INT"),
        ("records", "BIGINT"),
        ("bytes", "BIGINT"),
    ];
    terminal::say(&objects_table(&topics, &members));
    Ok(0)
}

fn describe(n: &Named) -> Outcome {
    let (platform, path) = (n.target.connect()?, format!("/api/topics/{}", segment(&n.name)));
    let topic: Value = platform.get(&format!("{path}/schema"))?;
    if n.json {
        terminal::say(&topic.to_string());
        return Ok(0);
    }
    let columns = topic["columns"].as_array().cloned().unwrap_or_default();
    let members = [("name", "TEXT"), ("type", "TEXT"), ("nullable", "TEXT")];
    terminal::say(&objects_table(&columns, &members));
    let text = |name: &str| value_text(&topic[name]).unwrap_or_else(|| "none".into());
    terminal::say(&format!(
        "format {}, partitions {}, key {}, records {}",
        text("format"),
        text("partitions"),
        text("key"),
        text("records")
    ));
    if let Some(column) = topic["watermark"]["column"].as_str() {
        let delay_s = topic["watermark"]["delay_us"].as_f64().unwrap_or_default() / 1e6;
        terminal::say(&format!("watermark: {column} - {delay_s} s"));
    }
    let partitions: Vec<Value> = platform.get(&format!("{path}/partitions"))?;
    let members = [
        ("partition", "INT"),
        ("log_start_offset", "BIGINT"),
        ("log_end_offset", "BIGINT"),
        ("bytes", "BIGINT"),
        ("segments", "BIGINT"),
    ];
    terminal::say(&objects_table(&partitions, &members));
    Ok(0)
}

fn tail(t: &Tail) -> Outcome {
    let path =
        format!("/api/topics/{}{}", segment(&t.name), query(&[("tail", Some(t.n.to_string()))]));
    let answer: Value = t.target.connect()?.get(&path)?;
    for event in answer["events"].as_array().into_iter().flatten().rev() {
        terminal::say(&event.to_string());
    }
    Ok(0)
}
