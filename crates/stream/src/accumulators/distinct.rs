//! `count(DISTINCT x)`, `sum(DISTINCT x)`, `avg(DISTINCT x)`: a multiset of values says when a
//! value comes for the first time or goes for the last; only then the plain function hears of it.

use arrow::array::{ArrayRef, UInt64Array};
use arrow::compute::take;
use common::Result;

use super::{Accumulator, Input};
use crate::multiset::Multiset;
use crate::rows::{RowCodec, canonical};
use graph::Call;
use graph::error;

pub(super) struct Distinct {
    codec: RowCodec,
    values: Multiset,
    inner: Box<dyn Accumulator>,
}

impl Distinct {
    pub fn new(call: &Call, inner: Box<dyn Accumulator>) -> Result<Self> {
        let codec = RowCodec::new(call.args.iter().map(|a| a.data_type.clone()))?;
        Ok(Self { codec, values: Multiset::default(), inner })
    }
}

impl Accumulator for Distinct {
    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        self.values.grow(input.total);
        let values = input.args.iter().map(canonical).collect::<Result<Vec<_>>>()?;
        let rows = self.codec.encode(&values)?;
        let (mut indices, mut groups, mut weights) = (vec![], vec![], vec![]);
        let values = &mut self.values;
        input.each(input.nulls().as_ref(), |row, group, weight| {
            let (before, after) = values.add(group as u32, rows.row(row).data(), weight);
            let change = i8::from(after > 0) - i8::from(before > 0);
            if change != 0 {
                indices.push(row as u64);
                groups.push(group as u32);
                weights.push(change);
            }
        });
        let indices = UInt64Array::from(indices);
        let args = input.args.iter().map(|a| take(a, &indices, None).map_err(error::arrow));
        let args = args.collect::<Result<Vec<_>>>()?;
        self.inner.update(&Input {
            groups: &groups,
            weights: Some(&weights),
            args: &args,
            mask: None,
            total: input.total,
        })
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        self.inner.evaluate(groups)
    }

    fn clear(&mut self, group: u32) {
        self.values.clear(group);
        self.inner.clear(group);
    }

    fn save(&self, group: u32, out: &mut Vec<u8>) {
        self.inner.save(group, out);
    }

    fn load(&mut self, group: u32, from: &mut &[u8]) -> Result<()> {
        self.inner.load(group, from)
    }

    fn multiset(&self) -> Option<&Multiset> {
        Some(&self.values)
    }

    fn multiset_mut(&mut self) -> Option<&mut Multiset> {
        Some(&mut self.values)
    }

    fn bytes(&self) -> usize {
        self.values.bytes() + self.inner.bytes()
    }
}
