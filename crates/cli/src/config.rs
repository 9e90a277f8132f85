//! `watershed config show`: every setting with its value and where it comes from.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::run::Settings;
use crate::topic::objects_table;
use crate::{Outcome, terminal};

/// Settings of a project.
#[derive(Subcommand)]
pub enum Command {
    /// Every key with its value and where it comes from.
    Show(Show),
}

#[derive(Args)]
pub struct Show {
    /// The project's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The answer as JSON, for scripts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

pub fn run(command: &Command) -> Outcome {
    let Command::Show(show) = command;
    let project = show.settings.project(&show.dir)?;
    let settings: Vec<Value> = project
        .config
        .show()
        .into_iter()
        .map(|s| {
            let origin = s.origin.to_string();
            json!({ "key": s.key, "value": s.value, "origin": origin, "doc": s.doc })
        })
        .collect();
    if show.json {
        terminal::say(&Value::from(settings).to_string());
    } else {
        let members = [("key", "TEXT"), ("value", "TEXT"), ("origin", "TEXT")];
        terminal::say(&objects_table(&settings, &members));
    }
    Ok(0)
}
