//! `watershed top`: what runs, once a second.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::client::{Platform, Target};
use crate::render::Faults;
use crate::topic::objects_table;
use crate::{Outcome, terminal};

/// Show what runs, once a second.
#[derive(Args)]
pub struct Arguments {
    /// Show it once and leave.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let platform = arguments.target.connect()?;
    let once = arguments.once || !std::io::stdout().is_terminal();
    loop {
        let page = page(&platform)?;
        if once {
            terminal::say(&page);
            return Ok(0);
        }
        // Home and clear to the end: no flicker as with a full clear.
        terminal::say(&format!("\x1b[H\x1b[J{page}"));
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn page(platform: &Platform) -> Result<String, Faults> {
    let status: Value = platform.get("/api/status")?;
    let number = |name: &str| status[name].as_f64().map(|n| format!("{n:.0}"));
    let shown = |name: &str| number(name).unwrap_or_else(|| "unknown".into());
    let mut out = vec![format!(
        "{}: up {} s, {} events/s, {} events, {} dead letters",
        status["project"].as_str().unwrap_or("watershed"),
        shown("uptime_s"),
        shown("events_per_second"),
        shown("events_total"),
        shown("dead_letters"),
    )];
    let list = |name: &str| status[name].as_array().cloned().unwrap_or_default();
    let views = [
        ("name", "TEXT"),
        ("state", "TEXT"),
        ("rows", "BIGINT"),
        ("lag_events", "BIGINT"),
        ("freshness_ms", "BIGINT"),
    ];
    let sources = [("name", "TEXT"), ("connector", "TEXT"), ("into", "TEXT"), ("state", "TEXT")];
    let sinks =
        [("name", "TEXT"), ("connector", "TEXT"), ("state", "TEXT"), ("rows_total", "BIGINT")];
    for (name, members) in [("views", &views[..]), ("sources", &sources), ("sinks", &sinks)] {
        let objects = list(name);
        if !objects.is_empty() {
            out.push(format!("\n{name}\n{}", objects_table(&objects, members)));
        }
    }
    let problems = list("problems");
    if !problems.is_empty() {
        let problem = serde_json::json!({ "problems": problems });
        out.push(format!("\n{}", Faults::from_problem(problem).render()));
    }
    Ok(out.join("\n"))
}
