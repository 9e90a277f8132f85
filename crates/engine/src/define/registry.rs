//! What is defined and running, by name. Guarded by one lock in `Inner`; held only to look up or
//! to swap entries, never over I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use catalog::Definition;
use common::{Error, nearest};
use datafusion::logical_expr::LogicalPlan;

use crate::define::decide::Part;
use crate::flows::pipeline::Pipeline;
use crate::flows::sinks::SinkRunner;
use crate::flows::sources::SourceRunner;
use crate::flows::subscription::Publisher;
use crate::flows::view_store::ViewStore;
use crate::topics::ingest::TopicWriter;

/// A topic in use.
pub struct TopicEntry {
    pub definition: Definition,
    pub part: Part,
    pub writer: Arc<TopicWriter>,
}

/// A running view.
pub struct ViewEntry {
    pub definition: Definition,
    pub part: Part,
    /// For views on this view: its plan over topics.
    pub plan: LogicalPlan,
    pub schema: SchemaRef,
    pub store: Arc<ViewStore>,
    pub publisher: Arc<Publisher>,
    pub pipeline: Pipeline,
}

/// A running sink: a pipeline into an outbox, and its delivery.
pub struct SinkEntry {
    pub definition: Definition,
    pub part: Part,
    pub pipeline: Pipeline,
    pub runner: SinkRunner,
}

/// A running source.
pub struct SourceEntry {
    pub definition: Definition,
    pub part: Part,
    pub runner: SourceRunner,
}

/// Everything by name.
#[derive(Default)]
pub struct Registry {
    pub topics: BTreeMap<String, TopicEntry>,
    pub views: BTreeMap<String, ViewEntry>,
    /// Views that were replaced and serve until their successors in `views` have caught up.
    pub serving: BTreeMap<String, ViewEntry>,
    pub sinks: BTreeMap<String, SinkEntry>,
    pub sources: BTreeMap<String, SourceEntry>,
}

impl Registry {
    /// Every definition, topics first.
    pub fn definitions(&self) -> Vec<&Definition> {
        let topics = self.topics.values().map(|e| &e.definition);
        let sources = self.sources.values().map(|e| &e.definition);
        let views = self.views.values().map(|e| &e.definition);
        let sinks = self.sinks.values().map(|e| &e.definition);
        topics.chain(sources).chain(views).chain(sinks).collect()
    }

    pub fn definition(&self, name: &str) -> Option<&Definition> {
        let topic = self.topics.get(name).map(|e| &e.definition);
        let source = || self.sources.get(name).map(|e| &e.definition);
        let view = || self.views.get(name).map(|e| &e.definition);
        let sink = || self.sinks.get(name).map(|e| &e.definition);
        topic.or_else(source).or_else(view).or_else(sink)
    }

    /// What runs, to be compared with what is wanted.
    pub fn parts(&self) -> Vec<Part> {
        let topics = self.topics.values().map(|e| &e.part);
        let sources = self.sources.values().map(|e| &e.part);
        let views = self.views.values().map(|e| &e.part);
        let sinks = self.sinks.values().map(|e| &e.part);
        topics.chain(sources).chain(views).chain(sinks).cloned().collect()
    }

    /// Names that can be read with SELECT.
    pub fn tables(&self) -> Vec<String> {
        let mut names: Vec<String> = self.topics.keys().chain(self.views.keys()).cloned().collect();
        names.push("dead_letters".into());
        names.sort();
        names
    }
}

/// Error for a view that does not exist.
pub fn unknown_view<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    Error::unknown("view", name, known)
}

/// Error for a topic that does not exist.
pub fn unknown_topic<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.into_iter().collect();
    let e = Error::unknown("topic", name, known.iter().copied());
    match nearest(name, known.iter().copied()) {
        Some(_) => e,
        None => e.hint(
            "define it with CREATE TOPIC, or import a file: watershed import FILE --into TOPIC",
        ),
    }
}
