//! `sum` of integers, decimals and doubles, and `avg` of doubles. Integers and decimals are
//! added in 128 bits, so the result is exact in any order and an overflow is seen when the value
//! is read; doubles carry a compensation (Neumaier), and infinities and NaN are counted apart.

use std::sync::Arc;

use ahash::RandomState;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, Decimal128Type, Float64Type, Int64Type, UInt64Type};
use common::Result;
use hashbrown::HashMap;

use super::{Accumulator, Input};
use crate::snapshot::bytes;
use graph::{error, exact};

/// An exact sum and how many values it is of.
#[derive(Clone, Copy, Default)]
pub(super) struct Exact {
    pub sum: i128,
    pub count: i64,
}

#[derive(Default)]
pub(super) struct ExactSums {
    groups: Vec<Exact>,
}

impl ExactSums {
    pub fn add<T: ArrowPrimitiveType>(&mut self, input: &Input<'_>) -> Result<()>
    where
        T::Native: Into<i128>,
    {
        if self.groups.len() < input.total {
            self.groups.resize(input.total, Exact::default());
        }
        let values = input.args[0].as_primitive::<T>();
        let (raw, groups) = (values.values(), &mut self.groups);
        let mut overflowed = false;
        input.each(values.nulls(), |row, group, weight| {
            let exact = &mut groups[group];
            let value: i128 = raw[row].into();
            let (sum, over) = exact.sum.overflowing_add(value * i128::from(weight));
            exact.sum = sum;
            overflowed |= over;
            exact.count += weight;
        });
        match overflowed {
            true => Err(exact::sum_above_all()),
            false => Ok(()),
        }
    }

    pub fn get(&self, group: u32) -> Exact {
        self.groups.get(group as usize).copied().unwrap_or_default()
    }

    pub fn clear(&mut self, group: u32) {
        if let Some(exact) = self.groups.get_mut(group as usize) {
            *exact = Exact::default();
        }
    }

    pub fn save(&self, group: u32, out: &mut Vec<u8>) {
        let exact = self.get(group);
        bytes::put(out, exact.sum.to_le_bytes());
        bytes::put(out, exact.count.to_le_bytes());
    }

    pub fn load(&mut self, group: u32, from: &mut &[u8]) -> Result<()> {
        let group = group as usize;
        if self.groups.len() <= group {
            self.groups.resize(group + 1, Exact::default());
        }
        let sum = i128::from_le_bytes(bytes::take(from)?);
        self.groups[group] = Exact { sum, count: bytes::take_i64(from)? };
        Ok(())
    }

    pub fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Exact>()
    }
}

pub(super) struct SumInteger {
    sums: ExactSums,
    signed: bool,
}

impl SumInteger {
    pub fn signed() -> Self {
        Self { sums: ExactSums::default(), signed: true }
    }

    pub fn unsigned() -> Self {
        Self { sums: ExactSums::default(), signed: false }
    }

    fn read<T: ArrowPrimitiveType>(&self, groups: &[u32]) -> Result<ArrayRef>
    where
        T::Native: TryFrom<i128>,
    {
        let value = |group: &u32| {
            let sum = self.sums.get(*group);
            if sum.count == 0 {
                return Ok(None);
            }
            match T::Native::try_from(sum.sum) {
                Ok(value) => Ok(Some(value)),
                Err(_) => exact::integer_sum(sum.sum).map(|_| None),
            }
        };
        let values = groups.iter().map(value).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(PrimitiveArray::<T>::from_iter(values)))
    }
}

impl Accumulator for SumInteger {
    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        match self.signed {
            true => self.sums.add::<Int64Type>(input),
            false => self.sums.add::<UInt64Type>(input),
        }
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        match self.signed {
            true => self.read::<Int64Type>(groups),
            false => self.read::<UInt64Type>(groups),
        }
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

pub(super) struct SumDecimal {
    sums: ExactSums,
    precision: u8,
    scale: i8,
}

impl SumDecimal {
    pub fn new(precision: u8, scale: i8) -> Self {
        Self { sums: ExactSums::default(), precision, scale }
    }
}

impl Accumulator for SumDecimal {
    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        self.sums.add::<Decimal128Type>(input)
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let value = |group: &u32| {
            let sum = self.sums.get(*group);
            if sum.count == 0 {
                return Ok(None);
            }
            exact::decimal_sum(sum.sum, self.precision, self.scale).map(Some)
        };
        let values = groups.iter().map(value).collect::<Result<Vec<_>>>()?;
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

/// A sum with what was lost in rounding. Back at no values, it is exactly 0 again.
#[derive(Clone, Copy, Default)]
struct Float {
    sum: f64,
    lost: f64,
    count: i64,
}

impl Float {
    #[inline(always)]
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += match self.sum.abs() >= value.abs() {
            true => (self.sum - sum) + value,
            false => (value - sum) + self.sum,
        };
        self.sum = sum;
    }
}

/// How often NaN, infinity and minus infinity are among the values of a group.
#[derive(Clone, Copy, Default)]
struct Specials([i64; 3]);

impl Specials {
    fn value(self) -> Option<f64> {
        match self.0.map(|n| n > 0) {
            [false, false, false] => None,
            [false, true, false] => Some(f64::INFINITY),
            [false, false, true] => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }
}

pub(super) struct SumFloat {
    groups: Vec<Float>,
    specials: HashMap<u32, Specials, RandomState>,
    average: bool,
}

impl SumFloat {
    pub fn sum() -> Self {
        Self { groups: vec![], specials: HashMap::default(), average: false }
    }

    pub fn avg() -> Self {
        Self { groups: vec![], specials: HashMap::default(), average: true }
    }

    fn value(&self, group: u32) -> Option<f64> {
        let float = self.groups.get(group as usize).filter(|f| f.count != 0)?;
        let special = self.specials.get(&group).and_then(|s| s.value());
        let sum = special.unwrap_or(float.sum + float.lost);
        Some(if self.average { sum / float.count as f64 } else { sum })
    }
}

#[cold]
fn special(specials: &mut HashMap<u32, Specials, RandomState>, group: usize, v: f64, w: i64) {
    let which = if v.is_nan() {
        0
    } else if v > 0.0 {
        1
    } else {
        2
    };
    specials.entry(group as u32).or_default().0[which] += w;
}

impl Accumulator for SumFloat {
    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        if self.groups.len() < input.total {
            self.groups.resize(input.total, Float::default());
        }
        let values = input.args[0].as_primitive::<Float64Type>();
        let (raw, groups, specials) = (values.values(), &mut self.groups, &mut self.specials);
        input.each(values.nulls(), |row, group, weight| {
            let (value, float) = (raw[row], &mut groups[group]);
            float.count += weight;
            if !value.is_finite() {
                special(specials, group, value, weight);
            } else {
                float.add(value * weight as f64);
            }
            if float.count == 0 {
                *float = Float::default();
            }
        });
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(groups.iter().map(|g| self.value(*g)).collect::<Float64Array>()))
    }

    fn clear(&mut self, group: u32) {
        if let Some(float) = self.groups.get_mut(group as usize) {
            *float = Float::default();
        }
        self.specials.remove(&group);
    }

    fn save(&self, group: u32, out: &mut Vec<u8>) {
        let float = self.groups.get(group as usize).copied().unwrap_or_default();
        bytes::put(out, float.sum.to_le_bytes());
        bytes::put(out, float.lost.to_le_bytes());
        bytes::put(out, float.count.to_le_bytes());
        for n in self.specials.get(&group).copied().unwrap_or_default().0 {
            bytes::put(out, n.to_le_bytes());
        }
    }

    fn load(&mut self, group: u32, from: &mut &[u8]) -> Result<()> {
        let at = group as usize;
        if self.groups.len() <= at {
            self.groups.resize(at + 1, Float::default());
        }
        let sum = f64::from_le_bytes(bytes::take(from)?);
        let lost = f64::from_le_bytes(bytes::take(from)?);
        self.groups[at] = Float { sum, lost, count: bytes::take_i64(from)? };
        let specials = [bytes::take_i64(from)?, bytes::take_i64(from)?, bytes::take_i64(from)?];
        match specials {
            [0, 0, 0] => self.specials.remove(&group),
            n => self.specials.insert(group, Specials(n)),
        };
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Float>() + self.specials.len() * 40
    }
}
