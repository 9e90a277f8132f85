//! `watershed serve`: runs a project as it stands; definitions that do not fit stop the start.

use std::path::PathBuf;

use clap::Args;

use crate::run::{self, Settings};
use crate::{Outcome, terminal};

/// Run a project for production: like dev, but nothing is watched and a fault stops the start.
#[derive(Args)]
pub struct Arguments {
    /// The project's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

pub fn run(arguments: Arguments) -> Outcome {
    let project = arguments.settings.project(&arguments.dir)?;
    run::block_on(async move {
        let opened = run::open(&project).await?;
        if let Err(faults) = opened.session().apply_project().await {
            opened.platform.shutdown().await?;
            return Err(faults.into());
        }
        terminal::say(&format!("serving '{}' on http://{}", project.name(), opened.address));
        opened.serve().await
    })
}
