//! Topics whose records live in a Kafka (`log = "kafka://…"`). The log here is a copy of theirs,
//! record by record at the same offsets, made by one follower: all that reads topics reads the
//! copy, so a commit of offsets, state and view stays one write. Records go to Kafka first, and
//! come back. What Kafka has lost or removed before it was copied is said, never passed over.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use common::{Error, Offset, Partition, Result};
use connectors::kafka::{
    Cluster, Event, Follower, Incoming, Producer, Ranges, Record, Request, TopicFacts,
    TransactionalProducer,
};
use log::{BatchBuilder, PartitionLog, TopicConfig};
use serde::{Deserialize, Serialize};

use crate::stores::blocking::blocking;

/// Records are copied in batches of about this size.
const BATCH_BYTES: usize = 512 << 10;
/// Offsets without records that one batch leaves out.
const GAP_MAX: i64 = 1 << 30;
/// An acknowledged record is waited for so long to come back, for its sender to read it.
const RETURN_MAX: Duration = Duration::from_secs(5);
/// Kafka takes no longer notes (`offset.metadata.max.bytes`).
const NOTE_BYTES_MAX: usize = 4_000;

/// What is wrong with topics, by name.
type Troubles = Arc<Mutex<BTreeMap<String, String>>>;

/// The connection of a log to the Kafka that it copies.
pub struct ExternalLog {
    cluster: Cluster,
    log: Arc<log::Log>,
    producer: Producer,
    /// For numbered requests; opened for the first one.
    numbered: tokio::sync::Mutex<Option<Numbered>>,
    id: String,
    follower: Follower,
    troubles: Troubles,
}

struct Numbered {
    producer: Arc<TransactionalProducer>,
    last: BTreeMap<String, u64>,
}

/// What is put down with a numbered request.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    mark: String,
    /// Partition, first and last offset.
    ranges: Vec<(i32, i64, i64)>,
}

impl ExternalLog {
    /// `id` is this project's own among all that write to the cluster.
    pub fn open(url: &str, log: &Arc<log::Log>, id: &str) -> Result<ExternalLog> {
        let cluster = Cluster::parse(url)?;
        let troubles = Troubles::default();
        let mut copier = Copier { log: log.clone(), topics: HashMap::new(), troubles };
        let troubles = copier.troubles.clone();
        let follower = Follower::start(&cluster, move |event| copier.hear(event))?;
        let producer = Producer::open(&cluster)?;
        let (log, id) = (log.clone(), format!("watershed-{id}"));
        let numbered = tokio::sync::Mutex::default();
        Ok(ExternalLog { cluster, log, producer, numbered, id, follower, troubles })
    }

    /// Where the records are, to be shown.
    pub fn brokers(&self) -> &str {
        self.cluster.brokers()
    }

    /// What keeps topics from being copied; '' stands for all of them.
    pub fn troubles(&self) -> BTreeMap<String, String> {
        troubles(&self.troubles).clone()
    }

    /// Makes the topic in Kafka if it is not there, and fits the definition to it if it is.
    pub fn create(&self, name: &str, config: &TopicConfig) -> Result<()> {
        let partitions = i32::try_from(config.partitions).unwrap_or(i32::MAX);
        match self.cluster.topic(name)? {
            None => self.cluster.create_topic(name, partitions, &topic_configs(config)),
            Some(TopicFacts { partitions: there, .. }) if there != partitions => {
                let what = format!(
                    "topic '{name}' has {there} partitions in Kafka at {}, and {partitions} here",
                    self.brokers()
                );
                Err(Error::conflict(what).hint(format!("write: partitions = {there}")))
            }
            Some(_) => Ok(()),
        }
    }

    /// Copies a topic from where its copy ends.
    pub fn follow(&self, topic: &log::Topic) {
        for partition in topic.partitions() {
            self.follower.follow(topic.name(), partition.id());
        }
    }

    /// Copies a topic no longer. Kafka keeps it.
    pub fn forget(&self, topic: &str) {
        self.follower.forget(topic);
        troubles(&self.troubles).remove(topic);
    }

    /// Ends the copying.
    pub fn stop(&self) {
        self.follower.stop();
    }

    /// Sends checked batches, and waits until Kafka has them and they have come back.
    pub async fn append(
        &self,
        topic: &str,
        batches: &BTreeMap<Partition, Vec<Bytes>>,
    ) -> Result<Ranges> {
        let request = self.producer.request(topic);
        push(&request, batches).await?;
        let ranges = request.finish().await?;
        self.returned(topic, &ranges).await;
        Ok(ranges)
    }

    /// The same as one transaction, under a mark by which `committed` finds it again.
    pub async fn append_marked(
        &self,
        topic: &str,
        mark: &str,
        batches: &BTreeMap<Partition, Vec<Bytes>>,
    ) -> Result<Ranges> {
        let mut slot = self.numbered.lock().await;
        let numbered = self.numbered(&mut slot).await?;
        let number = self.last_number(numbered, topic).await? + 1;
        let outcome = send(&numbered.producer, topic, number, mark, batches).await;
        match &outcome {
            Ok(_) => drop(numbered.last.insert(topic.to_string(), number)),
            // Opened anew it says what is there.
            Err(_) => *slot = None,
        }
        drop(slot);
        let ranges = outcome?;
        self.returned(topic, &ranges).await;
        Ok(ranges)
    }

    /// Where the request with this mark is, if it is the last one that is in the topic.
    pub async fn committed(&self, topic: &str, mark: &str) -> Result<Option<Ranges>> {
        let mut slot = self.numbered.lock().await;
        let producer = self.numbered(&mut slot).await?.producer.clone();
        let name = topic.to_string();
        let committed = blocking(move || producer.committed(&name)).await?;
        let note = committed.and_then(|c| serde_json::from_str::<Note>(&c.note).ok());
        let note = note.filter(|note| note.mark == mark);
        let range = |(p, first, last)| (Partition(p), (Offset(first), Offset(last)));
        Ok(note.map(|note| note.ranges.into_iter().map(range).collect()))
    }

    async fn numbered<'a>(&self, slot: &'a mut Option<Numbered>) -> Result<&'a mut Numbered> {
        let opened = match slot.take() {
            Some(opened) => opened,
            None => {
                let (cluster, id) = (self.cluster.clone(), self.id.clone());
                let producer = blocking(move || TransactionalProducer::open(&cluster, &id)).await?;
                Numbered { producer: Arc::new(producer), last: BTreeMap::new() }
            }
        };
        Ok(slot.insert(opened))
    }

    async fn last_number(&self, numbered: &Numbered, topic: &str) -> Result<u64> {
        if let Some(last) = numbered.last.get(topic) {
            return Ok(*last);
        }
        let (producer, name) = (numbered.producer.clone(), topic.to_string());
        let committed = blocking(move || producer.committed(&name)).await?;
        Ok(committed.map_or(0, |c| c.number))
    }

    /// Waits for the copy. What takes too long is in Kafka all the same.
    async fn returned(&self, topic: &str, ranges: &Ranges) {
        let Ok(copy) = self.log.topic(topic) else { return };
        let is_there = || {
            ranges.iter().all(|(p, (_, last))| {
                copy.partition(*p).is_ok_and(|copy| copy.high_watermark() > *last)
            })
        };
        let mut commits = self.log.commits().subscribe();
        let back = async { while !is_there() && commits.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(RETURN_MAX, back).await;
    }
}

async fn send(
    producer: &Arc<TransactionalProducer>,
    topic: &str,
    number: u64,
    mark: &str,
    batches: &BTreeMap<Partition, Vec<Bytes>>,
) -> Result<Ranges> {
    let begun = producer.clone();
    blocking(move || begun.begin()).await?;
    let request = producer.request(topic);
    push(&request, batches).await?;
    let ranges = request.finish().await?;
    let list = ranges.iter().map(|(p, (first, last))| (p.0, first.0, last.0)).collect();
    let mut note = Note { mark: mark.to_string(), ranges: list };
    let write = |note: &Note| {
        serde_json::to_string(note).map_err(|e| Error::internal(format!("encoding a note: {e}")))
    };
    let mut text = write(&note)?;
    if text.len() > NOTE_BYTES_MAX {
        note.ranges.clear();
        text = write(&note)?;
    }
    let (sent, name) = (producer.clone(), topic.to_string());
    blocking(move || sent.commit(&name, number, &text)).await?;
    Ok(ranges)
}

async fn push(request: &Request<'_>, batches: &BTreeMap<Partition, Vec<Bytes>>) -> Result<()> {
    for (partition, batches) in batches {
        for batch in batches {
            for record in log::records::iter(batch)? {
                let record = record?;
                let headers: Vec<_> = record.headers().collect();
                let headers: Vec<_> = headers.iter().map(|(name, v)| (&**name, *v)).collect();
                let sent = Record {
                    timestamp_ms: record.timestamp_ms,
                    key: record.key,
                    value: record.value,
                    headers: &headers,
                };
                request.push(Some(*partition), sent).await?;
            }
        }
    }
    Ok(())
}

/// What Kafka is asked for; what it has no word for counts for the copy alone.
fn topic_configs(config: &TopicConfig) -> Vec<(&'static str, String)> {
    let policy = match (config.cleanup_policy.deletes(), config.cleanup_policy.compacts()) {
        (true, true) => "compact,delete",
        (false, true) => "compact",
        _ => "delete",
    };
    let ms = |us: i64| us.div_euclid(1_000).to_string();
    let mut configs = vec![("cleanup.policy", policy.to_string())];
    configs.push(("retention.ms", config.retention_us.map_or("-1".into(), ms)));
    configs.extend(config.retention_bytes.map(|b| ("retention.bytes", b.to_string())));
    configs.extend(config.segment_us.map(|us| ("segment.ms", ms(us))));
    configs.extend(config.max_message_bytes.map(|b| ("max.message.bytes", b.to_string())));
    configs
}

fn troubles(troubles: &Troubles) -> MutexGuard<'_, BTreeMap<String, String>> {
    troubles.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes what the follower hears into the copies.
struct Copier {
    log: Arc<log::Log>,
    topics: HashMap<String, HashMap<Partition, Copy>>,
    troubles: Troubles,
}

/// The copy of one partition.
struct Copy {
    log: Arc<PartitionLog>,
    /// Offset of the first record that was not written yet.
    first: Offset,
    batch: Option<BatchBuilder>,
}

impl Copier {
    fn hear(&mut self, event: Event<'_>) -> Result<()> {
        match event {
            Event::From { topic, partition, next } => {
                *next = self.copy(topic, partition)?.next();
                Ok(())
            }
            Event::Record(record) => self.take(&record),
            Event::Idle => {
                troubles(&self.troubles).remove("");
                self.flush()
            }
            Event::Gone { topic, partition, kept, forget } => {
                *forget = !self.gone(topic, partition, kept)?;
                Ok(())
            }
            Event::Trouble(e) => {
                tracing::warn!("copying from Kafka is interrupted: {e}");
                troubles(&self.troubles).insert(String::new(), e.to_string());
                // What was gathered and not written is read again.
                self.topics.clear();
                Ok(())
            }
        }
    }

    /// The copy of a partition as it is now: a topic may have been dropped, and made anew.
    fn copy(&mut self, topic: &str, partition: Partition) -> Result<&mut Copy> {
        let log = self.log.topic(topic)?.partition(partition)?;
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.to_string(), HashMap::new());
        }
        let copies = self.topics.get_mut(topic);
        let copies = copies.ok_or_else(|| Error::internal("a topic was not noted"))?;
        let first = log.end_offset();
        let copy = copies.entry(partition).or_insert_with(|| Copy::new(log.clone(), first));
        if !Arc::ptr_eq(&copy.log, &log) {
            *copy = Copy::new(log, first);
        }
        Ok(copy)
    }

    fn take(&mut self, record: &Incoming<'_>) -> Result<()> {
        let copy = self.copy(record.topic, record.partition)?;
        let next = copy.next();
        if record.offset < next {
            return Ok(());
        }
        if copy.batch.as_ref().is_some_and(|b| b.bytes() >= BATCH_BYTES)
            || record.offset.0 - copy.first.0 >= GAP_MAX
        {
            copy.flush()?;
            copy.skip_to(record.offset)?;
        }
        let gap = i32::try_from(record.offset.0 - copy.next().0).unwrap_or(0);
        let timestamp_us = record.timestamp_ms.saturating_mul(1_000);
        let batch = copy.batch.get_or_insert_with(|| BatchBuilder::new(timestamp_us));
        batch.skip(gap);
        batch.push(timestamp_us, record.key, record.value, &record.headers);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let mut copies = self.topics.values_mut().flat_map(HashMap::values_mut);
        copies.try_for_each(Copy::flush)
    }

    /// Kafka does not have what comes next. Goes on behind it, if that can be.
    fn gone(
        &mut self,
        topic: &str,
        partition: Partition,
        (first, end): (Offset, Offset),
    ) -> Result<bool> {
        let noted = self.troubles.clone();
        let copy = self.copy(topic, partition)?;
        copy.flush()?;
        let next = copy.next();
        if next > end {
            let why = format!(
                "partition {partition} ends at {end} in Kafka, but was read up to {next}: it was \
                 cut back or made anew; drop the topic here and define it again to begin anew"
            );
            tracing::error!(topic, "{why}");
            troubles(&noted).insert(topic.to_string(), why);
            return Ok(false);
        }
        if next.0 > 0 {
            let why = format!(
                "offsets {next} to {} of partition {partition} were removed in Kafka before they \
                 were copied: lengthen retention.ms there",
                first.0 - 1
            );
            tracing::error!(topic, "{why}");
            troubles(&noted).insert(topic.to_string(), why);
        }
        copy.skip_to(first)?;
        let copied = copy.log.clone();
        if next.0 == 0 {
            // It begins here where it begins there.
            self.log.topic(topic)?.delete_records(partition, copied.high_watermark())?;
        }
        Ok(true)
    }
}

impl Copy {
    fn new(log: Arc<PartitionLog>, first: Offset) -> Copy {
        Copy { log, first, batch: None }
    }

    fn next(&self) -> Offset {
        let gathered = self.batch.as_ref().map_or(0, BatchBuilder::offsets);
        Offset(self.first.0 + i64::from(gathered))
    }

    /// Writes what was gathered; after a failure it is gathered anew.
    fn flush(&mut self) -> Result<()> {
        if let Some(batch) = self.batch.take() {
            self.log.append_copy(self.first, batch.build())?;
            self.first = self.log.end_offset();
        }
        Ok(())
    }

    /// Makes offsets that have no record.
    fn skip_to(&mut self, offset: Offset) -> Result<()> {
        while self.first < offset {
            let mut nothing = BatchBuilder::new(0);
            nothing.skip((offset.0 - self.first.0).min(GAP_MAX) as i32);
            let appended = self.log.append_copy(self.first, nothing.build())?;
            self.first = appended.last.next();
            self.log.wait_durable(appended)?;
        }
        Ok(())
    }
}
