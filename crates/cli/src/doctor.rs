//! `watershed doctor`: looks at what usually is in the way, and says what to do about it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use clap::Args;
use common::Config;
use serde_json::{Value, json};
use sysinfo::Disks;

use crate::client::Target;
use crate::run::Settings;
use crate::{Outcome, terminal};

/// Less free space than this is worth a warning.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// Check ports, disk, rights and versions.
#[derive(Args)]
pub struct Arguments {
    /// The project's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
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
}

pub fn run(arguments: &Arguments) -> Outcome {
    let project = arguments.settings.project(&arguments.dir)?;
    let running = running(&arguments.target);
    let is_running = running.good;
    let mut findings = vec![running];
    findings.extend(ports(&project.config, is_running));
    findings.push(disk(&project.dir));
    findings.push(rights(&project.dir));
    findings.extend(promises(&project));
    let good = findings.iter().all(|f| f.good);
    if arguments.json {
        let list: Vec<Value> = findings
            .iter()
            .map(|f| json!({ "check": f.check, "good": f.good, "says": f.says }))
            .collect();
        terminal::say(&Value::from(list).to_string());
    } else {
        for f in &findings {
            let mark = if f.good { "ok " } else { "!! " };
            terminal::say(&format!("{mark} {:8} {}", f.check, f.says));
        }
    }
    Ok(u8::from(!good))
}

/// A platform that does not run is no fault: `doctor` is for before the start too.
fn running(target: &Target) -> Finding {
    let check = "running";
    let status = target.connect().and_then(|p| p.get::<Value>("/api/status"));
    let ours = env!("CARGO_PKG_VERSION");
    match status {
        Ok(status) => {
            let theirs = status["version"].as_str().unwrap_or("unknown");
            let good = theirs == ours;
            let says = if good {
                format!("{} answers, version {theirs}", target.url)
            } else {
                format!("{} runs version {theirs}, this is {ours}: use the same", target.url)
            };
            Finding { check, good, says }
        }
        Err(_) => Finding { check, good: true, says: format!("nothing answers at {}", target.url) },
    }
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
        Finding { check: "port", good: free || running, says }
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
            Finding { check, good, says: format!("{} MiB free{more}", free >> 20) }
        }
        None => Finding { check, good: true, says: "free space is unknown".into() },
    }
}

/// What holds for an acknowledged record, and for records counted once.
fn promises(project: &engine::Project) -> Vec<Finding> {
    let says = engine::external_log::promises(project);
    says.into_iter().map(|(good, says)| Finding { check: "promise", good, says }).collect()
}

fn rights(dir: &Path) -> Finding {
    let check = "rights";
    let data = dir.join("data");
    let folder = if data.is_dir() { data } else { dir.to_path_buf() };
    let probe = folder.join(format!(".watershed-doctor-{}", std::process::id()));
    let shown = folder.display();
    match std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)) {
        Ok(()) => Finding { check, good: true, says: format!("'{shown}' can be written") },
        Err(e) => {
            let says = format!("'{shown}' can't be written ({e}): check its owner and mode");
            Finding { check, good: false, says }
        }
    }
}
