//! `emit = 'on_close'`.

use super::key::{Key, keys};

/// Rows wait until their window closes: each is given then, once, and never taken back. Those
/// without a window are not given.
#[derive(Clone, Debug)]
pub struct OnClose {
    /// The column that stands for the window.
    pub window: Key,
}

impl OnClose {
    pub(super) fn digest(&self) -> String {
        format!("on close {}", keys(std::slice::from_ref(&self.window)))
    }
}
