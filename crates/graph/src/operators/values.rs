//! Rows that stand in the query.

use arrow::array::RecordBatch;

/// `VALUES`, and the one row of a `SELECT` without `FROM`: there from the first epoch on.
#[derive(Clone, Debug)]
pub struct Values {
    pub rows: RecordBatch,
    /// As they are written.
    pub text: String,
}

impl Values {
    pub(super) fn digest(&self) -> String {
        format!("values {}", self.text)
    }
}
