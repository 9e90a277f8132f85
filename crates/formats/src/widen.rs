//! Types that take every value of another: how a column's type may change while its topic holds
//! events. Read anew from the text they came as, old events give the same values, only wider.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use common::{Error, Result};

/// Whether each value of `from` is one of `to`: larger integers, decimals with more digits on both
/// sides of the point, structs with more fields; also within arrays and maps. FLOAT is no DOUBLE:
/// 0.1 of one is not 0.1 of the other.
pub fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType as D;
    if let (Some(old), Some(new)) = (digits(from), digits(to)) {
        // An integer has fewer values than its digits could make.
        let is_decimal = |t: &DataType| matches!(t, D::Decimal128(..));
        let can_hold = !is_decimal(from) || is_decimal(to) || old.0 < new.0;
        return old.0 <= new.0 && old.1 <= new.1 && can_hold;
    }
    match (from, to) {
        (D::List(from), D::List(to)) => widens(from.data_type(), to.data_type()),
        (D::Struct(from), D::Struct(to)) => from.iter().all(|f| {
            let same = to.iter().find(|t| t.name() == f.name());
            same.is_some_and(|t| widens(f.data_type(), t.data_type()))
        }),
        (D::Map(from, _), D::Map(to, _)) => match (from.data_type(), to.data_type()) {
            (D::Struct(from), D::Struct(to)) if from.len() == 2 && to.len() == 2 => {
                from[0].data_type() == to[0].data_type()
                    && widens(from[1].data_type(), to[1].data_type())
            }
            _ => false,
        },
        _ => from == to,
    }
}

/// Digits before and after the point that a number may have.
fn digits(data_type: &DataType) -> Option<(i16, i16)> {
    use DataType as D;
    Some(match data_type {
        D::Int8 => (3, 0),
        D::Int16 => (5, 0),
        D::Int32 => (10, 0),
        D::Int64 => (19, 0),
        D::Decimal128(p, s) => (i16::from(*p) - i16::from(*s), i16::from(*s)),
        _ => return None,
    })
}

/// The values as a wider type; new fields of structs are NULL.
pub fn widen(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    use DataType as D;
    if array.data_type() == to {
        return Ok(array.clone());
    }
    match (array.data_type(), to) {
        (D::Struct(_), D::Struct(fields)) => {
            let from = array.as_struct();
            let columns = fields.iter().map(|field| match from.column_by_name(field.name()) {
                Some(column) => widen(column, field.data_type()),
                None => Ok(new_null_array(field.data_type(), from.len())),
            });
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let nulls = from.nulls().cloned();
            let made = StructArray::try_new_with_length(fields.clone(), columns, nulls, from.len());
            Ok(Arc::new(made.map_err(|e| bad(&e))?))
        }
        (D::List(_), D::List(field)) => {
            let from = array.as_list::<i32>();
            let values = widen(from.values(), field.data_type())?;
            let nulls = from.nulls().cloned();
            let made = ListArray::try_new(field.clone(), from.offsets().clone(), values, nulls);
            Ok(Arc::new(made.map_err(|e| bad(&e))?))
        }
        (D::Map(_, _), D::Map(field, sorted)) => {
            let from = array.as_map();
            let entries: ArrayRef = Arc::new(from.entries().clone());
            let entries = widen_entries(&entries, field.data_type())?;
            let nulls = from.nulls().cloned();
            let offsets = from.offsets().clone();
            let made = MapArray::try_new(field.clone(), offsets, entries, nulls, *sorted);
            Ok(Arc::new(made.map_err(|e| bad(&e))?))
        }
        _ => {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(array, to, &options).map_err(|e| bad(&e))
        }
    }
}

/// Keys and values by their places: writers name them as they like.
fn widen_entries(entries: &ArrayRef, to: &DataType) -> Result<StructArray> {
    let DataType::Struct(fields) = to else {
        return Err(Error::internal("a map without entries"));
    };
    let from = entries.as_struct();
    let columns = fields.iter().zip(from.columns()).map(|(f, c)| widen(c, f.data_type()));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    StructArray::try_new(fields.clone(), columns, None).map_err(|e| bad(&e))
}

fn bad(e: &arrow::error::ArrowError) -> Error {
    Error::invalid(format!("a value does not fit the wider type: {e}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::RecordBatch;
    use arrow::datatypes::{Field, Schema};

    use super::*;
    use crate::types::parse;

    #[test]
    fn only_what_takes_all_values_is_wider() {
        for (from, to, is_wider) in [
            ("INT", "BIGINT", true),
            ("TINYINT", "INT", true),
            ("BIGINT", "INT", false),
            ("INT", "DECIMAL(10,0)", true),
            ("INT", "DECIMAL(10,2)", false),
            ("BIGINT", "DECIMAL(21,2)", true),
            ("DECIMAL(10,2)", "DECIMAL(12,4)", true),
            ("DECIMAL(10,2)", "DECIMAL(12,5)", false),
            ("DECIMAL(10,2)", "DECIMAL(10,2)", true),
            ("DECIMAL(5,0)", "BIGINT", true),
            ("DECIMAL(5,1)", "BIGINT", false),
            ("FLOAT", "DOUBLE", false),
            ("INT", "DOUBLE", false),
            ("INT", "TEXT", false),
            ("DATE", "TIMESTAMP", false),
            ("ARRAY<INT>", "ARRAY<BIGINT>", true),
            ("ARRAY<INT>", "INT", false),
            ("STRUCT<a: INT>", "STRUCT<b: TEXT, a: BIGINT>", true),
            ("STRUCT<a: INT, b: TEXT>", "STRUCT<a: INT>", false),
            ("MAP<TEXT, STRUCT<a: INT>>", "MAP<TEXT, STRUCT<a: INT, b: INT>>", true),
            ("MAP<TEXT, INT>", "MAP<TEXT, TEXT>", false),
        ] {
            let types = (parse(from).unwrap(), parse(to).unwrap());
            assert_eq!(widens(&types.0, &types.1), is_wider, "{from} {to}");
        }
    }

    /// What was decoded before and widened is what is decoded after.
    #[test]
    fn widened_is_as_decoded_anew() {
        let json: &[&[u8]] = &[
            br#"{"v":[{"a":1,"b":{"x":"1.25"}},null,{"a":null,"c":7,"m":{"k":3}}]}"#,
            br#"{"v":null}"#,
            br#"{"v":[{"b":null,"a":-2147483648,"m":{"k":null,"l":4}}]}"#,
        ];
        let decoded = |data_type: &str| -> RecordBatch {
            let field = Field::new("v", parse(data_type).unwrap(), true);
            let schema = Arc::new(Schema::new(vec![field]));
            let decoded = crate::json::Decoder::new(schema, None).unwrap().decode(json).unwrap();
            assert_eq!(decoded.kept.len(), 3, "{:?}", decoded.refused);
            decoded.batch
        };
        let narrow = decoded("ARRAY<STRUCT<a: INT, b: STRUCT<x: TEXT>, m: MAP<TEXT, SMALLINT>>>");
        let wide = decoded(
            "ARRAY<STRUCT<c: INT, m: MAP<TEXT, BIGINT>, b: STRUCT<y: INT, x: TEXT>, a: DECIMAL(12,2)>>",
        );
        let widened = widen(narrow.column(0), wide.schema().field(0).data_type()).unwrap();
        // The new field of the first is not in what was decoded before.
        let c = |array: &ArrayRef| {
            array.as_list::<i32>().values().as_struct().column_by_name("c").unwrap().null_count()
        };
        assert_eq!((c(&widened), c(wide.column(0))), (4, 3));
        for name in ["m", "b", "a"] {
            let of = |array: &ArrayRef| {
                let items = array.as_list::<i32>().values().as_struct().clone();
                items.column_by_name(name).unwrap().clone()
            };
            assert_eq!(&of(&widened), &of(wide.column(0)), "{name}");
        }
    }
}
