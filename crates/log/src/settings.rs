//! The settings of a topic that its partitions look at while they work. `Topic` changes them for
//! all partitions at once; what is stored is `TopicConfig`.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::config::{LogConfig, TimestampType, TopicConfig, TopicDurability};

/// One per topic, shared by its partitions.
pub(crate) struct Settings {
    segment_bytes_max: AtomicU64,
    batch_bytes_max: AtomicU64,
    /// `i64::MAX` when segments are not closed by time.
    segment_us: AtomicI64,
    is_page_cache: AtomicBool,
    is_compacted: AtomicBool,
    is_log_append_time: AtomicBool,
}

impl Settings {
    pub fn new(topic: &TopicConfig, log: &LogConfig) -> Self {
        let settings = Self {
            segment_bytes_max: AtomicU64::default(),
            batch_bytes_max: AtomicU64::default(),
            segment_us: AtomicI64::default(),
            is_page_cache: AtomicBool::default(),
            is_compacted: AtomicBool::default(),
            is_log_append_time: AtomicBool::default(),
        };
        settings.set(topic, log);
        settings
    }

    /// Counts from the next append on.
    pub fn set(&self, topic: &TopicConfig, log: &LogConfig) {
        let is_page_cache = topic.durability == TopicDurability::PageCache;
        self.segment_bytes_max.store(topic.segment_bytes(log), Ordering::Relaxed);
        self.batch_bytes_max.store(topic.batch_bytes(log), Ordering::Relaxed);
        self.segment_us.store(topic.segment_us.unwrap_or(i64::MAX), Ordering::Relaxed);
        self.is_page_cache.store(is_page_cache, Ordering::Release);
        self.is_compacted.store(topic.cleanup_policy.compacts(), Ordering::Relaxed);
        let is_log_append_time = topic.message_timestamp_type == TimestampType::LogAppendTime;
        self.is_log_append_time.store(is_log_append_time, Ordering::Relaxed);
    }

    /// A segment is closed before it gets larger than this.
    pub fn segment_bytes_max(&self) -> u64 {
        self.segment_bytes_max.load(Ordering::Relaxed)
    }

    /// Larger batches are refused.
    pub fn batch_bytes_max(&self) -> u64 {
        self.batch_bytes_max.load(Ordering::Relaxed)
    }

    /// Microseconds between the first and a later record of a segment.
    pub fn segment_us(&self) -> Option<i64> {
        Some(self.segment_us.load(Ordering::Relaxed)).filter(|us| *us != i64::MAX)
    }

    /// Whether an append is acknowledged before it is synced.
    pub fn is_page_cache(&self) -> bool {
        self.is_page_cache.load(Ordering::Acquire)
    }

    /// Whether records bear the time of their arrival.
    pub fn is_log_append_time(&self) -> bool {
        self.is_log_append_time.load(Ordering::Relaxed)
    }

    /// Whether each record needs a key.
    pub fn is_compacted(&self) -> bool {
        self.is_compacted.load(Ordering::Relaxed)
    }
}
