//! A topic: its stored description and its partitions. The description is one JSON file in the
//! log's `topics` folder, replaced as a whole.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use common::{Disk, Error, Offset, Partition, Result, disk};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::compaction::Compaction;
use crate::config::{TopicConfig, TopicDurability};
use crate::lock::{lock, read, write};
use crate::partition::{PartitionLog, Shared};
use crate::recovery::{self, Recovery};
use crate::segment_list;
use crate::settings::Settings;

/// The newest format of a description, and of the files of its topic.
const FORMAT: u32 = 2;

/// A topic of the log.
pub struct Topic {
    name: Arc<str>,
    id: Uuid,
    dir: PathBuf,
    shared: Arc<Shared>,
    pub(crate) meta: Mutex<Meta>,
    settings: Arc<Settings>,
    partitions: RwLock<Vec<Arc<PartitionLog>>>,
}

/// What is stored of a topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub format: u32,
    pub name: String,
    pub id: String,
    #[serde(flatten)]
    pub config: TopicConfig,
    /// By partition; 0 for those that are missing.
    #[serde(default)]
    pub start_offsets: Vec<i64>,
    /// The topic's folders are being removed.
    #[serde(default)]
    pub dropped: bool,
}

impl Meta {
    pub fn new(name: &str, config: TopicConfig) -> Self {
        Self {
            format: format_of(&config),
            name: name.to_string(),
            id: Uuid::new_v4().to_string(),
            config,
            start_offsets: vec![],
            dropped: false,
        }
    }

    fn begin_at(&mut self, partition: Partition, start: i64) {
        let p = partition.0 as usize;
        if self.start_offsets.len() <= p {
            self.start_offsets.resize(p + 1, 0);
        }
        if let Some(offset) = self.start_offsets.get_mut(p) {
            *offset = start;
        }
    }

    pub fn path(&self, dir: &Path) -> PathBuf {
        // Not by name: a name may be too long for a file name with an ending.
        dir.join("topics").join(format!("{}.json", self.id))
    }

    pub fn store(&self, shared: &Shared, dir: &Path) -> Result<()> {
        let path = self.path(dir);
        let bytes = self.encode()?;
        disk::write_atomically(&*shared.disk, &path, &bytes)
            .map_err(|e| Error::io(format!("write '{}'", path.display()), e))
    }

    /// The description's bytes, with their checksum.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::internal(format!("describe topic '{}'", self.name)).caused_by(e))?;
        Ok(sealed(bytes))
    }

    pub fn load(disk: &dyn Disk, path: &Path) -> Result<Self> {
        let bytes = disk::read(disk, path)
            .map_err(|e| Error::io(format!("read '{}'", path.display()), e))?;
        let damaged = |why: String| {
            Error::corrupt(format!("'{}' does not describe a topic: {why}", path.display()))
                .hint("restore it from a backup; the topic's records are in their own folders")
        };
        let meta: Self = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if meta.format > FORMAT {
            let format = meta.format;
            return Err(Error::unsupported(format!(
                "'{}' has format {format}, this program knows up to {FORMAT}",
                path.display()
            ))
            .hint("use the newer program that wrote it"));
        }
        if !is_sealed_well(&bytes) {
            return Err(damaged("its checksum does not match".to_string()));
        }
        meta.config.check().map_err(|e| damaged(e.message().to_string()))?;
        Ok(meta)
    }
}

/// Begins the last field of a description: the checksum of all before it.
const SEAL: &[u8] = b",\n  \"crc32c\": \"";

/// A JSON object with a checksum as its last field.
fn sealed(mut json: Vec<u8>) -> Vec<u8> {
    json.truncate(json.len().saturating_sub(b"\n}".len()));
    let crc = crc32c::crc32c(&json);
    json.extend_from_slice(SEAL);
    json.extend_from_slice(format!("{crc:08x}\"\n}}").as_bytes());
    json
}

/// False if there is a checksum and it does not match; descriptions of the first release have none.
fn is_sealed_well(json: &[u8]) -> bool {
    match json.windows(SEAL.len()).rposition(|part| part == SEAL) {
        Some(at) => sealed([&json[..at], b"\n}"].concat()) == json,
        None => true,
    }
}

impl Topic {
    /// Opens all partitions.
    pub(crate) fn open(
        shared: &Arc<Shared>,
        dir: &Path,
        meta: Meta,
        recovery: &mut Recovery,
    ) -> Result<Arc<Self>> {
        let id = Uuid::parse_str(&meta.id).map_err(|e| {
            Error::corrupt(format!("'{}': '{}' is not an id", meta.path(dir).display(), meta.id))
                .caused_by(e)
        })?;
        let topic = Self {
            name: meta.name.as_str().into(),
            id,
            dir: dir.to_path_buf(),
            shared: shared.clone(),
            settings: Arc::new(Settings::new(&meta.config, &shared.config)),
            partitions: RwLock::new(vec![]),
            meta: Mutex::new(meta.clone()),
        };
        topic.open_partitions(&meta, recovery)?;
        Ok(Arc::new(topic))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> Uuid {
        self.id
    }

    pub fn config(&self) -> TopicConfig {
        lock(&self.meta).config.clone()
    }

    /// The largest batch this topic takes from producers, in bytes (`max.message.bytes`).
    pub fn message_bytes_max(&self) -> u64 {
        self.settings.message_bytes_max()
    }

    pub fn partition(&self, partition: Partition) -> Result<Arc<PartitionLog>> {
        let partitions = read(&self.partitions);
        let found = usize::try_from(partition.0).ok().and_then(|p| partitions.get(p)).cloned();
        found.ok_or_else(|| {
            let last = partitions.len() - 1;
            Error::not_found(format!("topic '{}' has no partition {partition}", self.name))
                .hint(format!("its partitions are 0 to {last}"))
        })
    }

    /// All partitions, in order.
    pub fn partitions(&self) -> Vec<Arc<PartitionLog>> {
        read(&self.partitions).clone()
    }

    /// Changes all settings; the number of partitions can only grow. Stored before it answers,
    /// and applied at once.
    pub(crate) fn alter(&self, config: TopicConfig) -> Result<()> {
        config.check()?;
        self.change(lock(&self.meta), config)
    }

    /// Grows the topic to `total` partitions (KIP-195). Stored before it answers. Errors: `Invalid`
    /// when there are as many already or `total` is too large, `NotFound` after a drop, `Conflict`
    /// when a folder of a new partition exists.
    pub fn add_partitions(&self, total: u32) -> Result<()> {
        let meta = lock(&self.meta);
        self.check_not_dropped(&meta)?;
        let now = meta.config.partitions;
        if total <= now {
            let message = format!("topic '{}' has {now} partitions already", self.name);
            return Err(Error::invalid(message).hint("a topic can only grow"));
        }
        let config = TopicConfig { partitions: total, ..meta.config.clone() };
        config.check()?;
        check_folders_free(&self.shared, &self.dir, &self.name, now..total)?;
        self.change(meta, config)
    }

    fn change(&self, mut meta: MutexGuard<'_, Meta>, config: TopicConfig) -> Result<()> {
        self.check_not_dropped(&meta)?;
        let now = meta.config.partitions;
        if config.partitions < now {
            let message = format!("topic '{}' cannot shrink to fewer partitions", self.name);
            return Err(Error::invalid(message).hint(format!("it has {now}")));
        }
        let format = meta.format.max(format_of(&config));
        let changed = Meta { format, config, ..meta.clone() };
        changed.store(&self.shared, &self.dir)?;
        self.open_partitions(&changed, &mut Recovery::default())?;
        self.settings.set(&changed.config, &self.shared.config);
        let was_page_cache = meta.config.durability == TopicDurability::PageCache;
        *meta = changed;
        drop(meta);
        // What was queued to be synced at leisure is now to be synced at once.
        if was_page_cache && self.partitions().iter().fold(false, |any, p| p.sync() | any) {
            self.shared.commits.note();
        }
        Ok(())
    }

    fn check_not_dropped(&self, meta: &Meta) -> Result<()> {
        if meta.dropped {
            return Err(Error::not_found(format!("topic '{}' was dropped", self.name)));
        }
        Ok(())
    }

    /// Removes what is too old or too much; the number of removed segments.
    pub(crate) fn apply_retention(&self) -> Result<usize> {
        let mut meta = lock(&self.meta);
        if meta.dropped {
            return Ok(0);
        }
        let now_us = self.shared.clock.now_us();
        let mut changed = meta.clone();
        let mut begins = vec![];
        for partition in self.partitions() {
            partition.expire_producers(now_us);
            if let Some(start) = partition.retained_from(&meta.config, now_us)? {
                changed.begin_at(partition.id, start);
                begins.push((partition, start));
            }
        }
        if begins.is_empty() {
            return Ok(0);
        }
        changed.store(&self.shared, &self.dir)?;
        *meta = changed;
        let mut removed = 0;
        for (partition, start) in begins {
            removed += partition.forget_before(start)?;
        }
        Ok(removed)
    }

    /// Compacts the partitions in which enough is dirty, if the topic is to be compacted.
    pub(crate) fn compact(&self) -> Result<Compaction> {
        let config = self.config();
        let mut done = Compaction::default();
        if config.cleanup_policy.compacts() {
            for partition in self.partitions() {
                done.add(partition.compact(&config, self.shared.clock.now_us())?);
            }
        }
        Ok(done)
    }

    /// Deletes the records of a partition below `before` (KIP-107), at most up to the high
    /// watermark. Returns the start offset then, which is durable; segments wholly below it are
    /// removed. Errors: `NotFound` for an offset beyond the high watermark (Kafka's
    /// `OFFSET_OUT_OF_RANGE`), `Conflict` when some of it is still held (`hold_from`).
    pub fn delete_records(&self, partition: Partition, before: Offset) -> Result<Offset> {
        let mut meta = lock(&self.meta);
        self.check_not_dropped(&meta)?;
        let log = self.partition(partition)?;
        log.check_newest()?;
        let end = log.high_watermark();
        let name = format_args!("'{}' partition {partition}", self.name);
        if before.0 < 0 || before > end {
            let message = format!("offset {before} of topic {name} does not exist");
            return Err(Error::not_found(message).hint(format!("the high watermark is {end}")));
        }
        let held = log.held_from.load(Ordering::Acquire);
        if before.0 > held {
            let message = format!("records of topic {name} from offset {held} on are needed");
            return Err(Error::conflict(message).hint("wait until they are archived"));
        }
        if before <= log.start_offset() {
            return Ok(log.start_offset());
        }
        // Else a power cut could leave a log that ends before it begins.
        log.sync_up_to(before.0)?;
        let mut changed = meta.clone();
        changed.begin_at(partition, before.0);
        changed.store(&self.shared, &self.dir)?;
        *meta = changed;
        log.forget_before(before.0)?;
        Ok(log.start_offset())
    }

    /// Stores that the topic is to go and ends its appends. Returns what `finish_drop` needs.
    pub(crate) fn begin_drop(&self) -> Result<Meta> {
        let mut meta = lock(&self.meta);
        let changed = Meta { dropped: true, ..meta.clone() };
        changed.store(&self.shared, &self.dir)?;
        *meta = changed.clone();
        for partition in self.partitions() {
            let e = Error::not_found(format!("topic '{}' was dropped", self.name));
            partition.stop(&e);
            partition.drain();
            partition.stop_compaction();
        }
        Ok(changed)
    }

    fn open_partitions(&self, meta: &Meta, recovery: &mut Recovery) -> Result<()> {
        let mut partitions = write(&self.partitions);
        for p in partitions.len()..meta.config.partitions as usize {
            let id = Partition(p as i32);
            let dir = partition_dir(&self.dir, &self.name, p as u32);
            let list = segment_list::path(&self.dir, &meta.id, p as u32);
            let start = meta.start_offsets.get(p).copied().unwrap_or(0);
            let (opened, mut report) =
                recovery::open_partition(&self.shared, &self.name, id, &dir, &list, start)?;
            if let Some(report) = &mut report {
                report.may_be_acknowledged = self.settings.is_page_cache();
            }
            recovery.partitions.extend(report);
            partitions.push(PartitionLog::new(
                self.name.clone(),
                id,
                dir,
                self.shared.clone(),
                self.settings.clone(),
                opened,
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.name)
    }
}

/// A program that knows format 1 only would take compacted segments for lost ones. A topic that
/// was compacted once keeps format 2.
fn format_of(config: &TopicConfig) -> u32 {
    if config.cleanup_policy.compacts() { FORMAT } else { 1 }
}

/// Removes the folders of a topic that is to go, then its description.
pub(crate) fn finish_drop(shared: &Shared, dir: &Path, meta: &Meta) -> Result<()> {
    let remove = |path: &Path| {
        let failed = |e| Error::io(format!("remove '{}'", path.display()), e);
        shared.disk.remove(path).map_err(failed)
    };
    for p in 0..meta.config.partitions {
        remove(&partition_dir(dir, &meta.name, p))?;
        remove(&segment_list::path(dir, &meta.id, p))?;
    }
    remove(&meta.path(dir))
}

/// New partitions must not take over what lies in folders of their names.
pub(crate) fn check_folders_free(
    shared: &Shared,
    dir: &Path,
    topic: &str,
    partitions: Range<u32>,
) -> Result<()> {
    for p in partitions {
        let path = partition_dir(dir, topic, p);
        match shared.disk.list(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(format!("look at '{}'", path.display()), e)),
            Ok(_) => {
                let message = format!("'{}' exists but belongs to no topic", path.display());
                return Err(Error::conflict(message).hint("move this folder away"));
            }
        }
    }
    Ok(())
}

pub(crate) fn partition_dir(dir: &Path, topic: &str, partition: u32) -> PathBuf {
    dir.join(format!("{topic}-{partition}"))
}
