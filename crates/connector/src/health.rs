//! How a running connector is doing, for `/api/status` and the metrics. The retry wrapper fills
//! it, so that every connector shows the same figures without code of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use common::Error;

/// Counters of one running connector; shared between it and who shows them.
#[derive(Debug, Default)]
pub struct Health {
    rows: AtomicU64,
    retries: AtomicU64,
    error: Mutex<Option<String>>,
}

impl Health {
    /// Rows that went through since the start.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Failed attempts that were tried again since the start.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Why the latest attempt failed; none while all is well.
    pub fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn succeeded(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn failed(&self, e: &Error, again: bool) {
        self.retries.fetch_add(u64::from(again), Ordering::Relaxed);
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(e.to_string());
    }
}
