//! `watershed export`: what was defined at run time as text, to become files of the project.

use std::path::PathBuf;

use clap::Args;
use common::Error;

use crate::run::Settings;
use crate::{Outcome, terminal};

/// Write what was defined at run time (SQL shell, console, clients) as CREATE statements.
///
/// Saved under sql/, the file takes them over; nothing stops and no event is lost.
#[derive(Args)]
pub struct Arguments {
    /// The project's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// File to write instead of printing; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let project = arguments.settings.project(&arguments.dir)?;
    let statements = engine::typed_statements(&project)?;
    let mut text = String::new();
    for statement in &statements {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(statement.trim_end().trim_end_matches(';').trim_end());
        text.push_str(";\n");
    }
    if statements.is_empty() {
        terminal::complain("nothing was defined at run time");
        return Ok(0);
    }
    match &arguments.file {
        None => terminal::say(text.trim_end()),
        Some(path) => {
            let failed = |e| Error::io(format!("writing '{}'", path.display()), e);
            use std::io::Write;
            let mut file = std::fs::File::create_new(path).map_err(failed)?;
            file.write_all(text.as_bytes()).map_err(failed)?;
            let path = path.display();
            terminal::say(&match statements.len() {
                1 => format!("1 definition written to {path}"),
                n => format!("{n} definitions written to {path}"),
            });
        }
    }
    Ok(0)
}
