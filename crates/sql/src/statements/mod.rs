//! Our statements: read from tokens, with the place of each fault.

pub mod alter_topic;
pub mod create_sink;
pub mod create_source;
pub mod create_topic;
pub mod create_view;
pub mod drop;
pub mod explain;
pub mod options;
pub mod order;
pub mod show;
pub mod split;
pub mod statement;
pub mod topic_options;
pub mod user;
pub mod write;
