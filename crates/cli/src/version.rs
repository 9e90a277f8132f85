//! `watershed version`: of this program, and of the running platform when one answers.

use clap::Args;
use serde_json::{Value, json};

use crate::client::Target;
use crate::{Outcome, terminal};

/// Say which version this is.
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
    let server = match arguments.server {
        true => arguments.target.connect()?.get::<Value>("/api/status")?["version"].clone(),
        false => Value::Null,
    };
    if arguments.json {
        terminal::say(&json!({ "version": ours, "server": server }).to_string());
    } else {
        terminal::say(&format!("watershed {ours}"));
        if let Some(theirs) = server.as_str() {
            terminal::say(&format!("server {theirs} at {}", arguments.target.url()));
        }
    }
    Ok(0)
}
