//! The first rows of an order.

use super::key::{Key, OrderBy, keys, order};

/// The first rows of each partition: gives the columns of the input, and if there is one more
/// column the number of the row.
#[derive(Clone, Debug)]
pub struct TopN {
    pub partition_by: Vec<Key>,
    pub order_by: Vec<OrderBy>,
    /// Rows in front that are left out.
    pub skip: usize,
    /// How many come after those.
    pub limit: usize,
    /// The number matters; it is NULL otherwise, so that a row that moves is no change.
    pub numbered: bool,
    /// As the user wrote it, for `EXPLAIN`.
    pub text: String,
}

impl TopN {
    /// The number of the last row that matters.
    pub fn last(&self) -> usize {
        self.skip.saturating_add(self.limit)
    }

    pub(super) fn digest(&self) -> String {
        let (by, limit) = (order(&self.order_by), self.limit);
        let skip = if self.skip == 0 { String::new() } else { format!(" after {}", self.skip) };
        format!("top {} {by} {limit} {}{skip}", keys(&self.partition_by), self.numbered)
    }
}
