//! `+ - * / % DIV` on numbers, planned with Spark's types: whole numbers that do not fit and a
//! division by zero are errors, `5 / 2` is 2.5, decimals get the digits of `decimals.rs`.
//! DataFusion's own wrap around silently. What other types have between them stays DataFusion's.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Datum, Scalar, new_empty_array, new_null_array,
};
use datafusion::arrow::compute::concat;
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::{
    ArrowNativeTypeOp, DataType, Field, FieldRef, Float32Type, Float64Type,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DFSchema, DataFusionError, Result, exec_err, plan_err};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, binary_expr, cast,
};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::analyzer::decimals::{self, Digits, Fault};
use crate::analyzer::int_literals::narrow;
use crate::analyzer::intervals;
use crate::words;

#[derive(Debug)]
pub struct Arithmetic;

impl ExprPlanner for Arithmetic {
    fn plan_binary_op(
        &self,
        e: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let (op, whole) = match e.op {
            BinaryOperator::Plus => (Operator::Plus, false),
            BinaryOperator::Minus => (Operator::Minus, false),
            BinaryOperator::Multiply => (Operator::Multiply, false),
            BinaryOperator::Divide => (Operator::Divide, false),
            BinaryOperator::Modulo => (Operator::Modulo, false),
            BinaryOperator::DuckIntegerDivide => (Operator::Divide, true),
            _ => return Ok(PlannerResult::Original(e)),
        };
        // A parameter gets its type from what stands beside it, which DataFusion sees to.
        if [&e.left, &e.right].iter().any(|e| matches!(e, Expr::Placeholder(_))) {
            return Ok(PlannerResult::Original(e));
        }
        let (left, right) = (narrow(e.left.clone()), narrow(e.right.clone()));
        let (Ok(l), Ok(r)) = (left.get_type(schema), right.get_type(schema)) else {
            return Ok(PlannerResult::Original(e));
        };
        if let Some(days) = days(op, &left, &l, &right, &r) {
            return Ok(PlannerResult::Planned(days));
        }
        if let Some(planned) = intervals::arithmetic(op, (&left, &l), (&right, &r)) {
            return Ok(PlannerResult::Planned(planned));
        }
        if types(op, whole, (literal(&left), &l), (literal(&right), &r)).is_none() {
            return Ok(PlannerResult::Original(e));
        }
        let written = Written::new(op, whole, &left, &right);
        Ok(PlannerResult::Planned(ScalarUDF::from(written).call(vec![left, right])))
    }
}

/// A whole number beside a DATE is one of days.
fn days(op: Operator, left: &Expr, l: &DataType, right: &Expr, r: &DataType) -> Option<Expr> {
    let (day, n) = match (op, l, r) {
        (Operator::Plus | Operator::Minus, DataType::Date32, n) if n.is_integer() => (left, right),
        (Operator::Plus, n, DataType::Date32) if n.is_integer() => (right, left),
        _ => return None,
    };
    let add = match op {
        Operator::Plus => datafusion_spark::function::datetime::date_add(),
        _ => datafusion_spark::function::datetime::date_sub(),
    };
    Some(add.call(vec![day.clone(), cast(n.clone(), DataType::Int32)]))
}

/// An operation as it was written. What its sides are may still change while the query is
/// planned (a UNION widens its columns), so only the analyzer makes a `Checked` of it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Written {
    op: Operator,
    whole: bool,
    text: String,
    schema_name: String,
    signature: Signature,
}

impl Written {
    fn new(op: Operator, whole: bool, left: &Expr, right: &Expr) -> Written {
        let (text, schema_name) = match whole {
            true => {
                let text = format!("{} DIV {}", words::words(left), words::words(right));
                (text.clone(), text)
            }
            false => {
                let plain = binary_expr(left.clone(), op, right.clone());
                (words::operation(left, op, right), plain.schema_name().to_string())
            }
        };
        let signature = Signature::any(2, Volatility::Immutable);
        Written { op, whole, text, schema_name, signature }
    }

    pub(crate) fn operator(&self) -> Operator {
        self.op
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Now that the types are known: the sides cast, and an operation that fails where it must.
    pub(crate) fn checked(&self, args: &[Expr], schema: &DFSchema) -> Result<Expr> {
        let [left, right] = args else { return plan_err!("two values needed") };
        let (l, r) = (left.get_type(schema)?, right.get_type(schema)?);
        let types = types(self.op, self.whole, (literal(left), &l), (literal(right), &r));
        let Some(types) = types else { return plan_err!("cannot compute {}", self.text) };
        let (left, right) = (converted(left, &types.left)?, converted(right, &types.right)?);
        let safe = !matches!(self.op, Operator::Divide | Operator::Modulo);
        if safe && types.result.is_floating() {
            return Ok(binary_expr(left, self.op, right));
        }
        let (text, name) = (self.text.clone(), self.schema_name.clone());
        Ok(Checked::udf(self.op, types.result, text, name).call(vec![left, right]))
    }
}

impl ScalarUDFImpl for Written {
    fn name(&self) -> &str {
        "arithmetic"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, _: &[Expr]) -> Result<String> {
        Ok(self.schema_name.clone())
    }

    fn display_name(&self, _: &[Expr]) -> Result<String> {
        Ok(self.text.clone())
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        let [left, right] = args else { return plan_err!("two values needed") };
        match types(self.op, self.whole, (None, left), (None, right)) {
            Some(types) => Ok(types.result),
            None => plan_err!("cannot compute {}", self.text),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let ([left, right], [l, r]) = (args.arg_fields, args.scalar_arguments) else {
            return plan_err!("two values needed");
        };
        let types = types(self.op, self.whole, (*l, left.data_type()), (*r, right.data_type()));
        match types {
            Some(types) => Ok(Arc::new(Field::new(&self.schema_name, types.result, true))),
            None => plan_err!("cannot compute {}", self.text),
        }
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("arithmetic was not analyzed: {}", self.text)
    }
}

/// What both sides are cast to, and what comes out.
struct Types {
    left: DataType,
    right: DataType,
    result: DataType,
}

impl Types {
    fn same(t: DataType) -> Option<Types> {
        Some(Types { left: t.clone(), right: t.clone(), result: t })
    }
}

fn converted(e: &Expr, to: &DataType) -> Result<Expr> {
    Ok(match e {
        Expr::Literal(v, _) => Expr::Literal(v.cast_to(to)?, None),
        e => cast(e.clone(), to.clone()),
    })
}

fn literal(e: &Expr) -> Option<&ScalarValue> {
    match e {
        Expr::Literal(v, _) => Some(v),
        _ => None,
    }
}

/// A side: its value, if that is known now, and its type.
type Side<'a> = (Option<&'a ScalarValue>, &'a DataType);

/// None where one of the sides is no number.
fn types(op: Operator, whole: bool, left: Side, right: Side) -> Option<Types> {
    let (l, r) = match (left.1, right.1) {
        (DataType::Null, DataType::Null) => return None,
        (DataType::Null, r) => (r, r),
        (l, DataType::Null) => (l, l),
        both => both,
    };
    let number = |t: &DataType| {
        t.is_signed_integer() || t.is_floating() || matches!(t, DataType::Decimal128(..))
    };
    if !number(l) || !number(r) {
        return None;
    }
    let floating = l.is_floating() || r.is_floating();
    if (l.is_decimal() || r.is_decimal()) && !floating {
        let (l, r) = (digits(left.0, l)?, digits(right.0, r)?);
        let decimal = |(p, s): Digits| DataType::Decimal128(p, s);
        let result = match whole {
            true => DataType::Int64,
            false => decimal(decimals::result(op, l, r)),
        };
        return Some(Types { left: decimal(l), right: decimal(r), result });
    }
    if whole {
        return Types::same(DataType::Int64);
    }
    if op == Operator::Divide {
        return Types::same(DataType::Float64);
    }
    if !floating {
        let wider = if l.primitive_width() >= r.primitive_width() { l } else { r };
        return Types::same(wider.clone());
    }
    let single = *l == DataType::Float32 && *r == DataType::Float32;
    Types::same(if single { DataType::Float32 } else { DataType::Float64 })
}

/// A whole number beside a decimal is one too; a literal has as many digits as it is written
/// with.
fn digits(value: Option<&ScalarValue>, t: &DataType) -> Option<Digits> {
    if let Some(v) = value
        && let Ok(ScalarValue::Int64(Some(n))) = v.cast_to(&DataType::Int64)
        && t.is_integer()
    {
        let count = n.unsigned_abs().checked_ilog10().map_or(1, |d| d + 1);
        return Some((u8::try_from(count).ok()?, 0));
    }
    match t {
        DataType::Decimal128(p, s) if *s >= 0 => Some((*p, *s)),
        t => decimals::of_integer(t),
    }
}

/// An arithmetic operation that remembers how it was written, for its error and its column name.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Checked {
    op: Operator,
    result: DataType,
    text: String,
    schema_name: String,
    /// NULL instead of an error.
    tolerant: bool,
    signature: Signature,
}

impl Checked {
    pub(crate) fn udf(
        op: Operator,
        result: DataType,
        text: String,
        schema_name: String,
    ) -> ScalarUDF {
        let signature = Signature::any(2, Volatility::Immutable);
        ScalarUDF::from(Checked { op, result, text, schema_name, tolerant: false, signature })
    }

    /// The same operation, giving NULL where it would fail.
    pub(crate) fn tolerant(&self) -> Checked {
        Checked {
            op: self.op,
            result: self.result.clone(),
            text: self.text.clone(),
            schema_name: self.schema_name.clone(),
            tolerant: true,
            signature: self.signature.clone(),
        }
    }

    /// Row by row, for a fault must not take the others with it.
    fn try_each(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef> {
        let ((l, one_l), (r, one_r)) = (left.get(), right.get());
        let rows = if one_l { r.len() } else { l.len() };
        let mut values = Vec::with_capacity(rows);
        for row in 0..rows {
            let l = l.slice(if one_l { 0 } else { row }, 1);
            let r = r.slice(if one_r { 0 } else { row }, 1);
            let value = self.compute(&Scalar::new(l), &Scalar::new(r));
            values.push(value.unwrap_or_else(|_| new_null_array(&self.result, 1)));
        }
        if values.is_empty() {
            return Ok(new_empty_array(&self.result));
        }
        let values: Vec<&dyn Array> = values.iter().map(|v| v.as_ref()).collect();
        Ok(concat(&values)?)
    }

    /// The operator that this call stands for.
    pub fn operator(&self) -> Operator {
        self.op
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn arrow_fault(&self, e: ArrowError) -> DataFusionError {
        let what = match (&e, &self.result) {
            (ArrowError::DivideByZero, _) => "division by zero",
            (ArrowError::ArithmeticOverflow(_), t) if t.is_integer() => "integer overflow",
            (ArrowError::ArithmeticOverflow(_), _) => "overflow",
            _ => return DataFusionError::ArrowError(Box::new(e), None),
        };
        DataFusionError::Execution(format!("{what} in {}", self.text))
    }

    fn decimal_fault(&self, fault: Fault) -> DataFusionError {
        DataFusionError::Execution(match fault {
            Fault::DivisionByZero => format!("division by zero in {}", self.text),
            Fault::Overflow(why) => format!("overflow in {}: {why}", self.text),
        })
    }

    fn compute(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef> {
        let decimals = matches!(left.get().0.data_type(), DataType::Decimal128(..));
        match (&self.result, decimals) {
            (DataType::Decimal128(p, s), true) => {
                decimals::compute(self.op, left, right, (*p, *s)).map_err(|f| self.decimal_fault(f))
            }
            (DataType::Int64, true) => {
                decimals::whole_quotient(left, right).map_err(|f| self.decimal_fault(f))
            }
            _ => self.in_arrow(left, right).map_err(|e| self.arrow_fault(e)),
        }
    }

    fn in_arrow(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
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

    fn display_name(&self, _: &[Expr]) -> Result<String> {
        Ok(self.text.clone())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else { return exec_err!("two values needed") };
        let scalar = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let (left, right) = (datum(left)?, datum(right)?);
        let result = match self.compute(left.as_ref(), right.as_ref()) {
            Err(_) if self.tolerant => self.try_each(left.as_ref(), right.as_ref())?,
            result => result?,
        };
        Ok(match scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
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
