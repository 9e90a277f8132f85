//! `sum` of BIGINT and decimals and `avg` of decimals: exact in 128 bits, looked at only when
//! read, so the order of the rows never decides; what does not fit is an error and an average is
//! rounded half up. DataFusion's wrap around and cut off. Other types go to DataFusion's own.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, ListArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::functions_aggregate::average::Avg;
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};
use graph::exact;

/// Of sums on their way; its digits are not looked at.
const STATE: DataType = DataType::Decimal128(38, 0);

pub fn sum() -> AggregateUDF {
    AggregateUDF::from(Exact { inner: Inner::Sum(Sum::new()) })
}

pub fn avg() -> AggregateUDF {
    AggregateUDF::from(Exact { inner: Inner::Avg(Avg::new()) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Exact {
    inner: Inner,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Inner {
    Sum(Sum),
    Avg(Avg),
}

/// How a result is made of a sum and a count.
#[derive(Clone, Copy, Debug)]
enum Finish {
    Integer,
    Decimal { precision: u8, scale: i8 },
    Average { from: i8, precision: u8, scale: i8 },
}

impl Finish {
    fn value(self, sum: Total) -> Result<Option<i128>> {
        if sum.count == 0 {
            return Ok(None);
        }
        let Some(total) = sum.sum else { return Err(external(exact::sum_above_all())) };
        let value = match self {
            Finish::Integer => exact::integer_sum(total).map(i128::from),
            Finish::Decimal { precision, scale } => exact::decimal_sum(total, precision, scale),
            Finish::Average { from, precision, scale } => {
                exact::average(total, sum.count, from, precision, scale)
            }
        };
        value.map(Some).map_err(external)
    }

    fn array(self, values: Vec<Option<i128>>) -> Result<ArrayRef> {
        Ok(match self {
            Finish::Integer => {
                let narrow = |v: Option<i128>| v.and_then(|v| i64::try_from(v).ok());
                Arc::new(values.into_iter().map(narrow).collect::<Int64Array>())
            }
            Finish::Decimal { precision, scale } | Finish::Average { precision, scale, .. } => {
                let values = Decimal128Array::from(values);
                Arc::new(values.with_precision_and_scale(precision, scale)?)
            }
        })
    }
}

fn external(e: common::Error) -> DataFusionError {
    DataFusionError::External(Box::new(e))
}

impl Exact {
    fn inner(&self) -> &dyn AggregateUDFImpl {
        match &self.inner {
            Inner::Sum(sum) => sum,
            Inner::Avg(avg) => avg,
        }
    }

    /// None for what DataFusion does itself.
    fn finish(&self, arg: &DataType, result: &DataType) -> Option<Finish> {
        match (&self.inner, arg, result) {
            (Inner::Sum(_), DataType::Int64, DataType::Int64) => Some(Finish::Integer),
            (Inner::Sum(_), DataType::Decimal128(..), DataType::Decimal128(p, s)) => {
                Some(Finish::Decimal { precision: *p, scale: *s })
            }
            (Inner::Avg(_), DataType::Decimal128(_, from), DataType::Decimal128(p, s)) => {
                Some(Finish::Average { from: *from, precision: *p, scale: *s })
            }
            _ => None,
        }
    }

    fn finish_of(&self, args: &AccumulatorArgs) -> Option<Finish> {
        let arg = args.expr_fields.first()?;
        self.finish(arg.data_type(), args.return_field.data_type())
    }
}

impl AggregateUDFImpl for Exact {
    fn name(&self) -> &str {
        self.inner().name()
    }

    fn aliases(&self) -> &[String] {
        self.inner().aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner().signature()
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        self.inner().return_type(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let arg = args.input_fields.first().map(|f| f.data_type().clone());
        let finish = arg.and_then(|a| self.finish(&a, args.return_type()));
        if finish.is_none() {
            return self.inner().state_fields(args);
        }
        let field = |name: &str, t: DataType| {
            Arc::new(Field::new(format_state_name(args.name, name), t, true))
        };
        Ok(match args.is_distinct {
            true => vec![field("values", DataType::new_list(STATE, true))],
            false => vec![field("sum", STATE), field("count", DataType::Int64)],
        })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(match (self.finish_of(&args), args.is_distinct) {
            (Some(finish), false) => Box::new(One { finish, total: Total::default() }),
            (Some(finish), true) => Box::new(Distinct { finish, values: HashSet::new() }),
            (None, _) => return self.inner().accumulator(args),
        })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match self.finish_of(&args) {
            Some(finish) if !args.is_distinct => {
                Ok(Box::new(One { finish, total: Total::default() }))
            }
            _ => self.inner().create_sliding_accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        match self.finish_of(&args) {
            Some(_) => !args.is_distinct,
            None => self.inner().groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match self.finish_of(&args) {
            Some(finish) => Ok(Box::new(ByGroup { finish, totals: vec![] })),
            None => self.inner().create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// A sum and of how many values; no sum once it left 128 bits.
#[derive(Clone, Copy, Debug)]
struct Total {
    sum: Option<i128>,
    count: i64,
}

impl Default for Total {
    fn default() -> Self {
        Self { sum: Some(0), count: 0 }
    }
}

impl Total {
    fn add(&mut self, value: i128, count: i64) {
        self.sum = self.sum.and_then(|s| s.checked_add(value));
        self.count += count;
    }

    fn state(self) -> Result<i128> {
        self.sum.ok_or_else(|| external(exact::sum_above_all()))
    }
}

/// Calls `each(row, value)` for the values that are not NULL.
fn each(values: &[ArrayRef], mut each: impl FnMut(usize, i128)) -> Result<()> {
    let Some(values) = values.first() else { return exec_err!("an exact sum needs a value") };
    if let Some(integers) = values.as_primitive_opt::<Int64Type>() {
        for (row, v) in integers.iter().enumerate() {
            v.into_iter().for_each(|v| each(row, i128::from(v)));
        }
    } else if let Some(decimals) = values.as_primitive_opt::<Decimal128Type>() {
        for (row, v) in decimals.iter().enumerate() {
            v.into_iter().for_each(|v| each(row, v));
        }
    } else {
        return exec_err!("an exact sum cannot be of {}", values.data_type());
    }
    Ok(())
}

/// Calls `each(row, sum, count)` for partial results.
fn partials(states: &[ArrayRef], mut each: impl FnMut(usize, i128, i64)) -> Result<()> {
    let [sums, counts] = states else { return exec_err!("sum expected its own partial sums") };
    let (sums, counts) =
        (sums.as_primitive_opt::<Decimal128Type>(), counts.as_primitive_opt::<Int64Type>());
    let (Some(sums), Some(counts)) = (sums, counts) else {
        return exec_err!("sum expected its own partial sums");
    };
    for (row, (sum, count)) in sums.iter().zip(counts).enumerate() {
        if let (Some(sum), Some(count)) = (sum, count) {
            each(row, sum, count);
        }
    }
    Ok(())
}

fn states(totals: Vec<Total>) -> Result<Vec<ArrayRef>> {
    let counts: Int64Array = totals.iter().map(|t| Some(t.count)).collect();
    let sums = totals.into_iter().map(|t| t.state().map(Some)).collect::<Result<Vec<_>>>()?;
    let sums = Decimal128Array::from(sums).with_precision_and_scale(38, 0)?;
    Ok(vec![Arc::new(sums), Arc::new(counts)])
}

/// NULL until a value came; values can leave again (window frames).
#[derive(Debug)]
struct One {
    finish: Finish,
    total: Total,
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(values, |_, v| self.total.add(v, 1))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(values, |_, v| self.total.add(-v, -1))
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        partials(states, |_, sum, count| self.total.add(sum, count))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = ScalarValue::Decimal128(Some(self.total.state()?), 38, 0);
        Ok(vec![sum, ScalarValue::Int64(Some(self.total.count))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.finish.array(vec![self.finish.value(self.total)?])?;
        ScalarValue::try_from_array(&value, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

#[derive(Debug)]
struct Distinct {
    finish: Finish,
    values: HashSet<i128>,
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(values, |_, v| {
            self.values.insert(v);
        })
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(lists) = states.first().and_then(|s| s.as_list_opt::<i32>()) else {
            return exec_err!("sum expected its own partial sums");
        };
        lists.iter().flatten().try_for_each(|list| self.update_batch(&[list]))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = Decimal128Array::from_iter_values(self.values.iter().copied());
        let values = values.with_precision_and_scale(38, 0)?;
        let item = Arc::new(Field::new_list_field(STATE, true));
        let offsets = OffsetBuffer::<i32>::from_lengths([values.len()]);
        let list = ListArray::try_new(item, offsets, Arc::new(values), None)?;
        Ok(vec![ScalarValue::List(Arc::new(list))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut total = Total::default();
        self.values.iter().for_each(|v| total.add(*v, 1));
        ScalarValue::try_from_array(&self.finish.array(vec![self.finish.value(total)?])?, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.capacity() * 24
    }
}

#[derive(Debug)]
struct ByGroup {
    finish: Finish,
    totals: Vec<Total>,
}

impl GroupsAccumulator for ByGroup {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.totals.resize(total, Total::default());
        let taken = |row: usize| filter.is_none_or(|f| f.is_valid(row) && f.value(row));
        each(values, |row, v| {
            if taken(row) {
                self.totals[groups[row]].add(v, 1);
            }
        })
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.totals.resize(total, Total::default());
        partials(values, |row, sum, count| self.totals[groups[row]].add(sum, count))
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let totals = emit_to.take_needed(&mut self.totals);
        let values = totals.into_iter().map(|t| self.finish.value(t));
        self.finish.array(values.collect::<Result<_>>()?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        states(emit_to.take_needed(&mut self.totals))
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |v| v.len());
        let mut totals = vec![Total::default(); rows];
        let taken = |row: usize| filter.is_none_or(|f| f.is_valid(row) && f.value(row));
        each(values, |row, v| {
            if taken(row) {
                totals[row].add(v, 1);
            }
        })?;
        states(totals)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.totals.capacity() * size_of::<Total>()
    }
}
