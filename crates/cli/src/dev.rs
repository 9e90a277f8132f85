//! `watershed dev`: runs a project and follows its files. A fault is shown and the last good
//! version goes on running.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::Stdio;

use clap::Args;
use engine::{ApplyReport, Session};

use crate::render::Faults;
use crate::run::{self, Settings};
use crate::watch::{Change, Watch};
use crate::{Outcome, terminal};

/// Run a project, reload it on save, open the console.
#[derive(Args)]
pub struct Arguments {
    /// The project's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Leave the browser closed.
    #[arg(long)]
    no_open: bool,
    #[command(flatten)]
    settings: Settings,
}

pub fn run(arguments: Arguments) -> Outcome {
    let project = arguments.settings.project(&arguments.dir)?;
    run::block_on(async move {
        let opened = run::open(&project).await?;
        // Watching starts before the first reading, so that no save falls between the two.
        let watch = Watch::start(&project.dir)?;
        let report = opened.session().apply_project().await;
        if report.is_err()
            && let Err(faults) = opened.session().apply_last_good().await
        {
            terminal::complain(&Faults::from(faults).render());
        }
        let url = format!("http://{}", opened.address);
        terminal::say(&format!("watershed dev: '{}'", project.name()));
        terminal::say(&format!("  console   {url}"));
        if let Some(port) = opened.pg_port {
            terminal::say(&format!("  postgres  psql -h {} -p {port}", opened.address.ip()));
        }
        if let Some(port) = opened.kafka_port {
            let host = project.config.kafka_host();
            terminal::say(&format!("  kafka     bootstrap.servers={host}:{port}"));
        }
        show(&report, "loaded", opened.session().definitions_running());
        if !arguments.no_open && terminal::interactive() {
            open_browser(&url);
        }
        let following = tokio::spawn(follow(opened.session(), watch));
        let outcome = opened.serve().await;
        following.abort();
        outcome
    })
}

/// Applies the files after each save.
async fn follow(session: Session, mut watch: Watch) {
    while let Some(change) = watch.next().await {
        match change {
            Change::Definitions => {
                let report = session.apply_project().await;
                show(&report, "reloaded", session.definitions_running());
            }
            Change::Settings => {
                terminal::complain("watershed.toml was changed: start again to use it");
            }
        }
    }
}

/// `runs` definitions run now.
fn show(report: &Result<ApplyReport, Vec<common::Error>>, done: &str, runs: usize) {
    match report {
        Ok(report) => {
            terminal::say(&format!("  {done}{}", summary(report)));
            for topic in &report.left_over {
                terminal::say(&format!(
                    "  nothing defines topic '{topic}' any more; its events stay on disk until \
                     you type: DROP TOPIC {topic}"
                ));
            }
        }
        Err(faults) => {
            let shown: Vec<serde_json::Value> = faults.iter().map(common::Error::to_json).collect();
            let problem = serde_json::json!({ "problems": shown });
            terminal::complain(&Faults::from_problem(problem).render());
            terminal::complain(&match runs {
                0 => "  nothing runs yet; save to try again".to_string(),
                n => format!(
                    "  the last good version goes on running ({n} defined); save to try again"
                ),
            });
        }
    }
}

fn summary(report: &ApplyReport) -> String {
    let parts =
        [("created", &report.created), ("changed", &report.changed), ("dropped", &report.dropped)];
    let mut text = String::new();
    for (what, names) in parts {
        if !names.is_empty() {
            text.push_str(&format!("; {what} {}", names.join(", ")));
        }
    }
    if text.is_empty() {
        text = match report.kept.len() {
            0 => "; the project defines nothing yet".into(),
            n => format!("; nothing changed, {n} definitions run"),
        };
    }
    text
}

/// Best effort: the address was printed anyway.
fn open_browser(url: &str) {
    if !std::io::stdout().is_terminal() {
        return;
    }
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let has_display = cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|v| std::env::var_os(v).is_some());
    if has_display {
        let _ = std::process::Command::new(program)
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
    }
}
