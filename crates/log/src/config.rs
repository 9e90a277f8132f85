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
    /// Shortest time between two rounds of syncs; appends are gathered meanwhile.
    pub commit_interval_us: i64,
    /// A segment is closed at this size, unless the topic says otherwise.
    pub segment_bytes_max: u64,
    /// Largest single record batch.
    pub batch_bytes_max: u64,
    /// Files synced at once. 0: no threads at all; `Log::flush` syncs (for simulations).
    pub sync_threads: usize,
    /// File handles kept open (segments with writes not yet synced come on top).
    pub handles_max: usize,
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
            sync_threads: 16,
            handles_max: 512,
            producer_expiration_us: 86_400_000_000,
            producers_max: 100_000,
        }
    }
}

/// Settings of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self { partitions: 1, retention_us: None, retention_bytes: None, segment_bytes_max: None }
    }
}

impl TopicConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            return Err(Error::invalid(format!("{} partitions are not possible", self.partitions))
                .hint(format!("choose between 1 and {PARTITIONS_MAX}")));
        }
        if self.retention_us.is_some_and(|us| us < 0) {
            return Err(Error::invalid("a negative retention time is not possible"));
        }
        if self.segment_bytes_max == Some(0) {
            return Err(Error::invalid("a segment size of 0 is not possible"));
        }
        Ok(())
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
