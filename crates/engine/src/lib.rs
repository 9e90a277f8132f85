//! Sessions, views, sources, sinks and the archive: takes definitions and makes them run. Knows no
//! door (REST, Postgres, …): those call `Platform`.
//!
//! Read `platform.rs`, then the way of an event: `ingest.rs` → `pipeline.rs` → `view_store.rs`.

mod apply;
mod archive;
mod body;
mod coordination;
mod dead_letters;
mod drops;
pub mod external_log;
mod feed;
mod history;
mod ingest;
mod late_rows;
mod lock;
mod meta;
mod metrics;
mod once;
mod outbox;
mod pipeline;
mod pipeline_status;
mod planning;
mod platform;
mod project;
pub mod project_test;
mod query;
mod rates;
mod registry;
pub mod replay;
mod rows;
mod rules;
mod screen;
mod show;
mod sinks;
mod sources;
mod status;
mod subscription;
mod tables;
pub mod text;
mod upkeep;
mod users;
mod view_store;
mod views;

pub use apply::ApplyReport;
pub use catalog::{ScramMechanism, User, Verifier, scram};
pub use dead_letters::{DeadLetter, DeadLetterPage, DeadLetterQuery, ShownLetter};
pub use ingest::{Ingested, PartitionRange, RefusedLine};
pub use platform::Platform;
pub use project::{Dashboard, Panel, Project};
pub use query::{Answer, Outcome, Prepared, Rows};
pub use sql::split;
pub use status::{
    ArchiveInfo, ColumnInfo, SinkInfo, SourceInfo, Status, TopicInfo, ViewInfo, ViewText,
    resident_bytes,
};
pub use subscription::{EpochChanges, Subscription, Update};
pub use users::Users;
pub use views::{Event, ViewPage, ViewQuery};
