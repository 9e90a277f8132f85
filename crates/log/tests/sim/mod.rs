//! The whole broker in one seed: log, groups and transactions on a simulated clock, disk and net,
//! with clients that do what real ones do. Disk: torn writes, lost syncs, refused calls, full, cut
//! power at any call, bits that rot. Net: requests and answers lost, doubled, late. Clock: jumps.
//! The oracle (`oracle.rs`) is a plain list of what was sent and what was answered.
//!
//! `make sim SEEDS=5000` runs more of it, `SEED=7` one seed and prints its last events. What is
//! simulated and what is not: `docs/decisions/0011-simulation.md`.

mod broker;
mod copier;
mod member;
mod net;
mod oracle;
mod producer;
mod rot;
mod run;

use std::collections::BTreeMap;

use testkit::Counts;

/// What must have happened in a run of many seeds, or the simulation does not reach what it is for.
const OUTCOMES: [&str; 35] = [
    "acknowledged",
    "answered from memory: it was sent before",
    "committed",
    "aborted",
    "ended unknown to its producer",
    "aborted by timeout",
    "fenced",
    "concurrent transactions",
    "a sync failed under an acknowledgement",
    "copied exactly once",
    "copier replaced",
    "offset committed",
    "offset refused to a stale member",
    "store refused a commit",
    "member joined",
    "member left",
    "member expired",
    "partition moved",
    "page cache lost by a power cut",
    "retention removed segments",
    "records deleted",
    "compaction removed records",
    "partitions added",
    "record overwritten by a newer one of its key",
    "process killed",
    "power cut",
    "closed in good order",
    "broker restarted after a failed sync",
    "clock jumped forwards",
    "clock jumped backwards",
    "request lost",
    "request late",
    "request sent twice",
    "answer lost",
    "rot detected",
];

/// How often what happened, over all seeds.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Outcomes(BTreeMap<&'static str, u64>);

impl Outcomes {
    pub fn add(&mut self, what: &'static str) {
        self.add_many(what, 1);
    }

    pub fn add_many(&mut self, what: &'static str, times: u64) {
        assert!(OUTCOMES.contains(&what), "'{what}' is not listed");
        *self.0.entry(what).or_default() += times;
    }

    fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn what_was_acknowledged_is_there_whatever_happens() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(200),
    };
    let is_alone = seeds.end - seeds.start == 1;
    let mut outcomes = Outcomes::default();
    let mut counts = Counts::default();
    for seed in seeds {
        let end = run::run(seed, &mut outcomes, is_alone);
        counts = counts.plus(end.counts);
    }
    for name in OUTCOMES {
        eprintln!("{:>9}  {name}", outcomes.of(name));
    }
    for (name, n) in counts.all() {
        eprintln!("{n:>9}  disk: {name}");
    }
    if !is_alone {
        let never: Vec<_> = OUTCOMES.iter().filter(|name| outcomes.of(name) == 0).collect();
        assert!(never.is_empty(), "never happened: {never:?}");
        assert!(counts.all().iter().all(|(_, n)| *n > 0), "a fault of the disk never happened");
    }
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in 0..5 {
        let (mut first, mut second) = (Outcomes::default(), Outcomes::default());
        let a = run::run(seed, &mut first, false);
        let b = run::run(seed, &mut second, false);
        assert_eq!(a.trace, b.trace, "seed {seed} ran differently");
        assert!(first == second && a.counts == b.counts);
    }
}
