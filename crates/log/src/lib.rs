//! The durable, partitioned log: topics of partitions of segment files that hold Kafka's record
//! batches (v2) exactly as they go over the wire. A synchronous core: no sockets, no SQL.
//!
//! Way of a record: `PartitionLog::append` checks a batch, gives it its offsets and writes it to
//! the active segment; the flusher syncs all dirty segments together every few milliseconds
//! (group commit); then the high watermark moves, `durable` answers and readers see the batch.
//! Bytes on disk: `docs/formats/log.md`. Read `log.rs` first, then `partition.rs`. Groups and
//! transactions (`groups`, `transactions`) stand beside it on a small keyed store of their own.

mod backup;
mod batch;
mod buffers;
mod builder;
mod check;
mod checkpoint;
mod commits;
mod committed;
mod compaction;
pub mod compression;
mod config;
mod coordinator_store;
mod durability;
mod error_code;
mod flusher;
pub mod groups;
mod handles;
mod index;
mod keys;
mod lock;
// The crate and its main type bear the same name on purpose: `log::Log`.
#[allow(clippy::module_inception)]
mod log;
mod page_cache;
mod partition;
mod pin;
mod pins;
mod produce;
mod producers;
mod read;
pub mod records;
mod recovery;
mod refusal;
mod retention;
mod scan;
mod segment;
mod segment_list;
mod segment_name;
mod segment_time;
mod settings;
mod snapshot;
mod snapshot_file;
mod times;
mod timestamps;
mod topic;
pub mod transactions;
mod varint;

pub use backup::{BACKUP_STAGE, Cut, CutFile};
pub use batch::{Compression, HEADER_LEN, Header};
pub use builder::BatchBuilder;
pub use check::{Checked, PartitionEnd, check};
pub use commits::Commits;
pub use committed::Committed;
pub use compaction::Compaction;
pub use config::{CleanupPolicy, LogConfig, TimestampType, TopicConfig, TopicDurability};
pub use coordinator_store::{Change, CoordinatorStore, Coordinators};
pub use durability::Appended;
pub use error_code::ErrorCode;
pub use log::Log;
pub use partition::{PartitionLog, PartitionStats, SYNC_BUCKETS_US};
pub use pin::Pin;
pub use producers::{AbortedTransaction, ProducerState};
pub use recovery::{Damage, PartitionRecovery, Recovery};
pub use refusal::Refusal;
pub use segment_list::MissingSegment;
pub use topic::Topic;
