//! The topic of an import: its columns matched with the files', or a new topic made from what the
//! files hold, after saying so.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use common::{Error, Result};
use formats::schema::{Shape, from_arrow, infer_json};
use formats::types::{self, sql_name};
use serde_json::Value;

use super::convert::Kind;
use super::delimited::Delimited;
use super::names;
use super::source::{Rows, Source};
use crate::client::{Platform, segment};
use crate::render::Faults;
use crate::terminal;
use crate::topic::quoted;

/// Columns of a topic: name and type.
pub type Columns = Vec<(String, DataType)>;

/// What the files hold, by their own names, in the order in which they appear.
#[derive(Default)]
pub struct Fields(Vec<(String, Shape)>);

impl Fields {
    /// Adds those of a file.
    pub fn add(&mut self, source: &Source) -> Result<()> {
        let fields = match &source.rows {
            Rows::Delimited(file) => file.columns.clone(),
            Rows::Lines(_) => of_json(source)?,
            Rows::Parquet(file) => {
                let columns = from_arrow(&file.schema)?.into_iter();
                columns.map(|(name, held, _)| (name, Shape::Known(held))).collect()
            }
        };
        if self.0.is_empty() {
            self.0 = fields;
            return Ok(());
        }
        for (name, shape) in fields {
            match self.0.iter_mut().find(|(n, _)| *n == name) {
                Some((_, known)) => *known = std::mem::take(known).merge(shape),
                None => self.0.push((name, shape)),
            }
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Columns of a new topic. `wanted` has types that the user gave.
    pub fn columns(&self, is_json: bool, wanted: &BTreeMap<String, DataType>) -> Result<Columns> {
        let fields = self.names();
        let columns = names::repaired(&fields, is_json);
        let told = names::told(&fields, &columns);
        if !told.is_empty() {
            terminal::complain(&format!("renamed: {}", told.join(", ")));
        }
        if let Some(unknown) = wanted.keys().find(|name| !columns.contains(name)) {
            return Err(Error::unknown("column", unknown, columns.iter().map(String::as_str)));
        }
        let column = |(name, (_, shape)): (String, &(String, Shape))| {
            let held = wanted.get(&name).cloned().unwrap_or_else(|| shape.data_type());
            (name, held)
        };
        Ok(columns.into_iter().zip(&self.0).map(column).collect())
    }
}

/// `--types a=INT,b=DECIMAL(10,2)`: commas within brackets are of the type.
pub fn wanted_types(text: &str) -> Result<BTreeMap<String, DataType>> {
    let mut depth = 0;
    let mut parts = vec![String::new()];
    for c in text.chars() {
        match c {
            '(' | '<' => depth += 1,
            ')' | '>' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let mut wanted = BTreeMap::new();
    for part in parts.iter().filter(|p| !p.trim().is_empty()) {
        let (name, held) = part.split_once('=').ok_or_else(|| {
            Error::invalid(format!("'{part}' is no column and type"))
                .hint("write --types id=BIGINT,price=DECIMAL(10,2)")
        })?;
        wanted.insert(name.trim().to_string(), types::parse(held.trim())?);
    }
    Ok(wanted)
}

/// The statement that makes the topic.
pub fn create_statement(topic: &str, columns: &Columns) -> String {
    let listed: Vec<String> = columns
        .iter()
        .map(|(name, held)| format!("  {} {}", shown_name(name), sql_name(held)))
        .collect();
    format!("CREATE TOPIC {} (\n{}\n)", shown_name(topic), listed.join(",\n"))
}

/// Columns of a topic that is there.
pub fn columns_of(platform: &Platform, topic: &str) -> Result<Columns, Faults> {
    let info: Value = platform.get(&format!("/api/topics/{}/schema", segment(topic)))?;
    let column = |c: &Value| {
        let held = c["type"].as_str().and_then(|t| types::parse(t).ok());
        Some((c["name"].as_str()?.to_string(), held.unwrap_or(DataType::Utf8)))
    };
    Ok(info["columns"].as_array().into_iter().flatten().filter_map(column).collect())
}

/// Tells a file by which names its fields go, and what they are to be.
pub fn bind(source: &mut Source, topic: &str, columns: &Columns) -> Result<()> {
    match &mut source.rows {
        Rows::Delimited(file) => match_columns(file, topic, columns),
        Rows::Parquet(_) => Ok(()),
        Rows::Lines(_) => {
            let fields: Vec<String> = of_json(source)?.into_iter().map(|(n, _)| n).collect();
            let repaired = names::repaired(&fields, true);
            let is_column = |name: &str| columns.iter().any(|(c, _)| c == name);
            let renamed = fields.into_iter().zip(repaired);
            let renamed = renamed.filter(|(f, c)| f != c && !is_column(f) && is_column(c));
            if let Rows::Lines(lines) = &mut source.rows {
                lines.renamed = renamed.collect();
            }
            Ok(())
        }
    }
}

/// Quoted where SQL needs it: words that mean something there are rare among short plain names.
fn shown_name(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && (name.contains('_') || name.ends_with(|c: char| c.is_ascii_digit()));
    if plain { name.to_string() } else { quoted(name) }
}

/// By name when the file has names, else by position.
fn match_columns(file: &mut Delimited, topic: &str, columns: &Columns) -> Result<()> {
    let mut names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
    if !file.named {
        if file.columns.len() != columns.len() {
            return Err(Error::invalid(format!(
                "the file has {} columns and no names, topic '{topic}' has {}",
                file.columns.len(),
                columns.len()
            ))
            .hint("name the file's columns with --columns a,b,c"));
        }
    } else {
        names = named_columns(file, topic, &names)?;
    }
    let kind = |name: &String| match columns.iter().find(|(n, _)| n == name) {
        Some((_, held)) if held.is_numeric() => Kind::Number,
        Some((_, DataType::Timestamp(_, _) | DataType::Date32)) => Kind::Time,
        _ => Kind::Other,
    };
    file.kinds = names.iter().map(kind).collect();
    file.set_header(&names);
    Ok(())
}

fn named_columns(file: &Delimited, topic: &str, columns: &[String]) -> Result<Vec<String>> {
    let fields: Vec<String> = file.columns.iter().map(|(name, _)| name.clone()).collect();
    let repaired = names::repaired(&fields, false);
    let by_plain: BTreeMap<String, &String> =
        columns.iter().filter_map(|c| Some((names::plain(c)?, c))).collect();
    let mut names = vec![];
    let mut unknown = vec![];
    for (field, repaired) in fields.iter().zip(&repaired) {
        // Of two fields of one name the second has another column.
        let own = columns.iter().find(|c| *c == repaired);
        let exact = || columns.iter().find(|c| *c == field);
        match own.or_else(exact).or_else(|| by_plain.get(repaired).copied()) {
            Some(column) => names.push(column.clone()),
            None => {
                unknown.push(field.clone());
                // The server ignores names it does not know.
                names.push(repaired.clone());
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
    Ok(names)
}

/// Members of the objects at the beginning.
fn of_json(source: &Source) -> Result<Vec<(String, Shape)>> {
    let sample = &source.input.sample;
    let sample = sample.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(sample);
    // The last line may be cut.
    let end = match source.input.whole {
        true => sample.len(),
        false => sample.iter().rposition(|b| *b == b'\n').unwrap_or(sample.len()),
    };
    let lines = sample[..end].split(|b| *b == b'\n');
    let lines: Vec<&[u8]> = lines.map(<[u8]>::trim_ascii).filter(|l| !l.is_empty()).collect();
    let members = infer_json(&lines)?;
    if members.is_empty() {
        let name = source.input.name();
        return Err(Error::invalid(format!("'{name}' holds no JSON object to learn columns from"))
            .hint("make the topic first: CREATE TOPIC …"));
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn statements() {
        let columns = vec![("c1".to_string(), DataType::Int64), ("order".into(), DataType::Utf8)];
        let statement = create_statement("runs_2", &columns);
        assert_eq!(statement, "CREATE TOPIC runs_2 (\n  c1 BIGINT,\n  \"order\" TEXT\n)");
        let wanted = wanted_types("a=INT, b = DECIMAL(10,2),c=STRUCT<x: INT, y: TEXT>").unwrap();
        let shown: Vec<String> = wanted.values().map(sql_name).collect();
        assert_eq!(shown, ["INT", "DECIMAL(10,2)", "STRUCT<x: INT, y: TEXT>"]);
        assert!(wanted_types("a").is_err() && wanted_types("a=DOUBEL").is_err());
    }
}
