//! `watershed version`: of this program, and of the running platform when one answers.

use clap::Args;
use serde_json::{Value, json};

use crate::client::Target;
use crate::{Outcome, terminal};

/// Say which version this is, and with which drivers it was built.
#[derive(Args)]
pub struct Arguments {
    /// The answer as JSON, for scripts.
    #[arg(long)]
    json: bool,
    /// Ask the running platform too.
    #[arg(long)]
    server: bool,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let ours = env!("CARGO_PKG_VERSION");
    let drivers = engine::drivers();
    let server = match arguments.server {
        true => arguments.target.connect()?.get::<Value>("/api/status")?["version"].clone(),
        false => Value::Null,
    };
    if arguments.json {
        let all = json!({ "version": ours, "drivers": drivers, "server": server });
        terminal::say(&all.to_string());
    } else {
        terminal::say(&format!("watershed {ours}"));
        if !drivers.is_empty() {
            terminal::say(&format!("drivers: {}", drivers.join(", ")));
        }
        if let Some(theirs) = server.as_str() {
            terminal::say(&format!("server {theirs} at {}", arguments.target.url()));
        }
    }
    Ok(0)
}
