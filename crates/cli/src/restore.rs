//! `watershed restore`: a project folder from a backup.

use std::path::PathBuf;

use clap::Args;
use common::Error;

use crate::{Outcome, backup, terminal};

/// Make a project folder of a backup, after comparing every file with the backup's checksums.
#[derive(Args)]
pub struct Arguments {
    /// The backup.
    from: PathBuf,
    /// Folder to make; it must be missing or empty.
    to: PathBuf,
    /// What was restored as JSON, for scripts.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let done = engine::restore(&arguments.from, &arguments.to)?;
    let done = serde_json::to_value(done)
        .map_err(|e| Error::internal(format!("encoding the answer: {e}")))?;
    if arguments.json {
        terminal::say(&done.to_string());
    } else {
        terminal::say(&backup::readable(&done));
        terminal::say(&format!("start it: watershed serve {}", arguments.to.display()));
    }
    Ok(0)
}
