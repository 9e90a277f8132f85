//! What ANSI SQL wants beside arithmetic (`arithmetic.rs`): decimals meet doubles as doubles, and
//! what can fail is computed only where it is asked for. Two analyzer rules, one before and one
//! after DataFusion's type coercion.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Between, BinaryExpr, Cast, Expr, ExprSchemable, GetFieldAccess, LogicalPlan, Operator,
    Projection, ScalarUDF, TryCast, Union, binary_expr, cast, when,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

use crate::analyzer::arithmetic::{Checked, Written};
use crate::analyzer::intervals;
use crate::analyzer::micros::{Epoch, EpochSeconds, ToTimestamp};
use crate::functions::bounded::bounded;
use crate::functions::element_at::ElementAt;
use crate::functions::text_of::{self, TextOf};
use crate::functions::try_arithmetic;
use crate::plan_walk;
use crate::words::words;

/// `array[0]` is the first element, and one outside of the array an error, as on Spark.
#[derive(Debug)]
pub struct ArrayIndex;

impl ExprPlanner for ArrayIndex {
    fn plan_field_access(
        &self,
        e: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let GetFieldAccess::ListIndex { key } = &e.field_access else {
            return Ok(PlannerResult::Original(e));
        };
        if !matches!(e.expr.get_type(schema)?, DataType::List(_)) {
            return Ok(PlannerResult::Original(e));
        }
        let args = vec![e.expr.clone(), cast(key.as_ref().clone(), DataType::Int64)];
        Ok(PlannerResult::Planned(ScalarUDF::from(ElementAt::default()).call(args)))
    }
}

/// Before coercion: where a decimal meets a double, the decimal becomes a double, as in Spark.
/// DataFusion would squeeze the double into a decimal for comparisons.
#[derive(Debug)]
pub struct MixedNumbers;

impl AnalyzerRule for MixedNumbers {
    fn name(&self) -> &str {
        "mixed_numbers"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = rewrite_expressions(plan, &mixed)?;
        plan_walk::change_plan(plan, &mut |node| match node {
            LogicalPlan::Union(union) => mixed_union(union),
            other => other.recompute_schema().map(Transformed::no),
        })
    }
}

/// A column that is a decimal in one query of a UNION and a double in another is a double.
fn mixed_union(union: Union) -> Result<Transformed<LogicalPlan>> {
    let width = union.schema.fields().len();
    let types = |at: usize| union.inputs.iter().map(move |i| i.schema().field(at).data_type());
    let mixed = |at: usize| types(at).any(DataType::is_floating) && types(at).any(is_decimal);
    let columns: Vec<usize> = (0..width).filter(|at| mixed(*at)).collect();
    if columns.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let as_doubles = |input: &Arc<LogicalPlan>| {
        let schema = input.schema();
        let exprs = schema.columns().into_iter().enumerate().map(|(at, column)| {
            let e = Expr::Column(column.clone());
            match columns.contains(&at) {
                true => Ok(as_double(e, schema)?.alias_qualified(column.relation, column.name)),
                false => Ok(e),
            }
        });
        let exprs = exprs.collect::<Result<_>>()?;
        Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, input.clone())?)))
    };
    let inputs = union.inputs.iter().map(as_doubles).collect::<Result<_>>()?;
    let union = Union::try_new_with_loose_types(inputs)?;
    Ok(Transformed::yes(LogicalPlan::Union(union)))
}

/// After coercion: arithmetic that can fail becomes a call that does fail, and `||` of texts one
/// that knows how long they may get.
#[derive(Debug)]
pub struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn name(&self) -> &str {
        "checked_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, &checked)
    }
}

pub(crate) type Rewrite = dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>;

pub(crate) fn rewrite_expressions(plan: LogicalPlan, rewrite: &Rewrite) -> Result<LogicalPlan> {
    plan_walk::change_plan(plan, &mut |plan| {
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            let source = DFSchema::try_from_qualified_schema(
                scan.table_name.clone(),
                &scan.source.schema(),
            )?;
            schema.merge(&source);
        }
        let names = NamePreserver::new(&plan);
        let plan = plan_walk::change_expressions(plan, &mut |e| {
            let name = names.save(&e);
            let e = plan_walk::change_up(e, &mut |e| rewrite(e, &schema))?;
            Ok(if e.transformed { e.update_data(|e| name.restore(e)) } else { e })
        })?;
        // A changed type goes on upwards.
        plan.map_data(|p| p.recompute_schema())
    })
}

fn mixed(e: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match e {
        Expr::BinaryExpr(b) if compares(b.op) => {
            let (left, right) = (b.left.as_ref().clone(), b.right.as_ref().clone());
            match intervals::comparable(left, right, schema)? {
                Some((left, right)) => Transformed::yes(binary_expr(left, b.op, right)),
                None => mixed_sides(b, schema)?,
            }
        }
        Expr::BinaryExpr(b) => mixed_sides(b, schema)?,
        Expr::Between(b) if intervals::are_mixed([&*b.expr, &*b.low, &*b.high], schema)? => {
            plan_walk::change_up(intervals::between(b), &mut |e| mixed(e, schema))?
        }
        Expr::InList(l)
            if intervals::are_mixed(std::iter::once(&*l.expr).chain(&l.list), schema)? =>
        {
            plan_walk::change_up(intervals::any_of(l), &mut |e| mixed(e, schema))?
        }
        Expr::Between(b) => {
            let parts = [&b.expr, &b.low, &b.high];
            if !any_mixed(parts.into_iter().map(|e| e.as_ref()), schema)? {
                return Ok(Transformed::no(Expr::Between(b)));
            }
            Transformed::yes(Expr::Between(Between {
                expr: Box::new(as_double(*b.expr, schema)?),
                low: Box::new(as_double(*b.low, schema)?),
                high: Box::new(as_double(*b.high, schema)?),
                negated: b.negated,
            }))
        }
        Expr::InList(mut l) => {
            if !any_mixed(std::iter::once(l.expr.as_ref()).chain(&l.list), schema)? {
                return Ok(Transformed::no(Expr::InList(l)));
            }
            l.expr = Box::new(as_double(*l.expr, schema)?);
            l.list = l.list.into_iter().map(|e| as_double(e, schema)).collect::<Result<_>>()?;
            Transformed::yes(Expr::InList(l))
        }
        Expr::Case(mut c) => {
            let thens = c.when_then_expr.iter().map(|(_, then)| then.as_ref());
            if !any_mixed(thens.chain(c.else_expr.as_deref()), schema)? {
                return Ok(Transformed::no(Expr::Case(c)));
            }
            for (_, then) in &mut c.when_then_expr {
                **then = as_double(then.as_ref().clone(), schema)?;
            }
            c.else_expr = match c.else_expr {
                Some(e) => Some(Box::new(as_double(*e, schema)?)),
                None => None,
            };
            Transformed::yes(Expr::Case(c))
        }
        Expr::ScalarFunction(mut f) if CHOOSING.contains(&f.name()) => {
            if !any_mixed(f.args.iter(), schema)? {
                return Ok(Transformed::no(Expr::ScalarFunction(f)));
            }
            f.args = f.args.into_iter().map(|e| as_double(e, schema)).collect::<Result<_>>()?;
            Transformed::yes(Expr::ScalarFunction(f))
        }
        Expr::AggregateFunction(f) if QUANTILES.contains(&f.func.name()) => quantile(f, schema)?,
        Expr::Cast(c) => time_cast(c, schema)?,
        other => Transformed::no(other),
    })
}

fn compares(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn mixed_sides(b: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let types = (b.left.get_type(schema)?, b.right.get_type(schema)?);
    Ok(match types {
        (l, r) if l.is_floating() && is_decimal(&r) => {
            let right = Box::new(cast(*b.right, DataType::Float64));
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { right, ..b }))
        }
        (l, r) if is_decimal(&l) && r.is_floating() => {
            let left = Box::new(cast(*b.left, DataType::Float64));
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, ..b }))
        }
        _ => Transformed::no(Expr::BinaryExpr(b)),
    })
}

/// Their result is a double, also that of decimals.
const QUANTILES: [&str; 2] = ["median", "percentile_cont"];

fn quantile(mut f: AggregateFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let decimals = match f.params.args.first() {
        Some(first) => is_decimal(&first.get_type(schema)?),
        None => false,
    };
    if !decimals {
        return Ok(Transformed::no(Expr::AggregateFunction(f)));
    }
    if let Some(first) = f.params.args.first_mut() {
        *first = cast(first.clone(), DataType::Float64);
    }
    for order in &mut f.params.order_by {
        order.expr = as_double(order.expr.clone(), schema)?;
    }
    Ok(Transformed::yes(Expr::AggregateFunction(f)))
}

/// Functions whose result is one of their arguments.
const CHOOSING: [&str; 9] =
    ["coalesce", "nvl", "nvl2", "ifnull", "if", "greatest", "least", "nullif", "array"];

/// Between times and numbers a cast counts seconds, as in Spark; Arrow would count microseconds.
fn time_cast(c: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let from = c.expr.get_type(schema)?;
    let to = c.field.data_type();
    match (&from, to) {
        (DataType::Timestamp(..), t) if t.is_integer() => {
            Ok(Transformed::yes(cast(Epoch::seconds().call(vec![*c.expr]), to.clone())))
        }
        (DataType::Timestamp(..), t) if t.is_numeric() => {
            let seconds = ScalarUDF::from(EpochSeconds::default()).call(vec![*c.expr]);
            Ok(Transformed::yes(cast(seconds, to.clone())))
        }
        (f, DataType::Timestamp(..)) if f.is_numeric() => {
            let time = ScalarUDF::from(ToTimestamp::default()).call(vec![*c.expr]);
            Ok(Transformed::yes(cast(time, to.clone())))
        }
        _ => Ok(Transformed::no(Expr::Cast(c))),
    }
}

fn is_decimal(t: &DataType) -> bool {
    t.is_decimal()
}

fn any_mixed<'a>(exprs: impl Iterator<Item = &'a Expr>, schema: &DFSchema) -> Result<bool> {
    let types: Vec<DataType> = exprs.map(|e| e.get_type(schema)).collect::<Result<_>>()?;
    Ok(types.iter().any(DataType::is_floating) && types.iter().any(is_decimal))
}

fn as_double(e: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(if is_decimal(&e.get_type(schema)?) { cast(e, DataType::Float64) } else { e })
}

fn checked(e: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match &e {
        Expr::BinaryExpr(b) => {
            if let Some(guarded) = guarded(b, schema)? {
                return Ok(Transformed::yes(guarded));
            }
            let (left, right) = (b.left.get_type(schema)?, b.right.get_type(schema)?);
            let is_text = |t: &DataType| *t == DataType::Utf8;
            if b.op == Operator::StringConcat && is_text(&left) && is_text(&right) {
                let args = vec![b.left.as_ref().clone(), b.right.as_ref().clone()];
                let concat = bounded(datafusion_spark::function::string::concat());
                return Ok(Transformed::yes(concat.call(args)));
            }
            let same = left == right || (left.is_decimal() && right.is_decimal());
            if !same || !can_fail(b.op, &left) {
                return Ok(Transformed::no(e));
            }
            let result = e.get_type(schema)?;
            let args = vec![b.left.as_ref().clone(), b.right.as_ref().clone()];
            let (text, name) = (words(&e), e.schema_name().to_string());
            Ok(Transformed::yes(Checked::udf(b.op, result, text, name).call(args)))
        }
        Expr::Negative(inner) => {
            let t = inner.get_type(schema)?;
            // A literal's sign is part of the number.
            if !t.is_signed_integer() || matches!(inner.as_ref(), Expr::Literal(..)) {
                return Ok(Transformed::no(e));
            }
            let zero = Expr::Literal(ScalarValue::new_zero(&t)?, None);
            let args = vec![zero, inner.as_ref().clone()];
            let (text, name) = (words(&e), e.schema_name().to_string());
            Ok(Transformed::yes(Checked::udf(Operator::Minus, t, text, name).call(args)))
        }
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field })
            if *field.data_type() == DataType::Utf8
                && text_of::differs(&expr.get_type(schema)?) =>
        {
            let text = ScalarUDF::from(TextOf::default()).call(vec![expr.as_ref().clone()]);
            Ok(Transformed::yes(text))
        }
        Expr::ScalarFunction(f) if f.func.inner().is::<Written>() => {
            match f.func.inner().downcast_ref::<Written>() {
                Some(written) => Ok(Transformed::yes(written.checked(&f.args, schema)?)),
                None => Ok(Transformed::no(e)),
            }
        }
        Expr::ScalarFunction(f) if f.name() == try_arithmetic::NAME && f.args.len() == 1 => {
            Ok(Transformed::yes(try_arithmetic::tolerant(f.args[0].clone())))
        }
        Expr::Case(_) if e.get_type(schema)? == DataType::Boolean && fallible(&e, schema)? => {
            Ok(Transformed::yes(shielded(e)))
        }
        _ => Ok(Transformed::no(e)),
    }
}

/// `x <> 0 AND 1 / x > 2` must not fail where x is 0: the right side is computed only where the
/// left one leaves the result open. DataFusion would compute it for whole batches, and reorder.
fn guarded(b: &BinaryExpr, schema: &DFSchema) -> Result<Option<Expr>> {
    let open = match b.op {
        Operator::And => Expr::IsNotFalse(b.left.clone()),
        Operator::Or => Expr::IsNotTrue(b.left.clone()),
        _ => return Ok(None),
    };
    if is_shielded(&b.right) || !fallible(&b.right, schema)? {
        return Ok(None);
    }
    let right = when(open, b.right.as_ref().clone()).end()?;
    let right = Box::new(shielded(right));
    Ok(Some(Expr::BinaryExpr(BinaryExpr { right, ..b.clone() })))
}

/// A boolean CASE that the optimizer leaves alone: it would turn it into AND and OR, which
/// compute all branches.
fn shielded(e: Expr) -> Expr {
    let Expr::Case(mut case) = e else { return e };
    let number = |e: Expr| Box::new(cast(e, DataType::Int8));
    for (_, then) in &mut case.when_then_expr {
        *then = number(then.as_ref().clone());
    }
    case.else_expr = case.else_expr.map(|e| number(*e));
    cast(Expr::Case(case), DataType::Boolean)
}

fn is_shielded(e: &Expr) -> bool {
    matches!(e, Expr::Cast(c) if *c.field.data_type() == DataType::Boolean
        && matches!(c.expr.as_ref(), Expr::Case(_)))
}

/// Can computing it fail on some value?
fn fallible(e: &Expr, schema: &DFSchema) -> Result<bool> {
    let mut found = false;
    plan_walk::each(e, &mut |e| {
        found = match e {
            Expr::ScalarFunction(f) => f.func.inner().is::<Checked>(),
            Expr::Cast(c) if !matches!(c.expr.as_ref(), Expr::Literal(..)) => {
                let text = matches!(c.expr.get_type(schema)?, DataType::Utf8);
                text && *c.field.data_type() != DataType::Utf8
            }
            _ => false,
        };
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn can_fail(op: Operator, t: &DataType) -> bool {
    match op {
        Operator::Plus | Operator::Minus | Operator::Multiply => t.is_integer(),
        Operator::Divide | Operator::Modulo => t.is_numeric(),
        _ => false,
    }
}
