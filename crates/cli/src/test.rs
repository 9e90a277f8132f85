//! `watershed test`: runs a project's tests, in batch and in stream, on a virtual clock.

use std::path::PathBuf;

use clap::Args;
use common::Error;
use engine::project_test::TestReport;

use crate::run::{self, Settings};
use crate::{Outcome, terminal};

/// Run a project's tests.
#[derive(Args)]
pub struct Arguments {
    /// The project's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Only tests whose name contains this.
    #[arg(long)]
    filter: Option<String>,
    /// The report as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Exit code when a test failed: not an error kind, the program did its work.
const FAILED: u8 = 1;

pub fn run(arguments: Arguments) -> Outcome {
    let project = arguments.settings.project(&arguments.dir)?;
    run::block_on(async move {
        let filter = arguments.filter.as_deref();
        let report = engine::project_test::run(&project, filter).await?;
        let text = if arguments.json {
            serde_json::to_string_pretty(&report)
                .map_err(|e| Error::internal(format!("encoding the report: {e}")))?
        } else {
            readable(&report)
        };
        terminal::say(text.trim_end());
        Ok(if report.failed == 0 { 0 } else { FAILED })
    })
}

fn readable(report: &TestReport) -> String {
    let mut lines = vec![];
    let mut file = "";
    for result in &report.results {
        if result.file != file {
            file = &result.file;
            lines.push(file.to_string());
        }
        let mark = if result.passed { "ok  " } else { "FAIL" };
        lines.push(format!("  {mark} {}", result.name));
        lines.extend(result.differences.iter().map(|d| format!("         {d}")));
    }
    if report.results.is_empty() {
        lines.push("there are no tests: write some in tests/*.toml".into());
    }
    lines.push(format!("{} passed, {} failed", report.passed, report.failed));
    lines.join("\n")
}
