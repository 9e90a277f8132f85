//! What is ready to take the place of what runs, and how to take it back.

use std::collections::BTreeMap;

use catalog::Definition;
use datafusion::logical_expr::LogicalPlan;
use log::TopicConfig;

use crate::define::decide::Part;
use crate::define::registry::{TopicEntry, ViewEntry};
use crate::flows::pipeline::Pipeline;
use crate::flows::sinks::SinkMade;
use crate::flows::sources::SourceMade;
use crate::stores::meta::{NewPipeline, TopicRecord};

/// What is ready to take the place of what runs.
#[derive(Default)]
pub struct Prepared {
    /// Definitions whose running part stays as it is.
    pub kept: Vec<Kept>,
    pub topics: BTreeMap<String, TopicEntry>,
    pub views: BTreeMap<String, ViewEntry>,
    pub sinks: BTreeMap<String, NewSink>,
    /// Sinks that go on with another token, or under other rules.
    pub reconnected: BTreeMap<String, (Part, SinkMade)>,
    pub sources: BTreeMap<String, NewSource>,
    pub pipelines: Vec<NewPipeline>,
    pub undo: Vec<Undo>,
}

pub struct Kept {
    pub definition: Definition,
    /// Of a view, for views on it.
    pub plan: Option<LogicalPlan>,
}

pub struct NewSink {
    pub definition: Definition,
    pub part: Part,
    pub pipeline: Pipeline,
    pub made: SinkMade,
}

pub struct NewSource {
    pub definition: Definition,
    pub part: Part,
    pub made: SourceMade,
}

/// How to take back what was prepared.
pub enum Undo {
    NewLog(String),
    AlteredLog(String, TopicConfig),
    Record(String, Option<TopicRecord>),
}
