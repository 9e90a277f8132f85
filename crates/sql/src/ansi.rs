//! Arithmetic as ANSI SQL wants it: an integer that does not fit and a division by zero are
//! errors, and decimals meet doubles as doubles. Two analyzer rules, one before and one after
//! DataFusion's type coercion; DataFusion itself wraps around silently.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Datum, Scalar};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::{ArrowNativeTypeOp, DataType, Float32Type, Float64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result, exec_err};
use datafusion::config::ConfigOptions;
use datafusion::functions::math::floor;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr,
};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Between, BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, GetFieldAccess, LogicalPlan,
    Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, binary_expr,
    cast, when,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::element_at::ElementAt;
use crate::micros::{EpochSeconds, ToTimestamp};

/// `5 / 2` is 2.5 and `5 DIV 2` is 2.
#[derive(Debug)]
pub struct Division;

impl ExprPlanner for Division {
    fn plan_binary_op(
        &self,
        e: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let to = match e.op {
            BinaryOperator::Divide => DataType::Float64,
            BinaryOperator::DuckIntegerDivide => DataType::Int64,
            _ => return Ok(PlannerResult::Original(e)),
        };
        let whole = |t: DataType| t.is_integer() || t.is_null();
        let integers = whole(e.left.get_type(schema)?) && whole(e.right.get_type(schema)?);
        if !integers && to == DataType::Float64 {
            return Ok(PlannerResult::Original(e));
        }
        let (left, right) = (cast(e.left, to.clone()), cast(e.right, to));
        Ok(PlannerResult::Planned(binary_expr(left, Operator::Divide, right)))
    }
}

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
        rewrite_expressions(plan, &mixed)
    }
}

/// After coercion: arithmetic that can fail becomes a call that does fail.
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

type Rewrite = dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>;

fn rewrite_expressions(plan: LogicalPlan, rewrite: &Rewrite) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|plan| {
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            let source = DFSchema::try_from_qualified_schema(
                scan.table_name.clone(),
                &scan.source.schema(),
            )?;
            schema.merge(&source);
        }
        let names = NamePreserver::new(&plan);
        let plan = plan.map_expressions(|e| {
            let name = names.save(&e);
            let e = e.transform_up(|e| rewrite(e, &schema))?;
            Ok(if e.transformed { e.update_data(|e| name.restore(e)) } else { e })
        })?;
        // A changed type goes on upwards.
        plan.map_data(|p| p.recompute_schema())
    })?;
    Ok(done.data)
}

fn mixed(e: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match e {
        Expr::BinaryExpr(b) => {
            let types = (b.left.get_type(schema)?, b.right.get_type(schema)?);
            match types {
                (l, r) if l.is_floating() && is_decimal(&r) => {
                    let right = Box::new(cast(*b.right, DataType::Float64));
                    Transformed::yes(Expr::BinaryExpr(BinaryExpr { right, ..b }))
                }
                (l, r) if is_decimal(&l) && r.is_floating() => {
                    let left = Box::new(cast(*b.left, DataType::Float64));
                    Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, ..b }))
                }
                _ => Transformed::no(Expr::BinaryExpr(b)),
            }
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
        Expr::Cast(c) => time_cast(c, schema)?,
        other => Transformed::no(other),
    })
}

/// Functions whose result is one of their arguments.
const CHOOSING: [&str; 9] =
    ["coalesce", "nvl", "nvl2", "ifnull", "if", "greatest", "least", "nullif", "array"];

/// Between times and numbers a cast counts seconds, as in Spark; Arrow would count microseconds.
fn time_cast(c: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let from = c.expr.get_type(schema)?;
    let to = c.field.data_type();
    match (&from, to) {
        (DataType::Timestamp(..), t) if t.is_numeric() => {
            let seconds = ScalarUDF::from(EpochSeconds::default()).call(vec![*c.expr]);
            let whole = t.is_integer();
            let seconds = if whole { floor().call(vec![seconds]) } else { seconds };
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
            let same = left == right || (left.is_decimal() && right.is_decimal());
            if !same || !can_fail(b.op, &left) {
                return Ok(Transformed::no(e));
            }
            let result = e.get_type(schema)?;
            let args = vec![b.left.as_ref().clone(), b.right.as_ref().clone()];
            Ok(Transformed::yes(Checked::udf(b.op, result, &e).call(args)))
        }
        Expr::Negative(inner) => {
            let t = inner.get_type(schema)?;
            // A literal's sign is part of the number.
            if !t.is_signed_integer() || matches!(inner.as_ref(), Expr::Literal(..)) {
                return Ok(Transformed::no(e));
            }
            let zero = Expr::Literal(ScalarValue::new_zero(&t)?, None);
            let args = vec![zero, inner.as_ref().clone()];
            Ok(Transformed::yes(Checked::udf(Operator::Minus, t, &e).call(args)))
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
    e.exists(|e| {
        Ok(match e {
            Expr::ScalarFunction(f) => f.func.inner().is::<Checked>(),
            Expr::Cast(c) if !matches!(c.expr.as_ref(), Expr::Literal(..)) => {
                let text = matches!(c.expr.get_type(schema)?, DataType::Utf8);
                text && *c.field.data_type() != DataType::Utf8
            }
            _ => false,
        })
    })
}

fn can_fail(op: Operator, t: &DataType) -> bool {
    match op {
        Operator::Plus | Operator::Minus | Operator::Multiply => t.is_integer(),
        Operator::Divide | Operator::Modulo => t.is_numeric(),
        _ => false,
    }
}

/// An arithmetic operation that remembers how it was written, for its error and its column name.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Checked {
    op: Operator,
    result: DataType,
    text: String,
    schema_name: String,
    signature: Signature,
}

impl Checked {
    fn udf(op: Operator, result: DataType, written: &Expr) -> ScalarUDF {
        ScalarUDF::from(Checked {
            op,
            result,
            text: written.human_display().to_string(),
            schema_name: written.schema_name().to_string(),
            signature: Signature::any(2, Volatility::Immutable),
        })
    }

    /// The operator that this call stands for.
    pub fn operator(&self) -> Operator {
        self.op
    }

    fn fault(&self, e: ArrowError) -> DataFusionError {
        let what = match (&e, &self.result) {
            (ArrowError::DivideByZero, _) => "division by zero",
            (ArrowError::ArithmeticOverflow(_), t) if t.is_integer() => "integer overflow",
            (ArrowError::ArithmeticOverflow(_), _) => "overflow",
            _ => return DataFusionError::ArrowError(Box::new(e), None),
        };
        DataFusionError::Execution(format!("{what} in {}", self.text))
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.op {
            Operator::Plus => "checked_add",
            Operator::Minus => "checked_subtract",
            Operator::Multiply => "checked_multiply",
            Operator::Divide => "checked_divide",
            _ => "checked_modulo",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, _: &[Expr]) -> Result<String> {
        Ok(self.schema_name.clone())
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        Ok(match args {
            [left, right] => format!("{left} {} {right}", self.op),
            _ => self.text.clone(),
        })
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else { return exec_err!("two values needed") };
        let scalar = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let (left, right) = (datum(left)?, datum(right)?);
        let result = self.compute(left.as_ref(), right.as_ref()).map_err(|e| self.fault(e))?;
        Ok(match scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
    }
}

impl Checked {
    fn compute(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match self.op {
            Operator::Plus => numeric::add(left, right),
            Operator::Minus => numeric::sub(left, right),
            Operator::Multiply => numeric::mul(left, right),
            op => {
                match self.result {
                    DataType::Float64 => refuse_zero::<Float64Type>(left, right)?,
                    DataType::Float32 => refuse_zero::<Float32Type>(left, right)?,
                    _ => {}
                }
                if op == Operator::Divide {
                    numeric::div(left, right)
                } else {
                    numeric::rem(left, right)
                }
            }
        }
    }
}

fn datum(value: &ColumnarValue) -> Result<Box<dyn Datum>> {
    Ok(match value {
        ColumnarValue::Array(a) => Box::new(Arc::clone(a)),
        ColumnarValue::Scalar(s) => Box::new(Scalar::new(s.to_array()?)),
    })
}

/// Doubles know an infinity, so Arrow divides them by zero; SQL does not. NULL / 0 is NULL.
fn refuse_zero<T>(left: &dyn Datum, right: &dyn Datum) -> Result<(), ArrowError>
where
    T: ArrowPrimitiveType,
{
    let (dividends, one) = left.get();
    let (divisors, one_divisor) = right.get();
    let values = divisors.as_primitive::<T>();
    let rows = if one_divisor { dividends.len() } else { values.len() };
    let zero = |row: usize| {
        let d = if one_divisor { 0 } else { row };
        values.is_valid(d) && values.value(d).is_zero()
    };
    if one_divisor && !zero(0) {
        return Ok(());
    }
    let hit = (0..rows).any(|r| zero(r) && dividends.is_valid(if one { 0 } else { r }));
    if hit { Err(ArrowError::DivideByZero) } else { Ok(()) }
}
