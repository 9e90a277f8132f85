//! Values that are written to a column.

use catalog::Column;
use common::{Error, Result};
use datafusion::sql::sqlparser::ast::{CastKind, Expr, Ident, Value};

use crate::parameters;
use crate::tree::null;

pub(super) fn is_default(name: &Ident) -> bool {
    name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default")
}

pub(super) fn is_parameter(e: &Expr) -> bool {
    matches!(e, Expr::Value(v) if matches!(v.value, Value::Placeholder(_)))
}

/// As the column has it, where SQL has a name for its type.
pub(super) fn cast_to(e: Expr, column: &Column) -> Expr {
    let Some(data_type) = parameters::written(&column.data_type) else { return e };
    let (kind, expr) = (CastKind::Cast, Box::new(e));
    Expr::Cast { kind, expr, data_type, array: false, format: None }
}

/// The value a column has where none is given.
pub(super) fn default_of(column: &Column) -> Result<Expr> {
    let Some(json) = &column.default else { return Ok(null()) };
    let value = match serde_json::from_str(json) {
        Ok(serde_json::Value::Bool(b)) => Value::Boolean(b),
        Ok(serde_json::Value::Number(n)) => Value::Number(n.to_string(), false),
        Ok(serde_json::Value::String(text)) => Value::SingleQuotedString(text),
        _ => {
            let what = format!("the default of column '{}' can't be written here", column.name);
            return Err(Error::unsupported(what).hint("write the value itself"));
        }
    };
    Ok(cast_to(Expr::value(value), column))
}
