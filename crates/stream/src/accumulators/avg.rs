//! `avg` of decimals: an exact sum divided when read, with the scale DataFusion gives it.
//! (`avg` of doubles is a sum of doubles, see `sum.rs`.)

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array};
use arrow::datatypes::{Decimal128Type, DecimalType, i256};
use common::{Error, Result};

use super::sum::ExactSums;
use super::{Accumulator, Input};
use crate::error;

pub(super) struct AvgDecimal {
    sums: ExactSums,
    factor: i256,
    precision: u8,
    scale: i8,
}

impl AvgDecimal {
    pub fn new(from_scale: i8, precision: u8, scale: i8) -> Self {
        let digits = u32::from((scale - from_scale).unsigned_abs());
        let factor = i256::from_i128(10).wrapping_pow(digits);
        Self { sums: ExactSums::default(), factor, precision, scale }
    }

    fn value(&self, group: u32) -> Result<Option<i128>> {
        let exact = self.sums.get(group);
        if exact.count == 0 {
            return Ok(None);
        }
        let overflow = || {
            let (p, s) = (self.precision, self.scale);
            Error::invalid(format!(
                "decimal overflow: an average does not fit into DECIMAL({p}, {s})"
            ))
        };
        let sum = i256::from_i128(exact.sum).checked_mul(self.factor).ok_or_else(overflow)?;
        let value = sum.checked_div(i256::from_i128(i128::from(exact.count)));
        let value = value.and_then(|v| v.to_i128()).ok_or_else(overflow)?;
        Decimal128Type::validate_decimal_precision(value, self.precision, self.scale)
            .map_err(|_| overflow())?;
        Ok(Some(value))
    }
}

impl Accumulator for AvgDecimal {
    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        self.sums.add::<Decimal128Type>(input)
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let values = groups.iter().map(|g| self.value(*g)).collect::<Result<Vec<_>>>()?;
        let values = Decimal128Array::from(values)
            .with_precision_and_scale(self.precision, self.scale)
            .map_err(error::arrow)?;
        Ok(Arc::new(values))
    }

    fn clear(&mut self, group: u32) {
        self.sums.clear(group);
    }

    fn save(&self, group: u32, out: &mut Vec<u8>) {
        self.sums.save(group, out);
    }

    fn load(&mut self, group: u32, from: &mut &[u8]) -> Result<()> {
        self.sums.load(group, from)
    }

    fn bytes(&self) -> usize {
        self.sums.bytes()
    }
}
