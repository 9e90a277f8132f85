//! What a view may not contain because its value would differ from run to run, from stream to
//! batch, or from engine to engine.

use common::Error;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, Volatility};
use datafusion::sql::sqlparser::ast::{Expr, Query, SelectItem, SetExpr};

use crate::passes::references::ident;
use crate::plan_walk;

/// Their value depends on the order of the rows unless ORDER BY gives one.
const ORDERED: [&str; 6] =
    ["first_value", "last_value", "nth_value", "array_agg", "string_agg", "collect_list"];

/// A refused function and why.
pub(crate) struct Fault {
    pub function: String,
    pub error: Error,
}

/// The columns of a view need different names, those of a query do not.
pub(crate) fn repeated(name: &str) -> Error {
    Error::invalid(format!("column '{name}' is twice in the view"))
        .hint("give one of them another name with AS")
}

/// A name that two items of the outermost SELECT have. Stars are looked into when it is planned.
pub(crate) fn repeated_name(query: &Query) -> Option<String> {
    let mut body = query.body.as_ref();
    let select = loop {
        body = match body {
            SetExpr::Select(select) => break select,
            SetExpr::SetOperation { left, .. } => left.as_ref(),
            SetExpr::Query(query) => query.body.as_ref(),
            _ => return None,
        }
    };
    let names = select.projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(ident(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(ident(name)),
        _ => None,
    });
    let names: Vec<String> = names.collect();
    names.iter().enumerate().find(|(i, n)| names[..*i].contains(n)).map(|(_, n)| n.clone())
}

/// Refuses what cannot be the same everywhere.
pub fn check_view(plan: &LogicalPlan) -> Result<(), Error> {
    check(plan).map_err(|fault| fault.error)
}

pub(crate) fn check(plan: &LogicalPlan) -> Result<(), Fault> {
    let mut fault = None;
    let walked = plan_walk::each_of_plan(plan, &mut |_, e| {
        fault = fault_of(e);
        Ok(match fault {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    });
    if let Err(e) = walked {
        let error = crate::error::explain(&e, None, &[]);
        return Err(Fault { function: String::new(), error });
    }
    fault.map_or(Ok(()), Err)
}

fn fault_of(e: &PlanExpr) -> Option<Fault> {
    match e {
        PlanExpr::ScalarFunction(f) if f.func.signature().volatility != Volatility::Immutable => {
            let name = f.name();
            let hint = match name {
                "now" | "current_date" | "current_time" => {
                    "use the event time; filter by time when you query the view"
                }
                _ => "compute it before the events come in, or when you query the view",
            };
            let why = "its value differs from run to run";
            Some(refused(name, why, hint))
        }
        PlanExpr::AggregateFunction(f) if ORDERED.contains(&f.func.name()) => {
            let name = f.func.name();
            if !f.params.order_by.is_empty() {
                return None;
            }
            let why = "its value depends on the order in which events arrive";
            Some(refused(name, why, &format!("give an order, as in {name}(… ORDER BY …)")))
        }
        _ => None,
    }
}

fn refused(name: &str, why: &str, hint: &str) -> Fault {
    let message = format!("{name}() cannot stand in a view: {why}");
    Fault { function: name.to_string(), error: Error::unsupported(message).hint(hint) }
}
