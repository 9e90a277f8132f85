//! `watershed check`: whether a project's folder compiles; for commit hooks and CI.

use std::path::PathBuf;

use clap::Args;
use common::Error;
use engine::project_check::{self, Checked};

use crate::run::{self, Settings};
use crate::{Outcome, terminal};

/// Check that a project's SQL, dashboards and tests are without fault. Runs nothing.
#[derive(Args)]
pub struct Arguments {
    /// The project's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// What was found as JSON, for scripts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

pub fn run(arguments: Arguments) -> Outcome {
    let project = arguments.settings.project(&arguments.dir)?;
    run::block_on(async move {
        let checked = project_check::run(&project).await?;
        let text = if arguments.json {
            serde_json::to_string(&checked)
                .map_err(|e| Error::internal(format!("encoding the answer: {e}")))?
        } else {
            readable(&checked)
        };
        terminal::say(&text);
        Ok(0)
    })
}

fn readable(checked: &Checked) -> String {
    let counted = |n: usize, what: &str| match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    let mut parts: Vec<String> =
        checked.definitions.iter().map(|(kind, n)| counted(*n, kind)).collect();
    parts.push(counted(checked.dashboards, "dashboard"));
    parts.push(counted(checked.tests, "file") + " of tests");
    format!("no fault: {}", parts.join(", "))
}
