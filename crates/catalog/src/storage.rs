//! How a topic's records are kept in the log: the settings Kafka calls a topic's configuration.

use std::collections::BTreeMap;

/// Defaults are the log's. Times are microseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// None keeps records for ever.
    pub retention_us: Option<i64>,
    /// Of one partition. None: no limit.
    pub retention_bytes: Option<u64>,
    pub segment_us: Option<i64>,
    pub segment_bytes: Option<u64>,
    pub max_message_bytes: Option<u64>,
    /// Old segments go, by age and size.
    pub deletes: bool,
    /// Of each key the latest record stays.
    pub compacts: bool,
    pub min_cleanable_dirty_ratio: f64,
    pub delete_retention_us: i64,
    pub min_compaction_lag_us: i64,
    /// None: as long as too few are dirty.
    pub max_compaction_lag_us: Option<i64>,
    /// How far before the clock a producer's timestamps may be, and how far ahead. None: no limit.
    pub timestamp_before_max_us: Option<i64>,
    pub timestamp_after_max_us: Option<i64>,
    /// Records bear the time of their arrival, not the producer's.
    pub log_append_time: bool,
    /// Acknowledged when written, not when synced to disk.
    pub page_cache: bool,
    /// Configurations of Kafka that mean nothing here and are kept for its clients.
    pub kafka_configs: BTreeMap<String, String>,
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            retention_us: Some(7 * 24 * 3_600_000_000),
            retention_bytes: None,
            segment_us: None,
            segment_bytes: None,
            max_message_bytes: None,
            deletes: true,
            compacts: false,
            min_cleanable_dirty_ratio: 0.5,
            delete_retention_us: 24 * 3_600_000_000,
            min_compaction_lag_us: 0,
            max_compaction_lag_us: None,
            timestamp_before_max_us: None,
            timestamp_after_max_us: Some(3_600_000_000),
            log_append_time: false,
            page_cache: false,
            kafka_configs: BTreeMap::new(),
        }
    }
}
