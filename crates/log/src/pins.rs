//! From where on somebody reads a partition.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::lock::lock;

/// How many readers need a partition from an offset on.
#[derive(Default)]
pub(crate) struct Pins(Mutex<BTreeMap<i64, usize>>);

impl Pins {
    /// What somebody needs begins here.
    pub fn first(&self) -> i64 {
        lock(&self.0).keys().next().copied().unwrap_or(i64::MAX)
    }

    pub fn add(&self, from: i64) {
        *lock(&self.0).entry(from).or_default() += 1;
    }

    pub fn remove(&self, from: i64) {
        let mut pins = lock(&self.0);
        if let Some(n) = pins.get_mut(&from) {
            *n -= 1;
            if *n == 0 {
                pins.remove(&from);
            }
        }
    }
}
