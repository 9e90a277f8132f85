//! `from_json(text, 'a INT, b ARRAY<TEXT>')` and `to_json(value)`, by the decoder and encoder of
//! topics. As in Spark a member that is not of its type is NULL, and of a text that is no JSON all
//! are.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, StringArray, StringBuilder, StructArray, new_null_array,
};
use datafusion::arrow::compute::interleave;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use datafusion::common::{DataFusionError, Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use formats::json::Decoder;
use serde_json::value::RawValue;

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct FromJson {
    signature: Signature,
}

impl Default for FromJson {
    fn default() -> Self {
        let texts = vec![DataType::Utf8, DataType::Utf8];
        Self { signature: Signature::exact(texts, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for FromJson {
    fn name(&self) -> &str {
        "from_json"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        plan_err!("from_json() needs its type as a literal")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let literal = args.scalar_arguments.get(1).copied().flatten();
        let Some(text) = literal.and_then(|v| v.try_as_str().flatten()) else {
            return plan_err!("from_json() needs its type as a literal, as in 'a INT, b TEXT'");
        };
        Ok(Arc::new(Field::new("from_json", type_of(text)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wanted = args.return_field.data_type().clone();
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(texts) = columns.first() else { return exec_err!("from_json needs a text") };
        Ok(ColumnarValue::Array(read(texts.as_string(), &wanted).map_err(failed)?))
    }
}

/// Of `a INT, b ARRAY<TEXT>`, or of a whole type.
fn type_of(text: &str) -> Result<DataType> {
    if let Ok(whole) = formats::types::parse(text)
        && matches!(whole, DataType::Struct(_) | DataType::List(_) | DataType::Map(..))
    {
        return Ok(whole);
    }
    let (mut depth, mut members, mut member) = (0, vec![], String::new());
    for c in text.chars() {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth -= 1,
            _ => {}
        }
        match c {
            ',' if depth == 0 => members.push(std::mem::take(&mut member)),
            c => member.push(c),
        }
    }
    members.push(member);
    let named = members.iter().map(|m| match m.trim().split_once([' ', ':']) {
        Some((name, of)) => format!("{}: {}", name.trim_end_matches(':'), of.trim()),
        None => m.clone(),
    });
    let whole = format!("STRUCT<{}>", named.collect::<Vec<_>>().join(", "));
    formats::types::parse(&whole).map_err(|e| {
        let hint = "write it as 'a INT, b ARRAY<TEXT>'";
        DataFusionError::Plan(format!("from_json(): '{text}' is no type: {}; {hint}", e.message()))
    })
}

fn failed(e: common::Error) -> DataFusionError {
    DataFusionError::Execution(e.to_string())
}

/// A value stands in a member of its own, so that every type is read by the same decoder.
fn decoder(of: &DataType) -> common::Result<Decoder> {
    Decoder::new(Arc::new(Schema::new(vec![Field::new("v", of.clone(), true)])), None)
}

fn wrapped(text: &str) -> Option<Vec<u8>> {
    let whole: &RawValue = serde_json::from_str(text).ok()?;
    Some(format!("{{\"v\":{}}}", whole.get()).into_bytes())
}

fn read(texts: &StringArray, wanted: &DataType) -> common::Result<ArrayRef> {
    let wraps: Vec<Option<Vec<u8>>> = texts.iter().map(|text| wrapped(text?)).collect();
    let records: Vec<&[u8]> = wraps.iter().flatten().map(Vec::as_slice).collect();
    let decoded = decoder(wanted)?.decode(&records)?;
    // NULL, then what was read, then one for each text that was not read as a whole.
    let mut parts = vec![new_null_array(wanted, 1), decoded.batch.column(0).clone()];
    let mut kept = decoded.kept.iter().enumerate().map(|(at, record)| (*record, at)).peekable();
    let (mut places, mut record) = (Vec::with_capacity(texts.len()), 0);
    for (row, wrap) in wraps.iter().enumerate() {
        let found = wrap.is_some().then(|| kept.next_if(|(of, _)| *of == record)).flatten();
        record += u32::from(wrap.is_some());
        places.push(match (found, wanted) {
            (Some((_, at)), _) => (1, at),
            (None, DataType::Struct(fields)) if texts.is_valid(row) => {
                parts.push(member_by_member(wrap.as_deref(), fields)?);
                (parts.len() - 1, 0)
            }
            _ => (0, 0),
        });
    }
    let parts: Vec<&dyn Array> = parts.iter().map(|p| p.as_ref()).collect();
    interleave(&parts, &places).map_err(|e| common::Error::internal(format!("from_json: {e}")))
}

/// Those members that are of their types, and NULL for the others.
fn member_by_member(record: Option<&[u8]>, fields: &Fields) -> common::Result<ArrayRef> {
    let mut members = vec![];
    for field in fields {
        let alone = DataType::Struct(vec![field.clone()].into());
        let decoded = match record {
            Some(record) => decoder(&alone)?.decode(&[record])?.batch.column(0).clone(),
            None => new_null_array(&alone, 0),
        };
        members.push(match decoded.as_struct_opt().filter(|s| s.len() == 1 && s.is_valid(0)) {
            Some(read) => read.column(0).clone(),
            None => new_null_array(field.data_type(), 1),
        });
    }
    Ok(Arc::new(StructArray::new(fields.clone(), members, None)))
}

/// A struct, list or map as JSON text, without members that are NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ToJson {
    signature: Signature,
}

impl Default for ToJson {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ToJson {
    fn name(&self) -> &str {
        "to_json"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match args {
            [DataType::Struct(_) | DataType::List(_) | DataType::Map(..)] => Ok(DataType::Utf8),
            [other] => {
                let is = formats::types::sql_name(other);
                plan_err!("to_json() takes a STRUCT, ARRAY or MAP, got {is}")
            }
            _ => plan_err!("to_json() takes one argument"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let [value] = columns.as_slice() else { return exec_err!("to_json needs a value") };
        let batch = RecordBatch::try_from_iter_with_nullable([("v", value.clone(), true)])?;
        let encoded = formats::json::encode(&batch).map_err(failed)?;
        let mut texts = StringBuilder::new();
        for (row, object) in encoded.iter().enumerate() {
            let whole = std::str::from_utf8(object).unwrap_or_default();
            let value_of = whole.strip_prefix("{\"v\":").and_then(|v| v.strip_suffix('}'));
            texts.append_option(value_of.filter(|_| value.is_valid(row)));
        }
        Ok(ColumnarValue::Array(Arc::new(texts.finish())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_written_as_columns_or_whole() {
        let named = |text: &str| type_of(text).map(|t| formats::types::sql_name(&t));
        let wanted = "STRUCT<a: INT, b: ARRAY<DECIMAL(10,2)>, c: STRUCT<d: TEXT>>";
        for text in [
            "a INT, b ARRAY<DECIMAL(10, 2)>, c STRUCT<d: TEXT>",
            wanted,
            "a: INT, b: ARRAY<DECIMAL(10,2)>, c: STRUCT<d: STRING>",
        ] {
            assert_eq!(named(text).ok().as_deref(), Some(wanted), "{text}");
        }
        assert_eq!(named("ARRAY<INT>").ok().as_deref(), Some("ARRAY<INT>"));
        assert!(named("a NUMBER").is_err() && named("a").is_err() && named("").is_err());
    }
}
