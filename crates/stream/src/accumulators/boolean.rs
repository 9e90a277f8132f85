//! `bool_and` and `bool_or`: how many values are true and how many are false says both.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use common::Result;

use super::{Accumulator, Input};
use crate::snapshot::bytes;

pub(super) struct Boolean {
    /// `bool_and`; else `bool_or`.
    all: bool,
    /// (false, true) of each group.
    counts: Vec<[i64; 2]>,
}

impl Boolean {
    pub fn new(all: bool) -> Self {
        Self { all, counts: vec![] }
    }

    fn get(&self, group: u32) -> [i64; 2] {
        self.counts.get(group as usize).copied().unwrap_or_default()
    }
}

impl Accumulator for Boolean {
    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        if self.counts.len() < input.total {
            self.counts.resize(input.total, [0, 0]);
        }
        let values = input.args[0].as_boolean();
        let counts = &mut self.counts;
        input.each(values.nulls(), |row, group, weight| {
            counts[group][usize::from(values.value(row))] += weight;
        });
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let value = |group: &u32| match self.get(*group) {
            [0, 0] => None,
            [falses, _] if self.all => Some(falses == 0),
            [_, trues] => Some(trues > 0),
        };
        Ok(Arc::new(groups.iter().map(value).collect::<BooleanArray>()))
    }

    fn clear(&mut self, group: u32) {
        if let Some(counts) = self.counts.get_mut(group as usize) {
            *counts = [0, 0];
        }
    }

    fn save(&self, group: u32, out: &mut Vec<u8>) {
        for n in self.get(group) {
            bytes::put(out, n.to_le_bytes());
        }
    }

    fn load(&mut self, group: u32, from: &mut &[u8]) -> Result<()> {
        let group = group as usize;
        if self.counts.len() <= group {
            self.counts.resize(group + 1, [0, 0]);
        }
        self.counts[group] = [bytes::take_i64(from)?, bytes::take_i64(from)?];
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * 16
    }
}
