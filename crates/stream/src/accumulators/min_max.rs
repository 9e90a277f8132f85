//! `min` and `max`. Where rows only come, the best value so far is enough; where rows also go,
//! the values are kept sorted, so that the next best is known when the best one goes.

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray, PrimitiveArray, make_array};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use common::Result;

use super::{Accumulator, Input};
use crate::multiset::Multiset;
use crate::rows::RowCodec;
use crate::snapshot::bytes;
use graph::error;

pub(super) fn create(
    data_type: &DataType,
    min: bool,
    append_only: bool,
) -> Result<Box<dyn Accumulator>> {
    if !append_only {
        let codec = RowCodec::new([data_type.clone()])?;
        let null = codec.null_row()?;
        return Ok(Box::new(Sorted { codec, null, min, values: Multiset::default() }));
    }
    macro_rules! best {
        ($($pattern:pat => $native:ty),* $(,)?) => {
            match data_type {
                $($pattern => Ok(Box::new(Best::<$native> {
                    data_type: data_type.clone(), min, values: vec![],
                })),)*
                _ => {
                    let codec = RowCodec::new([data_type.clone()])?;
                    let null = codec.null_row()?;
                    Ok(Box::new(BestRow { codec, null, min, values: vec![], bytes: 0 }))
                }
            }
        };
    }
    use arrow::datatypes::TimeUnit::Microsecond;
    best! {
        DataType::Int8 => Int8Type, DataType::Int16 => Int16Type, DataType::Int32 => Int32Type,
        DataType::Int64 => Int64Type, DataType::UInt8 => UInt8Type,
        DataType::UInt16 => UInt16Type, DataType::UInt32 => UInt32Type,
        DataType::UInt64 => UInt64Type, DataType::Float32 => Float32Type,
        DataType::Float64 => Float64Type, DataType::Date32 => Date32Type,
        DataType::Decimal128(_, _) => Decimal128Type,
        DataType::Timestamp(Microsecond, _) => TimestampMicrosecondType,
    }
}

/// A number as 16 bytes and back.
trait Bits: Copy {
    fn bits(self) -> [u8; 16];
    fn of(bits: [u8; 16]) -> Self;
}

macro_rules! bits {
    ($($t:ty),*) => { $(impl Bits for $t {
        fn bits(self) -> [u8; 16] { (self as i128).to_le_bytes() }
        fn of(bits: [u8; 16]) -> Self { i128::from_le_bytes(bits) as $t }
    })* };
}

bits!(i8, i16, i32, i64, i128, u8, u16, u32, u64);

impl Bits for f32 {
    fn bits(self) -> [u8; 16] {
        self.to_bits().bits()
    }
    fn of(bits: [u8; 16]) -> Self {
        f32::from_bits(u32::of(bits))
    }
}

impl Bits for f64 {
    fn bits(self) -> [u8; 16] {
        self.to_bits().bits()
    }
    fn of(bits: [u8; 16]) -> Self {
        f64::from_bits(u64::of(bits))
    }
}

/// The best number of each group.
struct Best<T: ArrowPrimitiveType> {
    data_type: DataType,
    min: bool,
    values: Vec<Option<T::Native>>,
}

impl<T: ArrowPrimitiveType> Accumulator for Best<T>
where
    T::Native: Bits,
{
    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        if self.values.len() < input.total {
            self.values.resize(input.total, None);
        }
        let array = input.args[0].as_primitive::<T>();
        let (raw, values) = (array.values(), &mut self.values);
        if self.min {
            input.each(array.nulls(), |row, group, _| {
                if values[group].is_none_or(|best| raw[row].is_lt(best)) {
                    values[group] = Some(raw[row]);
                }
            });
        } else {
            input.each(array.nulls(), |row, group, _| {
                if values[group].is_none_or(|best| raw[row].is_gt(best)) {
                    values[group] = Some(raw[row]);
                }
            });
        }
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let value = |g: &u32| self.values.get(*g as usize).copied().flatten();
        let array = PrimitiveArray::<T>::from_iter(groups.iter().map(value));
        let data = array.into_data().into_builder().data_type(self.data_type.clone());
        Ok(make_array(data.build().map_err(error::arrow)?))
    }

    fn clear(&mut self, group: u32) {
        if let Some(value) = self.values.get_mut(group as usize) {
            *value = None;
        }
    }

    fn save(&self, group: u32, out: &mut Vec<u8>) {
        match self.values.get(group as usize).copied().flatten() {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                bytes::put(out, value.bits());
            }
        }
    }

    fn load(&mut self, group: u32, from: &mut &[u8]) -> Result<()> {
        let group = group as usize;
        if self.values.len() <= group {
            self.values.resize(group + 1, None);
        }
        self.values[group] = match bytes::take(from)? {
            [0] => None,
            _ => Some(T::Native::of(bytes::take(from)?)),
        };
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<Option<T::Native>>()
    }
}

/// The best value of any other type, as row bytes.
struct BestRow {
    codec: RowCodec,
    null: Box<[u8]>,
    min: bool,
    values: Vec<Option<Box<[u8]>>>,
    bytes: usize,
}

impl Accumulator for BestRow {
    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        if self.values.len() < input.total {
            self.values.resize(input.total, None);
        }
        let rows = self.codec.encode(input.args)?;
        let (values, bytes, min) = (&mut self.values, &mut self.bytes, self.min);
        input.each(input.nulls().as_ref(), |row, group, _| {
            let new = rows.row(row).data();
            let better = |best: &[u8]| if min { new < best } else { new > best };
            let old = &mut values[group];
            if old.as_deref().is_none_or(better) {
                *bytes += new.len();
                *bytes -= old.as_ref().map_or(0, |o| o.len());
                *old = Some(new.into());
            }
        });
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let value = |g: &u32| self.values.get(*g as usize).and_then(|v| v.as_deref());
        let rows = groups.iter().map(|g| value(g).unwrap_or(&self.null));
        Ok(self.codec.decode(rows)?.remove(0))
    }

    fn clear(&mut self, group: u32) {
        let old = self.values.get_mut(group as usize).and_then(Option::take);
        self.bytes -= old.map_or(0, |o| o.len());
    }

    fn save(&self, group: u32, out: &mut Vec<u8>) {
        match self.values.get(group as usize).and_then(|v| v.as_deref()) {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                bytes::put_slice(out, value);
            }
        }
    }

    fn load(&mut self, group: u32, from: &mut &[u8]) -> Result<()> {
        self.clear(group);
        let group = group as usize;
        if self.values.len() <= group {
            self.values.resize(group + 1, None);
        }
        self.values[group] = match bytes::take(from)? {
            [0] => None,
            _ => Some(bytes::take_slice(from)?.into()),
        };
        self.bytes += self.values[group].as_ref().map_or(0, |v| v.len());
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bytes + self.values.capacity() * 16
    }
}

/// All values, sorted.
struct Sorted {
    codec: RowCodec,
    null: Box<[u8]>,
    min: bool,
    values: Multiset,
}

impl Accumulator for Sorted {
    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        self.values.grow(input.total);
        let rows = self.codec.encode(input.args)?;
        let values = &mut self.values;
        input.each(input.nulls().as_ref(), |row, group, weight| {
            values.add(group as u32, rows.row(row).data(), weight);
        });
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let best = |group: &u32| {
            let mut items = self.values.items(*group);
            let item = if self.min { items.next() } else { items.next_back() };
            item.map_or(&*self.null, |(value, _)| value)
        };
        Ok(self.codec.decode(groups.iter().map(best))?.remove(0))
    }

    fn clear(&mut self, group: u32) {
        self.values.clear(group);
    }

    fn save(&self, _group: u32, _out: &mut Vec<u8>) {}

    fn load(&mut self, _group: u32, _from: &mut &[u8]) -> Result<()> {
        Ok(())
    }

    fn multiset(&self) -> Option<&Multiset> {
        Some(&self.values)
    }

    fn multiset_mut(&mut self) -> Option<&mut Multiset> {
        Some(&mut self.values)
    }

    fn bytes(&self) -> usize {
        self.values.bytes()
    }
}
