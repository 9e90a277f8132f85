//! `make bench-build`: how long a build takes, as a table on the terminal and in
//! docs/benchmarks.md: `make demo` from nothing (`--cold`), after one more line in a crate, the
//! same for a crate's tests, and `make test` on a warm folder (`--tests`). Figures that were not
//! asked for stay out of the table. To be run on a quiet machine.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::bench::write;
use crate::{Result, flag, root};

/// Crates whose edits are measured, with the goals for the demo and for their tests in seconds.
const EDITED: [(&str, &str); 5] =
    [("log", ""), ("stream", "≤ 12 s"), ("sql", ""), ("engine", "≤ 30 s"), ("kafka", "")];
/// Crates that were slow to compile, with the goal for each.
const SLOW: [&str; 5] = ["sql", "engine", "serve", "postgres", "kafka"];

pub fn run(args: &[String]) -> Result<()> {
    let has = |name: &str| args.iter().any(|a| a == name);
    let mut rows: Vec<[String; 3]> = vec![];
    if has("--cold") {
        rows.extend(cold()?);
    }
    demo()?;
    for (name, _) in EDITED {
        let seconds = after_a_line(name, &demo)?;
        rows.push([format!("`make demo` after a line in `{name}`"), String::new(), secs(seconds)]);
    }
    for (name, goal) in EDITED {
        let build = || tests_of(name);
        build()?;
        let seconds = after_a_line(name, &build)?;
        rows.push([format!("tests of `{name}` after a line in it"), goal.into(), secs(seconds)]);
    }
    if has("--tests") {
        let began = Instant::now();
        done(Command::new("make").arg("test").current_dir(root()))?;
        let seconds = began.elapsed().as_secs_f64();
        rows.push(["`make test`, warm".into(), "≤ 480 s".into(), secs(seconds)]);
    }
    let binary = target().join("demo/watershed");
    let size = fs::metadata(&binary).map_err(|e| format!("{}: {e}", binary.display()))?.len();
    rows.push(["size of the binary".into(), String::new(), format!("{} MB", size / 1_000_000)]);
    let lock = fs::read_to_string(root().join("Cargo.lock")).map_err(|e| e.to_string())?;
    let crates = lock.lines().filter(|l| *l == "[[package]]").count();
    rows.push(["crates in Cargo.lock".into(), String::new(), crates.to_string()]);
    let mut table = String::from("| figure | goal | measured |\n| --- | --- | --- |\n");
    for [name, goal, value] in &rows {
        table.push_str(&format!("| {name} | {goal} | {value} |\n"));
    }
    if let Some(note) = flag(args, "--note") {
        table.push_str(&format!("\n{note}\n"));
    }
    println!("{table}");
    write("bench-build", &table)
}

fn secs(seconds: f64) -> String {
    format!("{seconds:.0} s")
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn done(command: &mut Command) -> Result<()> {
    let status = command.stdout(Stdio::null()).status().map_err(|e| format!("{command:?}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed")) }
}

fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(args).current_dir(root());
    command
}

fn demo() -> Result<()> {
    let args = ["build", "--locked", "-q", "--profile", "demo", "-p", "watershed"];
    done(cargo(&args).env("CARGO_INCREMENTAL", "0"))
}

fn tests_of(name: &str) -> Result<()> {
    done(&mut cargo(&["test", "--locked", "-q", "--no-run", "-p", &format!("watershed-{name}")]))
}

/// Seconds of a build after a line was put behind a crate's first file; it is taken out again.
fn after_a_line(name: &str, build: &dyn Fn() -> Result<()>) -> Result<f64> {
    let path = root().join(format!("crates/{name}/src/lib.rs"));
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let line = "\n#[doc(hidden)]\npub const LINE_OF_BENCH_BUILD: u32 = 1;\n";
    let put = |text: &str| fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()));
    put(&format!("{text}{line}"))?;
    let began = Instant::now();
    let built = build();
    let seconds = began.elapsed().as_secs_f64();
    put(&text)?;
    built?;
    build()?;
    Ok(seconds)
}

/// A build in an empty folder, and how long rustc took for the crates that were slow.
fn cold() -> Result<Vec<[String; 3]>> {
    // What is measured next builds upon it.
    let _ = fs::remove_dir_all(target().join("demo"));
    let args = ["build", "--locked", "-q", "--timings", "--profile", "demo", "-p", "watershed"];
    let began = Instant::now();
    done(cargo(&args).env("CARGO_INCREMENTAL", "0"))?;
    let seconds = began.elapsed().as_secs_f64();
    let page = fs::read_to_string(target().join("cargo-timings/cargo-timing.html"));
    let mut rows = vec![["`make demo` from nothing".into(), "≤ 1200 s".into(), secs(seconds)]];
    rows.extend(compile_times(&page.map_err(|e| format!("cargo-timing.html: {e}"))?)?);
    Ok(rows)
}

/// From cargo's page: a list of units as JSON behind `UNIT_DATA`.
fn compile_times(page: &str) -> Result<Vec<[String; 3]>> {
    let data = page.split("UNIT_DATA = ").nth(1).and_then(|rest| rest.split(";\n").next());
    let units: Value = serde_json::from_str(data.ok_or("cargo-timing.html has no UNIT_DATA")?)
        .map_err(|e| format!("cargo-timing.html: {e}"))?;
    let of = |name: &str| {
        let package = format!("watershed-{name}");
        let unit = units.as_array()?.iter().find(|u| u["name"] == package.as_str())?;
        unit["duration"].as_f64()
    };
    let row = |name: &&str| {
        let seconds = of(name)?;
        Some([format!("rustc for `{name}`"), "≤ 50 s".into(), secs(seconds)])
    };
    Ok(SLOW.iter().filter_map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_page_is_read() {
        let page = "x\nconst UNIT_DATA = [{\"name\":\"watershed-sql\",\"duration\":41.26}];\ny";
        let rows = compile_times(page).unwrap_or_default();
        assert_eq!(rows, [["rustc for `sql`", "≤ 50 s", "41 s"].map(String::from)]);
        assert!(compile_times("nothing").is_err());
    }
}
