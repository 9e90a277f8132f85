//! What several operators are told by: keys and orders.

use arrow::compute::SortOptions;
use arrow::datatypes::DataType;

use super::{Expr, list};
use crate::window::KeyWindow;

#[derive(Clone, Debug)]
pub struct Key {
    pub expr: Expr,
    pub data_type: DataType,
    pub window: Option<KeyWindow>,
    /// As the user wrote it, for `EXPLAIN`.
    pub text: String,
}

#[derive(Clone, Debug)]
pub struct OrderBy {
    pub expr: Expr,
    pub data_type: DataType,
    pub options: SortOptions,
}

pub(super) fn keys(keys: &[Key]) -> String {
    list(keys.iter().map(|k| {
        let window = match &k.window {
            Some(window) => format!("Some({})", window.digest()),
            None => "None".into(),
        };
        format!("{} {} {window}", k.expr, k.data_type)
    }))
}

pub(super) fn order(by: &[OrderBy]) -> String {
    list(by.iter().map(|o| format!("{} {} {:?}", o.expr, o.data_type, o.options)))
}
