//! How much memory the process may have, and a watch over it. Queries, state and bodies have limits
//! of their own; what these do not count (a library's buffers) is seen here, and costs a query and
//! not the process.

use std::sync::Weak;
use std::time::Duration;

use common::{Config, Error, Result};

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

/// Those that can be ended when the process has too much.
pub trait Endable: Send + Sync {
    /// Ends the newest that was not told yet; false when there is none.
    fn end_newest(&self) -> bool;
}

/// Watches until they are gone.
pub fn watch(queries: Weak<dyn Endable>, max: u64) -> Result<()> {
    std::thread::Builder::new()
        .name("memory".into())
        .spawn(move || run(&queries, max))
        .map(|_| ())
        .map_err(|e| Error::io("starting the thread that watches memory", e))
}

fn run(queries: &Weak<dyn Endable>, max: u64) {
    while let Some(queries) = queries.upgrade() {
        if let Some(bytes) = resident_bytes().filter(|bytes| *bytes > max)
            && queries.end_newest()
        {
            let (mib, max) = (bytes >> 20, max >> 20);
            tracing::warn!("a query was ended: the process has {mib} MiB, memory.max is {max} MiB");
        }
        drop(queries);
        std::thread::sleep(WATCH_INTERVAL);
    }
}

/// Resident memory of this process; none where the system does not say.
pub fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|l| l.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
