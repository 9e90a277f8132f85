//! Fetch: whole batches from the one that has the offset on, as they are stored; only what is
//! durable. Without enough the answer waits for more (`fetch.min.bytes`, `fetch.max.wait.ms`).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use common::{Error, Offset, Partition, Result};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::{AbortedTransaction, PartitionData};
use kafka_protocol::messages::{BrokerId, ProducerId};
use kafka_protocol::protocol::Encodable;
use log::Header;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::connection::{Answer, Frame, Request};
use super::list_offsets::READ_COMMITTED;
use crate::{App, PERMIT_BYTES, permits_of};

/// No client waits longer, whatever it asks for.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// No answer is larger, but for a single batch.
const BYTES_MAX: usize = 64 << 20;

/// One answer gets this part of the memory that is left.
const SHARE: usize = 4;
/// But so much at least.
const ROOM_MIN: usize = 1 << 20;

/// Smaller batches are copied together: many small pieces are slower.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// A topic's name, and what each partition has to say and to send.
type TopicRecords = (String, Vec<(PartitionData, Vec<Bytes>)>);

struct Wanted {
    name: String,
    partitions: Vec<(Partition, Offset, usize)>,
}

pub fn answer(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    body.i32()?;
    let wait = Duration::from_millis(u64::try_from(body.i32()?).unwrap_or(0)).min(WAIT_MAX);
    let bytes_min = body.i32()?;
    let bytes_max = usize::try_from(body.i32()?).unwrap_or(0).min(BYTES_MAX);
    let committed = body.i8()? == READ_COMMITTED;
    if version >= 7 {
        // Sessions: the answer's id 0 says that there are none, and each request names all.
        body.i32()?;
        body.i32()?;
    }
    let topics = body.array(|r| {
        let name = r.string()?;
        let partitions = r.array(|r| {
            let partition = Partition(r.i32()?);
            if version >= 9 {
                r.i32()?;
            }
            let from = Offset(r.i64()?);
            if version >= 12 {
                r.i32()?;
            }
            if version >= 5 {
                r.i64()?;
            }
            let max = usize::try_from(r.i32()?).unwrap_or(0);
            r.tags()?;
            Ok((partition, from, max))
        })?;
        r.tags()?;
        Ok(Wanted { name, partitions })
    })?;
    let (app, topics) = (app.clone(), std::sync::Arc::new(topics));
    Ok(Box::pin(async move {
        let deadline = Instant::now() + wait;
        let each = topics.iter().flat_map(|t| &t.partitions).map(|(_, _, max)| *max);
        let named = each.fold(0_usize, usize::saturating_add);
        let mut commits = app.session.log_commits();
        loop {
            commits.mark_unchanged();
            let (mut memory, room) = take_memory(&app, bytes_max.min(named)).await?;
            let (session, wanted) = (app.session.clone(), topics.clone());
            let read = move || read(&session, &wanted, room, committed);
            let (responses, bytes, failed) = super::blocking(read).await?;
            let surplus = memory.num_permits().saturating_sub(bytes / PERMIT_BYTES);
            drop(memory.split(surplus));
            // Less than was asked for because memory is short: waiting brings no more.
            let is_full = bytes > 0 && room < bytes_max.min(named);
            let enough =
                failed || is_full || i64::try_from(bytes).unwrap_or(i64::MAX) >= bytes_min.into();
            if !enough && tokio::time::timeout_at(deadline, commits.changed()).await.is_ok() {
                continue;
            }
            let frame = encode(&request, responses)?;
            return Ok(Some(Frame { _memory: Some(memory), ..frame }));
        }
    }))
}

/// Memory for records, and how many bytes of them it is for. Nobody gets more than a part of what
/// is left, so that many slow clients leave something to the others; when there is next to nothing
/// an answer waits until one of them took its own, or is cut off.
async fn take_memory(app: &App, wanted: usize) -> Result<(OwnedSemaphorePermit, usize)> {
    let budget = &app.limits.answers;
    let left = budget.available_permits() * PERMIT_BYTES / SHARE;
    let room = wanted.min(left.max(ROOM_MIN));
    let permits = permits_of(room);
    let taken = match budget.clone().try_acquire_many_owned(permits) {
        Ok(taken) => return Ok((taken, room)),
        Err(_) => {
            let room = room.min(ROOM_MIN);
            let few = budget.clone().acquire_many_owned(permits_of(room));
            tokio::time::timeout(2 * app.limits.write_timeout, few).await.map(|p| (p, room))
        }
    };
    match taken {
        Ok((Ok(taken), room)) => Ok((taken, room)),
        _ => Err(Error::exhausted("the memory for answers is used up by clients that are slow")
            .hint("raise kafka.answers_bytes_max")),
    }
}

/// The answer's frame. By hand, because the records stay where they were read to.
fn encode(request: &Request, topics: Vec<TopicRecords>) -> Result<Frame> {
    let (version, mut frame) = (request.version, Pieces::new(request));
    frame.open.put_i32(0);
    if version >= 7 {
        frame.open.put_i16(0);
        frame.open.put_i32(0);
    }
    frame.len(topics.len());
    for (name, partitions) in topics {
        frame.string(&name);
        frame.len(partitions.len());
        for (data, records) in partitions {
            let failed = |e| Error::internal(format!("encoding an answer to a fetch: {e}"));
            data.encode(&mut frame.open, version).map_err(failed)?;
            frame.records(records);
        }
        frame.tags();
    }
    frame.tags();
    frame.finish()
}

/// A frame that grows by bytes and by records.
struct Pieces {
    done: VecDeque<Bytes>,
    open: BytesMut,
    is_flexible: bool,
}

impl Pieces {
    fn new(request: &Request) -> Pieces {
        let is_flexible = request.served.is_flexible(request.version);
        Pieces { done: VecDeque::new(), open: request.head(), is_flexible }
    }

    /// The length of an array.
    fn len(&mut self, n: usize) {
        match self.is_flexible {
            true => self.varint(n + 1),
            false => self.open.put_i32(n as i32),
        }
    }

    fn string(&mut self, text: &str) {
        match self.is_flexible {
            true => self.varint(text.len() + 1),
            false => self.open.put_i16(text.len() as i16),
        }
        self.open.put_slice(text.as_bytes());
    }

    fn tags(&mut self) {
        if self.is_flexible {
            self.open.put_u8(0);
        }
    }

    /// In place of the records that the encoded partition ends with: none, and no tags.
    fn records(&mut self, records: Vec<Bytes>) {
        let nothing = if self.is_flexible { 2 } else { 4 };
        self.open.truncate(self.open.len().saturating_sub(nothing));
        self.len(records.iter().map(Bytes::len).sum());
        for batch in records {
            if batch.len() < COPIED_BYTES_MAX {
                self.open.put_slice(&batch);
            } else {
                self.done.push_back(self.open.split().freeze());
                self.done.push_back(batch);
            }
        }
        self.tags();
    }

    fn varint(&mut self, mut n: usize) {
        while n >= 0x80 {
            self.open.put_u8((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        self.open.put_u8(n as u8);
    }

    /// Puts the length in front.
    fn finish(mut self) -> Result<Frame> {
        self.done.push_back(self.open.freeze());
        let len: usize = self.done.iter().map(Bytes::len).sum();
        let len = i32::try_from(len - 4);
        let len = len.map_err(|_| Error::too_large("an answer of more than 2 GiB"))?;
        if let Some(head) = self.done.front_mut() {
            head.advance(4);
        }
        self.done.push_front(Bytes::copy_from_slice(&len.to_be_bytes()));
        Ok(Frame { pieces: self.done, _memory: None })
    }
}

/// What there is now: the answer, its bytes, and whether a partition has an error to tell.
fn read(
    session: &engine::Session,
    wanted: &[Wanted],
    bytes_max: usize,
    committed: bool,
) -> (Vec<TopicRecords>, usize, bool) {
    let (mut bytes, mut failed) = (0, false);
    let mut responses = vec![];
    for topic in wanted {
        let log = session.topic_log(&topic.name);
        let mut partitions = vec![];
        for (partition, from, max) in &topic.partitions {
            let log = log.as_ref().ok().and_then(|l| l.partition(*partition).ok());
            let room = bytes_max.saturating_sub(bytes).min(*max);
            let (data, records) = match log {
                None => (fault(ResponseError::UnknownTopicOrPartition), vec![]),
                // The first batch is sent whatever its size, or the client would never get on.
                Some(log) => partition_data(&log, *from, room, bytes == 0, committed),
            };
            bytes += records.iter().map(Bytes::len).sum::<usize>();
            failed |= data.error_code != 0;
            partitions.push((data.with_partition_index(partition.0), records));
        }
        responses.push((topic.name.clone(), partitions));
    }
    (responses, bytes, failed)
}

fn partition_data(
    log: &log::PartitionLog,
    from: Offset,
    room: usize,
    at_least_one: bool,
    committed: bool,
) -> (PartitionData, Vec<Bytes>) {
    // In this order: the stable offset is never beyond the watermark.
    let stable = log.last_stable_offset();
    let (start, end) = (log.start_offset(), log.high_watermark());
    let readable = if committed { stable } else { end };
    let described = |data: PartitionData| {
        data.with_high_watermark(end.0)
            .with_last_stable_offset(stable.0)
            .with_log_start_offset(start.0)
            .with_preferred_read_replica(BrokerId(-1))
    };
    if from < start || from > end {
        return (described(fault(ResponseError::OffsetOutOfRange)), vec![]);
    }
    let (mut records, mut bytes) = (vec![], 0);
    let mut next = from;
    let mut has_transactions = false;
    if from < readable && (room > 0 || at_least_one) {
        match log.read_below(from, readable, room) {
            Ok(batches) => {
                for batch in batches {
                    let fits = bytes + batch.len() <= room;
                    let must_go = at_least_one && records.is_empty();
                    if !(fits || must_go) {
                        break;
                    }
                    if let Some(header) = Header::parse(&batch) {
                        next = header.last_offset().next();
                        has_transactions |= header.is_transactional();
                    }
                    bytes += batch.len();
                    records.push(batch);
                }
            }
            Err(e) => return (described(failed(log, &e)), vec![]),
        }
    }
    let data = PartitionData::default();
    if !committed {
        return (described(data), records);
    }
    if !has_transactions {
        return (described(data.with_aborted_transactions(Some(vec![]))), records);
    }
    match log.aborted_between(from, next) {
        Ok(aborted) => {
            let one = |a: log::AbortedTransaction| {
                AbortedTransaction::default()
                    .with_producer_id(ProducerId(a.producer_id))
                    .with_first_offset(a.first.0)
            };
            let aborted = aborted.into_iter().map(one).collect();
            (described(data.with_aborted_transactions(Some(aborted))), records)
        }
        Err(e) => (described(failed(log, &e)), vec![]),
    }
}

fn failed(log: &log::PartitionLog, e: &Error) -> PartitionData {
    tracing::error!(topic = log.topic(), "a fetch failed: {e}");
    fault(ResponseError::KafkaStorageError)
}

fn fault(code: ResponseError) -> PartitionData {
    PartitionData::default()
        .with_error_code(code.code())
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_preferred_read_replica(BrokerId(-1))
}
