//! The settings of the log and of a topic. The engine fills `LogConfig` from the process's
//! configuration; `TopicConfig` comes from `CREATE TOPIC` and is stored with the topic.

use serde::{Deserialize, Serialize};

use common::{Error, Result};

/// Positions within a segment are stored in 32 bits; a batch may lie across this border.
const SEGMENT_BYTES_LIMIT: u64 = 2 << 30;
const PARTITIONS_MAX: u32 = 10_000;
const NAME_LEN_MAX: usize = 249;

/// Settings of a whole log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Longest time for which appends are gathered between two rounds of syncs; it is shorter on
    /// disks that sync faster.
    pub commit_interval_us: i64,
    /// A segment is closed at this size, unless the topic says otherwise.
    pub segment_bytes_max: u64,
    /// Largest single record batch.
    pub batch_bytes_max: u64,
    /// Largest batch of a producer, unless the topic says otherwise (`message.max.bytes`): more
    /// than consumers want to fetch helps nobody.
    pub message_bytes_max: u64,
    /// Files synced at once. 0: no threads at all; `Log::flush` syncs (for simulations).
    pub sync_threads: usize,
    /// File handles kept open (segments with writes not yet synced come on top).
    pub handles_max: usize,
    /// Keys of which compaction knows the latest record at once, of some 40 bytes each. With more
    /// keys it takes several rounds.
    pub compaction_keys_max: usize,
    /// Producers idle for longer are forgotten (`producer.id.expiration.ms`).
    pub producer_expiration_us: i64,
    /// Producers remembered in one partition; beyond it the most idle ones are forgotten.
    pub producers_max: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            commit_interval_us: 2_000,
            segment_bytes_max: 256 << 20,
            batch_bytes_max: 128 << 20,
            message_bytes_max: 1_048_588,
            sync_threads: 16,
            handles_max: 512,
            compaction_keys_max: 1 << 20,
            producer_expiration_us: 86_400_000_000,
            producers_max: 100_000,
        }
    }
}

/// What becomes of old records (Kafka's `cleanup.policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CleanupPolicy {
    /// Whole segments go, by age and size.
    #[default]
    #[serde(rename = "delete")]
    Delete,
    /// The latest record of each key stays (KIP-58); age and size do not count.
    #[serde(rename = "compact")]
    Compact,
    /// Both: compacted, and what is old or too much goes all the same (KIP-71).
    #[serde(rename = "compact,delete")]
    CompactDelete,
}

impl CleanupPolicy {
    /// Whether age and size remove segments.
    pub fn deletes(self) -> bool {
        self != Self::Compact
    }

    /// Whether older records of a key go.
    pub fn compacts(self) -> bool {
        self != Self::Delete
    }
}

/// Whose clock gives a record its timestamp (Kafka's `message.timestamp.type`, KIP-32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The log's, when a producer's batch is appended.
    LogAppendTime,
}

/// What an acknowledged append survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopicDurability {
    /// A power cut: it is acknowledged and visible once it is synced to disk.
    #[default]
    #[serde(rename = "synced")]
    Synced,
    /// The end of the process, as in Kafka with its defaults: it is acknowledged and visible once
    /// it is written to the file. A power cut may take about the last second of it.
    #[serde(rename = "page_cache")]
    PageCache,
}

/// Settings of a topic. What a stored description does not name has its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicConfig {
    pub partitions: u32,
    /// Segments whose newest record is older than this are removed. None keeps them for ever.
    #[serde(default)]
    pub retention_us: Option<i64>,
    /// The oldest segments are removed while a partition is larger than this.
    #[serde(default)]
    pub retention_bytes: Option<u64>,
    /// A segment is closed at this size. None: as the log's setting.
    #[serde(default)]
    pub segment_bytes_max: Option<u64>,
    /// A segment is closed when its first record is this many microseconds old, by the timestamps
    /// of later records or by the clock (Kafka's `segment.ms`). None: by size only.
    #[serde(default)]
    pub segment_us: Option<i64>,
    #[serde(default)]
    pub cleanup_policy: CleanupPolicy,
    /// Largest batch of a producer, in bytes (Kafka's `max.message.bytes`). None: as the log's
    /// setting.
    #[serde(default)]
    pub max_message_bytes: Option<u64>,
    #[serde(default)]
    pub message_timestamp_type: TimestampType,
    /// A partition is compacted when more than this part of its bytes is not compacted yet, from
    /// 0 to 1 (Kafka's `min.cleanable.dirty.ratio`, by default 0.5).
    #[serde(default = "dirty_ratio")]
    pub min_cleanable_dirty_ratio: f64,
    /// So long, in microseconds, a tombstone stays after it was compacted first, for readers to
    /// see it (Kafka's `delete.retention.ms`, KIP-534; by default a day).
    #[serde(default = "delete_retention_us")]
    pub delete_retention_us: i64,
    /// Records younger than this, in microseconds, are not compacted (Kafka's
    /// `min.compaction.lag.ms`, KIP-58).
    #[serde(default)]
    pub min_compaction_lag_us: i64,
    /// Records wait no longer than this, in microseconds, until they can be compacted, however few
    /// they are (Kafka's `max.compaction.lag.ms`, KIP-354). None: as long as too few are dirty.
    #[serde(default)]
    pub max_compaction_lag_us: Option<i64>,
    /// A producer's records may be so many microseconds older than the clock (Kafka's
    /// `message.timestamp.before.max.ms`, KIP-937). None: of any age.
    #[serde(default)]
    pub timestamp_before_max_us: Option<i64>,
    /// And so many ahead of it (`message.timestamp.after.max.ms`, by default an hour).
    #[serde(default = "timestamp_after_max_us")]
    pub timestamp_after_max_us: Option<i64>,
    #[serde(default)]
    pub durability: TopicDurability,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            partitions: 1,
            retention_us: None,
            retention_bytes: None,
            segment_bytes_max: None,
            segment_us: None,
            cleanup_policy: CleanupPolicy::default(),
            max_message_bytes: None,
            message_timestamp_type: TimestampType::default(),
            min_cleanable_dirty_ratio: dirty_ratio(),
            delete_retention_us: delete_retention_us(),
            min_compaction_lag_us: 0,
            max_compaction_lag_us: None,
            timestamp_before_max_us: None,
            timestamp_after_max_us: timestamp_after_max_us(),
            durability: TopicDurability::default(),
        }
    }
}

fn dirty_ratio() -> f64 {
    0.5
}

fn delete_retention_us() -> i64 {
    86_400_000_000
}

fn timestamp_after_max_us() -> Option<i64> {
    Some(3_600_000_000)
}

impl TopicConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            return Err(Error::invalid(format!("{} partitions are not possible", self.partitions))
                .hint(format!("choose between 1 and {PARTITIONS_MAX}")));
        }
        let times = [
            ("retention time", self.retention_us),
            ("delete retention", Some(self.delete_retention_us)),
            ("compaction lag", Some(self.min_compaction_lag_us)),
            ("distance of timestamps", self.timestamp_before_max_us),
            ("distance of timestamps", self.timestamp_after_max_us),
        ];
        for (name, us) in times {
            if us.is_some_and(|us| us < 0) {
                return Err(Error::invalid(format!("a negative {name} is not possible")));
            }
        }
        if self.segment_us.is_some_and(|us| us < 1) {
            return Err(Error::invalid("a segment time below a microsecond is not possible"));
        }
        if self.max_compaction_lag_us.is_some_and(|us| us < self.min_compaction_lag_us.max(1)) {
            return Err(Error::invalid("the largest compaction lag is below the smallest")
                .hint("max_compaction_lag is above 0 and not below min_compaction_lag"));
        }
        if self.segment_bytes_max == Some(0) {
            return Err(Error::invalid("a segment size of 0 is not possible"));
        }
        if !(0.0..=1.0).contains(&self.min_cleanable_dirty_ratio) {
            let ratio = self.min_cleanable_dirty_ratio;
            return Err(Error::invalid(format!("a dirty ratio of {ratio} is not possible"))
                .hint("choose one from 0 to 1"));
        }
        Ok(())
    }

    /// When a segment is closed by time: what is to be compacted must not wait in an active one.
    pub(crate) fn roll_us(&self) -> Option<i64> {
        let lag_us = self.max_compaction_lag_us.filter(|_| self.cleanup_policy.compacts());
        self.segment_us.into_iter().chain(lag_us).min()
    }

    /// The largest batch this topic takes from producers.
    pub(crate) fn message_bytes(&self, log: &LogConfig) -> u64 {
        self.max_message_bytes.unwrap_or(log.message_bytes_max).min(log.batch_bytes_max)
    }

    /// The size at which this topic's segments are closed.
    pub(crate) fn segment_bytes(&self, log: &LogConfig) -> u64 {
        self.segment_bytes_max.unwrap_or(log.segment_bytes_max).clamp(1, SEGMENT_BYTES_LIMIT)
    }
}

/// Kafka's rule for topic names, so that every Kafka client can use every topic.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.len() > NAME_LEN_MAX {
        "it is longer than 249 characters"
    } else if name == "." || name == ".." {
        "it means a folder"
    } else if !name.bytes().all(allowed) {
        "it has other characters than letters, digits, '.', '_' and '-'"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("'{name}' cannot be the name of a topic: {problem}"))
        .hint("use letters, digits, '.', '_' and '-'"))
}
