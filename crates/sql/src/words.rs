//! An expression as a person would write it, for errors and column texts: no names of tables,
//! SQL's names of types.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::scalar::ScalarValue;

use crate::analyzer::arithmetic::{Checked, Written};
use crate::plan_walk;

pub(crate) fn words(e: &Expr) -> String {
    match e {
        Expr::Alias(a) => words(&a.expr),
        Expr::Column(c) => c.name.clone(),
        Expr::Literal(v, _) => literal(v),
        Expr::Cast(c) if is_double(&c.expr, c.field.data_type()) => match c.expr.as_ref() {
            Expr::Literal(v, _) => v.try_as_str().flatten().unwrap_or_default().to_string(),
            inner => words(inner),
        },
        Expr::Cast(c) => {
            let to = formats::types::sql_name(c.field.data_type());
            format!("CAST({} AS {to})", words(&c.expr))
        }
        Expr::Negative(inner) => format!("-{}", operand(inner, u8::MAX)),
        Expr::BinaryExpr(b) => operation(&b.left, b.op, &b.right),
        Expr::ScalarFunction(f) => match arithmetic(f) {
            Some((_, text)) => text.to_string(),
            None => call(f.name(), &f.args),
        },
        Expr::AggregateFunction(f) if f.params.order_by.is_empty() && !f.params.distinct => {
            call(f.func.name(), &f.params.args)
        }
        other => {
            let plain = plan_walk::change_up(other.clone(), &mut |e| match e {
                Expr::Column(c) => {
                    Ok(Transformed::yes(Expr::Column(Column::new_unqualified(c.name))))
                }
                e => Ok(Transformed::no(e)),
            });
            plain.map_or_else(|_| other.to_string(), |p| p.data.human_display().to_string())
        }
    }
}

/// For plans that are analyzed: casts are there that nobody wrote, so all are left out.
pub(crate) fn without_casts(e: &Expr) -> String {
    let plain = plan_walk::change_up(e.clone(), &mut |e| match e {
        Expr::Cast(c) => Ok(Transformed::yes(*c.expr)),
        e => Ok(Transformed::no(e)),
    });
    plain.map_or_else(|_| words(e), |p| words(&p.data))
}

/// `1e3` is read as a cast of its text (`rewrite.rs`).
fn is_double(e: &Expr, to: &DataType) -> bool {
    matches!((e, to), (Expr::Literal(ScalarValue::Utf8(Some(text)), _), DataType::Float64)
        if text.contains(['e', 'E']) && text.parse::<f64>().is_ok())
}

pub(crate) fn operation(left: &Expr, op: Operator, right: &Expr) -> String {
    format!("{} {op} {}", operand(left, op.precedence()), operand(right, op.precedence() + 1))
}

/// In parentheses where it binds more loosely than what stands beside it.
fn operand(e: &Expr, beside: u8) -> String {
    let op = match e {
        Expr::BinaryExpr(b) => Some(b.op),
        Expr::ScalarFunction(f) => arithmetic(f).map(|(op, _)| op),
        _ => None,
    };
    match op {
        Some(op) if op.precedence() < beside => format!("({})", words(e)),
        _ => words(e),
    }
}

fn arithmetic(f: &ScalarFunction) -> Option<(Operator, &str)> {
    let function = f.func.inner();
    match (function.downcast_ref::<Checked>(), function.downcast_ref::<Written>()) {
        (Some(checked), _) => Some((checked.operator(), checked.text())),
        (_, Some(written)) => Some((written.operator(), written.text())),
        _ => None,
    }
}

fn call(name: &str, args: &[Expr]) -> String {
    format!("{name}({})", args.iter().map(words).collect::<Vec<_>>().join(", "))
}

fn literal(value: &ScalarValue) -> String {
    match value {
        ScalarValue::Utf8(Some(text)) => format!("'{text}'"),
        v if v.is_null() => "NULL".into(),
        v => {
            let text = v.cast_to(&DataType::Utf8);
            let text = text.ok().and_then(|t| t.try_as_str().flatten().map(String::from));
            text.unwrap_or_else(|| v.to_string())
        }
    }
}
