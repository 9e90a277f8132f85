//! Sessions, views, sources, sinks and the archive: takes definitions and makes them run. Knows no
//! door (REST, Postgres, …): those call `Platform`.
//!
//! Read `platform.rs`, then the way of an event: `ingest.rs` → `pipeline.rs` → `view_store.rs`.

mod apply;
mod archive;
mod backup;
mod body;
mod browse;
mod changes;
pub mod check;
mod compute;
mod coordination;
mod dead_letters;
mod drops;
mod dry_run;
pub mod external_log;
mod feed;
mod groups;
mod history;
mod ingest;
mod interrupt;
mod late_rows;
mod lazy_scan;
mod lock;
mod log_metrics;
mod memory;
mod meta;
mod metrics;
mod once;
mod outbox;
mod partitions;
mod pipeline;
mod pipeline_status;
mod planned;
mod planning;
mod platform;
mod position;
mod produce;
mod project;
pub mod project_check;
pub mod project_test;
mod query;
mod rates;
mod registry;
mod replaced;
pub mod replay;
mod resend;
mod reset_offsets;
mod restore;
mod rows;
mod rules;
mod screen;
mod secrets;
mod show;
mod shown_record;
mod sinks;
mod sources;
mod state_budget;
mod status;
mod subscription;
mod tables;
pub mod text;
mod uncomputable;
mod upkeep;
mod users;
mod view_page;
mod view_store;
mod views;

pub use apply::{ApplyReport, typed_statements};
pub use backup::{BackupBy, BackupFile, BackupInfo, Manifest};
pub use browse::{RecordPage, RecordQuery, RecordsFrom};
pub use catalog::{ScramMechanism, User, Verifier, scram};
pub use connectors::drivers;
pub use dead_letters::{Chosen, DeadLetter, DeadLetterPage, DeadLetterQuery, ShownLetter};
pub use groups::{AssignedTopic, GroupDetail, GroupInfo, GroupMember, GroupPartition};
pub use ingest::{Ingested, Origin, PartitionRange, RefusedLine};
pub use partitions::{DeletedRecords, PartitionInfo};
pub use platform::Platform;
pub use position::Position;
pub use produce::ProducerRecord;
pub use project::{Dashboard, Panel, Project};
pub use query::{Answer, Outcome, Prepared, Rows};
pub use resend::{Resend, Resent};
pub use reset_offsets::{ResetOffsets, ResetPartition, ResetPlan, ResetRefused};
pub use restore::restore;
pub use shown_record::{Shown, ShownBatch, ShownHeader, ShownRecord};
pub use sql::{PostgresStatement, Split, TopicChange, from_postgres, split, walk};
pub use status::{
    ArchiveInfo, ColumnInfo, SinkInfo, SourceInfo, Status, TopicInfo, ViewInfo, ViewText,
    resident_bytes,
};
pub use subscription::{EpochChanges, SnapshotPart, Subscription, Update};
pub use users::Users;
pub use views::{Event, RawTopic, ViewPage, ViewQuery};
