//! Developer commands: `tidy` (the house rules as a test), `docs` (references from code), `crash`
//! (the real binary killed under load, accounts balanced at the end), `bench-spine`, `bench-log`,
//! `bench-nexmark` and `bench-build` (figures into docs/benchmarks.md).

mod bench;
mod bench_build;
mod bench_log;
mod bench_nexmark;
mod crash;
mod docs;
mod http;
mod nexmark;
mod pages;
mod rooms;
mod server;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

/// Something that went wrong, as text for the terminal.
pub type Result<T, E = String> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some("tidy") => tidy::run(),
        Some("docs") => docs::run(),
        Some("crash") => crash::run(&args[1..]),
        Some("bench-spine") => bench::run(&args[1..]),
        Some("bench-log") => bench_log::run(&args[1..]),
        Some("bench-nexmark") => bench_nexmark::run(&args[1..]),
        Some("bench-build") => bench_build::run(&args[1..]),
        _ => Err("usage: xtask tidy | docs | crash [--kills N] [--seed N] [--binary FILE] | \
                  bench-spine [--binary FILE] | bench-log [--binary FILE] [--rounds N] \
                  [--records N] | bench-nexmark [--binary FILE] [--events N] [--queries q00,…] | \
                  bench-build [--cold] [--tests] [--note TEXT]"
            .into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The value after a flag.
pub fn flag(args: &[String], name: &str) -> Option<String> {
    let at = args.iter().position(|a| a == name)?;
    args.get(at + 1).cloned()
}

/// The repository.
pub fn root() -> PathBuf {
    // `cargo run` says where it runs; a build folder may be shared by several clones.
    let manifest = std::env::var("CARGO_MANIFEST_DIR");
    PathBuf::from(manifest.unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into())).join("..")
}

/// The binary to run: given, or the debug build.
pub fn binary(args: &[String]) -> Result<PathBuf> {
    let path = match flag(args, "--binary") {
        Some(path) => PathBuf::from(path),
        None => {
            let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
            PathBuf::from(target).join("debug/watershed")
        }
    };
    match path.is_file() {
        true => Ok(path),
        false => Err(format!("there is no binary at {}: run make build", path.display())),
    }
}
