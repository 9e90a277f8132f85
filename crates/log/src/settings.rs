//! The settings of a topic that its partitions look at while they work. `Topic` changes them for
//! all partitions at once; what is stored is `TopicConfig`.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::config::{LogConfig, TimestampType, TopicConfig, TopicDurability};

/// One per topic, shared by its partitions.
pub(crate) struct Settings {
    segment_bytes_max: AtomicU64,
    message_bytes_max: AtomicU64,
    /// `i64::MAX` when segments are not closed by time.
    segment_us: AtomicI64,
    /// `i64::MAX` without a bound.
    timestamp_before_max_us: AtomicI64,
    timestamp_after_max_us: AtomicI64,
    is_page_cache: AtomicBool,
    is_compacted: AtomicBool,
    is_log_append_time: AtomicBool,
}

impl Settings {
    pub fn new(topic: &TopicConfig, log: &LogConfig) -> Self {
        let settings = Self {
            segment_bytes_max: AtomicU64::default(),
            message_bytes_max: AtomicU64::default(),
            segment_us: AtomicI64::default(),
            timestamp_before_max_us: AtomicI64::default(),
            timestamp_after_max_us: AtomicI64::default(),
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
        self.message_bytes_max.store(topic.message_bytes(log), Ordering::Relaxed);
        let or_max = |us: Option<i64>| us.unwrap_or(i64::MAX);
        self.segment_us.store(or_max(topic.roll_us()), Ordering::Relaxed);
        let (before, after) = (topic.timestamp_before_max_us, topic.timestamp_after_max_us);
        self.timestamp_before_max_us.store(or_max(before), Ordering::Relaxed);
        self.timestamp_after_max_us.store(or_max(after), Ordering::Relaxed);
        self.is_page_cache.store(is_page_cache, Ordering::Release);
        self.is_compacted.store(topic.cleanup_policy.compacts(), Ordering::Relaxed);
        let is_log_append_time = topic.message_timestamp_type == TimestampType::LogAppendTime;
        self.is_log_append_time.store(is_log_append_time, Ordering::Relaxed);
    }

    /// A segment is closed before it gets larger than this.
    pub fn segment_bytes_max(&self) -> u64 {
        self.segment_bytes_max.load(Ordering::Relaxed)
    }

    /// Larger batches of producers are refused.
    pub fn message_bytes_max(&self) -> u64 {
        self.message_bytes_max.load(Ordering::Relaxed)
    }

    /// Microseconds between the first and a later record of a segment.
    pub fn segment_us(&self) -> Option<i64> {
        bounded(&self.segment_us)
    }

    /// How far from the clock a producer's timestamps may be, before it and after.
    pub fn timestamps_max_us(&self) -> (Option<i64>, Option<i64>) {
        (bounded(&self.timestamp_before_max_us), bounded(&self.timestamp_after_max_us))
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

fn bounded(us: &AtomicI64) -> Option<i64> {
    Some(us.load(Ordering::Relaxed)).filter(|us| *us != i64::MAX)
}
