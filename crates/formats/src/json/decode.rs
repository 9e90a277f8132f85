//! JSON records into a record batch, by the declared types and nothing looser. Values are pushed
//! straight into the columns and taken back when their record turns out bad. Rules:
//!
//! - Member names match columns exactly, else without regard to ASCII case if only one column does.
//!   Unknown members are ignored; of a repeated member the last counts; a missing one is the
//!   column's default, or NULL.
//! - Texts are never read as numbers or booleans. TEXT takes what is no text as it is written in
//!   JSON, as Spark's `from_json` does. TIMESTAMP: RFC 3339 with any offset, without one
//!   as UTC, or a number since 1970: seconds, milliseconds, microseconds or nanoseconds, as its
//!   size says. BINARY: base64.
//! - With a projection, other members are checked for JSON grammar only.

use std::sync::Arc;

use ahash::AHashMap;
use arrow::array::RecordBatch;
use arrow::array::RecordBatchOptions;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use common::{Error, Result};

use super::Cursor;
use crate::column::{Column, Strings, Values};
use crate::fault::{Fault, Refused, RefusedKind, with_article};
use crate::number::{Misfit, Number};
use crate::text::{base64_into, timestamp_of};
use crate::time;
use crate::types::sql_name;

/// More members than this are looked up by name each time.
const PLAN_MAX: usize = 1024;

/// Decodes the records of one topic. Keep it: buffers and the order of members are reused.
#[derive(Debug)]
pub struct Decoder {
    schema: SchemaRef,
    root: Object,
    /// Bad values of the record at hand, by column.
    faults: Vec<(usize, Fault)>,
}

/// What a set of records gives.
#[derive(Clone, Debug)]
pub struct Decoded {
    pub batch: RecordBatch,
    /// Index of the input record of each row.
    pub kept: Vec<u32>,
    pub refused: Vec<Refused>,
}

impl Decoder {
    /// `schema` is the whole topic; `projection` the columns wanted, in the order wanted.
    pub fn new(schema: SchemaRef, projection: Option<&[usize]>) -> Result<Self> {
        let root = Object::new(schema.fields(), projection)?;
        let schema = match projection {
            None => schema,
            Some(wanted) => {
                let projected = schema.project(wanted).map_err(|e| {
                    Error::internal("a projection names a column that is not there").caused_by(e)
                })?;
                Arc::new(Schema::new(projected.fields))
            }
        };
        Ok(Self { schema, root, faults: vec![] })
    }

    /// What a record has that lacks a column, as JSON: by the column's name.
    pub fn with_defaults<'a>(
        mut self,
        defaults: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        for (name, json) in defaults {
            // Those that are not wanted need none.
            if let Some(column) = self.root.columns.iter_mut().find(|c| c.name == name) {
                column.default = Some(json.as_bytes().into());
            }
        }
        self
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// One row for each good record, one refusal for each other.
    pub fn decode(&mut self, records: &[&[u8]]) -> Result<Decoded> {
        let bytes: usize = records.iter().map(|r| r.len()).sum();
        if bytes > i32::MAX as usize || records.len() > u32::MAX as usize {
            return Err(Error::too_large(format!("{bytes} bytes of records in one batch"))
                .hint("decode fewer records at once"));
        }
        let mut kept = Vec::with_capacity(records.len());
        let mut refused = vec![];
        for (record, bytes) in records.iter().enumerate() {
            match self.record(bytes, kept.len()) {
                Ok(()) => kept.push(record as u32),
                Err(fault) => {
                    self.root.truncate(kept.len());
                    let (column, kind, reason) = fault.into_parts();
                    refused.push(Refused { record: record as u32, column, kind, reason });
                }
            }
        }
        let columns = self.root.columns.iter_mut().map(Column::finish).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(kept.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|e| Error::internal("decoded columns do not form a batch").caused_by(e))?;
        Ok(Decoded { batch, kept, refused })
    }

    fn record(&mut self, bytes: &[u8], row: usize) -> Result<(), Fault> {
        if let Err(e) = std::str::from_utf8(bytes) {
            let reason = format!("byte {} is not UTF-8", e.valid_up_to() + 1);
            return Err(Fault::new(RefusedKind::Encoding, reason));
        }
        let mut cursor = Cursor::new(bytes);
        cursor.blanks();
        if cursor.peek() != b'{' {
            if cursor.at == bytes.len() {
                return Err(Fault::new(RefusedKind::Parse, "the record is empty"));
            }
            let reason = format!("expected a JSON object, got {}", cursor.describe()?);
            return Err(Fault::new(RefusedKind::Type, reason));
        }
        self.faults.clear();
        self.root.members(&mut cursor, row, &mut self.faults)?;
        cursor.end()?;
        match self.faults.is_empty() {
            true => self.root.fill(row),
            false => Err(self.faults.swap_remove(0).1),
        }
    }
}

/// Why a value in JSON is none of the type, if it is none.
pub fn check_value(data_type: &DataType, json: &str) -> std::result::Result<(), String> {
    let schema = Arc::new(Schema::new(vec![Field::new("value", data_type.clone(), false)]));
    let record = format!("{{\"value\":{json}}}");
    let decoded = Decoder::new(schema, None).and_then(|mut d| d.decode(&[record.as_bytes()]));
    match decoded {
        Ok(decoded) => decoded.refused.into_iter().next().map_or(Ok(()), |r| Err(r.reason)),
        Err(e) => Err(e.message().to_string()),
    }
}

/// Which column a member belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Ignore,
    Exact(usize),
    /// Spelled in another case; a member spelled exactly goes before it.
    Loose(usize),
}

/// The columns of an object: of the record itself, or of a STRUCT in it.
#[derive(Debug)]
pub(crate) struct Object {
    pub columns: Vec<Column>,
    /// All declared names, and the column of those that are wanted.
    names: AHashMap<Box<[u8]>, Option<usize>>,
    /// The members of the record before, in order: the next one mostly has the same.
    plan: Vec<(Vec<u8>, Target)>,
    /// Columns set by a member spelled in another case, in the record at hand.
    loose: Vec<usize>,
}

impl Object {
    pub fn new(fields: &Fields, projection: Option<&[usize]>) -> Result<Self> {
        let all: Vec<usize> = (0..fields.len()).collect();
        let wanted = projection.unwrap_or(&all);
        let missing = || Error::internal("a projection names a column that is not there");
        let columns = wanted
            .iter()
            .map(|i| Column::new(fields.get(*i).ok_or_else(missing)?))
            .collect::<Result<_>>()?;
        let names = fields
            .iter()
            .enumerate()
            .map(|(i, f)| (f.name().as_bytes().into(), wanted.iter().position(|w| *w == i)))
            .collect();
        Ok(Self { columns, names, plan: vec![], loose: vec![] })
    }

    pub fn truncate(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|c| c.truncate(rows));
    }

    /// Reads the members from `{` to `}`. A value of a wrong type goes to `faults` and the rest is
    /// still read: a broken text counts for more, and a repeated member may put it right.
    fn members(
        &mut self,
        cursor: &mut Cursor<'_>,
        row: usize,
        faults: &mut Vec<(usize, Fault)>,
    ) -> Result<(), Fault> {
        self.loose.clear();
        cursor.at += 1;
        cursor.blanks();
        if cursor.eat(b'}') {
            return Ok(());
        }
        for member in 0.. {
            let target = self.target(cursor, member)?;
            match target {
                Target::Ignore => cursor.skip()?,
                Target::Exact(column) => self.set(column, cursor, row, faults)?,
                Target::Loose(column) if self.free(column, row) => {
                    self.set(column, cursor, row, faults)?;
                    self.loose.push(column);
                }
                Target::Loose(_) => cursor.skip()?,
            }
            cursor.blanks();
            if cursor.eat(b',') {
                cursor.blanks();
                continue;
            }
            cursor.expect(b'}', "',' or '}'")?;
            break;
        }
        Ok(())
    }

    /// No member spelled exactly has set the column.
    fn free(&self, column: usize, row: usize) -> bool {
        self.columns[column].len() == row || self.loose.contains(&column)
    }

    #[inline]
    fn set(
        &mut self,
        index: usize,
        cursor: &mut Cursor<'_>,
        row: usize,
        faults: &mut Vec<(usize, Fault)>,
    ) -> Result<(), Fault> {
        let column = &mut self.columns[index];
        if column.len() > row {
            column.truncate(row);
        }
        if !faults.is_empty() {
            faults.retain(|(i, _)| *i != index);
        }
        let start = cursor.at;
        let Err(fault) = push(column, cursor) else {
            return Ok(());
        };
        if fault.kind() == RefusedKind::Parse {
            return Err(fault);
        }
        column.truncate(row);
        faults.push((index, fault.inside(&column.name)));
        cursor.at = start;
        cursor.skip()
    }

    /// Reads a member's name and the colon.
    #[inline]
    fn target(&mut self, cursor: &mut Cursor<'_>, member: usize) -> Result<Target, Fault> {
        if cursor.peek() != b'"' {
            return Err(cursor.unexpected("a name in quotes"));
        }
        if let Some((name, target)) = self.plan.get(member) {
            let rest = &cursor.bytes[cursor.at + 1..];
            if rest.starts_with(name) && rest.get(name.len()) == Some(&b'"') {
                cursor.at += name.len() + 2;
                cursor.colon()?;
                return Ok(*target);
            }
        }
        let start = cursor.at + 1;
        let name = cursor.string()?;
        let raw = &cursor.bytes[start..cursor.at - 1];
        let target = self.look_up(&name);
        if let Some(planned) = self.plan.get_mut(member) {
            planned.0.clear();
            planned.0.extend_from_slice(raw);
            planned.1 = target;
        } else if member < PLAN_MAX {
            self.plan.push((raw.to_vec(), target));
        }
        cursor.colon()?;
        Ok(target)
    }

    fn look_up(&self, name: &[u8]) -> Target {
        if let Some(column) = self.names.get(name) {
            return column.map_or(Target::Ignore, Target::Exact);
        }
        let mut near = self.names.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        match (near.next(), near.next()) {
            (Some((_, Some(column))), None) => Target::Loose(*column),
            _ => Target::Ignore,
        }
    }

    /// Gives the columns that no member has set their default, or NULL.
    #[inline]
    fn fill(&mut self, row: usize) -> Result<(), Fault> {
        for column in &mut self.columns {
            if column.len() != row {
                continue;
            }
            let filled = match column.default.take() {
                None => column.push_missing(false),
                Some(json) => {
                    let filled = push(column, &mut Cursor::new(&json));
                    column.default = Some(json);
                    filled
                }
            };
            filled.map_err(|fault| fault.inside(&column.name))?;
        }
        Ok(())
    }
}

/// Why a value was not taken: broken text, or a wrong type with a remark on it.
enum Miss {
    Fault(Fault),
    Type(&'static str),
}

impl From<Fault> for Miss {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Misfit> for Miss {
    fn from(misfit: Misfit) -> Self {
        Self::Type(misfit.note())
    }
}

/// Pushes the value at the cursor, by the column's type. On a fault the column may hold half of
/// it: the caller truncates.
#[inline]
fn push(column: &mut Column, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
    if cursor.peek() == b'n' {
        cursor.literal("null")?;
        return column.push_missing(true);
    }
    let start = *cursor;
    match push_value(&mut column.values, cursor) {
        Ok(()) => {
            column.nulls.append_non_null();
            Ok(())
        }
        Err(Miss::Fault(fault)) => Err(fault),
        Err(Miss::Type(note)) => Err(mismatch(column, &start, note)),
    }
}

#[cold]
fn mismatch(column: &Column, value: &Cursor<'_>, note: &str) -> Fault {
    let got = match value.describe() {
        Ok(got) => got,
        Err(fault) => return fault,
    };
    let wanted = with_article(&sql_name(&column.data_type));
    let means = match column.values {
        Values::Timestamp { .. } => " (RFC 3339 text, or a number since 1970)",
        Values::Date(_) => " (text as YYYY-MM-DD)",
        Values::Binary(_) => " (base64 text)",
        Values::Decimal { .. } if got.starts_with("the text") => " (a number, without quotes)",
        _ => "",
    };
    Fault::new(RefusedKind::Type, format!("expected {wanted}{means}, got {got}{note}"))
}

#[inline]
fn push_value(values: &mut Values, cursor: &mut Cursor<'_>) -> Result<(), Miss> {
    match values {
        Values::Text(strings) => push_string(strings, cursor)?,
        Values::Float64(v) => v.push(number(cursor)?.to_f64()?),
        Values::Int64(v) => v.push(number(cursor)?.to_i64()?),
        Values::Timestamp { values, zoned } => values.push(push_timestamp(cursor, *zoned)?),
        Values::Decimal { values, precision, scale } => {
            values.push(number(cursor)?.to_decimal(*precision, *scale)?);
        }
        Values::Boolean(v) => match cursor.peek() {
            b't' => {
                cursor.literal("true")?;
                v.append(true);
            }
            b'f' => {
                cursor.literal("false")?;
                v.append(false);
            }
            _ => return Err(Miss::Type("")),
        },
        Values::Int32(v) => v.push(small(number(cursor)?)?),
        Values::Int16(v) => v.push(small(number(cursor)?)?),
        Values::Int8(v) => v.push(small(number(cursor)?)?),
        Values::Float32(v) => v.push(number(cursor)?.to_f32()?),
        Values::Date(v) => {
            let text = text(cursor)?;
            v.push(time::parse_date(&text).ok_or(Miss::Type(""))?);
        }
        Values::Binary(strings) => {
            let text = text(cursor)?;
            base64_into(&text, &mut strings.bytes).ok_or(Miss::Type(""))?;
            strings.close();
        }
        Values::List { offsets, child } => {
            push_list(child, cursor)?;
            offsets.push(child.len() as i32);
        }
        Values::Struct(object) => push_struct(object, cursor)?,
        Values::Map { offsets, keys, values } => {
            push_map(keys, values, cursor)?;
            offsets.push(values.len() as i32);
        }
    }
    Ok(())
}

#[inline]
fn number<'a>(cursor: &mut Cursor<'a>) -> Result<Number<'a>, Miss> {
    match cursor.peek() {
        b'-' | b'0'..=b'9' => Ok(cursor.number()?),
        _ => Err(Miss::Type("")),
    }
}

fn small<T: TryFrom<i64>>(number: Number<'_>) -> Result<T, Misfit> {
    T::try_from(number.to_i64()?).map_err(|_| Misfit::TooLarge)
}

#[inline]
fn text<'a>(cursor: &mut Cursor<'a>) -> Result<std::borrow::Cow<'a, [u8]>, Miss> {
    if cursor.peek() != b'"' {
        return Err(Miss::Type(""));
    }
    Ok(cursor.string()?)
}

#[inline]
fn push_string(strings: &mut Strings, cursor: &mut Cursor<'_>) -> Result<(), Miss> {
    match cursor.peek() {
        b'"' => cursor.string_into(&mut strings.bytes)?,
        b'{' | b'[' | b't' | b'f' | b'-' | b'0'..=b'9' => {
            let start = cursor.at;
            cursor.skip()?;
            strings.bytes.extend_from_slice(&cursor.bytes[start..cursor.at]);
        }
        _ => return Err(Miss::Type("")),
    }
    strings.close();
    Ok(())
}

#[inline]
fn push_timestamp(cursor: &mut Cursor<'_>, zoned: bool) -> Result<i64, Miss> {
    if cursor.peek() == b'"' {
        return timestamp_of(&cursor.string()?, zoned).map_err(Miss::Type);
    }
    crate::text::epoch(number(cursor)?).map_err(Miss::Type)
}

fn push_list(child: &mut Column, cursor: &mut Cursor<'_>) -> Result<(), Miss> {
    if !cursor.eat(b'[') {
        return Err(Miss::Type(""));
    }
    cursor.blanks();
    if cursor.eat(b']') {
        return Ok(());
    }
    loop {
        push(child, cursor)?;
        cursor.blanks();
        if !cursor.eat(b',') {
            return Ok(cursor.expect(b']', "',' or ']'")?);
        }
        cursor.blanks();
    }
}

fn push_struct(object: &mut Object, cursor: &mut Cursor<'_>) -> Result<(), Miss> {
    if cursor.peek() != b'{' {
        return Err(Miss::Type(""));
    }
    let row = object.columns[0].len();
    let mut faults = vec![];
    object.members(cursor, row, &mut faults)?;
    if let Some((_, fault)) = faults.into_iter().next() {
        return Err(fault.into());
    }
    Ok(object.fill(row)?)
}

/// In two passes: the first finds the members, so that of a repeated key only the last is read.
fn push_map(keys: &mut Strings, values: &mut Column, cursor: &mut Cursor<'_>) -> Result<(), Miss> {
    if !cursor.eat(b'{') {
        return Err(Miss::Type(""));
    }
    cursor.blanks();
    let mut members = vec![];
    let mut last: AHashMap<_, usize> = AHashMap::new();
    if !cursor.eat(b'}') {
        loop {
            if cursor.peek() != b'"' {
                return Err(cursor.unexpected("a name in quotes").into());
            }
            let key = cursor.string()?;
            cursor.colon()?;
            last.insert(key.clone(), members.len());
            members.push((key, *cursor));
            cursor.skip()?;
            cursor.blanks();
            if !cursor.eat(b',') {
                cursor.expect(b'}', "',' or '}'")?;
                break;
            }
            cursor.blanks();
        }
    }
    for (i, (key, mut value)) in members.into_iter().enumerate() {
        if last.get(&key) == Some(&i) {
            push(values, &mut value)?;
            keys.push(&key);
        }
    }
    Ok(())
}

/// JSON text in a CSV field: how ARRAY, STRUCT and MAP stand there.
pub(crate) fn push_text_json(column: &mut Column, text: &[u8]) -> Result<(), Fault> {
    let mut cursor = Cursor::new(text);
    cursor.blanks();
    push(column, &mut cursor)?;
    cursor.end()
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
