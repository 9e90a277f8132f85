//! `sum` over BIGINT that fails when the result does not fit, where DataFusion's wraps around. It
//! adds up in 128 bits and looks at the result only, so the order of the rows never decides.
//! All other types go to DataFusion's own `sum`.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, ListArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};

const STATE: DataType = DataType::Decimal128(38, 0);

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct CheckedSum {
    inner: Sum,
}

fn ours(result: &DataType) -> bool {
    *result == DataType::Int64
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        self.inner.return_type(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if args.is_distinct || !ours(args.return_type()) {
            return self.inner.state_fields(args);
        }
        let name = format_state_name(args.name, "sum");
        Ok(vec![Arc::new(Field::new(name, STATE, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match (ours(args.return_field.data_type()), args.is_distinct) {
            (true, false) => Ok(Box::<SumOfBigints>::default()),
            (true, true) => Ok(Box::<SumOfDistinct>::default()),
            _ => self.inner.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match ours(args.return_field.data_type()) && !args.is_distinct {
            true => Ok(Box::<SumOfBigints>::default()),
            false => self.inner.create_sliding_accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match ours(args.return_field.data_type()) {
            true => Ok(Box::<SumsByGroup>::default()),
            false => self.inner.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn fit(sum: i128) -> Result<i64> {
    match i64::try_from(sum) {
        Ok(sum) => Ok(sum),
        Err(_) => exec_err!("integer overflow in sum(): {sum} does not fit into BIGINT"),
    }
}

fn states(sums: Vec<Option<i128>>) -> Result<ArrayRef> {
    Ok(Arc::new(Decimal128Array::from(sums).with_precision_and_scale(38, 0)?))
}

fn bigints(values: &[ArrayRef]) -> Result<&Int64Array> {
    match values.first().and_then(|v| v.as_primitive_opt::<Int64Type>()) {
        Some(array) => Ok(array),
        None => exec_err!("sum expected BIGINT values"),
    }
}

fn partials(values: &[ArrayRef]) -> Result<&Decimal128Array> {
    match values.first().and_then(|v| v.as_primitive_opt::<Decimal128Type>()) {
        Some(array) => Ok(array),
        None => exec_err!("sum expected its own partial sums"),
    }
}

/// NULL until a value came; values can leave again (window frames).
#[derive(Debug, Default)]
struct SumOfBigints {
    sum: i128,
    count: i64,
}

impl Accumulator for SumOfBigints {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for v in bigints(values)?.iter().flatten() {
            self.sum += i128::from(v);
            self.count += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for v in bigints(values)?.iter().flatten() {
            self.sum -= i128::from(v);
            self.count -= 1;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for v in partials(states)?.iter().flatten() {
            self.sum += v;
            self.count += 1;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = (self.count > 0).then_some(self.sum);
        Ok(vec![ScalarValue::Decimal128(sum, 38, 0)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = if self.count > 0 { Some(fit(self.sum)?) } else { None };
        Ok(ScalarValue::Int64(sum))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

#[derive(Debug, Default)]
struct SumOfDistinct {
    values: HashSet<i64>,
}

impl Accumulator for SumOfDistinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.extend(bigints(values)?.iter().flatten());
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(lists) = states.first().and_then(|s| s.as_list_opt::<i32>()) else {
            return exec_err!("sum expected its own partial sums");
        };
        for list in lists.iter().flatten() {
            self.values.extend(bigints(&[list])?.iter().flatten());
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = Int64Array::from_iter_values(self.values.iter().copied());
        let item = Arc::new(Field::new_list_field(DataType::Int64, true));
        let offsets = OffsetBuffer::<i32>::from_lengths([values.len()]);
        let list = ListArray::try_new(item, offsets, Arc::new(values), None)?;
        Ok(vec![ScalarValue::List(Arc::new(list))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.values.is_empty() {
            return Ok(ScalarValue::Int64(None));
        }
        let sum = fit(self.values.iter().map(|v| i128::from(*v)).sum())?;
        Ok(ScalarValue::Int64(Some(sum)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.capacity() * 16
    }
}

#[derive(Debug, Default)]
struct SumsByGroup {
    sums: Vec<Option<i128>>,
}

impl SumsByGroup {
    fn add(
        &mut self,
        values: impl Iterator<Item = Option<i128>>,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) {
        self.sums.resize(total, None);
        for (row, (value, group)) in values.zip(groups).enumerate() {
            let taken = filter.is_none_or(|f| f.is_valid(row) && f.value(row));
            if let (true, Some(value), Some(sum)) = (taken, value, self.sums.get_mut(*group)) {
                *sum = Some(sum.unwrap_or(0) + value);
            }
        }
    }
}

impl GroupsAccumulator for SumsByGroup {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let values = bigints(values)?.iter().map(|v| v.map(i128::from));
        self.add(values, groups, filter, total);
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.add(partials(values)?.iter(), groups, None, total);
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = emit_to.take_needed(&mut self.sums);
        let sums: Vec<Option<i64>> =
            sums.into_iter().map(|s| s.map(fit).transpose()).collect::<Result<_>>()?;
        Ok(Arc::new(Int64Array::from(sums)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![states(emit_to.take_needed(&mut self.sums))?])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let taken = |row: usize| filter.is_none_or(|f| f.is_valid(row) && f.value(row));
        let values = bigints(values)?.iter().enumerate();
        let sums = values.map(|(row, v)| v.filter(|_| taken(row)).map(i128::from)).collect();
        Ok(vec![states(sums)?])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.sums.capacity() * size_of::<Option<i128>>()
    }
}
