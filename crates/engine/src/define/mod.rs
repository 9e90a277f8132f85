//! Definitions: read, planned, decided, made to run all or none.
//! Must not know: a door.

pub mod apply;
pub mod changes;
pub mod decide;
pub mod drops;
pub mod dry_run;
pub mod facts;
pub mod infos;
pub mod kind;
pub mod kinds;
pub mod lag;
pub mod planned;
pub mod planning;
pub mod prepared;
pub mod project_check;
pub mod promises;
pub mod registry;
pub mod replaced;
pub mod retired;
pub mod running;
pub mod sink;
pub mod source;
pub mod texts;
pub mod topic;
pub mod view;
