//! `5` is an INT, as on Spark, if it fits; DataFusion reads all whole numbers as BIGINT. Literals
//! of intervals get one of Spark's two kinds (`intervals.rs`). Done on the plan, where LIMIT and
//! the like, which want BIGINT, can be left alone.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{ExprSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, RecursiveQuery, Values, cast,
};
use datafusion::scalar::ScalarValue;

use crate::analyzer::intervals;
use crate::plan_walk;

pub(crate) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan_walk::change_plan(plan, &mut |node| {
        match node {
            LogicalPlan::Limit(_) => return Ok(Transformed::no(node)),
            LogicalPlan::Values(values) => return of_values(values),
            LogicalPlan::RecursiveQuery(query) => return of_recursive(query),
            _ => {}
        }
        let names = NamePreserver::new(&node);
        let node = plan_walk::change_expressions(node, &mut |e| {
            if matches!(e, Expr::GroupingSet(_)) {
                return Ok(Transformed::no(e));
            }
            let name = names.save(&e);
            let e = of_expression(e)?;
            Ok(if e.transformed { e.update_data(|e| name.restore(e)) } else { e })
        })?;
        node.map_data(|n| n.recompute_schema())
    })
}

/// The types of its columns are kept in it, so it is made anew.
fn of_values(values: Values) -> Result<Transformed<LogicalPlan>> {
    let rows = values.values.into_iter();
    let narrowed = rows.map(|row| {
        row.into_iter().map(|e| of_expression(e).map(|e| e.data)).collect::<Result<Vec<_>>>()
    });
    let plan = LogicalPlanBuilder::values(narrowed.collect::<Result<_>>()?)?.build()?;
    Ok(Transformed::yes(plan))
}

/// The second part was planned with the types that the first part had, so both keep them.
fn of_recursive(query: RecursiveQuery) -> Result<Transformed<LogicalPlan>> {
    let RecursiveQuery { name, static_term, recursive_term, is_distinct, schema } = query;
    let as_planned = |term: Arc<LogicalPlan>| {
        let columns = term.schema().columns().into_iter().zip(schema.fields());
        let exprs = columns.map(|(column, field)| {
            let is = term.schema().field_from_column(&column)?.data_type().clone();
            let widens =
                is.is_integer() && field.data_type().is_integer() && is != *field.data_type();
            let name = column.name.clone();
            Ok(match widens {
                true => cast(Expr::Column(column), field.data_type().clone()).alias(name),
                false => Expr::Column(column),
            })
        });
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        if exprs.iter().all(|e| matches!(e, Expr::Column(_))) {
            return Ok(term);
        }
        LogicalPlanBuilder::from(term).project(exprs)?.build().map(Arc::new)
    };
    let (first, second) = (as_planned(static_term)?, as_planned(recursive_term)?);
    let query = RecursiveQuery::try_new(name, first, second, is_distinct)?;
    Ok(Transformed::yes(LogicalPlan::RecursiveQuery(query)))
}

/// Functions of DataFusion that take an interval of all parts.
const OF_INTERVALS: [&str; 4] = ["date_bin", "generate_series", "range", "sequence"];

pub(crate) fn of_expression(e: Expr) -> Result<Transformed<Expr>> {
    plan_walk::change_down(e, &mut |e| {
        Ok(match &e {
            // `count(*)` is known by its BIGINT 1.
            Expr::AggregateFunction(f) if f.func.name() == "count" => {
                Transformed::new(e, false, TreeNodeRecursion::Jump)
            }
            Expr::WindowFunction(f) if f.fun.name() == "count" => {
                Transformed::new(e, false, TreeNodeRecursion::Jump)
            }
            Expr::ScalarFunction(f) if OF_INTERVALS.contains(&f.name()) => {
                let Expr::ScalarFunction(mut f) = e else { return Ok(Transformed::no(e)) };
                let is_interval =
                    |e: &Expr| matches!(e, Expr::Literal(ScalarValue::IntervalMonthDayNano(_), _));
                let arg = |e| if is_interval(&e) { Ok(e) } else { Ok(of_expression(e)?.data) };
                f.args = f.args.into_iter().map(arg).collect::<Result<_>>()?;
                Transformed::new(Expr::ScalarFunction(f), true, TreeNodeRecursion::Jump)
            }
            Expr::Literal(ScalarValue::Int64(Some(n)), _) if i32::try_from(*n).is_ok() => {
                Transformed::yes(narrow(e))
            }
            Expr::Literal(
                ScalarValue::UInt64(Some(_)) | ScalarValue::IntervalMonthDayNano(Some(_)),
                _,
            ) => Transformed::yes(narrow(e)),
            _ => Transformed::no(e),
        })
    })
}

/// A number as the narrowest of INT, BIGINT and DECIMAL, an interval as one of days or of months;
/// anything else as it is.
pub(crate) fn narrow(e: Expr) -> Expr {
    match &e {
        Expr::Literal(ScalarValue::Int64(Some(n)), meta) => match i32::try_from(*n) {
            Ok(n) => Expr::Literal(ScalarValue::Int32(Some(n)), meta.clone()),
            Err(_) => e,
        },
        Expr::Literal(ScalarValue::UInt64(Some(n)), meta) => {
            Expr::Literal(ScalarValue::Decimal128(Some(i128::from(*n)), 20, 0), meta.clone())
        }
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(i)), meta) => {
            match intervals::typed(i) {
                Some(value) => Expr::Literal(value, meta.clone()),
                None => e,
            }
        }
        _ => e,
    }
}
