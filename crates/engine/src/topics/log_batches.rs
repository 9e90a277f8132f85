//! Checked rows on their way into record batches of the log, one or more for each partition. What
//! the check decoded goes along as columns (`row_cache.rs`).

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use common::{Error, Partition, Result};

use crate::topics::body::Row;

/// Records are gathered into log batches of about this size.
pub(crate) const BATCH_BYTES: usize = 512 << 10;

/// A record batch to be appended.
pub struct LogBatch {
    pub bytes: Bytes,
    /// Its rows, in order, as they were checked; none where they are not to be kept.
    pub rows: Vec<RecordBatch>,
}

/// Without the rows.
pub(crate) fn bytes_of(
    partitions: BTreeMap<Partition, Vec<LogBatch>>,
) -> BTreeMap<Partition, Vec<Bytes>> {
    let bytes = |batches: Vec<LogBatch>| batches.into_iter().map(|b| b.bytes).collect();
    partitions.into_iter().map(|(p, batches)| (p, bytes(batches))).collect()
}

/// Where the rows of a request go.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a> {
    /// When they arrived, µs.
    pub now: i64,
    pub partitions: i32,
    /// Where rows without a key go.
    pub unkeyed: Partition,
    /// By which they are found again.
    pub mark: Option<&'a str>,
    /// The rows are to be kept as columns.
    pub rows: bool,
}

pub(crate) struct Gathered<'a> {
    to: Destination<'a>,
    /// The column whose values are the records' keys.
    key: Option<&'a str>,
    headers: Vec<(&'a str, &'a [u8])>,
    open: BTreeMap<Partition, Open>,
    done: BTreeMap<Partition, Vec<LogBatch>>,
    accepted: u64,
}

/// A record batch that takes more.
struct Open {
    builder: log::BatchBuilder,
    /// Which rows of which batches it has.
    rows: Vec<(RecordBatch, Vec<u32>)>,
}

impl Open {
    fn close(self) -> Result<LogBatch> {
        let rows = self.rows.into_iter().filter(|(_, rows)| !rows.is_empty());
        let rows = rows.map(|(batch, rows)| taken(&batch, rows)).collect::<Result<_>>()?;
        Ok(LogBatch { bytes: self.builder.checked().build(), rows })
    }
}

/// Some rows of a batch, which ascend.
fn taken(batch: &RecordBatch, rows: Vec<u32>) -> Result<RecordBatch> {
    let (first, last) = (rows[0], rows[rows.len() - 1]);
    if (last - first) as usize + 1 == rows.len() {
        return Ok(batch.slice(first as usize, rows.len()));
    }
    take_record_batch(batch, &UInt32Array::from(rows))
        .map_err(|e| Error::internal(format!("the rows of a partition: {e}")))
}

impl<'a> Gathered<'a> {
    pub fn new(to: Destination<'a>, key: Option<&'a str>) -> Gathered<'a> {
        let headers = to.mark.iter().map(|m| (MARK_HEADER, m.as_bytes())).collect();
        let (open, done) = (BTreeMap::new(), BTreeMap::new());
        Gathered { to, key, headers, open, done, accepted: 0 }
    }

    pub fn push(
        &mut self,
        batch: &RecordBatch,
        rows: &[Row],
        keep: Option<&BooleanArray>,
    ) -> Result<()> {
        let keys = self.key.map(|key| Keys::of(batch, key)).transpose()?;
        let Destination { now, partitions, unkeyed, .. } = self.to;
        if self.to.rows {
            self.open.values_mut().for_each(|open| open.rows.push((batch.clone(), vec![])));
        }
        for (i, Row { value, .. }) in rows.iter().enumerate() {
            if keep.is_some_and(|k| !k.value(i)) {
                continue;
            }
            self.accepted += 1;
            let key = keys.as_ref().and_then(|k| k.get(i));
            let partition = key.map_or(unkeyed, |k| partition_of(k, partitions));
            let open = self.open.entry(partition).or_insert_with(|| Open {
                builder: log::BatchBuilder::new(now),
                rows: self.to.rows.then(|| (batch.clone(), vec![])).into_iter().collect(),
            });
            open.builder.push(now, key, Some(value), &self.headers);
            if let Some((_, rows)) = open.rows.last_mut() {
                rows.push(i as u32);
            }
            if open.builder.bytes() >= BATCH_BYTES
                && let Some(full) = self.open.remove(&partition)
            {
                self.done.entry(partition).or_default().push(full.close()?);
            }
        }
        Ok(())
    }

    /// The batches of each partition, and how many rows are in them.
    pub fn finish(mut self) -> Result<(BTreeMap<Partition, Vec<LogBatch>>, u64)> {
        for (partition, open) in self.open {
            self.done.entry(partition).or_default().push(open.close()?);
        }
        Ok((self.done, self.accepted))
    }
}

/// Header that marks the records of an import or source batch, so that a repeat is recognised.
pub const MARK_HEADER: &str = "watershed-batch";

/// Record keys of a batch: text and binary as they are, other types as they print.
pub(crate) enum Keys {
    Column(ArrayRef),
    Text(Vec<Option<String>>),
}

impl Keys {
    fn of(batch: &RecordBatch, name: &str) -> Result<Keys> {
        let column = batch.column_by_name(name);
        let missing = || Error::internal(format!("the key column '{name}' is missing"));
        Keys::new(column.ok_or_else(missing)?)
    }

    pub fn new(column: &ArrayRef) -> Result<Keys> {
        use arrow::datatypes::DataType;
        if matches!(column.data_type(), DataType::Utf8 | DataType::Binary) {
            return Ok(Keys::Column(column.clone()));
        }
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(column, &options)
            .map_err(|e| Error::internal(format!("reading keys: {e}")))?;
        let text = |i| column.is_valid(i).then(|| formatter.value(i).to_string());
        Ok(Keys::Text((0..column.len()).map(text).collect()))
    }

    pub fn get(&self, i: usize) -> Option<&[u8]> {
        match self {
            Keys::Column(c) if c.is_null(i) => None,
            Keys::Column(c) => match c.as_string_opt::<i32>() {
                Some(strings) => Some(strings.value(i).as_bytes()),
                None => Some(c.as_binary::<i32>().value(i)),
            },
            Keys::Text(t) => t[i].as_deref().map(str::as_bytes),
        }
    }
}

/// The partition Kafka's default partitioner would choose: murmur2, sign bit cleared.
pub fn partition_of(key: &[u8], partitions: i32) -> Partition {
    Partition((murmur2(key) & 0x7fff_ffff) as i32 % partitions.max(1))
}

/// MurmurHash2 as in Kafka's `Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c_u32 ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for c in &mut chunks {
        let mut k = u32::from_le_bytes([c[0], c[1], c[2], c[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (i, b) in rest.iter().enumerate() {
            h ^= u32::from(*b) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn partitions_as_kafka_does() {
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }
}
