//! Aggregates of Spark, Postgres and the standard that have no function of their own, said in those
//! that do. What would depend on the order of the rows is told one that the values give.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, Ident, ObjectName, OrderByExpr, OrderByOptions,
};

use crate::functions::counted::COUNT_REGISTERS;
use crate::functions::registers::REGISTER;
use crate::functions::significant::SIGNIFICANT;
use crate::passes::spark_names::{binary, call, number};

/// The names this file understands.
pub(crate) const NAMES: [&str; 12] = [
    "any_value",
    "approx_count_distinct",
    "approx_distinct",
    "approx_median",
    "approx_percentile",
    "approx_percentile_cont",
    "collect_list",
    "count_if",
    "max_by",
    "min_by",
    "percentile",
    "percentile_approx",
];

/// `listagg(x, ',') WITHIN GROUP (ORDER BY y)` is `listagg(x, ',' ORDER BY y)`; for percentiles and
/// the mode the library knows it.
pub(crate) fn order_within(name: &str, f: &mut Function) {
    if f.within_group.is_empty() || !matches!(name, "listagg" | "string_agg" | "array_agg") {
        return;
    }
    let order = FunctionArgumentClause::OrderBy(std::mem::take(&mut f.within_group));
    if let FunctionArguments::List(list) = &mut f.args {
        list.clauses.push(order);
    }
}

/// None where the arguments are others: the error names the function then.
pub(crate) fn meaning(name: &str, f: &Function) -> Option<Expr> {
    let args = arguments(f)?;
    let within = f.within_group.first();
    match (name, args.as_slice()) {
        ("any_value", [x]) => Some(like(f, "min", vec![x.clone()])),
        ("approx_count_distinct" | "approx_distinct", [x] | [x, _]) => {
            Some(like(f, COUNT_REGISTERS, vec![call(REGISTER, [x.clone()])]))
        }
        ("approx_median", [x]) => Some(ranked(f, x, number("0.5"), None)),
        ("approx_percentile" | "approx_percentile_cont" | "percentile_approx", args) => {
            let (x, rest) = match (within, args) {
                (Some(by), rest) => (&by.expr, rest),
                (None, [x, rest @ ..]) => (x, rest),
                (None, []) => return None,
            };
            match rest {
                [share] => Some(ranked(f, x, share.clone(), None)),
                [share, accuracy] => Some(ranked(f, x, share.clone(), Some(accuracy))),
                _ => None,
            }
        }
        ("percentile", [x, share]) => {
            Some(like(f, "percentile_cont", vec![x.clone(), share.clone()]))
        }
        ("collect_list", [_]) => ordered_list(f),
        ("count_if", [x]) => {
            let one = Expr::Case {
                case_token: AttachedToken::empty(),
                end_token: AttachedToken::empty(),
                operand: None,
                conditions: vec![CaseWhen { condition: x.clone(), result: number("1") }],
                else_result: None,
            };
            Some(like(f, "count", vec![one]))
        }
        ("max_by" | "min_by", [x, by]) => Some(extreme(f, x, by, name == "min_by")),
        _ => None,
    }
}

fn arguments(f: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &f.args else { return None };
    let args = list.args.iter().map(|a| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    });
    args.collect()
}

/// The exact percentile of numbers with so many digits as are asked for: Spark's accuracy of
/// 10,000, which is its default too, are four.
fn ranked(f: &Function, x: &Expr, share: Expr, accuracy: Option<&Expr>) -> Expr {
    let accuracy = accuracy.map(|a| a.to_string()).and_then(|a| a.parse::<u64>().ok());
    let digits = accuracy.map_or(4, |a| a.max(10).ilog10().min(15));
    let rounded = call(SIGNIFICANT, [x.clone(), number(&digits.to_string())]);
    let mut ranked = like(f, "percentile_disc", vec![share]);
    if let Expr::Function(new) = &mut ranked {
        let options = f.within_group.first().map(|by| by.options).unwrap_or_default();
        new.within_group = vec![OrderByExpr { expr: rounded, options, with_fill: None }];
    }
    ranked
}

/// `collect_list(x ORDER BY y)`: the function of that name has no order. It leaves NULLs out, and
/// gives an empty list where there is nothing.
fn ordered_list(f: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &f.args else { return None };
    let has_order = list.clauses.iter().any(|c| matches!(c, FunctionArgumentClause::OrderBy(_)));
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(x))] = list.args.as_slice() else {
        return None;
    };
    if !has_order {
        return None;
    }
    let there = Expr::IsNotNull(Box::new(x.clone()));
    let mut f = f.clone();
    f.filter = Some(Box::new(match f.filter.take() {
        Some(filter) => binary(*filter, BinaryOperator::And, there),
        None => there,
    }));
    f.name = ObjectName::from(vec![Ident::new("array_agg")]);
    Some(call("coalesce", [Expr::Function(f), call("make_array", [])]))
}

/// Of the row with the greatest (least) `by`; of equal ones the least `x`, so that the result
/// does not depend on the order of the rows.
fn extreme(f: &Function, x: &Expr, by: &Expr, asc: bool) -> Expr {
    let known = Expr::IsNotNull(Box::new(by.clone()));
    let filter = match &f.filter {
        Some(filter) => binary(filter.as_ref().clone(), BinaryOperator::And, known),
        None => known,
    };
    let mut e = like(f, "first_value", vec![x.clone()]);
    ordered(&mut e, vec![order(by, asc), order(x, true)]);
    if let Expr::Function(f) = &mut e {
        f.filter = Some(Box::new(filter));
    }
    e
}

fn order(e: &Expr, asc: bool) -> OrderByExpr {
    let options = OrderByOptions { asc: Some(asc), nulls_first: Some(false) };
    OrderByExpr { expr: e.clone(), options, with_fill: None }
}

fn ordered(call: &mut Expr, by: Vec<OrderByExpr>) {
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = call {
        list.clauses = vec![FunctionArgumentClause::OrderBy(by)];
    }
}

/// Another function with the same FILTER, DISTINCT and OVER.
fn like(f: &Function, name: &str, args: Vec<Expr>) -> Expr {
    let mut e = call(name, args);
    if let Expr::Function(new) = &mut e {
        new.filter = f.filter.clone();
        new.over = f.over.clone();
        if let (FunctionArguments::List(list), FunctionArguments::List(old)) =
            (&mut new.args, &f.args)
        {
            list.duplicate_treatment = old.duplicate_treatment;
        }
    }
    e
}
