//! The first rows of an order.

use super::key::{Key, OrderBy, keys, order};

/// The first rows of each partition: gives the columns of the input, and if there is one more
/// column the number of the row.
#[derive(Clone, Debug)]
pub struct TopN {
    pub partition_by: Vec<Key>,
    pub order_by: Vec<OrderBy>,
    pub limit: usize,
    /// The number matters; it is NULL otherwise, so that a row that moves is no change.
    pub numbered: bool,
    /// As the user wrote it, for `EXPLAIN`.
    pub text: String,
}

impl TopN {
    pub(super) fn digest(&self) -> String {
        let (by, limit) = (order(&self.order_by), self.limit);
        format!("top {} {by} {limit} {}", keys(&self.partition_by), self.numbered)
    }
}
