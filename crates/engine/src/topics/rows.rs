//! Log records ⇄ rows: decodes the records of a topic into Arrow with the hidden columns, and
//! reads stretches of a partition. Pipelines, batch queries and the archiver all come through
//! here, so all of them see the same rows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, BooleanArray, Int32Array, Int64Array, RecordBatch,
    RecordBatchOptions, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use bytes::Bytes;
use catalog::{Format, Topic};
use common::{Error, Offset, Partition, Result};
use datafusion::common::ScalarValue;
use formats::headers::HeadersBuilder;
use formats::json::{Changed, Decoded, changed};
use formats::{HIDDEN, Refused, hidden_fields};

use crate::topics::row_cache::columns_digest;
use crate::topics::topic_reader::{Stretch, TopicReader};

/// Declared columns, all nullable as they come out of the lake, then the hidden ones.
pub fn full_schema(topic: &Topic) -> SchemaRef {
    let declared =
        topic.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), c.nullable));
    let hidden = hidden_fields().into_iter().map(|f| f.with_nullable(true));
    Arc::new(Schema::new(declared.chain(hidden).collect::<Vec<_>>()))
}

/// The declared columns as stored events are read: what was acknowledged was checked then; a column
/// made NOT NULL later must not hide it.
fn relaxed(topic: &Topic) -> SchemaRef {
    let field = |c: &catalog::Column| Field::new(&c.name, c.data_type.clone(), true);
    Arc::new(Schema::new(topic.columns.iter().map(field).collect::<Vec<_>>()))
}

/// Turns stored record batches of one topic into rows.
pub struct RowDecoder {
    schema: SchemaRef,
    values: Values,
    /// The declared columns that are wanted, by position and as they come out.
    declared: Vec<usize>,
    declared_schema: SchemaRef,
    columns_digest: u64,
    /// Which of `HIDDEN` are wanted.
    hidden: [bool; 5],
}

/// Rows of one partition.
#[derive(Debug)]
pub struct Rows {
    pub batch: RecordBatch,
    /// The row after each record batch of the log that had some.
    pub ends: Vec<usize>,
    /// Where each row is in the log.
    pub offsets: Vec<Offset>,
}

impl Rows {
    /// The first `n` rows.
    pub fn first(&self, n: usize) -> Rows {
        let mut ends: Vec<usize> = self.ends.iter().copied().filter(|e| *e < n).collect();
        ends.extend((n > 0).then_some(n));
        Rows { batch: self.batch.slice(0, n), ends, offsets: self.offsets[..n].to_vec() }
    }

    /// All but these rows, which ascend.
    pub fn without(&self, left_out: &[usize]) -> Result<Rows> {
        let keep: BooleanArray =
            (0..self.offsets.len()).map(|i| Some(left_out.binary_search(&i).is_err())).collect();
        let batch = arrow::compute::filter_record_batch(&self.batch, &keep)
            .map_err(|e| Error::internal(format!("leaving out rows: {e}")))?;
        let before = |end: &usize| left_out.partition_point(|i| i < end);
        let ends = self.ends.iter().map(|end| end - before(end)).collect();
        let kept = |(i, _): &(usize, &Offset)| keep.value(*i);
        let offsets = self.offsets.iter().enumerate().filter(kept).map(|(_, o)| *o).collect();
        Ok(Rows { batch, ends, offsets })
    }
}

/// Declared columns as they grow.
#[derive(Default)]
struct Declared<'a> {
    batches: Vec<RecordBatch>,
    /// In the batches, and of them those that were kept.
    rows: usize,
    found: usize,
    /// Not decoded yet.
    values: Vec<Option<&'a [u8]>>,
}

impl Declared<'_> {
    fn push(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows();
        self.batches.push(batch);
    }
}

/// Hidden columns as they grow.
#[derive(Default)]
struct Hidden {
    offsets: Vec<i64>,
    arrived: Vec<i64>,
    keys: BinaryBuilder,
    headers: HeadersBuilder,
}

impl Hidden {
    /// `wanted` says which of `HIDDEN` are.
    fn push(&mut self, record: &log::records::RecordView<'_>, wanted: [bool; 5]) {
        let [_, _, keys, headers, _] = wanted;
        self.offsets.push(record.offset.0);
        self.arrived.push(record.timestamp_us());
        if keys {
            self.keys.append_option(record.key);
        }
        if headers {
            self.headers.append(record.headers());
        }
    }
}

impl RowDecoder {
    /// All columns.
    pub fn new(topic: &Topic) -> Result<RowDecoder> {
        RowDecoder::make(topic, |_| true)
    }

    /// The columns of these names, and when each row arrived.
    pub fn of_columns(topic: &Topic, wanted: &[&str]) -> Result<RowDecoder> {
        RowDecoder::make(topic, |name| name == "_arrived" || wanted.contains(&name))
    }

    fn make(topic: &Topic, wanted: impl Fn(&str) -> bool) -> Result<RowDecoder> {
        let columns: Vec<usize> =
            (0..topic.columns.len()).filter(|i| wanted(&topic.columns[*i].name)).collect();
        let values = Values::new(topic, relaxed(topic), Some(&columns))?;
        let full = full_schema(topic);
        let fields = full.fields().iter().filter(|f| wanted(f.name()));
        let fields: Vec<Field> = fields.map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let hidden = HIDDEN.map(wanted);
        Ok(RowDecoder {
            declared_schema: Arc::new(Schema::new(fields[..columns.len()].to_vec())),
            schema: Arc::new(Schema::new(fields)),
            values,
            declared: columns,
            columns_digest: columns_digest(topic),
            hidden,
        })
    }

    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Rows of the records of a stretch that `reader` gave.
    pub fn decode(
        &mut self,
        reader: &TopicReader,
        partition: Partition,
        stretch: &Stretch,
    ) -> Result<Rows> {
        let mut ends = vec![];
        let mut declared = Declared::default();
        let mut hidden = Hidden::default();
        for (i, batch) in stretch.batches.iter().enumerate() {
            let known = log::Header::parse(batch).filter(|h| stretch.has_all(h)).and_then(|h| {
                let rows = stretch.rows.get(i)?.as_deref()?;
                rows.of(usize::try_from(h.count).ok()?, self.columns_digest)
            });
            for record in log::records::iter(batch)? {
                let record = record?;
                if known.is_none() {
                    if !stretch.has(record.offset) {
                        continue;
                    }
                    declared.values.push(record.value);
                }
                hidden.push(&record, self.hidden);
            }
            if let Some(rows) = known {
                self.decode_values(partition, &mut declared, &hidden.offsets)?;
                for batch in rows {
                    declared.found += batch.num_rows();
                    declared.push(self.project(batch)?);
                }
            }
            ends.push(hidden.offsets.len());
        }
        self.decode_values(partition, &mut declared, &hidden.offsets)?;
        reader.count_rows(declared.found, declared.rows - declared.found);
        let batch = match &declared.batches[..] {
            [one] => one.clone(),
            batches => concat(&self.declared_schema, batches)?,
        };
        let offsets = hidden.offsets.iter().copied().map(Offset).collect();
        Ok(Rows { batch: self.finish(partition, &batch, hidden)?, ends, offsets })
    }

    /// Decodes the values that wait.
    fn decode_values(
        &mut self,
        partition: Partition,
        declared: &mut Declared,
        offsets: &[i64],
    ) -> Result<()> {
        let values = std::mem::take(&mut declared.values);
        if values.is_empty() {
            return Ok(());
        }
        let decoded = self.values.decode(&values)?;
        if let Some(refused) = decoded.refused.first() {
            let at = offsets.get(declared.rows + refused.record as usize);
            let at = at.copied().unwrap_or_default();
            return Err(Error::corrupt(format!(
                "the record at partition {partition}, offset {at} does not decode: {}",
                refused.reason
            ))
            .hint("was the topic's definition changed by hand?"));
        }
        declared.push(decoded.batch);
        Ok(())
    }

    /// Of all declared columns those that are wanted.
    fn project(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.declared.iter().map(|i| rows.column(*i).clone()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(self.declared_schema.clone(), columns, &options)
            .map_err(|e| Error::internal(format!("rows that were kept: {e}")))
    }

    fn finish(
        &self,
        partition: Partition,
        declared: &RecordBatch,
        mut hidden: Hidden,
    ) -> Result<RecordBatch> {
        let n = hidden.offsets.len();
        let all: [ArrayRef; 5] = [
            Arc::new(Int32Array::from(vec![partition.0; n])),
            Arc::new(Int64Array::from(hidden.offsets)),
            Arc::new(hidden.keys.finish()),
            Arc::new(hidden.headers.finish()?),
            Arc::new(TimestampMicrosecondArray::from(hidden.arrived).with_timezone("UTC")),
        ];
        let mut columns: Vec<ArrayRef> = declared.columns().to_vec();
        columns.extend(all.into_iter().zip(self.hidden).filter(|(_, w)| *w).map(|(a, _)| a));
        RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|e| Error::internal(format!("building rows: {e}")))
    }
}

/// The columns as the archive is told them.
pub fn declared(topic: &Topic) -> Result<lake::Declared> {
    let mut declared = lake::Declared::from(topic.schema());
    if topic.defaults().next().is_some() {
        let row = Values::new(topic, relaxed(topic), None)?.decode(&[Some(b"{}")])?.batch;
        for (column, _) in topic.defaults() {
            let value = row.column_by_name(column).map(|c| ScalarValue::try_from_array(c, 0));
            let value = value.transpose();
            let value = value.map_err(|e| Error::internal(format!("a default: {e}")))?;
            declared.defaults.extend(value.map(|v| (column.to_string(), v)));
        }
    }
    Ok(declared)
}

/// The offset after a batch.
pub fn next_offset(batch: &[u8]) -> Result<Offset> {
    log::Header::parse(batch)
        .map(|h| h.last_offset().next())
        .ok_or_else(|| Error::corrupt("a record batch is shorter than its header"))
}

/// Calls `each` with every record of `batches`.
pub fn for_each_record(
    batches: &[Bytes],
    mut each: impl FnMut(log::records::RecordView<'_>),
) -> Result<()> {
    for batch in batches {
        for record in log::records::iter(batch)? {
            each(record?);
        }
    }
    Ok(())
}

/// Decodes `from..to` of a partition in pieces of at most `bytes_max` stored bytes.
pub fn read_range(
    reader: &TopicReader,
    decoder: &mut RowDecoder,
    partition: Partition,
    mut from: Offset,
    to: Offset,
    bytes_max: usize,
    mut each: impl FnMut(RecordBatch, Offset) -> Result<bool>,
) -> Result<()> {
    while from < to {
        let mut stretch = reader.read(partition, from, bytes_max)?;
        stretch.next = stretch.next.min(to);
        if stretch.next <= from {
            return Ok(());
        }
        let rows = decoder.decode(reader, partition, &stretch)?.batch;
        from = stretch.next;
        if !each(rows, from)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Decodes the values of records, by the format of their topic.
pub enum Values {
    Json {
        decoder: formats::json::Decoder,
        /// Of a tombstone: NULL in every column, also in those with a default.
        nothing: Vec<u8>,
        /// The row is within a change event.
        is_change: bool,
    },
    /// The value is the one column, if that is wanted.
    Raw(SchemaRef),
}

impl Values {
    /// `schema` is the whole topic; `projection` the columns wanted.
    pub fn new(topic: &Topic, schema: SchemaRef, projection: Option<&[usize]>) -> Result<Values> {
        match (topic.format, projection) {
            (Format::Json | Format::Upsert | Format::Debezium, _) => {
                let decoder = formats::json::Decoder::new(schema, projection)?;
                let decoder = decoder.with_defaults(topic.defaults());
                let nulls = topic.defaults().map(|(c, _)| (c.to_string(), serde_json::Value::Null));
                let nulls: serde_json::Map<_, _> = nulls.collect();
                let nothing = serde_json::Value::from(nulls).to_string().into_bytes();
                let is_change = topic.format == Format::Debezium;
                Ok(Values::Json { decoder, nothing, is_change })
            }
            (Format::Raw, None) => Ok(Values::Raw(schema)),
            (Format::Raw, Some(wanted)) => {
                let projected = schema.project(wanted);
                let bad = |e| Error::internal(format!("a column of a raw topic: {e}"));
                Ok(Values::Raw(Arc::new(projected.map_err(bad)?)))
            }
        }
    }

    /// One row for each good value, one refusal for each other. A tombstone has no columns.
    pub fn decode(&mut self, values: &[Option<&[u8]>]) -> Result<Decoded> {
        match self {
            Values::Json { decoder, nothing, is_change: false } => {
                let texts: Vec<&[u8]> = values.iter().map(|v| v.unwrap_or(nothing)).collect();
                decoder.decode(&texts)
            }
            Values::Json { decoder, nothing, is_change: true } => {
                decode_changes(decoder, nothing, values)
            }
            Values::Raw(schema) => {
                let column = || Arc::new(BinaryArray::from_opt_vec(values.to_vec())) as ArrayRef;
                let columns = schema.fields().iter().map(|_| column()).collect();
                let options = RecordBatchOptions::new().with_row_count(Some(values.len()));
                let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options)
                    .map_err(|e| Error::internal(format!("raw records as rows: {e}")))?;
                let kept = (0..values.len() as u32).collect();
                Ok(Decoded { batch, kept, refused: vec![] })
            }
        }
    }
}

/// Rows of change events: of one that is gone there is nothing, as of a tombstone.
fn decode_changes(
    decoder: &mut formats::json::Decoder,
    nothing: &[u8],
    values: &[Option<&[u8]>],
) -> Result<Decoded> {
    let (mut texts, mut numbers, mut refused) = (vec![], vec![], vec![]);
    for (number, value) in (0..).zip(values) {
        let row = value.map_or(Ok(Changed::Gone(None)), |v| changed(number, v));
        match row {
            Ok(Changed::Row(row)) => texts.push(row),
            Ok(Changed::Gone(_)) => texts.push(nothing),
            Err(fault) => {
                refused.push(fault);
                continue;
            }
        }
        numbers.push(number);
    }
    let decoded = decoder.decode(&texts)?;
    let number = |i: u32| numbers[i as usize];
    let bad_rows = decoded.refused.into_iter().map(|r| Refused { record: number(r.record), ..r });
    refused.extend(bad_rows);
    refused.sort_by_key(|r| r.record);
    let kept = decoded.kept.into_iter().map(number).collect();
    Ok(Decoded { batch: decoded.batch, kept, refused })
}

/// One batch of all.
pub fn concat(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    concat_batches(schema, batches).map_err(|e| Error::internal(format!("joining batches: {e}")))
}
