//! `count(*)`, `count(x)`, `count(x, y)`: rows without a NULL argument.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use common::Result;

use super::{Accumulator, Input};
use crate::snapshot::bytes;

#[derive(Default)]
pub(crate) struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        if self.counts.len() < input.total {
            self.counts.resize(input.total, 0);
        }
        let nulls = input.nulls();
        let counts = &mut self.counts;
        input.each(nulls.as_ref(), |_, group, weight| counts[group] += weight);
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let count = |g: &u32| self.counts.get(*g as usize).copied().unwrap_or(0);
        Ok(Arc::new(Int64Array::from_iter_values(groups.iter().map(count))))
    }

    fn clear(&mut self, group: u32) {
        if let Some(count) = self.counts.get_mut(group as usize) {
            *count = 0;
        }
    }

    fn save(&self, group: u32, out: &mut Vec<u8>) {
        let count = self.counts.get(group as usize).copied().unwrap_or(0);
        bytes::put(out, count.to_le_bytes());
    }

    fn load(&mut self, group: u32, from: &mut &[u8]) -> Result<()> {
        let group = group as usize;
        if self.counts.len() <= group {
            self.counts.resize(group + 1, 0);
        }
        self.counts[group] = bytes::take_i64(from)?;
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * 8
    }
}
