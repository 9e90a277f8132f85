//! Aggregate functions that can be read without being destroyed and that undo: DataFusion's own
//! can't do both. One family a file; what has no own family goes to `fallback.rs`, which keeps
//! the arguments and asks DataFusion again.

mod avg;
mod boolean;
mod count;
mod distinct;
mod fallback;
mod min_max;
mod sum;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;
use common::Result;

use crate::multiset::Multiset;
use graph::Call;

/// A batch of arguments on its way into groups.
pub(crate) struct Input<'a> {
    /// The group of each row.
    pub groups: &'a [u32],
    pub weights: Option<&'a [i8]>,
    pub args: &'a [ArrayRef],
    /// Rows that pass `FILTER (WHERE …)`.
    pub mask: Option<&'a BooleanBuffer>,
    /// One more than the greatest group number.
    pub total: usize,
}

impl Input<'_> {
    /// Calls `f(row, group, weight)` for each row that passes the filter and has no NULL.
    /// The loop is compiled four times, so the plain case has no branch in it.
    #[inline(always)]
    pub fn each(&self, nulls: Option<&NullBuffer>, mut f: impl FnMut(usize, usize, i64)) {
        let valid = match (nulls.filter(|n| n.null_count() > 0), self.mask) {
            (Some(n), Some(m)) => Some(n.inner() & m),
            (Some(n), None) => Some(n.inner().clone()),
            (None, Some(m)) => Some(m.clone()),
            (None, None) => None,
        };
        match (valid, self.weights) {
            (None, None) => {
                for (i, g) in self.groups.iter().enumerate() {
                    f(i, *g as usize, 1);
                }
            }
            (None, Some(w)) => {
                for (i, (g, w)) in self.groups.iter().zip(w).enumerate() {
                    f(i, *g as usize, i64::from(*w));
                }
            }
            (Some(valid), None) => {
                for i in valid.set_indices() {
                    f(i, self.groups[i] as usize, 1);
                }
            }
            (Some(valid), Some(w)) => {
                for i in valid.set_indices() {
                    f(i, self.groups[i] as usize, i64::from(w[i]));
                }
            }
        }
    }

    /// NULL where any argument is.
    pub fn nulls(&self) -> Option<NullBuffer> {
        let mut nulls = None;
        for arg in self.args {
            nulls = NullBuffer::union(nulls.as_ref(), arg.logical_nulls().as_ref());
        }
        nulls
    }
}

/// State of one aggregate call for all groups.
pub(crate) trait Accumulator: Send + Sync {
    fn update(&mut self, input: &Input<'_>) -> Result<()>;

    /// The values of these groups; nothing changes by being read.
    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef>;

    /// Back to the state of a group without rows.
    fn clear(&mut self, group: u32);

    /// The state but for the multiset.
    fn save(&self, group: u32, out: &mut Vec<u8>);

    fn load(&mut self, group: u32, from: &mut &[u8]) -> Result<()>;

    fn multiset(&self) -> Option<&Multiset> {
        None
    }

    fn multiset_mut(&mut self) -> Option<&mut Multiset> {
        None
    }

    fn bytes(&self) -> usize;
}

/// How a call is kept up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// A few bytes a group.
    Fixed,
    /// The different values of each group.
    Values,
    /// All argument rows of each group, computed anew when one changes.
    Rows,
}

pub(crate) fn kept(call: &Call, append_only: bool) -> Kept {
    let distinct = call.lowered.aggregate.is_distinct();
    match call.name() {
        "count" | "sum" | "avg" if linear(call).is_some() => {
            if distinct {
                Kept::Values
            } else {
                Kept::Fixed
            }
        }
        "min" | "max" if append_only => Kept::Fixed,
        "min" | "max" => Kept::Values,
        "bool_and" | "bool_or" => Kept::Fixed,
        _ => Kept::Rows,
    }
}

pub(crate) fn create(call: &Call, append_only: bool) -> Result<Box<dyn Accumulator>> {
    let distinct = call.lowered.aggregate.is_distinct();
    if let Some(inner) = linear(call) {
        return Ok(match distinct {
            true => Box::new(distinct::Distinct::new(call, inner)?),
            false => inner,
        });
    }
    Ok(match (call.name(), call.args.as_slice()) {
        ("min", [arg]) => min_max::create(&arg.data_type, true, append_only)?,
        ("max", [arg]) => min_max::create(&arg.data_type, false, append_only)?,
        ("bool_and", [_]) => Box::new(boolean::Boolean::new(true)),
        ("bool_or", [_]) => Box::new(boolean::Boolean::new(false)),
        _ => Box::new(fallback::Fallback::new(call)?),
    })
}

/// Functions whose state is a sum, so that a weight multiplies and order does not matter.
fn linear(call: &Call) -> Option<Box<dyn Accumulator>> {
    use DataType::{Decimal128, Float64, Int64, UInt64};
    let result = call.lowered.aggregate.field();
    let types: Vec<&DataType> = call.args.iter().map(|a| &a.data_type).collect();
    Some(match (call.name(), types.as_slice(), result.data_type()) {
        ("count", _, Int64) => Box::new(count::Count::default()),
        ("sum", [Int64], Int64) => Box::new(sum::SumInteger::signed()),
        ("sum", [UInt64], UInt64) => Box::new(sum::SumInteger::unsigned()),
        ("sum", [Float64], Float64) => Box::new(sum::SumFloat::sum()),
        ("avg", [Float64], Float64) => Box::new(sum::SumFloat::avg()),
        ("sum", [Decimal128(_, a)], Decimal128(p, b)) if a == b => {
            Box::new(sum::SumDecimal::new(*p, *b))
        }
        ("avg", [Decimal128(_, a)], Decimal128(p, b)) if a <= b => {
            Box::new(avg::AvgDecimal::new(*a, *p, *b))
        }
        _ => return None,
    })
}
