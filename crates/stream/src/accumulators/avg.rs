//! `avg` of decimals: an exact sum divided and rounded half up when read.
//! (`avg` of doubles is a sum of doubles, see `sum.rs`.)

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array};
use arrow::datatypes::Decimal128Type;
use common::Result;

use super::sum::ExactSums;
use super::{Accumulator, Input};
use graph::{error, exact};

pub(super) struct AvgDecimal {
    sums: ExactSums,
    from_scale: i8,
    precision: u8,
    scale: i8,
}

impl AvgDecimal {
    pub fn new(from_scale: i8, precision: u8, scale: i8) -> Self {
        Self { sums: ExactSums::default(), from_scale, precision, scale }
    }

    fn value(&self, group: u32) -> Result<Option<i128>> {
        let sum = self.sums.get(group);
        if sum.count == 0 {
            return Ok(None);
        }
        exact::average(sum.sum, sum.count, self.from_scale, self.precision, self.scale).map(Some)
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
