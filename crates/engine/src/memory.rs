//! How much memory the process may have, and a watch over it. Queries, state and bodies have limits
//! of their own; what these do not count (a library's buffers) is seen here, and costs a query and
//! not the process.

use std::sync::{Arc, Weak};
use std::time::Duration;

use common::{Config, Error, Result};

use crate::compute::Running;

/// Of the machine's memory, where nothing else is said.
const SHARE_PERCENT: u64 = 70;
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// `memory.max`, or its default on this machine.
pub fn limit(config: &Config) -> u64 {
    match config.memory_max.0 {
        0 => machine().map_or(u64::MAX, |bytes| bytes / 100 * SHARE_PERCENT),
        bytes => bytes,
    }
}

/// A part of the process's memory.
pub fn part(asked: u64, config: &Config) -> u64 {
    asked.min(limit(config) / 2)
}

/// Memory of the machine, or of the control group that the process is in.
fn machine() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemTotal:"))?;
    let total = line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024;
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse::<u64>().ok());
    Some(group.map_or(total, |group| group.min(total)))
}

/// Watches until the queries' list is gone.
pub fn watch(running: &Arc<Running>, max: u64) -> Result<()> {
    let running = Arc::downgrade(running);
    std::thread::Builder::new()
        .name("memory".into())
        .spawn(move || run(&running, max))
        .map(|_| ())
        .map_err(|e| Error::io("starting the thread that watches memory", e))
}

fn run(running: &Weak<Running>, max: u64) {
    while let Some(running) = running.upgrade() {
        if let Some(bytes) = crate::status::resident_bytes().filter(|bytes| *bytes > max)
            && running.end_newest()
        {
            let (mib, max) = (bytes >> 20, max >> 20);
            tracing::warn!("a query was ended: the process has {mib} MiB, memory.max is {max} MiB");
        }
        drop(running);
        std::thread::sleep(WATCH_INTERVAL);
    }
}
