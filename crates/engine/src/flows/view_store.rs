//! Rows of a view in the keyed store. The pipeline stages its changes into the same batch as its
//! offsets and state; readers scan a snapshot, so they only ever see whole epochs.
//!
//! Key: `<pipeline>\0` + identity of the row; value: the row in Arrow's row format, behind a
//! count where equal rows may stand several times.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use common::{Epoch, Error, Result};
use graph::OutputKey;
use hashbrown::HashMap;
use kv::{Batch, Keyspace, Kv, Snapshot};
use stream::Change;

/// Arrow may change its row format between versions: a view stored in another one is rebuilt.
pub const ROW_FORMAT: &str = "arrow-row-59";

const ROWS_PER_BATCH: usize = 8192;
/// A batch of wide rows ends here, as they are stored.
const BYTES_PER_BATCH: usize = 4 << 20;

/// The stored rows of one pipeline.
pub struct ViewStore {
    kv: Arc<Kv>,
    rows: Keyspace,
    meta: Keyspace,
    prefix: Vec<u8>,
    schema: SchemaRef,
    key: OutputKey,
    converter: RowConverter,
    key_converter: Option<RowConverter>,
}

/// Epoch and number of rows, written with every commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewMeta {
    pub epoch: Epoch,
    pub rows: u64,
}

/// Where a row of a view stands: its key, and which of several equal ones it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowPlace {
    key: kv::Value,
    copies: u64,
}

/// What to read.
pub struct ReadFrom {
    pub(crate) prefix: Vec<u8>,
    pub after: Option<RowPlace>,
    pub rows_per_batch: usize,
}

/// Takes rows and their places; false when no more are wanted.
pub type TakeRows<'a> = &'a mut dyn FnMut(RecordBatch, &[RowPlace]) -> Result<bool>;

impl ViewStore {
    pub fn open(kv: &Arc<Kv>, pipeline: &str, schema: SchemaRef, key: OutputKey) -> Result<Self> {
        let fields: Vec<SortField> =
            schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        let key_converter = match &key {
            OutputKey::Columns(columns) if !columns.is_empty() => {
                let fields = columns.iter().map(|c| fields[*c].clone()).collect();
                Some(converter(fields)?)
            }
            // Without key columns there is one row at most, under the prefix alone.
            OutputKey::Columns(_) | OutputKey::Append | OutputKey::Rows => None,
        };
        let mut prefix = pipeline.as_bytes().to_vec();
        prefix.push(0);
        Ok(ViewStore {
            kv: kv.clone(),
            rows: kv.keyspace("view_rows")?,
            meta: kv.keyspace("view_meta")?,
            prefix,
            schema,
            key,
            converter: converter(fields)?,
            key_converter,
        })
    }

    pub fn meta(&self, snapshot: &Snapshot) -> Result<ViewMeta> {
        match snapshot.get(&self.meta, &self.prefix)? {
            Some(bytes) if bytes.len() == 16 => Ok(ViewMeta {
                epoch: Epoch(u64::from_be_bytes(bytes[..8].try_into().unwrap_or_default())),
                rows: u64::from_be_bytes(bytes[8..16].try_into().unwrap_or_default()),
            }),
            Some(_) => Err(Error::corrupt("the record of a view's epoch is damaged")),
            None => Ok(ViewMeta::default()),
        }
    }

    /// Adds an epoch's consolidated changes to a batch; returns what `meta` will be.
    pub fn stage(
        &self,
        batch: &mut Batch,
        epoch: Epoch,
        before: ViewMeta,
        changes: &[Change],
    ) -> Result<ViewMeta> {
        let mut rows = before.rows as i64;
        let mut counts: HashMap<Vec<u8>, i64> = HashMap::new();
        let mut sequence = 0u32;
        // Removals first: a changed row is -old +new under one key.
        for removing in [true, false] {
            for change in changes {
                let weights = change.weights.as_ref();
                if removing && weights.is_none() {
                    continue;
                }
                let values = self.convert(&self.converter, change.batch.columns())?;
                let keys = match (&self.key, &self.key_converter) {
                    (OutputKey::Columns(c), Some(converter)) => {
                        let columns: Vec<ArrayRef> =
                            c.iter().map(|c| change.batch.column(*c).clone()).collect();
                        Some(self.convert(converter, &columns)?)
                    }
                    _ => None,
                };
                for i in 0..change.batch.num_rows() {
                    let weight = weights.map_or(1, |w| i64::from(w.value(i)));
                    if (weight < 0) != removing {
                        continue;
                    }
                    rows += weight;
                    let value = values.row(i);
                    match (&self.key, &keys) {
                        (OutputKey::Columns(_), keys) => {
                            let key = keys.as_ref().map(|k| k.row(i));
                            let key = self.full_key(key.as_ref().map_or(b"", |k| k.as_ref()));
                            if removing {
                                batch.delete(&self.rows, key);
                            } else {
                                batch.put(&self.rows, key, value.as_ref());
                            }
                        }
                        (OutputKey::Append, _) => {
                            let mut id = epoch.0.to_be_bytes().to_vec();
                            id.extend(sequence.to_be_bytes());
                            sequence += 1;
                            batch.put(&self.rows, self.full_key(&id), value.as_ref());
                        }
                        _ => *counts.entry(value.as_ref().to_vec()).or_default() += weight,
                    }
                }
            }
        }
        self.stage_counts(batch, counts)?;
        let meta = ViewMeta { epoch, rows: rows.max(0) as u64 };
        let mut bytes = meta.epoch.0.to_be_bytes().to_vec();
        bytes.extend(meta.rows.to_be_bytes());
        batch.put(&self.meta, self.prefix.as_slice(), bytes);
        Ok(meta)
    }

    fn stage_counts(&self, batch: &mut Batch, counts: HashMap<Vec<u8>, i64>) -> Result<()> {
        for (row, weight) in counts {
            if weight == 0 {
                continue;
            }
            let key = self.full_key(&row);
            let old = match self.rows.get(&key)? {
                Some(bytes) => count_of(&bytes)?,
                None => 0,
            };
            match old + weight {
                0 => batch.delete(&self.rows, key),
                n if n > 0 => {
                    let mut value = n.to_be_bytes().to_vec();
                    value.extend_from_slice(&row);
                    batch.put(&self.rows, key, value);
                }
                n => {
                    return Err(Error::internal(format!("a row of a view would stand {n} times")));
                }
            }
        }
        Ok(())
    }

    /// Rows in the order of their keys, a batch at a time, with the place of each.
    pub fn read(&self, snapshot: &Snapshot, from: &ReadFrom, take: TakeRows<'_>) -> Result<()> {
        let counted = matches!(self.key, OutputKey::Rows);
        let entries = match &from.after {
            None => snapshot.prefix(&self.rows, &from.prefix)?,
            Some(after) => snapshot.range(&self.rows, &*after.key..)?,
        };
        let (mut some, mut bytes) = (vec![], 0);
        for entry in entries {
            let (key, value) = entry?;
            if !key.starts_with(&from.prefix) {
                break;
            }
            let copies = if counted { count_of(&value)?.max(0) as u64 } else { 1 };
            let after = from.after.as_ref().filter(|a| a.key == key);
            // Of equal rows there may be more than memory holds.
            let mut given = after.map_or(0, |a| a.copies);
            while given < copies {
                given += 1;
                let place = RowPlace { key: key.clone(), copies: given };
                bytes += value.len();
                some.push((place, value.clone()));
                if some.len() >= from.rows_per_batch || bytes >= BYTES_PER_BATCH {
                    bytes = 0;
                    if !self.give(&mut some, counted, take)? {
                        return Ok(());
                    }
                }
            }
        }
        self.give(&mut some, counted, take).map(|_| ())
    }

    fn give(
        &self,
        some: &mut Vec<(RowPlace, kv::Value)>,
        counted: bool,
        take: TakeRows<'_>,
    ) -> Result<bool> {
        if some.is_empty() {
            return Ok(true);
        }
        let parser = self.converter.parser();
        let rows = some.iter().map(|(_, v)| parser.parse(if counted { &v[8..] } else { v }));
        let columns = self
            .converter
            .convert_rows(rows)
            .map_err(|e| Error::corrupt(format!("rows of a view do not decode: {e}")))?;
        let batch = to_batch(&self.schema, columns)?;
        let places: Vec<RowPlace> = some.drain(..).map(|(place, _)| place).collect();
        take(batch, &places)
    }

    /// All rows, in the order of their keys.
    pub fn scan(&self, snapshot: &Snapshot) -> Result<Vec<RecordBatch>> {
        let mut batches = vec![];
        self.read(snapshot, &self.read_all(), &mut |batch, _| {
            batches.push(batch);
            Ok(true)
        })?;
        Ok(batches)
    }

    pub fn read_all(&self) -> ReadFrom {
        ReadFrom { prefix: self.prefix.clone(), after: None, rows_per_batch: ROWS_PER_BATCH }
    }

    /// Rows whose first key column equals the one value of `first`.
    pub fn read_first_key(&self, first: &ArrayRef) -> Result<ReadFrom> {
        let fields = vec![SortField::new(first.data_type().clone())];
        let one = self.convert(&converter(fields)?, std::slice::from_ref(first))?;
        Ok(ReadFrom { prefix: self.full_key(one.row(0).as_ref()), ..self.read_all() })
    }

    /// A place as clients keep it, and back.
    pub fn token(&self, place: &RowPlace) -> String {
        let key = place.key.get(self.prefix.len()..).unwrap_or_default();
        let key: String = key.iter().map(|b| format!("{b:02x}")).collect();
        if place.copies > 1 { format!("{key}.{}", place.copies) } else { key }
    }

    pub fn place(&self, token: &str) -> Option<RowPlace> {
        let (key, copies) = match token.split_once('.') {
            Some((key, copies)) => (key, copies.parse().ok()?),
            None => (token, 1),
        };
        if !key.is_ascii() || !key.len().is_multiple_of(2) {
            return None;
        }
        let byte = |i| u8::from_str_radix(&key[i..i + 2], 16).ok();
        let key: Vec<u8> = (0..key.len()).step_by(2).map(byte).collect::<Option<_>>()?;
        Some(RowPlace { key: self.full_key(&key).into(), copies })
    }

    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    pub fn key(&self) -> &OutputKey {
        &self.key
    }

    fn full_key(&self, key: &[u8]) -> Vec<u8> {
        let mut full = Vec::with_capacity(self.prefix.len() + key.len());
        full.extend_from_slice(&self.prefix);
        full.extend_from_slice(key);
        full
    }

    fn convert(&self, converter: &RowConverter, columns: &[ArrayRef]) -> Result<arrow::row::Rows> {
        converter
            .convert_columns(columns)
            .map_err(|e| Error::internal(format!("encoding rows of a view: {e}")))
    }

    /// Removes all rows of a pipeline that is no longer defined.
    pub fn remove(kv: &Arc<Kv>, pipeline: &str) -> Result<()> {
        let rows = kv.keyspace("view_rows")?;
        let meta = kv.keyspace("view_meta")?;
        let mut prefix = pipeline.as_bytes().to_vec();
        prefix.push(0);
        loop {
            let mut batch = kv.batch();
            let mut n = 0;
            for entry in rows.prefix(&prefix)?.take(10_000) {
                batch.delete(&rows, entry?.0);
                n += 1;
            }
            batch.delete(&meta, prefix.as_slice());
            batch.commit_durable()?;
            if n < 10_000 {
                return Ok(());
            }
        }
    }

    pub fn kv(&self) -> &Arc<Kv> {
        &self.kv
    }
}

fn converter(fields: Vec<SortField>) -> Result<RowConverter> {
    RowConverter::new(fields)
        .map_err(|e| Error::unsupported(format!("a view can't have a column of this type: {e}")))
}

fn count_of(value: &[u8]) -> Result<i64> {
    match value.get(..8).and_then(|b| b.try_into().ok()) {
        Some(bytes) => Ok(i64::from_be_bytes(bytes)),
        None => Err(Error::corrupt("a row of a view is damaged")),
    }
}

fn to_batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema.clone(), columns)
        .map_err(|e| Error::corrupt(format!("rows of a view do not fit its columns: {e}")))
}
