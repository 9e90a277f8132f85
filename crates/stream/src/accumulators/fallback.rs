//! Every other aggregate function: the argument rows of each group are kept, sorted by the
//! call's ORDER BY, and DataFusion's accumulator runs over them anew when one of them changes.
//! Exact for all functions that don't depend on an order the query does not name.

use arrow::array::{ArrayRef, UInt64Array};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::DataType;
use common::{Error, Result};
use datafusion_common::ScalarValue;

use super::{Accumulator, Input};
use crate::multiset::Multiset;
use crate::rows::RowCodec;
use graph::Call;
use graph::error;

pub(super) struct Fallback {
    call: Call,
    codec: RowCodec,
    rows: Multiset,
    /// The value last computed, for as long as it holds.
    values: Vec<Option<ScalarValue>>,
    result: DataType,
}

impl Fallback {
    pub fn new(call: &Call) -> Result<Self> {
        // What it can't be made of is a fault of the query, found before there are rows.
        call.lowered.aggregate.create_accumulator().map_err(error::datafusion)?;
        let order = call.order_by.iter().zip(&call.lowered.order_bys);
        let order = order.map(|(a, sort)| (a.data_type.clone(), sort.options));
        let args = call.args.iter().map(|a| (a.data_type.clone(), SortOptions::default()));
        Ok(Self {
            codec: RowCodec::sorted(order.chain(args))?,
            result: call.lowered.aggregate.field().data_type().clone(),
            call: call.clone(),
            rows: Multiset::default(),
            values: vec![],
        })
    }

    fn compute(&self, group: u32) -> Result<ScalarValue> {
        let create = || self.call.lowered.aggregate.create_accumulator();
        let mut accumulator = create().map_err(error::datafusion)?;
        let (mut rows, mut repeats) = (vec![], vec![]);
        for (row, count) in self.rows.items(group) {
            if count < 0 {
                return Err(Error::internal("a row was taken back that never came"));
            }
            repeats.extend(std::iter::repeat_n(rows.len() as u64, count as usize));
            rows.push(row);
        }
        if !rows.is_empty() {
            let mut columns = self.codec.decode(rows.into_iter())?;
            let repeats = UInt64Array::from(repeats);
            for column in &mut columns {
                *column = take(column, &repeats, None).map_err(error::arrow)?;
            }
            // DataFusion wants the arguments first, then what they are ordered by.
            columns.rotate_left(self.call.order_by.len());
            accumulator.update_batch(&columns).map_err(error::datafusion)?;
        }
        accumulator.evaluate().map_err(error::datafusion)
    }
}

impl Accumulator for Fallback {
    /// `input.args` are the arguments and then the ORDER BY columns.
    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        self.rows.grow(input.total);
        if self.values.len() < input.total {
            self.values.resize(input.total, None);
        }
        let mut columns = input.args.to_vec();
        columns.rotate_right(self.call.order_by.len());
        let encoded = self.codec.encode(&columns)?;
        let (rows, values) = (&mut self.rows, &mut self.values);
        input.each(None, |row, group, weight| {
            rows.add(group as u32, encoded.row(row).data(), weight);
            values[group] = None;
        });
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let mut values = Vec::with_capacity(groups.len());
        for group in groups {
            let known = self.values.get(*group as usize).cloned().flatten();
            let value = match known {
                Some(value) => value,
                None => self.compute(*group)?,
            };
            if let Some(slot) = self.values.get_mut(*group as usize) {
                *slot = Some(value.clone());
            }
            values.push(value);
        }
        if values.is_empty() {
            return Ok(arrow::array::new_empty_array(&self.result));
        }
        let array = ScalarValue::iter_to_array(values).map_err(error::datafusion)?;
        crate::rows::as_type(&array, &self.result)
    }

    fn clear(&mut self, group: u32) {
        self.rows.clear(group);
        if let Some(value) = self.values.get_mut(group as usize) {
            *value = None;
        }
    }

    fn save(&self, _group: u32, _out: &mut Vec<u8>) {}

    fn load(&mut self, _group: u32, _from: &mut &[u8]) -> Result<()> {
        Ok(())
    }

    fn multiset(&self) -> Option<&Multiset> {
        Some(&self.rows)
    }

    fn multiset_mut(&mut self) -> Option<&mut Multiset> {
        Some(&mut self.rows)
    }

    fn bytes(&self) -> usize {
        self.rows.bytes() + self.values.capacity() * size_of::<Option<ScalarValue>>()
    }
}
