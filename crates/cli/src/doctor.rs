//! `watershed doctor`: looks at what usually is in the way, and says what to do about it. With
//! `--deep` it reads all that the project has on disk, and changes nothing.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use clap::Args;
use common::Config;
use serde_json::{Value, json};
use sysinfo::Disks;

use crate::client::Target;
use crate::render::Faults;
use crate::run::{self, Settings};
use crate::{Outcome, terminal};

/// Less free space than this is worth a warning.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// Check ports, disk, rights and versions; with --deep all data.
#[derive(Args)]
pub struct Arguments {
    /// The project's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Read and check all of the project's data too: every record batch, table and state. It takes
    /// as long as reading them, changes nothing, and asks that no platform runs on it.
    #[arg(long)]
    deep: bool,
    /// The answer as JSON, for scripts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    target: Target,
}

struct Finding {
    check: &'static str,
    good: bool,
    says: String,
    hint: Option<String>,
    /// How a script sees it: the exit code of its kind.
    code: u8,
}

impl Finding {
    fn new(check: &'static str, good: bool, says: String) -> Finding {
        Finding { check, good, says, hint: None, code: u8::from(!good) }
    }

    fn of(check: &'static str, says: common::Result<String>) -> Finding {
        match says {
            Ok(says) => Finding::new(check, true, says),
            Err(e) => Finding {
                check,
                good: false,
                says: e.to_string(),
                hint: e.hint_text().map(str::to_string),
                code: e.kind().exit_code(),
            },
        }
    }
}

pub fn run(arguments: &Arguments) -> Outcome {
    let project = arguments.settings.project(&arguments.dir)?;
    let (is_running, mut findings) = running(&arguments.target);
    findings.extend(ports(&project.config, is_running));
    findings.push(disk(&project.dir));
    findings.extend(promises(&project));
    match arguments.deep {
        // The probe of the rights writes.
        true => findings.extend(deep(project)?),
        false => findings.push(rights(&project.dir)),
    }
    if arguments.json {
        let list: Vec<Value> = findings
            .iter()
            .map(|f| {
                json!({
                    "check": f.check, "good": f.good, "says": f.says, "hint": f.hint,
                })
            })
            .collect();
        terminal::say(&Value::from(list).to_string());
    } else {
        for f in &findings {
            let mark = if f.good { "ok " } else { "!! " };
            terminal::say(&format!("{mark} {:8} {}", f.check, f.says));
            if let Some(hint) = &f.hint {
                terminal::say(&format!("             {hint}"));
            }
        }
    }
    // What is damaged says more than what is in the way.
    Ok(findings.iter().map(|f| f.code).max().unwrap_or(0))
}

/// What all stores say of themselves.
fn deep(project: engine::Project) -> Result<Vec<Finding>, Faults> {
    let found = run::block_on(async move { Ok(engine::check::deep(&project).await?) })?;
    Ok(found.into_iter().map(|f| Finding::of(f.store, f.says)).collect())
}

/// A platform that does not run is no fault: `doctor` is for before the start too.
fn running(target: &Target) -> (bool, Vec<Finding>) {
    let (check, url) = ("running", target.url());
    let status = target.connect().and_then(|p| p.get::<Value>("/api/status"));
    let ours = env!("CARGO_PKG_VERSION");
    match status {
        Ok(status) => {
            let theirs = status["version"].as_str().unwrap_or("unknown");
            let good = theirs == ours;
            let says = if good {
                format!("{url} answers, version {theirs}")
            } else {
                format!("{url} runs version {theirs}, this is {ours}: use the same")
            };
            let mut findings = vec![Finding::new(check, good, says)];
            findings.extend(status["problems"].as_array().into_iter().flatten().map(problem));
            findings.extend(status["views"].as_array().into_iter().flatten().filter_map(stopped));
            (true, findings)
        }
        Err(_) => {
            let says = format!("nothing answers at {url}");
            (false, vec![Finding::new(check, true, says)])
        }
    }
}

/// What the running platform says is wrong: faulty files, damage, events that are not archived.
fn problem(problem: &Value) -> Finding {
    let text = |member: &str| problem[member].as_str().map(str::to_string);
    let says = text("detail").unwrap_or_default();
    Finding { hint: text("hint"), ..Finding::new("problem", false, says) }
}

/// A view that stands still.
fn stopped(view: &Value) -> Option<Finding> {
    let name = view["name"].as_str().filter(|_| view["state"] == "failed")?;
    let text = |member: &str| view["error"][member].as_str();
    let says = format!("'{name}' has stopped: {}", text("detail").unwrap_or("it failed"));
    let hint = text("hint").map(str::to_string);
    Some(Finding { hint, ..Finding::new("view", false, says) })
}

fn ports(config: &Config, running: bool) -> Vec<Finding> {
    let ports = [
        ("http.port", config.host.as_str(), config.http_port),
        ("pg.port", config.host.as_str(), config.pg_port),
        ("kafka.port", config.kafka_host(), config.kafka_port),
    ];
    let look = |(key, host, port): (&str, &str, u16)| {
        let free = TcpListener::bind((host, port)).is_ok();
        let says = match (free, running) {
            (true, _) => format!("{key} = {port} is free"),
            (false, true) => format!("{key} = {port} is in use, by the running platform it seems"),
            (false, false) => format!("{key} = {port} is in use: set {key} to another"),
        };
        Finding::new("port", free || running, says)
    };
    ports.into_iter().filter(|(_, _, port)| *port != 0).map(look).collect()
}

fn disk(dir: &Path) -> Finding {
    let full = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    let disks = Disks::new_with_refreshed_list();
    let listed = disks.as_ref().map_or(&[][..], |d| &d[..]);
    let holding = listed
        .iter()
        .filter(|d| full.starts_with(d.mount_point()))
        .max_by_key(|d| d.mount_point().as_os_str().len());
    let check = "disk";
    match holding {
        Some(disk) => {
            let free = disk.available_space();
            let good = free >= FREE_BYTES_MIN;
            let more = if good { "" } else { ": free some, writing stops when it is full" };
            Finding::new(check, good, format!("{} MiB free{more}", free >> 20))
        }
        None => Finding::new(check, true, "free space is unknown".into()),
    }
}

/// What holds for an acknowledged record, and for records counted once.
fn promises(project: &engine::Project) -> Vec<Finding> {
    let says = engine::promises::promises(project);
    says.into_iter().map(|(good, says)| Finding::new("promise", good, says)).collect()
}

fn rights(dir: &Path) -> Finding {
    let check = "rights";
    let data = dir.join("data");
    let folder = if data.is_dir() { data } else { dir.to_path_buf() };
    let probe = folder.join(format!(".watershed-doctor-{}", std::process::id()));
    let shown = folder.display();
    match std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)) {
        Ok(()) => Finding::new(check, true, format!("'{shown}' can be written")),
        Err(e) => {
            let says = format!("'{shown}' can't be written ({e}): check its owner and mode");
            Finding::new(check, false, says)
        }
    }
}
