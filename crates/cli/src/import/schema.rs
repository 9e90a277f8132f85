//! The topic of an import: its columns matched with the file's, or a new topic made from what the
//! file holds, after saying so.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use common::{Error, Result};
use serde_json::Value;

use super::delimited::Delimited;
use super::source::Source;
use crate::client::{Platform, segment};
use crate::render::Faults;
use crate::terminal;
use crate::topic::quoted;

/// Makes the topic when it is missing, and tells the source by which names its fields go. True
/// when the topic was made.
pub fn ensure_topic(platform: &Platform, topic: &str, source: &mut Source) -> Result<bool, Faults> {
    let topics: Vec<Value> = platform.get("/api/topics")?;
    let is_new = topics.iter().all(|t| t["name"] != topic);
    if is_new {
        create(platform, topic, source)?;
    }
    if let Source::Delimited(file) = source {
        let path = format!("/api/topics/{}/schema", segment(topic));
        let info: Value = platform.get(&path)?;
        let columns: Vec<String> = info["columns"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|c| c["name"].as_str().map(str::to_string))
            .collect();
        match_columns(file, topic, &columns)?;
    }
    Ok(is_new)
}

fn create(platform: &Platform, topic: &str, source: &mut Source) -> Result<(), Faults> {
    let columns = match source {
        Source::Delimited(file) => {
            for column in &mut file.columns {
                column.0 = plain_name(&column.0);
            }
            file.columns.clone()
        }
        Source::Lines(file) => of_json(&file.sample)?,
        Source::Parquet(file) => {
            let mut columns = vec![];
            for field in file.schema.fields() {
                let held = formats::types::platform(field.data_type()).ok_or_else(|| {
                    let e = format!("a topic can't hold column '{}' of this type", field.name());
                    Error::unsupported(e)
                })?;
                columns.push((field.name().clone(), held));
            }
            columns
        }
    };
    let listed: Vec<String> = columns
        .iter()
        .map(|(name, kind)| format!("  {} {}", shown_name(name), formats::types::sql_name(kind)))
        .collect();
    let statement = format!("CREATE TOPIC {} (\n{}\n)", shown_name(topic), listed.join(",\n"));
    terminal::complain(&format!(
        "there is no topic '{topic}' yet; made from the file:\n{statement}"
    ));
    let _: Value = platform.sql(&statement)?;
    Ok(())
}

/// Quoted where SQL needs it: words that mean something there are rare among short plain names.
fn shown_name(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && (name.contains('_') || name.ends_with(|c: char| c.is_ascii_digit()));
    if plain { name.to_string() } else { quoted(name) }
}

/// A header's name as a column: `Sensor ID` becomes `sensor_id`.
fn plain_name(name: &str) -> String {
    let mut out = String::new();
    for c in name.trim().chars() {
        if c.is_alphanumeric() {
            out.extend(c.to_lowercase());
        } else if !out.ends_with('_') {
            out.push('_');
        }
    }
    let out = out.trim_matches('_').to_string();
    match out.chars().next() {
        None => "column".into(),
        Some(c) if c.is_ascii_digit() => format!("c{out}"),
        Some(_) => out,
    }
}

/// By name when the file has names, else by position.
fn match_columns(file: &mut Delimited, topic: &str, columns: &[String]) -> Result<()> {
    if !file.named {
        if file.columns.len() != columns.len() {
            return Err(Error::invalid(format!(
                "the file has {} columns and no names, topic '{topic}' has {}",
                file.columns.len(),
                columns.len()
            ))
            .hint("name the file's columns with --columns a,b,c"));
        }
        file.set_header(columns);
        return Ok(());
    }
    let by_plain: BTreeMap<String, &String> = columns.iter().map(|c| (plain_name(c), c)).collect();
    let mut names = vec![];
    let mut unknown = vec![];
    for (name, _) in &file.columns {
        match by_plain.get(&plain_name(name)) {
            Some(column) => names.push((*column).clone()),
            None => {
                unknown.push(name.clone());
                // The server ignores names it does not know.
                names.push(name.clone());
            }
        }
    }
    if unknown.len() == file.columns.len() {
        return Err(Error::invalid(format!(
            "none of the file's columns is in topic '{topic}': {}",
            unknown.join(", ")
        ))
        .hint(format!("the topic has: {}", columns.join(", "))));
    }
    if !unknown.is_empty() {
        terminal::complain(&format!("left out, not in the topic: {}", unknown.join(", ")));
    }
    file.set_header(&names);
    Ok(())
}

/// Columns of NDJSON: every member of the objects at the beginning, with the narrowest type that
/// holds all its values.
fn of_json(sample: &[u8]) -> Result<Vec<(String, DataType)>> {
    let mut columns: Vec<(String, Option<DataType>)> = vec![];
    let whole_lines = match sample.iter().rposition(|b| *b == b'\n') {
        Some(end) if sample.len() as u64 >= super::source::SAMPLE_BYTES => &sample[..end],
        _ => sample,
    };
    for line in whole_lines.split(|b| *b == b'\n') {
        let Ok(Value::Object(members)) = serde_json::from_slice(line) else { continue };
        for (name, value) in members {
            let at = match columns.iter().position(|(n, _)| *n == name) {
                Some(at) => at,
                None => {
                    columns.push((name, None));
                    columns.len() - 1
                }
            };
            columns[at].1 = widened(columns[at].1.take(), type_of(&value));
        }
    }
    if columns.is_empty() {
        return Err(Error::invalid("the file holds no JSON object to learn columns from")
            .hint("make the topic first: CREATE TOPIC …"));
    }
    Ok(columns.into_iter().map(|(n, t)| (n, t.unwrap_or(DataType::Utf8))).collect())
}

fn type_of(value: &Value) -> Option<DataType> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => DataType::Boolean,
        Value::Number(n) if n.is_i64() => DataType::Int64,
        Value::Number(_) => DataType::Float64,
        Value::String(text) if is_time(text) => formats::types::timestamp(),
        Value::String(_) => DataType::Utf8,
        Value::Array(items) => {
            let item = items.iter().map(type_of).reduce(widened).flatten();
            formats::types::array(item.unwrap_or(DataType::Utf8))
        }
        Value::Object(members) => DataType::Struct(
            members
                .iter()
                .map(|(n, v)| {
                    let kind = type_of(v).unwrap_or(DataType::Utf8);
                    arrow::datatypes::Field::new(n, kind, true)
                })
                .collect(),
        ),
    })
}

/// `2026-01-31T10:00:00…`, with a zone, as JSON writes times.
fn is_time(text: &str) -> bool {
    let b = text.as_bytes();
    b.len() >= 20
        && b[4] == b'-'
        && b[7] == b'-'
        && matches!(b[10], b'T' | b' ')
        && b[13] == b':'
        && b[16] == b':'
        && b[..4].iter().all(u8::is_ascii_digit)
        && (text.ends_with('Z') || text[19..].contains(['+', '-']))
}

fn widened(a: Option<DataType>, b: Option<DataType>) -> Option<DataType> {
    match (a, b) {
        (None, other) | (other, None) => other,
        (Some(a), Some(b)) if a == b => Some(a),
        (Some(DataType::Int64), Some(DataType::Float64))
        | (Some(DataType::Float64), Some(DataType::Int64)) => Some(DataType::Float64),
        (Some(DataType::Struct(a)), Some(DataType::Struct(b))) => {
            let mut fields: Vec<_> = a.iter().cloned().collect();
            for field in b.iter() {
                match fields.iter().position(|f| f.name() == field.name()) {
                    Some(i) => {
                        let kinds = (fields[i].data_type().clone(), field.data_type().clone());
                        let kind = widened(Some(kinds.0), Some(kinds.1)).unwrap_or(DataType::Utf8);
                        fields[i] = arrow::datatypes::Field::new(field.name(), kind, true).into();
                    }
                    None => fields.push(field.clone()),
                }
            }
            Some(DataType::Struct(fields.into()))
        }
        _ => Some(DataType::Utf8),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names() {
        for (name, plain) in [
            ("Sensor ID", "sensor_id"),
            (" temp (°C) ", "temp_c"),
            ("1st", "c1st"),
            ("", "column"),
            ("at", "at"),
        ] {
            assert_eq!(plain_name(name), plain, "{name}");
        }
        assert_eq!(shown_name("c1"), "c1");
        assert_eq!(shown_name("order"), "\"order\"");
    }

    #[test]
    fn json_columns() {
        let sample = br#"{"s":"a","n":1,"at":"2026-01-01T00:00:00Z","o":{"x":1}}
{"s":"b","n":1.5,"at":null,"new":true,"o":{"x":2,"y":"z"}}
not json
"#;
        let columns: Vec<(String, String)> = of_json(sample)
            .unwrap()
            .into_iter()
            .map(|(n, t)| (n, formats::types::sql_name(&t)))
            .collect();
        let want = [
            ("s", "TEXT"),
            ("n", "DOUBLE"),
            ("at", "TIMESTAMP"),
            ("o", "STRUCT<x: BIGINT, y: TEXT>"),
            ("new", "BOOLEAN"),
        ];
        assert_eq!(columns, want.map(|(n, t)| (n.to_string(), t.to_string())));
        assert!(of_json(b"nothing\n").is_err());
    }
}
