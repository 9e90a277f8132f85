//! Joins of every kind.

use datafusion_common::JoinType;

use super::key::{Key, keys};
use super::{Expr, list};

/// Two inputs matched on equal keys. Pairs have the columns of both; semi and anti joins those
/// of one side.
#[derive(Clone, Debug)]
pub struct Join {
    pub kind: JoinType,
    pub left: Vec<Key>,
    pub right: Vec<Key>,
    /// NULL matches NULL (`IS NOT DISTINCT FROM`).
    pub null_equals_null: bool,
    /// `NOT IN`: a NULL on either side says that it can't be known. Anti joins only.
    pub null_aware: bool,
    /// Further condition over the columns of both sides.
    pub filter: Option<Expr>,
    /// As the user wrote it, for `EXPLAIN`.
    pub text: String,
}

impl Join {
    pub(super) fn digest(&self) -> String {
        let filter = list(&self.filter);
        let flags = (self.null_equals_null, self.null_aware);
        let (left, right) = (keys(&self.left), keys(&self.right));
        format!("join {} {left} {right} {filter} {flags:?}", self.kind)
    }
}
