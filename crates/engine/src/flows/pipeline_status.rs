//! What a pipeline says of itself, read by the status page while it runs.

use std::sync::{Mutex, PoisonError};

use common::{Error, ProblemDetails, Result, StoppedViews};
use stream::OperatorStats;

/// A moment's view of a pipeline.
#[derive(Clone, Debug)]
pub struct PipelineStatus {
    /// `starting`, `running` or `failed`.
    pub state: &'static str,
    pub error: Option<ProblemDetails>,
    pub epoch: u64,
    pub rows: u64,
    pub lag_events: u64,
    pub freshness_ms: Option<i64>,
    pub events_total: u64,
    pub watermark: Option<i64>,
    pub state_bytes: u64,
    /// Everything that was there at the start has been taken in.
    pub caught_up: bool,
}

impl Default for PipelineStatus {
    fn default() -> Self {
        PipelineStatus {
            state: "starting",
            error: None,
            epoch: 0,
            rows: 0,
            lag_events: 0,
            freshness_ms: None,
            events_total: 0,
            watermark: None,
            state_bytes: 0,
            caught_up: false,
        }
    }
}

impl PipelineStatus {
    /// Why it stands still and for good, if it does.
    pub fn stopped(&self) -> Option<String> {
        let error = self.error.as_ref().filter(|_| self.state == "failed")?;
        Some(error.detail.clone())
    }

    /// An error for those who would read what a view that stands still has left.
    pub fn check_readable(&self, view: &str, stopped: StoppedViews) -> Result<()> {
        match self.stopped() {
            Some(why) if stopped == StoppedViews::Error => Err(Error::unavailable(format!(
                "view '{view}' has stopped at epoch {}: {why}",
                self.epoch
            ))
            .hint(
                "mend its query or its data and make it anew; \
                 query.stopped_views = 'rows' gives its last rows meanwhile",
            )),
            _ => Ok(()),
        }
    }
}

/// Shared between a pipeline's thread and readers.
#[derive(Default)]
pub struct Shared {
    status: Mutex<PipelineStatus>,
    operators: Mutex<Vec<OperatorStats>>,
}

impl Shared {
    pub fn get(&self) -> PipelineStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As they were at the last telling, which is at most a second ago while there is something to
    /// do.
    pub fn operators(&self) -> Vec<OperatorStats> {
        self.operators.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn tell_operators(&self, stats: Vec<OperatorStats>) {
        *self.operators.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }

    pub fn update(&self, change: impl FnOnce(&mut PipelineStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn fail(&self, e: &Error) {
        self.update(|s| {
            s.state = "failed";
            s.error = Some(e.details());
        });
    }
}
