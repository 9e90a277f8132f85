//! `watershed dead-letters`: what was refused, and why; written out, sent again, removed.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use common::{Error, Result};
use serde_json::{Value, json};

use crate::client::{Platform, Target, query};
use crate::render::Faults;
use crate::topic::objects_table;
use crate::{Outcome, terminal};

/// Letters of one request while exporting.
const PAGE: &str = "1000";

/// List events that were refused, newest first; export, resend or delete them.
#[derive(Args)]
pub struct Arguments {
    /// Only of this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Only of this kind: parse, type, missing, check, too_large, late, future,
    /// compute, encoding.
    #[arg(long)]
    kind: Option<String>,
    /// Only these, separated by commas: to resend or delete.
    #[arg(long, value_delimiter = ',', value_name = "ID,…")]
    ids: Vec<String>,
    /// At most this many rows.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// `next` of the page before.
    #[arg(long)]
    after: Option<String>,
    /// Write all of them as JSON, one a line: edit `raw` and resend the file.
    #[arg(long, conflicts_with_all = ["resend", "delete"])]
    export: bool,
    /// Send them again, each once. With a FILE ('-' is standard input) the edited lines of an
    /// export, else as they came.
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with = "delete")]
    resend: Option<Option<PathBuf>>,
    /// Remove them.
    #[arg(long)]
    delete: bool,
    /// The answer as JSON, for scripts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub fn run(a: &Arguments) -> Outcome {
    let platform = a.target.connect()?;
    match (&a.resend, a.delete, a.export) {
        (Some(file), ..) => return resend(a, &platform, file.as_deref()),
        (None, true, _) => return delete(a, &platform),
        (None, false, true) => return export(a, &platform),
        (None, false, false) => {}
    }
    let page = page(a, &platform, &a.limit.to_string(), a.after.clone())?;
    if a.json {
        terminal::say(&page.to_string());
        return Ok(0);
    }
    let rows = page["rows"].as_array().cloned().unwrap_or_default();
    let members = ["id", "at", "topic", "kind", "file", "line", "column", "reason", "raw"];
    terminal::say(&objects_table(&rows, &members.map(|n| (n, "TEXT"))));
    if let Some(next) = page["next"].as_str() {
        terminal::complain(&format!("there is more ({} in all): --after '{next}'", page["total"]));
    }
    Ok(0)
}

fn page(
    a: &Arguments,
    platform: &Platform,
    limit: &str,
    after: Option<String>,
) -> Result<Value, Faults> {
    let query = query(&[
        ("topic", a.topic.clone()),
        ("kind", a.kind.clone()),
        ("limit", Some(limit.to_string())),
        ("after", after),
    ]);
    platform.get(&format!("/api/dead-letters{query}"))
}

fn export(a: &Arguments, platform: &Platform) -> Outcome {
    let mut after = a.after.clone();
    loop {
        let page = page(a, platform, PAGE, after)?;
        for letter in page["rows"].as_array().into_iter().flatten() {
            terminal::say(&letter.to_string());
        }
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_string()),
            None => return Ok(0),
        }
    }
}

fn resend(a: &Arguments, platform: &Platform, file: Option<&Path>) -> Outcome {
    let edited = file.map(edited).transpose()?.unwrap_or_default();
    if edited.is_empty() && file.is_some() {
        return Err(Error::invalid("the file has no dead letters").into());
    }
    let all = if file.is_some() { (&None, &None) } else { (&a.topic, &a.kind) };
    let body = json!({ "ids": a.ids, "topic": all.0, "kind": all.1, "edited": edited });
    let answer: Value = platform.post_json("/api/dead-letters/resend", &body)?;
    if a.json {
        terminal::say(&answer.to_string());
    } else {
        let (accepted, refused) = (&answer["accepted"], &answer["refused"]);
        terminal::say(&format!("{accepted} accepted, {refused} refused again"));
        for (id, why) in answer["left"].as_object().into_iter().flatten() {
            terminal::complain(&format!("{id} is left: {}", why.as_str().unwrap_or_default()));
        }
    }
    let refused = answer["refused"].as_u64().unwrap_or_default();
    let accepted = answer["accepted"].as_u64().unwrap_or_default();
    Ok(if refused > accepted { common::Kind::Invalid.exit_code() } else { 0 })
}

/// Ids and bytes of an export.
fn edited(file: &Path) -> Result<BTreeMap<String, String>> {
    let failed = |e| Error::io(format!("reading '{}'", file.display()), e);
    let mut text = String::new();
    match file.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut text).map_err(failed)?,
        false => {
            text = std::fs::read_to_string(file).map_err(failed)?;
            0
        }
    };
    let mut edited = BTreeMap::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let bad = || {
            Error::invalid(format!("line {} is no exported dead letter", i + 1))
                .hint("a line has at least {\"id\": \"…\", \"raw\": \"…\"}")
        };
        let letter: Value = serde_json::from_str(line).map_err(|_| bad())?;
        let (Some(id), Some(raw)) = (letter["id"].as_str(), letter["raw"].as_str()) else {
            return Err(bad());
        };
        edited.insert(id.to_string(), raw.to_string());
    }
    Ok(edited)
}

fn delete(a: &Arguments, platform: &Platform) -> Outcome {
    let ids = (!a.ids.is_empty()).then(|| a.ids.join(","));
    let query = query(&[("ids", ids), ("topic", a.topic.clone()), ("kind", a.kind.clone())]);
    let answer: Value = platform.delete(&format!("/api/dead-letters{query}"))?;
    match a.json {
        true => terminal::say(&answer.to_string()),
        false => terminal::say(&format!("{} removed", answer["deleted"])),
    }
    Ok(0)
}
