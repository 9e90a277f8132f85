//! Functions with `OVER`.

use std::sync::Arc;

use datafusion_physical_expr::window::WindowExpr;

use super::key::{Key, OrderBy, keys, order};
use super::list;

/// Functions with the same `OVER`: gives the columns of the input, then one for each call.
#[derive(Clone, Debug)]
pub struct Over {
    pub partition_by: Vec<Key>,
    pub order_by: Vec<OrderBy>,
    pub calls: Vec<OverCall>,
}

#[derive(Clone, Debug)]
pub struct OverCall {
    pub function: Arc<dyn WindowExpr>,
    /// As the user wrote it, for `EXPLAIN`.
    pub text: String,
}

impl Over {
    pub(super) fn digest(&self) -> String {
        // The name may be an alias alone.
        let call =
            |c: &OverCall| format!("{} {}", c.function.name(), c.function.get_window_frame());
        let calls = list(self.calls.iter().map(call));
        format!("over {} {} {calls}", keys(&self.partition_by), order(&self.order_by))
    }
}
