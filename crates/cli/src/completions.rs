//! `watershed completions`: a completion script for the user's shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Cli, Outcome, terminal};

/// Print a completion script: watershed completions bash > /etc/bash_completion.d/watershed.
#[derive(Args)]
pub struct Arguments {
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let mut script = vec![];
    clap_complete::generate(arguments.shell, &mut Cli::command(), "watershed", &mut script);
    terminal::say(String::from_utf8_lossy(&script).trim_end());
    Ok(0)
}
