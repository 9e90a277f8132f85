//! `watershed backup`: a copy of a project with all its data, while it runs or not.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use common::{Error, SystemClock};
use engine::{BackupBy, Platform, Principal};
use serde_json::{Value, json};

use crate::client::Target;
use crate::run::{self, Settings};
use crate::{Outcome, terminal};

/// Copy a project with all its data into a folder, as of one moment, while it runs or not.
///
/// A platform that runs writes where files.allowed lets it: by default below the project's folder.
#[derive(Args)]
pub struct Arguments {
    /// Folder to write; it must be missing or empty.
    to: PathBuf,
    /// The project's folder, for one that does not run.
    #[arg(long, default_value = ".", value_name = "DIR")]
    project: PathBuf,
    /// What was written as JSON, for scripts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let to = std::path::absolute(&arguments.to)
        .map_err(|e| Error::io(format!("finding '{}'", arguments.to.display()), e))?;
    let platform = arguments.target.connect()?;
    let done: Value = match platform.text("/health") {
        Ok(_) => platform.post_json("/api/backup", &json!({ "to": to }))?,
        Err(_) => stopped(arguments, to)?,
    };
    if arguments.json {
        terminal::say(&done.to_string());
    } else {
        terminal::say(&readable(&done));
    }
    Ok(0)
}

/// Nothing answers: the data is opened here, which its locks allow to one process only.
fn stopped(arguments: &Arguments, to: PathBuf) -> Result<Value, crate::render::Faults> {
    let project = arguments.settings.project(&arguments.project)?;
    run::block_on(async move {
        let platform = Platform::open(project, Arc::new(SystemClock)).await?;
        let done = platform
            .as_user(Principal::System)
            .backup(&to.to_string_lossy(), BackupBy::Owner)
            .await;
        platform.shutdown().await?;
        Ok(serde_json::to_value(done?)
            .map_err(|e| Error::internal(format!("encoding the answer: {e}")))?)
    })
}

/// Of a backup or a restored one.
pub fn readable(done: &Value) -> String {
    let text = |name: &str| done[name].as_str().unwrap_or_default().to_string();
    let mib = done["bytes"].as_f64().unwrap_or_default() / f64::from(1 << 20);
    format!(
        "'{}' has the project as of {}: {} records in the log, {} files, {mib:.1} MiB",
        text("to"),
        text("at"),
        done["records"],
        done["files"],
    )
}
