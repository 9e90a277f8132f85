//! Everything about the records of a topic: in through one check, out through one reader, dead
//! letters, archive, retention.
//! Must not know: a view or how a query is planned.

pub mod archive;
pub mod archive_progress;
pub mod body;
pub mod browse;
pub mod dead_letters;
pub mod external_log;
pub mod history;
pub mod ingest;
pub mod log_batches;
pub mod once;
pub mod partitions;
pub mod position;
pub mod produce;
pub mod raw_topic;
pub mod read;
pub mod resend;
pub mod retention;
pub mod row_cache;
pub mod rows;
pub mod rules;
pub mod shown_record;
pub mod statement_records;
pub mod take_in;
pub mod topic_log;
pub mod topic_reader;
pub mod topic_stats;
pub mod validation;
pub mod within_log;
