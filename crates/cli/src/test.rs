//! `watershed test`: runs a project's tests, in batch and in stream, on a virtual clock.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use common::Error;
use engine::project_test::{TestReport, TestResult};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::render::Faults;
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
    /// Write the report as JUnit XML too, as CI servers read it.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
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
        if let Some(path) = &arguments.junit {
            let xml = junit(&report)?;
            std::fs::write(path, xml)
                .map_err(|e| Error::io(format!("writing '{}'", path.display()), e))?;
        }
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

/// Why a test failed, in lines.
fn reasons(result: &TestResult) -> String {
    match result.problems.is_empty() {
        true => result.differences.join("\n"),
        false => Faults::of(&result.problems).plain(),
    }
}

/// The report in JUnit's XML: a suite for each file.
fn junit(report: &TestReport) -> Result<String, Error> {
    let mut suites: Vec<TestSuite> = vec![];
    for result in &report.results {
        let status = match (result.passed, result.problems.is_empty()) {
            (true, _) => TestCaseStatus::success(),
            (false, is_difference) => {
                let kind =
                    if is_difference { NonSuccessKind::Failure } else { NonSuccessKind::Error };
                let mut status = TestCaseStatus::non_success(kind);
                status.set_description(reasons(result));
                status
            }
        };
        let mut case = TestCase::new(result.name.as_str(), status);
        case.set_time(Duration::from_secs_f64(result.seconds));
        if suites.last().is_none_or(|s| s.name.as_str() != result.file) {
            suites.push(TestSuite::new(result.file.as_str()));
        }
        if let Some(suite) = suites.last_mut() {
            suite.add_test_case(case);
        }
    }
    let mut all = Report::new("watershed test");
    all.add_test_suites(suites);
    all.to_string().map_err(|e| Error::internal(format!("encoding the report: {e}")))
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
        lines.extend(reasons(result).lines().map(|l| format!("         {l}")));
    }
    if report.results.is_empty() {
        lines.push("there are no tests: write some in tests/*.toml".into());
    }
    lines.push(format!("{} passed, {} failed", report.passed, report.failed));
    lines.join("\n")
}
