//! What is ready to take the place of what runs, and how to take it back.

use std::sync::Arc;

use catalog::Definition;
use log::TopicConfig;

use crate::define::registry::Entry;
use crate::stores::meta::{NewPipeline, TopicRecord};
use crate::topics::ingest::TopicWriter;

/// What is ready to take the place of what runs.
#[derive(Default)]
pub struct Prepared {
    /// Definitions whose running part stays as it is.
    pub kept: Vec<Definition>,
    /// In the order in which they were planned; none has started.
    pub new: Vec<Entry>,
    pub pipelines: Vec<NewPipeline>,
    pub undo: Vec<Undo>,
}

impl Prepared {
    /// A topic that is among them.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicWriter>> {
        self.new.iter().find(|e| e.name() == name)?.of()
    }

    /// Pipelines that catch up already.
    pub fn has_pipeline(&self, name: &str) -> bool {
        self.new.iter().any(|e| e.name() == name && e.object.pipeline().is_some())
    }
}

/// How to take back what was prepared.
pub enum Undo {
    NewLog(String),
    AlteredLog(String, TopicConfig),
    Record(String, Option<TopicRecord>),
}
