//! Aggregates that ask how often each value came: `percentile_disc`, `mode`, `collect_set`, and the
//! count of different values by registers. They keep a count for each value, so that order does not
//! matter and a value can leave again.
//!
//! Percentile and mode are those of SQL:2016 (6.41, ordered-set functions): a value that came, of
//! equally frequent ones the first in the order. A set is a list in the order of its values, where
//! Spark leaves the order open. NULLs are left out.

use std::collections::HashMap;
use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::array::{BinaryArray, Int64Array, ListArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Int64Type, Schema};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Signature, Volatility,
};

use crate::functions::registers;

/// Counts the registers that `functions/registers.rs` makes of values.
pub(crate) const COUNT_REGISTERS: &str = "__count_registers";

pub fn functions() -> [AggregateUDF; 4] {
    let of = |kind, signature| AggregateUDF::from(Counted { kind, signature });
    [
        of(Kind::Percentile, Signature::user_defined(Volatility::Immutable)),
        of(Kind::Mode, Signature::any(1, Volatility::Immutable)),
        of(Kind::Set, Signature::any(1, Volatility::Immutable)),
        of(Kind::Registers, Signature::exact(vec![DataType::Int32], Volatility::Immutable)),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Percentile,
    Mode,
    Set,
    Registers,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Counted {
    kind: Kind,
    signature: Signature,
}

impl AggregateUDFImpl for Counted {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Percentile => "percentile_disc",
            Kind::Mode => "mode",
            Kind::Set => "collect_set",
            Kind::Registers => COUNT_REGISTERS,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [value, fraction] if fraction.is_numeric() => {
                Ok(vec![value.clone(), DataType::Float64])
            }
            _ => plan_err!(
                "percentile_disc takes a share between 0 and 1: percentile_disc(0.5) WITHIN \
                 GROUP (ORDER BY x)"
            ),
        }
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match (self.kind, args) {
            (Kind::Registers, _) => Ok(DataType::Int64),
            (Kind::Set, [value]) => Ok(DataType::new_list(value.clone(), true)),
            (_, [value, ..]) => Ok(value.clone()),
            _ => plan_err!("{} takes a value", self.name()),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |name, item| {
            let list = DataType::new_list(item, true);
            Arc::new(Field::new(format_state_name(args.name, name), list, true))
        };
        Ok(vec![list("values", DataType::Binary), list("counts", DataType::Int64)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let descending = args.order_bys.first().is_some_and(|by| by.options.descending);
        let finish = match (self.kind, args.exprs.get(1)) {
            (Kind::Percentile, Some(share)) => {
                let none = RecordBatch::new_empty(Arc::new(Schema::empty()));
                Finish::Percentile(share_of(share.evaluate(&none).ok())?)
            }
            (Kind::Registers, _) => Finish::Registers,
            (Kind::Set, _) => Finish::Set,
            _ => Finish::Mode,
        };
        let Some(value) = args.expr_fields.first() else { return exec_err!("nothing to count") };
        Ok(Box::new(Counts::new(finish, value.data_type(), descending, args.is_distinct)?))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.accumulator(args)
    }

    fn supports_within_group_clause(&self) -> bool {
        matches!(self.kind, Kind::Percentile | Kind::Mode)
    }
}

fn share_of(value: Option<ColumnarValue>) -> Result<f64> {
    match value {
        Some(ColumnarValue::Scalar(ScalarValue::Float64(Some(share))))
            if (0.0..=1.0).contains(&share) =>
        {
            Ok(share)
        }
        _ => plan_err!("the share of a percentile is a number between 0 and 1, without a column"),
    }
}

#[derive(Clone, Copy, Debug)]
enum Finish {
    Percentile(f64),
    Mode,
    Set,
    Registers,
}

/// How often each value came, by its bytes, which sort as the values do.
#[derive(Debug)]
struct Counts {
    finish: Finish,
    value: DataType,
    is_distinct: bool,
    rows: RowConverter,
    counts: HashMap<Box<[u8]>, i64>,
    bytes: usize,
}

impl Counts {
    fn new(finish: Finish, value: &DataType, descending: bool, is_distinct: bool) -> Result<Self> {
        let options = SortOptions { descending, nulls_first: false };
        let field = SortField::new_with_options(value.clone(), options);
        let rows = RowConverter::new(vec![field])?;
        let (value, counts) = (value.clone(), HashMap::default());
        Ok(Self { finish, value, is_distinct, rows, counts, bytes: 0 })
    }

    fn count(&mut self, bytes: &[u8], times: i64) {
        if let Some(count) = self.counts.get_mut(bytes) {
            *count += times;
            if *count == 0 {
                self.counts.remove(bytes);
                self.bytes -= bytes.len();
            }
        } else if times != 0 {
            self.bytes += bytes.len();
            self.counts.insert(bytes.into(), times);
        }
    }

    fn each(&mut self, values: &[ArrayRef], times: i64) -> Result<()> {
        let Some(values) = values.first() else { return exec_err!("nothing to count") };
        let values = graph::floats::canonical(values)?;
        let rows = self.rows.convert_columns(std::slice::from_ref(&values))?;
        let nulls = values.logical_nulls();
        for (at, row) in rows.iter().enumerate() {
            if nulls.as_ref().is_none_or(|n| n.is_valid(at)) {
                self.count(row.data(), times);
            }
        }
        Ok(())
    }

    /// How often a value counts.
    fn times(&self, count: i64) -> i64 {
        if self.is_distinct { 1 } else { count }
    }

    /// The value before which fewer than this share of all come.
    fn percentile(&self, share: f64) -> Option<&[u8]> {
        let mut sorted: Vec<_> = self.counts.iter().collect();
        sorted.sort_unstable_by_key(|(bytes, _)| *bytes);
        let all: i64 = sorted.iter().map(|(_, n)| self.times(**n)).sum();
        let wanted = ((share * all as f64).ceil() as i64).max(1);
        let mut before = 0;
        let found = sorted.into_iter().find(|(_, n)| {
            before += self.times(**n);
            before >= wanted
        });
        found.map(|(bytes, _)| &**bytes)
    }

    /// The value that came most often.
    fn mode(&self) -> Option<&[u8]> {
        let counts = self.counts.iter().map(|(bytes, n)| (self.times(*n), &**bytes));
        counts.max_by(|(m, a), (n, b)| m.cmp(n).then_with(|| b.cmp(a))).map(|(_, bytes)| bytes)
    }

    fn decode(&self, bytes: &[&[u8]]) -> Result<ArrayRef> {
        let parser = self.rows.parser();
        let mut columns = self.rows.convert_rows(bytes.iter().map(|b| parser.parse(b)))?;
        columns.pop().map_or_else(|| exec_err!("a value without a column"), Ok)
    }
}

impl Accumulator for Counts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.each(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.each(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, counts] = states else { return exec_err!("counts come as two lists") };
        let (values, counts) = (values.as_list::<i32>(), counts.as_list::<i32>());
        for (values, counts) in values.iter().flatten().zip(counts.iter().flatten()) {
            let counts = counts.as_primitive::<Int64Type>();
            for (bytes, times) in values.as_binary::<i32>().iter().zip(counts.values()) {
                self.count(bytes.unwrap_or_default(), *times);
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = BinaryArray::from_iter_values(self.counts.keys());
        let counts = Int64Array::from_iter_values(self.counts.values().copied());
        Ok(vec![list(Arc::new(values))?, list(Arc::new(counts))?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let found = match self.finish {
            Finish::Percentile(share) => self.percentile(share),
            Finish::Mode => self.mode(),
            Finish::Set => {
                let mut values: Vec<&[u8]> = self.counts.keys().map(|k| &**k).collect();
                values.sort_unstable();
                return list(self.decode(&values)?);
            }
            Finish::Registers => {
                let codes: Vec<&[u8]> = self.counts.keys().map(|k| &**k).collect();
                let codes = self.decode(&codes)?;
                let count = registers::estimate(codes.as_primitive::<Int32Type>().values());
                return Ok(ScalarValue::Int64(Some(count)));
            }
        };
        match found {
            Some(bytes) => ScalarValue::try_from_array(&self.decode(&[bytes])?, 0),
            None => ScalarValue::try_from(&self.value),
        }
    }

    fn size(&self) -> usize {
        let each = size_of::<Box<[u8]>>() + size_of::<i64>() + 1;
        size_of::<Self>() + self.bytes + self.counts.capacity() * each
    }
}

/// One list of these.
fn list(items: ArrayRef) -> Result<ScalarValue> {
    let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let offsets = OffsetBuffer::<i32>::from_lengths([items.len()]);
    Ok(ScalarValue::List(Arc::new(ListArray::try_new(item, offsets, items, None)?)))
}
