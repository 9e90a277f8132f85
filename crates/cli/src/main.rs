//! The program `watershed`: one file per verb, wiring only. `new`, `dev`, `serve`, `check`,
//! `test`, `export`, `restore` and `config` work on a project folder; all other verbs ask a running
//! platform over HTTP.

mod backup;
mod check;
mod client;
mod completions;
mod config;
mod dead_letters;
mod dev;
mod doctor;
mod explain;
mod export;
mod group;
mod import;
mod logs;
mod new;
mod render;
mod restore;
mod run;
mod serve_verb;
mod shell;
mod sql;
mod table;
mod terminal;
mod test;
mod top;
mod topic;
mod version;
mod view;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::logs::LogFormat;
use crate::render::Faults;

/// Data flows connect, buffer, process, store and serve: a data platform in one program.
#[derive(Parser)]
#[command(name = "watershed", version, max_term_width = 100)]
struct Cli {
    /// How log lines are written to stderr.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        env = "WATERSHED_LOG_FORMAT",
        display_order = 900
    )]
    log_format: LogFormat,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    New(new::Arguments),
    Dev(dev::Arguments),
    Serve(serve_verb::Arguments),
    Sql(sql::Arguments),
    Import(import::Arguments),
    Check(check::Arguments),
    Test(test::Arguments),
    Export(export::Arguments),
    Explain(explain::Arguments),
    #[command(subcommand)]
    Topic(topic::Command),
    #[command(subcommand)]
    Group(group::Command),
    #[command(subcommand)]
    View(view::Command),
    DeadLetters(dead_letters::Arguments),
    Top(top::Arguments),
    Backup(backup::Arguments),
    Restore(restore::Arguments),
    Doctor(doctor::Arguments),
    #[command(subcommand)]
    Config(config::Command),
    Version(version::Arguments),
    Completions(completions::Arguments),
}

/// What a verb gives: the exit code, or what went wrong.
type Outcome = Result<u8, Faults>;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version come here too and print to stdout.
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    let long_lived = matches!(cli.verb, Verb::Dev(_) | Verb::Serve(_));
    logs::start(cli.log_format, if long_lived { "info" } else { "warn" });
    let outcome = match cli.verb {
        Verb::New(arguments) => new::run(&arguments),
        Verb::Dev(arguments) => dev::run(arguments),
        Verb::Serve(arguments) => serve_verb::run(arguments),
        Verb::Sql(arguments) => sql::run(&arguments),
        Verb::Import(arguments) => import::run(&arguments),
        Verb::Check(arguments) => check::run(arguments),
        Verb::Test(arguments) => test::run(arguments),
        Verb::Export(arguments) => export::run(&arguments),
        Verb::Explain(arguments) => explain::run(&arguments),
        Verb::Topic(command) => topic::run(&command),
        Verb::Group(command) => group::run(&command),
        Verb::View(command) => view::run(&command),
        Verb::DeadLetters(arguments) => dead_letters::run(&arguments),
        Verb::Top(arguments) => top::run(&arguments),
        Verb::Backup(arguments) => backup::run(&arguments),
        Verb::Restore(arguments) => restore::run(&arguments),
        Verb::Doctor(arguments) => doctor::run(&arguments),
        Verb::Config(command) => config::run(&command),
        Verb::Version(arguments) => version::run(&arguments),
        Verb::Completions(arguments) => completions::run(&arguments),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(faults) => {
            terminal::complain(&faults.render());
            ExitCode::from(faults.exit_code())
        }
    }
}
