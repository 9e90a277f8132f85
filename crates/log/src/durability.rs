//! Who waits for what in one partition: the high watermark, and what became of appends that were
//! cut back because their sync failed. Offsets that were cut are given out again, so an append is
//! known by its offsets *and* its generation; each cut begins a new generation.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Condvar, Mutex};

use common::{Error, Kind, Offset, Result};
use tokio::sync::Notify;

use crate::lock::{lock, wait};

/// Cuts remembered; who waits longer than that for an append is told that its fate is unknown.
const CUTS_MAX: usize = 1024;

/// Where an append was written. It is a promise only after `PartitionLog::durable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub first: Offset,
    pub last: Offset,
    /// The time all its records bear, in a topic of `LogAppendTime`.
    pub log_append_time_ms: Option<i64>,
    pub(crate) generation: u64,
}

pub(crate) struct Durability {
    state: Mutex<State>,
    changed: Condvar,
    tasks: Notify,
    /// A copy of the one in `state`, for readers.
    high_watermark: AtomicI64,
}

struct State {
    high_watermark: i64,
    generation: u64,
    /// What ended the latest generations, oldest first; the last one ended `generation - 1`.
    cuts: VecDeque<Cut>,
    stopped: Option<Failure>,
}

struct Cut {
    /// Everything from here on was lost.
    from: i64,
    failure: Failure,
}

/// An error that can be given to many.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub kind: Kind,
    pub message: String,
    pub hint: Option<String>,
}

impl Failure {
    pub fn of(e: &Error) -> Self {
        Self {
            kind: e.kind(),
            message: e.message().to_string(),
            hint: e.hint_text().map(String::from),
        }
    }

    pub fn error(&self) -> Error {
        let e = Error::new(self.kind, self.message.clone());
        match &self.hint {
            Some(hint) => e.hint(hint.clone()),
            None => e,
        }
    }
}

impl Durability {
    pub fn new(high_watermark: i64) -> Self {
        Self {
            state: Mutex::new(State {
                high_watermark,
                generation: 0,
                cuts: VecDeque::new(),
                stopped: None,
            }),
            changed: Condvar::new(),
            tasks: Notify::new(),
            high_watermark: AtomicI64::new(high_watermark),
        }
    }

    pub fn high_watermark(&self) -> i64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    pub fn generation(&self) -> u64 {
        lock(&self.state).generation
    }

    /// The error that all appends get, if the partition takes none any more.
    pub fn stopped(&self) -> Option<Error> {
        lock(&self.state).stopped.as_ref().map(Failure::error)
    }

    /// It never goes back: a sync may end behind what a `page_cache` topic has shown already.
    pub fn advance(&self, high_watermark: i64) {
        {
            let mut state = lock(&self.state);
            state.high_watermark = state.high_watermark.max(high_watermark);
        }
        self.high_watermark.fetch_max(high_watermark, Ordering::AcqRel);
        self.wake();
    }

    /// What was not durable is gone; who waits for it gets the failure.
    pub fn cut(&self, failure: Failure) {
        {
            let mut state = lock(&self.state);
            let from = state.high_watermark;
            state.cuts.push_back(Cut { from, failure });
            if state.cuts.len() > CUTS_MAX {
                state.cuts.pop_front();
            }
            state.generation += 1;
        }
        self.wake();
    }

    /// Nothing more is taken or promised. The first reason stays.
    pub fn stop(&self, failure: Failure) {
        lock(&self.state).stopped.get_or_insert(failure);
        self.wake();
    }

    /// Whether an append is durable or lost; none while that is open.
    pub fn outcome(&self, appended: Appended) -> Option<Result<()>> {
        let state = lock(&self.state);
        outcome(&state, appended)
    }

    pub fn wait(&self, appended: Appended) -> Result<()> {
        let mut state = lock(&self.state);
        loop {
            if let Some(outcome) = outcome(&state, appended) {
                return outcome;
            }
            state = wait(&self.changed, state);
        }
    }

    pub async fn wait_async(&self, appended: Appended) -> Result<()> {
        loop {
            let notified = self.tasks.notified();
            let mut notified = std::pin::pin!(notified);
            // From here on no wake-up is missed.
            notified.as_mut().enable();
            if let Some(outcome) = self.outcome(appended) {
                return outcome;
            }
            notified.await;
        }
    }

    fn wake(&self) {
        self.changed.notify_all();
        self.tasks.notify_waiters();
    }
}

fn outcome(state: &State, appended: Appended) -> Option<Result<()>> {
    let is_below = |end: i64| appended.last.0 < end;
    let generations_ago = state.generation.saturating_sub(appended.generation) as usize;
    if generations_ago > 0 {
        let cut = state.cuts.len().checked_sub(generations_ago).and_then(|i| state.cuts.get(i));
        return Some(match cut {
            Some(cut) if is_below(cut.from) => Ok(()),
            Some(cut) => Err(cut.failure.error()),
            None => Err(Error::unavailable("what became of this append is not known any more")
                .hint("read the topic's end to see whether it is there")),
        });
    }
    match &state.stopped {
        _ if is_below(state.high_watermark) => Some(Ok(())),
        Some(failure) => Some(Err(failure.error())),
        None => None,
    }
}
