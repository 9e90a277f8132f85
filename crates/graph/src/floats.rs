//! One form for floats that SQL takes for equal: -0.0 is 0.0, and every NaN the same. Keys of
//! groups and joins and values of DISTINCT have to go through it, in stream and in batch, for
//! they are compared as bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;

/// Are there floats in values of this type?
pub fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float32 | DataType::Float64 => true,
        DataType::List(item) => has_floats(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|f| has_floats(f.data_type())),
        _ => false,
    }
}

/// The column with its floats in their one form.
pub fn canonical(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !has_floats(column.data_type()) {
        return Ok(column.clone());
    }
    Ok(match column.data_type() {
        DataType::Float32 => {
            let one = |v: f32| if v.is_nan() { f32::NAN } else { v + 0.0 };
            Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(one))
        }
        DataType::Float64 => {
            let one = |v: f64| if v.is_nan() { f64::NAN } else { v + 0.0 };
            Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(one))
        }
        DataType::List(item) => {
            let list = column.as_list::<i32>();
            let values = canonical(list.values())?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(ListArray::try_new(item.clone(), offsets, values, nulls)?)
        }
        DataType::Struct(fields) => {
            let parts = column.as_struct();
            let columns = parts.columns().iter().map(canonical).collect::<Result<_, _>>()?;
            let (nulls, rows) = (parts.nulls().cloned(), parts.len());
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, rows)?)
        }
        _ => column.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Float64Array;

    #[test]
    fn zeros_and_nans_are_one() {
        let odd = f64::from_bits(f64::NAN.to_bits() | 1 << 63);
        let column: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, 0.0, odd, -1.5]));
        let same = canonical(&column).map(|c| c.as_primitive::<Float64Type>().values().to_vec());
        let bits: Vec<u64> = same.unwrap_or_default().into_iter().map(f64::to_bits).collect();
        let expected = [0.0, 0.0, f64::NAN, -1.5].map(f64::to_bits);
        assert_eq!(bits, expected);
    }
}
