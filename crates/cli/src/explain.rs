//! `watershed explain`: how a view is kept up to date, operator by operator.

use clap::Args;
use serde_json::Value;

use crate::client::{Target, segment};
use crate::{Outcome, terminal};

/// Say how a view is kept up to date.
#[derive(Args)]
pub struct Arguments {
    view: String,
    /// The plan as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let platform = arguments.target.connect()?;
    // Asked first, so that an unknown name gets the nearest one and not a place in a query.
    let path = format!("/api/views/{}?limit=1", segment(&arguments.view));
    platform.text(&path)?;
    let name = arguments.view.replace('"', "\"\"");
    let answer: Value = platform.sql(&format!("EXPLAIN \"{name}\""))?;
    if arguments.json {
        terminal::say(&answer.to_string());
        return Ok(0);
    }
    let rows = answer["rows"].as_array().cloned().unwrap_or_default();
    for row in &rows {
        // The text stands in the last column; the ones before name the step.
        let cells = row.as_array().map(Vec::as_slice).unwrap_or_default();
        terminal::say(cells.last().and_then(Value::as_str).unwrap_or_default());
    }
    if let Some(message) = answer["message"].as_str() {
        terminal::say(message);
    }
    Ok(0)
}
