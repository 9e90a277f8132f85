//! The broker under test: a log and the coordinators on one simulated disk and clock. It answers
//! requests as the Kafka door does: one at a time, produce requests when they are durable.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use common::{Disk, Error, Offset, Partition, Result};
use log::groups::*;
use log::transactions::*;
use log::{
    Appended, BatchBuilder, Change, CoordinatorStore, Coordinators, ErrorCode, Log, LogConfig,
    PartitionLog, Recovery, records,
};
use testkit::{SimDisk, VirtualClock};
use uuid::Uuid;

const LOG_DIR: &str = "/data/log";
const STORE: &str = "/data/coordinators";
pub const GROUP: &str = "group";
pub const COPIERS: &str = "copiers";
pub const TRANSACTIONAL: i16 = 0x10;

#[derive(Clone, Debug)]
pub enum Request {
    Produce {
        topic: &'static str,
        partition: i32,
        batch: Bytes,
        by: Option<TransactionalProducer>,
    },
    InitProducerId(Option<String>),
    AddPartitions(TransactionalProducer, &'static str, i32),
    AddOffsets(TransactionalProducer),
    TxnOffsetCommit(TransactionalProducer, i64),
    EndTxn(TransactionalProducer, bool),
    Fetch {
        topic: &'static str,
        partition: i32,
        offset: i64,
    },
    Heartbeat(ConsumerGroupHeartbeatRequest),
    OffsetCommit {
        member: String,
        epoch: i32,
        partition: i32,
        offset: i64,
    },
    /// Of the copiers, stable.
    OffsetFetch,
}

#[derive(Clone, Debug)]
pub enum Response {
    Done,
    Error(ErrorCode),
    Produced {
        offset: i64,
    },
    Producer(i64, i16),
    /// Committed values and the next offset.
    Fetched(Vec<String>, i64),
    Heartbeat(ConsumerGroupHeartbeatResponse),
    Offset(i64),
}

/// An answer, or what it waits for.
pub enum Handled {
    Now(Response),
    Later(Arc<PartitionLog>, Appended),
}

pub struct Broker {
    pub disk: SimDisk,
    pub clock: VirtualClock,
    pub log: Arc<Log>,
    pub coordinators: Coordinators,
    pub recovery: Recovery,
    config: LogConfig,
    stopped: Arc<AtomicBool>,
}

impl Broker {
    pub fn open(disk: SimDisk, clock: VirtualClock, config: LogConfig) -> Result<Self> {
        let attached: Arc<dyn Disk> = Arc::new(disk.attach());
        let (log, recovery) = Log::open(
            attached.clone(),
            Arc::new(clock.clone()),
            Path::new(LOG_DIR),
            config.clone(),
        )?;
        let stopped = Arc::new(AtomicBool::new(false));
        let markers = LogMarkers { log: log.clone(), stopped: stopped.clone() };
        let (topics, names) = (log.clone(), log.clone());
        let lookup = TopicLookup::new(
            move |name| {
                let topic = topics.topic(name).ok()?;
                // Not its own id, which is another one in each run.
                let topic_id = Uuid::from_u128(u128::from(name.as_bytes()[0]));
                Some(TopicMetadata { topic_id, partitions: topic.config().partitions as i32 })
            },
            move || names.topics().iter().map(|t| t.name().to_owned()).collect(),
        );
        let coordinators = Coordinators::open(
            Arc::new(Store::new(attached)),
            Arc::new(clock.clone()),
            lookup,
            Arc::new(markers),
            GroupConfig { consumer_session_timeout_ms: 4_000, ..GroupConfig::default() },
            // One thread: several would take the disk's faults in another order each time.
            TransactionConfig { marker_threads: 1, ..TransactionConfig::default() },
        )?;
        Ok(Self { disk, clock, log, coordinators, recovery, config, stopped })
    }

    /// Starts anew on what the disk has.
    pub fn restart(&mut self) -> Result<()> {
        *self = Self::open(self.disk.clone(), self.clock.clone(), self.config.clone())?;
        Ok(())
    }

    /// A partition takes no more appends: an operator restarts such a broker.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub fn partition(&self, topic: &str, partition: i32) -> Arc<PartitionLog> {
        self.log.topic(topic).unwrap().partition(Partition(partition)).unwrap()
    }

    pub fn handle(&self, request: &Request) -> Handled {
        let groups = &self.coordinators.groups;
        let transactions = &self.coordinators.transactions;
        Handled::Now(match request {
            Request::Produce { topic, partition, batch, by } => {
                return self.produce(topic, *partition, batch, by.as_ref());
            }
            Request::InitProducerId(transactional_id) => {
                let answer = transactions.init_producer_id(&InitProducerIdRequest {
                    transactional_id: transactional_id.clone(),
                    transaction_timeout_ms: 10_000,
                    producer_id: -1,
                    producer_epoch: -1,
                });
                match answer.error_code {
                    ErrorCode::None => {
                        Response::Producer(answer.producer_id, answer.producer_epoch)
                    }
                    error => Response::Error(error),
                }
            }
            Request::AddPartitions(by, topic, partition) => {
                plain(transactions.add_partitions(by, &[((*topic).to_owned(), *partition)]))
            }
            Request::AddOffsets(by) => plain(transactions.add_offsets(by, COPIERS)),
            Request::TxnOffsetCommit(by, offset) => {
                let answer = transactions.txn_offset_commit(&TxnOffsetCommitRequest {
                    transactional_id: by.transactional_id.clone(),
                    group_id: COPIERS.into(),
                    producer_id: by.producer_id,
                    producer_epoch: by.producer_epoch,
                    generation_id: -1,
                    member_id: String::new(),
                    group_instance_id: None,
                    topics: vec![offset_of(0, *offset)],
                });
                plain(answer[0].partitions[0].error_code)
            }
            Request::EndTxn(by, commit) => plain(transactions.end_transaction(by, *commit)),
            Request::Fetch { topic, partition, offset } => self.fetch(topic, *partition, *offset),
            Request::Heartbeat(beat) => {
                Response::Heartbeat(groups.consumer_group_heartbeat(beat.clone()))
            }
            Request::OffsetCommit { member, epoch, partition, offset } => {
                let answer = groups.commit_offsets(&OffsetCommitRequest {
                    group_id: GROUP.into(),
                    generation_id_or_member_epoch: *epoch,
                    member_id: member.clone(),
                    group_instance_id: None,
                    topics: vec![offset_of(*partition, *offset)],
                });
                plain(answer[0].partitions[0].error_code)
            }
            Request::OffsetFetch => self.offset(COPIERS, 0, true),
        })
    }

    fn produce(
        &self,
        topic: &str,
        partition: i32,
        batch: &Bytes,
        by: Option<&TransactionalProducer>,
    ) -> Handled {
        let log = self.partition(topic, partition);
        let append = || log.append_produced(batch.clone());
        let transactions = &self.coordinators.transactions;
        let appended = match by {
            None => append(),
            Some(by) => match transactions.while_open(by, topic, partition, append) {
                Ok(appended) => appended,
                Err(error) => return Handled::Now(Response::Error(error)),
            },
        };
        match appended {
            Ok(appended) => Handled::Later(log, appended),
            Err(refusal) => {
                self.note_stop(&refusal.message);
                Handled::Now(Response::Error(refusal.code))
            }
        }
    }

    fn note_stop(&self, message: &str) {
        self.stopped.fetch_or(message.contains("takes no more appends"), Ordering::Relaxed);
    }

    fn fetch(&self, topic: &str, partition: i32, offset: i64) -> Response {
        match self.partition(topic, partition).read_committed(Offset(offset), 600) {
            Err(_) => Response::Error(ErrorCode::KafkaStorageError),
            Ok(read) => {
                let values = read.batches.iter().flat_map(values_of);
                Response::Fetched(values.map(|(_, _, value)| value).collect(), read.next.0)
            }
        }
    }

    pub fn offset(&self, group: &str, partition: i32, require_stable: bool) -> Response {
        let asked = TopicPartitions { name: "a".into(), partition_indexes: vec![partition] };
        let answer = self.coordinators.groups.fetch_offsets(&OffsetFetchRequest {
            group_id: group.into(),
            member_id: None,
            member_epoch: -1,
            topics: Some(vec![asked]),
            require_stable,
        });
        if answer.error_code != ErrorCode::None {
            return Response::Error(answer.error_code);
        }
        let found = &answer.topics[0].partitions[0];
        match found.error_code {
            ErrorCode::None => Response::Offset(found.committed_offset),
            error => Response::Error(error),
        }
    }
}

fn plain(error: ErrorCode) -> Response {
    if error.is_ok() { Response::Done } else { Response::Error(error) }
}

fn offset_of(partition: i32, offset: i64) -> OffsetCommitTopic {
    OffsetCommitTopic {
        name: "a".into(),
        partitions: vec![OffsetCommitPartition {
            partition_index: partition,
            committed_offset: offset,
            committed_leader_epoch: 0,
            committed_metadata: None,
        }],
    }
}

/// A batch of a producer: each record has a key perhaps, and a value that no other has; an empty
/// one is a tombstone, its value stands in a header.
pub fn batch(
    now_us: i64,
    records: &[(Option<String>, String, bool)],
    producer: Option<(i64, i16)>,
    sequence: i32,
    attributes: i16,
) -> Bytes {
    let mut builder = BatchBuilder::new(now_us);
    for (key, value, is_tombstone) in records {
        let key = key.as_deref().map(str::as_bytes);
        match is_tombstone {
            true => builder.push(now_us, key, None, &[("value", value.as_bytes())]),
            false => builder.push(now_us, key, Some(value.as_bytes()), &[]),
        }
    }
    let mut bytes = BytesMut::from(&builder.build()[..]);
    if let Some((id, epoch)) = producer {
        bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
        bytes[43..51].copy_from_slice(&id.to_be_bytes());
        bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
    }
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.freeze()
}

/// Offset, key and value of each record.
pub fn values_of(batch: &Bytes) -> Vec<(i64, Option<String>, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let header = log::Header::parse(batch).unwrap();
    if header.is_control() {
        return vec![];
    }
    let mut out = vec![];
    for record in records::iter(batch).unwrap() {
        let record = record.unwrap();
        let value = match record.value {
            Some(value) => text(value),
            None => format!("{}{TOMBSTONE}", text(record.headers().next().unwrap().1.unwrap())),
        };
        out.push((record.offset.0, record.key.map(text), value));
    }
    out
}

/// Marks the value of a record that has none.
pub const TOMBSTONE: &str = " (tombstone)";

struct LogMarkers {
    log: Arc<Log>,
    stopped: Arc<AtomicBool>,
}

impl Markers for LogMarkers {
    fn write(&self, topic: &str, partition: i32, id: i64, epoch: i16, commit: bool) -> Result<()> {
        let log = self.log.topic(topic)?.partition(Partition(partition))?;
        let ended = log.end_transaction(id, epoch, commit).inspect_err(|e| {
            let is_stopped = e.to_string().contains("takes no more appends");
            self.stopped.fetch_or(is_stopped, Ordering::Relaxed);
        })?;
        let Some(marker) = ended else { return Ok(()) };
        self.log.flush();
        // The first sync after a failure may only cut; then it is not decided for long.
        self.log.flush();
        log.outcome(marker).unwrap_or_else(|| Err(Error::unavailable("not synced yet")))
    }
}

/// The coordinators' store: one file, replaced as a whole.
struct Store {
    disk: Arc<dyn Disk>,
    pairs: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Store {
    fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, pairs: Mutex::default() }
    }
}

impl CoordinatorStore for Store {
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let failed = |e| Error::io("read the coordinators' store", e);
        self.disk.create_dir_all(Path::new("/data")).map_err(failed)?;
        let bytes = match common::disk::read(&*self.disk, Path::new(STORE)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            read => read.map_err(failed)?,
        };
        let mut pairs = self.pairs.lock().unwrap();
        let mut rest = &bytes[..];
        let mut field = || {
            let (len, after) = rest.split_first_chunk::<4>()?;
            let (field, after) = after.split_at(u32::from_be_bytes(*len) as usize);
            rest = after;
            Some(field.to_vec())
        };
        while let Some(key) = field() {
            pairs.insert(key, field().unwrap());
        }
        Ok(pairs.clone().into_iter().collect())
    }

    fn commit(&self, changes: Vec<Change>) -> Result<()> {
        let mut pairs = self.pairs.lock().unwrap();
        let mut changed = pairs.clone();
        for (key, value) in changes {
            match value {
                Some(value) => changed.insert(key, value),
                None => changed.remove(&key),
            };
        }
        let mut bytes = vec![];
        for field in changed.iter().flat_map(|(key, value)| [key, value]) {
            bytes.extend((field.len() as u32).to_be_bytes());
            bytes.extend(field);
        }
        common::disk::write_atomically(&*self.disk, Path::new(STORE), &bytes)
            .map_err(|e| Error::io("write the coordinators' store", e))?;
        *pairs = changed;
        Ok(())
    }
}
