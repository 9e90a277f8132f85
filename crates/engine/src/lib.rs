//! Takes definitions and makes them run. Knows no door (REST, Postgres, Kafka): those call
//! `Session`, which is what one principal may do with a `Platform`.
//!
//! A room is a folder, and its `mod.rs` says what it owns. Read `inner.rs`, then the way of an
//! event: `topics/take_in.rs` → `topics/ingest.rs` → `flows/pipeline.rs` → `flows/view_store.rs`.

mod access;
mod define;
mod flows;
mod groups;
mod inner;
mod observe;
mod platform;
mod query;
mod session;
mod stores;
mod testing;
mod topics;

#[cfg(test)]
mod golden_tests;

pub use access::principal::{Action, Principal};
pub use define::{project_check, promises};
pub use stores::{check, text};
pub use testing::{project_test, replay};

pub use access::users::Users;
pub use catalog::kind::{KINDS, Kind};
pub use catalog::{ScramMechanism, User, Verifier, scram};
pub use connectors::drivers;
pub use define::changes::ApplyReport;
pub use define::facts::{ColumnInfo, columns};
pub use define::infos::{
    ArchiveInfo, OperatorInfo, Ports, SinkInfo, SourceInfo, Status, TopicInfo, ViewInfo, ViewText,
};
pub use define::texts::typed_statements;
pub use flows::subscription::{EpochChanges, SnapshotPart, Subscription, Update};
pub use groups::consumer_groups::{
    AssignedTopic, GroupDetail, GroupInfo, GroupMember, GroupPartition,
};
pub use groups::reset_offsets::{ResetOffsets, ResetPartition, ResetPlan, ResetRefused};
pub use observe::status::ObjectInfo;
pub use platform::Platform;
pub use query::outcome::{Answer, Outcome, Rows, Written};
pub use query::run::Prepared;
pub use query::view_page::{ViewPage, ViewQuery};
pub use session::Session;
pub use sql::Verb;
pub use sql::{PostgresStatement, Split, TopicChange, from_postgres, split, walk};
pub use stores::backup::{BackupBy, BackupFile, BackupInfo, Manifest};
pub use stores::memory::resident_bytes;
pub use stores::project::{Dashboard, Panel, Project};
pub use stores::restore::restore;
pub use topics::browse::{RecordPage, RecordQuery, RecordsFrom};
pub use topics::dead_letters::{Chosen, DeadLetter, DeadLetterPage, DeadLetterQuery, ShownLetter};
pub use topics::ingest::{Ingested, Origin, PartitionRange, RefusedLine};
pub use topics::partitions::{DeletedRecords, PartitionInfo};
pub use topics::position::Position;
pub use topics::produce::ProducerRecord;
pub use topics::raw_topic::RawTopic;
pub use topics::read::Event;
pub use topics::resend::{Resend, Resent};
pub use topics::shown_record::{Shown, ShownBatch, ShownHeader, ShownRecord};
