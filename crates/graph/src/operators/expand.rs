//! Grouping sets.

use super::{Expr, list};

/// Grouping sets: gives the columns of the input, then the keys, then the number of the set.
#[derive(Clone, Debug)]
pub struct Expand {
    pub keys: Vec<Expr>,
    pub sets: Vec<GroupingSet>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupingSet {
    /// For each key, whether it is NULL in this set.
    pub absent: Vec<bool>,
    /// What `__grouping_id` is in this set.
    pub number: u64,
}

impl Expand {
    pub(super) fn digest(&self) -> String {
        format!("expand {} {:?}", list(&self.keys), self.sets)
    }
}
