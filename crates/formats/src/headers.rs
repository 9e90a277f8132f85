//! Headers of a record as a column: ARRAY<STRUCT<key: TEXT, value: BINARY>>, as Spark's Kafka
//! source has it. They keep their order, repeated keys and NULL values. A record without any has
//! NULL.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, ListArray, NullBufferBuilder, StringArray,
    StringBuilder, StructArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::{Error, Result};
use serde_json::Value;

use crate::types;

fn pair() -> Fields {
    let pair = [("key", DataType::Utf8), ("value", DataType::Binary)];
    pair.map(|(name, of)| Field::new(name, of, true)).to_vec().into()
}

pub fn data_type() -> DataType {
    types::array(DataType::Struct(pair()))
}

/// Builds the column.
pub struct HeadersBuilder {
    keys: StringBuilder,
    values: BinaryBuilder,
    ends: Vec<usize>,
    valid: NullBufferBuilder,
}

impl Default for HeadersBuilder {
    fn default() -> HeadersBuilder {
        HeadersBuilder {
            keys: StringBuilder::new(),
            values: BinaryBuilder::new(),
            ends: vec![0],
            valid: NullBufferBuilder::new(0),
        }
    }
}

impl HeadersBuilder {
    /// The headers of the next record.
    pub fn append<K: AsRef<str>, V: AsRef<[u8]>>(
        &mut self,
        headers: impl Iterator<Item = (K, Option<V>)>,
    ) {
        let before = self.ends.last().copied().unwrap_or_default();
        let mut end = before;
        for (key, value) in headers {
            self.keys.append_value(key);
            self.values.append_option(value);
            end += 1;
        }
        self.ends.push(end);
        self.valid.append(end > before);
    }

    pub fn finish(mut self) -> Result<ListArray> {
        let ends: Option<Vec<i32>> = self.ends.iter().map(|e| i32::try_from(*e).ok()).collect();
        let ends = ends.ok_or_else(|| Error::too_large("too many headers for one batch"))?;
        let columns: Vec<ArrayRef> =
            vec![Arc::new(self.keys.finish()), Arc::new(self.values.finish())];
        let DataType::List(item) = data_type() else {
            return Err(Error::internal("headers are a list"));
        };
        StructArray::try_new(pair(), columns, None)
            .and_then(|pairs| {
                let ends = OffsetBuffer::new(ScalarBuffer::from(ends));
                ListArray::try_new(item, ends, Arc::new(pairs), self.valid.finish())
            })
            .map_err(|e| Error::internal(format!("headers as a column: {e}")))
    }
}

/// As JSON, for tables whose column of headers is text: `[["key", "value in base64"], …]`.
pub fn to_text(headers: &ListArray) -> StringArray {
    let one = |headers: ArrayRef| {
        let pairs = headers.as_struct_opt()?;
        let keys = pairs.column_by_name("key")?.as_string_opt::<i32>()?;
        let values = pairs.column_by_name("value")?.as_binary_opt::<i32>()?;
        let pairs = keys.iter().zip(values.iter()).map(|(key, value)| {
            let value = value.map(|v| BASE64.encode(v));
            Value::Array(vec![key.unwrap_or_default().into(), value.into()])
        });
        Some(Value::Array(pairs.collect()).to_string())
    };
    (0..headers.len()).map(|i| headers.is_valid(i).then(|| one(headers.value(i)))?).collect()
}

/// Back from `to_text`, and from the objects that tables of before this hold: those had kept the
/// last value of each key, and of its bytes what is UTF-8.
pub fn from_text(texts: &StringArray) -> Result<ListArray> {
    let mut built = HeadersBuilder::default();
    for text in texts.iter() {
        let Some(text) = text else {
            built.append(std::iter::empty::<(&str, Option<&[u8]>)>());
            continue;
        };
        built.append(pairs_of(text)?.into_iter());
    }
    built.finish()
}

fn pairs_of(text: &str) -> Result<Vec<(String, Option<Vec<u8>>)>> {
    let bad = || Error::corrupt(format!("no headers of a record: {text}"));
    match serde_json::from_str(text).map_err(|_| bad())? {
        Value::Object(object) => Ok(object
            .into_iter()
            .map(|(key, value)| (key, value.as_str().map(|v| v.as_bytes().to_vec())))
            .collect()),
        Value::Array(pairs) => pairs
            .iter()
            .map(|pair| {
                let (key, value) = (pair[0].as_str()?, &pair[1]);
                let value = match value.as_str() {
                    Some(value) => Some(BASE64.decode(value).ok()?),
                    None if value.is_null() => None,
                    None => return None,
                };
                Some((key.to_string(), value))
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(bad),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers() -> ListArray {
        let mut built = HeadersBuilder::default();
        let first: [(&str, Option<&[u8]>); 4] =
            [("a", None), ("b", Some(b"")), ("a", Some(b"second")), ("bin", Some(b"\xff\0\xfe"))];
        built.append(first.into_iter());
        built.append(std::iter::empty::<(&str, Option<&[u8]>)>());
        built.append([("é", Some("ü"))].into_iter());
        built.finish().unwrap()
    }

    #[test]
    fn text_and_back() {
        let headers = headers();
        assert_eq!(headers.data_type(), &data_type());
        let texts = to_text(&headers);
        assert_eq!(texts.value(0), r#"[["a",null],["b",""],["a","c2Vjb25k"],["bin","/wD+"]]"#);
        assert!(texts.is_null(1));
        assert_eq!(from_text(&texts).unwrap(), headers);
    }

    #[test]
    fn objects_of_old_tables() {
        let old = StringArray::from(vec![Some(r#"{"a":"second","b":"","n":null}"#)]);
        let texts = to_text(&from_text(&old).unwrap());
        assert_eq!(texts.value(0), r#"[["a","c2Vjb25k"],["b",""],["n",null]]"#);
        for bad in ["", "7", r#"[["a"]x]"#, r#"[["a",7]]"#, r#"[["a","§"]]"#] {
            assert!(from_text(&StringArray::from(vec![bad])).is_err(), "{bad}");
        }
    }
}
