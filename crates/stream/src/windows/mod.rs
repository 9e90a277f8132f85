//! All that operators know of windows: which key column is one that closes, how a column of
//! windows is kept as bytes (`column.rs`), and when what is kept for a window goes (`expiry.rs`).

pub(crate) mod column;
pub(crate) mod expiry;

use graph::{Key, KeyWindow};

pub(crate) use expiry::{Ends, Expiry};

/// For `EXPLAIN`: how far state grows that goes with its window.
pub(crate) const BOUND: &str = "windows still open: state goes when the watermark closes a window";

/// The key column by which groups close, if there is one.
pub(crate) fn closing_key(keys: &[Key]) -> Option<(usize, KeyWindow)> {
    keys.iter().enumerate().find_map(|(i, k)| Some((i, k.window.filter(|w| w.closes)?)))
}
