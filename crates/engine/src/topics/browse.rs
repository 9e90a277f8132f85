//! Records of a topic as they are in the log: what a consumer with `read_committed` gets, also the
//! records that are no rows of the topic. From an offset, a time or the end, by key, over one
//! partition or all of them in the order of their times. One call looks at so many bytes and no
//! more, and says where to go on. How a record is shown: `shown_record.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use catalog::Format;
use common::{Error, Offset, Partition, Result};
use log::{Committed, Header, PartitionLog};

use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::topics::position::Position;
use crate::topics::shown_record::ShownRecord;
use crate::topics::topic_reader::{TopicReader, unpack};

/// Unpacked bytes of record batches that one call looks at, also if it finds nothing; it ends with
/// the read that passes them.
const SCAN_BYTES_MAX: usize = 32 << 20;
/// Keys and values of one answer, in bytes; at least one record is given.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes read in one go from one partition, at most.
const READ_BYTES: usize = 256 << 10;

/// Which records are wanted.
#[derive(Clone, Debug)]
pub struct RecordQuery {
    /// None: all.
    pub partition: Option<Partition>,
    pub from: RecordsFrom,
    /// Only records with this key.
    pub key: Option<Vec<u8>>,
    /// Records at most.
    pub limit: usize,
}

/// Where to begin.
#[derive(Clone, Debug)]
pub enum RecordsFrom {
    /// The same in each partition. A shift is back from the end, over all partitions together.
    At(Position),
    /// By partition; the others are left out. `next` of an earlier answer.
    Offsets(BTreeMap<Partition, Offset>),
}

/// Some records, and where to go on.
#[derive(Debug, Default)]
pub struct RecordPage {
    pub records: Vec<ShownRecord>,
    /// The next offset to look at, by partition.
    pub next: BTreeMap<Partition, Offset>,
    /// There is nothing more now.
    pub end: bool,
}

/// Reads records. Errors: `NotFound` for an unknown topic or partition, `Invalid` for a place
/// that makes no sense here, `Corrupt` for a damaged segment.
pub async fn records(inner: &Arc<Inner>, topic: &str, query: RecordQuery) -> Result<RecordPage> {
    let writer = inner.topic_writer(topic)?;
    let format = writer.topic.format;
    blocking(move || Browse::open(writer.reader.clone(), format, query)?.page()).await
}

struct Browse {
    reader: Arc<TopicReader>,
    format: Format,
    key: Option<Vec<u8>>,
    limit: usize,
    /// Only the last `limit` of all that is read count.
    is_tail: bool,
    cursors: Vec<Cursor>,
    /// Bytes that may still be read.
    budget: usize,
}

/// One partition on its way.
struct Cursor {
    log: Arc<PartitionLog>,
    /// Where to read on.
    at: Offset,
    /// Records that were read and not given yet.
    read: VecDeque<ShownRecord>,
}

impl Browse {
    fn open(reader: Arc<TopicReader>, format: Format, query: RecordQuery) -> Result<Browse> {
        let RecordQuery { partition, from, key, limit } = query;
        let mut cursors = vec![];
        let logs = match (partition, &from) {
            (Some(p), _) => vec![reader.log.partition(p)?],
            (None, RecordsFrom::At(_)) => reader.log.partitions(),
            (None, RecordsFrom::Offsets(offsets)) => {
                offsets.keys().map(|p| reader.log.partition(*p)).collect::<Result<_>>()?
            }
        };
        let mut is_tail = false;
        for log in logs {
            let (start, end) = (log.start_offset(), log.last_stable_offset());
            let at = match &from {
                RecordsFrom::Offsets(offsets) => match offsets.get(&log.id()) {
                    Some(offset) => *offset,
                    None => continue,
                },
                RecordsFrom::At(Position::Earliest) => start,
                RecordsFrom::At(Position::Latest) => end,
                RecordsFrom::At(Position::Offset(offset)) => *offset,
                RecordsFrom::At(Position::Time(us)) => log.offset_for_time(*us)?.unwrap_or(end),
                RecordsFrom::At(Position::Shift(by)) if *by < 0 => {
                    is_tail = true;
                    Offset(end.0.saturating_add(*by))
                }
                RecordsFrom::At(place @ (Position::Shift(_) | Position::Current)) => {
                    return Err(Error::invalid(format!("there are no records from '{place}' on"))
                        .hint(
                            "write earliest, latest, an offset, a time, or -20 for the last 20",
                        ));
                }
            };
            cursors.push(Cursor { log, at: at.max(start), read: VecDeque::new() });
        }
        let limit = match from {
            RecordsFrom::At(Position::Shift(by)) => limit.min(by.unsigned_abs() as usize),
            _ => limit,
        };
        Ok(Browse { reader, format, key, limit, is_tail, cursors, budget: SCAN_BYTES_MAX })
    }

    fn page(mut self) -> Result<RecordPage> {
        let mut page = RecordPage::default();
        let mut bytes = 0;
        let mut records: VecDeque<ShownRecord> = VecDeque::new();
        while self.is_tail || records.len() < self.limit && bytes < PAGE_BYTES_MAX {
            let Some(record) = self.take()? else { break };
            bytes += record.bytes();
            records.push_back(record);
            // The newest ones count, and one is given however large it is.
            while self.is_tail
                && records.len() > 1
                && (records.len() > self.limit || bytes > PAGE_BYTES_MAX)
            {
                bytes -= records.pop_front().map_or(0, |r| r.bytes());
            }
        }
        page.records = records.into();
        page.end = true;
        for cursor in &self.cursors {
            page.next.insert(cursor.log.id(), cursor.next());
            page.end &= cursor.next() >= cursor.log.last_stable_offset();
        }
        Ok(page)
    }

    /// The oldest record that any partition has next.
    fn take(&mut self) -> Result<Option<ShownRecord>> {
        let mut oldest: Option<(i64, usize)> = None;
        for i in 0..self.cursors.len() {
            self.fill(i)?;
            if let Some(record) = self.cursors[i].read.front() {
                let time = record.timestamp_ms;
                if oldest.is_none_or(|(oldest, _)| time < oldest) {
                    oldest = Some((time, i));
                }
            }
        }
        Ok(oldest.and_then(|(_, i)| self.cursors[i].read.pop_front()))
    }

    /// Reads on in a partition until a record is found, or nothing more may be read.
    fn fill(&mut self, i: usize) -> Result<()> {
        while self.cursors[i].read.is_empty() && self.budget > 0 {
            let cursor = &self.cursors[i];
            if cursor.at >= cursor.log.last_stable_offset() {
                return Ok(());
            }
            // Retention may have been here since the last look.
            let at = cursor.at.max(cursor.log.start_offset());
            // All partitions shall come to their turn.
            let bytes = READ_BYTES.min(SCAN_BYTES_MAX / 4 / self.cursors.len());
            let Committed { batches, mut next } = cursor.log.read_committed(at, bytes)?;
            if next <= at {
                return Ok(());
            }
            let unpacked = unpack(&batches);
            if let Some(rest) = batches.get(unpacked.len()).and_then(|b| Header::parse(b)) {
                next = Offset(rest.base_offset);
            }
            let mut found = VecDeque::new();
            for (batch, unpacked) in batches.iter().zip(unpacked) {
                let bytes = unpacked.as_ref().map_or(batch.len(), Bytes::len);
                self.budget = self.budget.saturating_sub(bytes);
                self.show(self.cursors[i].log.id(), at, batch, unpacked, &mut found)?;
            }
            // A stretch of markers and aborted records costs a read, too.
            self.budget = self.budget.saturating_sub(1);
            let cursor = &mut self.cursors[i];
            (cursor.at, cursor.read) = (next, found);
        }
        Ok(())
    }

    /// The wanted records of a batch. What of it cannot be read is shown as one record.
    fn show(
        &self,
        partition: Partition,
        from: Offset,
        batch: &Bytes,
        unpacked: Result<Bytes>,
        found: &mut VecDeque<ShownRecord>,
    ) -> Result<()> {
        let header = Header::parse(batch).ok_or_else(|| Error::corrupt("a batch has no header"))?;
        let (first, end) = (Offset(header.base_offset).max(from), header.last_offset().next());
        let refused = self.reader.left_out(partition, first, end)?;
        let show_all = || {
            for record in log::records::iter(&unpacked?)? {
                let record = record?;
                let is_key = |key: &[u8]| record.key == Some(key);
                if record.offset < from || !self.key.as_deref().is_none_or(is_key) {
                    continue;
                }
                let mut shown = ShownRecord::new(partition, &header, &record, self.format);
                shown.refused = refused.iter().any(|r| r.contains(&record.offset.0));
                found.push_back(shown);
            }
            Ok(())
        };
        if let Err(e) = show_all() {
            found.push_back(ShownRecord::unreadable(partition, first, &header, &e));
        }
        Ok(())
    }
}

impl Cursor {
    fn next(&self) -> Offset {
        self.read.front().map_or(self.at, |record| Offset(record.offset))
    }
}
