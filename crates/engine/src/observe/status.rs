//! What runs and how well, shaped as `GET /api/status` and `/api/objects` show it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use common::ProblemDetails;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::define::kind::Kind;
use crate::define::kinds::KINDS;
use crate::define::sink::{self, SinkInfo};
use crate::define::source::{self, SourceInfo};
use crate::define::topic::{self, ArchiveInfo};
use crate::define::view::{self, RunningView, ViewInfo};
use crate::flows::sources::SourceRunner;
use crate::inner::Inner;
use crate::topics::ingest::TopicWriter;
use crate::topics::partitions::{bytes_counter, records_counter};

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Status {
    pub version: &'static str,
    pub project: String,
    pub uptime_s: u64,
    pub ready: bool,
    pub events_per_second: Option<f64>,
    pub events_total: u64,
    pub topics: usize,
    pub views: Vec<ViewInfo>,
    pub sources: Vec<SourceInfo>,
    pub sinks: Vec<SinkInfo>,
    pub archive: Vec<ArchiveInfo>,
    pub dead_letters: u64,
    pub problems: Vec<ProblemDetails>,
    pub ports: Ports,
    pub memory_bytes: Option<u64>,
    pub disk_bytes: u64,
}

/// Where the other doors listen, if they do.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Ports {
    pub pg: Option<u16>,
    pub kafka: Option<u16>,
}

/// An object of any kind: where it stands in the flow of events, and what its kind says of it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ObjectInfo {
    pub kind: String,
    pub name: String,
    /// What it reads, and for a source the topic that it writes into.
    pub depends_on: Vec<String>,
    /// Where it is defined; nothing when it was typed in at run time.
    pub file: Option<String>,
    /// The statement that made it, without its secrets.
    pub statement: String,
    /// As the list of its kind has it.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub info: Value,
}

/// Every object, kind by kind.
pub fn objects(inner: &Arc<Inner>, only: Option<&catalog::Kind>) -> Vec<ObjectInfo> {
    let mut objects = vec![];
    let is_asked = |kind: &&dyn Kind| only.is_none_or(|only| kind.words() == only);
    for kind in KINDS.into_iter().filter(is_asked) {
        let infos = kind.list(inner);
        let registry = inner.registry();
        for info in infos {
            let name = info["name"].as_str().unwrap_or_default();
            let Some(definition) = registry.definition(name) else { continue };
            let spec = connectors::spec_of(&definition.object);
            objects.push(ObjectInfo {
                kind: kind.words().said(),
                name: name.to_string(),
                depends_on: definition.depends_on.iter().map(|(n, _)| n.clone()).collect(),
                file: definition.origin.file.clone(),
                statement: connector::masked(spec, definition.origin.statement()).to_string(),
                info,
            });
        }
    }
    objects
}

/// Takes samples of all counters until the platform closes.
pub async fn run(inner: Arc<Inner>) {
    let mut closing = inner.closing.subscribe();
    loop {
        tokio::select! {
            _ = closing.wait_for(|c| *c) => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => sample_rates(&inner),
        }
    }
}

fn sample_rates(inner: &Inner) {
    let mut counters = vec![];
    {
        let registry = inner.registry();
        let mut total = 0;
        for (name, writer) in registry.all::<Arc<TopicWriter>>() {
            let n = writer.events.load(Ordering::Relaxed);
            total += n;
            counters.push((format!("topic {name}"), n));
            let mut topic_bytes = 0;
            for log in writer.log.partitions() {
                let (records, bytes) = log.appended();
                topic_bytes += bytes;
                counters.push((records_counter(&log), records));
                counters.push((bytes_counter(&log), bytes));
            }
            counters.push((format!("topic bytes {name}"), topic_bytes));
        }
        counters.push(("events".to_string(), total));
        for (name, view) in registry.all::<RunningView>() {
            counters.push((format!("view {name}"), view.pipeline.status().events_total));
        }
        for (name, source) in registry.all::<SourceRunner>() {
            let n = source.shared.events.load(Ordering::Relaxed);
            counters.push((format!("source {name}"), n));
        }
    }
    inner.rates.lock().unwrap_or_else(PoisonError::into_inner).sample(counters);
}

fn ports(inner: &Arc<Inner>) -> Ports {
    let project = &inner.project;
    let is_open = |port: &u16| *port != 0;
    // With a log elsewhere its clients talk to that.
    let kafka = Some(project.config.kafka_port).filter(|_| !project.has_external_log());
    Ports { pg: Some(project.config.pg_port).filter(is_open), kafka: kafka.filter(is_open) }
}

pub fn status(inner: &Arc<Inner>) -> Status {
    let topics = crate::topics::topic_stats::topic_stats(inner);
    let events = |(_, w): (&str, &Arc<TopicWriter>)| w.events.load(Ordering::Relaxed);
    let events_total = inner.registry().all().map(events).sum();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        project: inner.project.name(),
        uptime_s: inner.started.elapsed().as_secs(),
        ready: crate::observe::problems::ready(inner).is_ok(),
        events_per_second: inner.rate("events"),
        events_total,
        topics: topics.len(),
        views: view::figures_of(inner),
        sources: source::sources(inner),
        sinks: sink::sinks(inner),
        archive: topic::archives(inner),
        ports: ports(inner),
        dead_letters: inner.dead_letters.total(),
        problems: crate::observe::problems::problems(inner),
        memory_bytes: crate::stores::memory::resident_bytes(),
        disk_bytes: topics.values().map(|t| t.bytes).sum(),
    }
}
