//! How the log is to keep a topic.

use log::{CleanupPolicy, TimestampType, TopicConfig, TopicDurability};

pub(crate) fn is_empty(log: &log::Topic) -> bool {
    log.partitions().iter().all(|p| p.end_offset().0 == 0)
}

/// How the log is to keep a topic.
pub(crate) fn log_config(topic: &catalog::Topic) -> TopicConfig {
    let storage = &topic.storage;
    TopicConfig {
        partitions: topic.partitions as u32,
        retention_us: storage.retention_us,
        retention_bytes: storage.retention_bytes,
        segment_bytes_max: storage.segment_bytes,
        segment_us: storage.segment_us,
        cleanup_policy: match (storage.deletes, storage.compacts) {
            (true, true) => CleanupPolicy::CompactDelete,
            (false, true) => CleanupPolicy::Compact,
            _ => CleanupPolicy::Delete,
        },
        max_message_bytes: storage.max_message_bytes,
        message_timestamp_type: match storage.log_append_time {
            true => TimestampType::LogAppendTime,
            false => TimestampType::CreateTime,
        },
        min_cleanable_dirty_ratio: storage.min_cleanable_dirty_ratio,
        delete_retention_us: storage.delete_retention_us,
        min_compaction_lag_us: storage.min_compaction_lag_us,
        max_compaction_lag_us: storage.max_compaction_lag_us,
        timestamp_before_max_us: storage.timestamp_before_max_us,
        timestamp_after_max_us: storage.timestamp_after_max_us,
        durability: match storage.page_cache {
            true => TopicDurability::PageCache,
            false => TopicDurability::Synced,
        },
    }
}
