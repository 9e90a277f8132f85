//! What runs and how well, shaped as `GET /api/status`, `/api/topics` and `/api/views` show it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use common::Result;
use log::CleanupPolicy;
use serde::Serialize;
use serde_json::Value;

use crate::define::registry::{Registry, SinkEntry, SourceEntry, TopicEntry, ViewEntry};
use crate::flows::pipeline::Spec;
use crate::flows::view_store::ViewStore;
use crate::inner::Inner;
use crate::stores::text::rfc3339;
use crate::topics::ingest::TopicWriter;
use crate::topics::partitions::{bytes_counter, records_counter};

#[derive(Clone, Debug, Serialize)]
pub struct ColumnInfo {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: String,
    pub nullable: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct WatermarkInfo {
    pub column: String,
    pub delay_us: i64,
}

#[derive(Clone, Debug, Serialize)]
pub struct TopicInfo {
    pub name: String,
    pub format: String,
    pub partitions: i32,
    pub columns: Vec<ColumnInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<WatermarkInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<u64>,
    /// Kafka's `cleanup.policy`: delete, compact, or both.
    pub cleanup_policy: CleanupPolicy,
    pub records: u64,
    pub bytes: u64,
    pub events_per_second: Option<f64>,
    pub bytes_per_second: Option<f64>,
    /// When the newest event in the log arrived.
    pub last_arrived: Option<String>,
    pub file: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ViewInfo {
    pub name: String,
    /// What does not change while a view runs is not in the status, which is sent each second.
    #[serde(flatten)]
    pub text: Option<ViewText>,
    pub key: Vec<String>,
    pub state: String,
    /// It is made anew, and readers get the rows of before until it has caught up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub serves_previous: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    pub epoch: u64,
    pub rows: u64,
    pub lag_events: u64,
    pub freshness_ms: Option<i64>,
    pub events_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<String>,
    #[serde(skip)]
    pub watermark_us: Option<i64>,
    pub state_bytes: u64,
    pub depends_on: Vec<String>,
    pub file: Option<String>,
}

/// How a view is defined.
#[derive(Clone, Debug, Serialize)]
pub struct ViewText {
    pub sql: String,
    pub columns: Vec<ColumnInfo>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SourceInfo {
    pub name: String,
    pub connector: String,
    pub into: String,
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    pub events_per_second: Option<f64>,
    pub events_total: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct SinkInfo {
    pub name: String,
    pub connector: String,
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    pub rows_total: u64,
    pub delivery: String,
    pub lag_events: u64,
    pub waiting_epochs: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct ArchiveInfo {
    pub topic: String,
    pub archived_offset_sum: i64,
    pub lag_events: u64,
}

#[derive(Clone, Debug, Serialize)]
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
    pub problems: Vec<Value>,
    pub ports: Ports,
    pub memory_bytes: Option<u64>,
    pub disk_bytes: u64,
}

/// Where the other doors listen, if they do.
#[derive(Clone, Debug, Serialize)]
pub struct Ports {
    pub pg: Option<u16>,
    pub kafka: Option<u16>,
}

fn columns(schema: &arrow::datatypes::Schema) -> Vec<ColumnInfo> {
    let info = |f: &Arc<arrow::datatypes::Field>| ColumnInfo {
        name: f.name().clone(),
        data_type: formats::types::sql_name(f.data_type()),
        nullable: f.is_nullable(),
    };
    schema.fields().iter().map(info).collect()
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
        for (name, topic) in &registry.topics {
            let n = topic.writer.events.load(Ordering::Relaxed);
            total += n;
            counters.push((format!("topic {name}"), n));
            let mut topic_bytes = 0;
            for log in topic.writer.log.partitions() {
                let (records, bytes) = log.appended();
                topic_bytes += bytes;
                counters.push((records_counter(&log), records));
                counters.push((bytes_counter(&log), bytes));
            }
            counters.push((format!("topic bytes {name}"), topic_bytes));
        }
        counters.push(("events".to_string(), total));
        for (name, view) in &registry.views {
            counters.push((format!("view {name}"), view.pipeline.status().events_total));
        }
        for (name, source) in &registry.sources {
            let n = source.runner.shared.events.load(Ordering::Relaxed);
            counters.push((format!("source {name}"), n));
        }
    }
    inner.rates.lock().unwrap_or_else(PoisonError::into_inner).sample(counters);
}

pub fn topics(inner: &Arc<Inner>) -> Vec<TopicInfo> {
    let of = |entry: &TopicEntry| (entry.writer.clone(), entry.definition.origin.file.clone());
    // Looking at the logs may wait for the disk: not under the registry's lock.
    let known: Vec<_> = inner.registry().topics.values().map(of).collect();
    known.into_iter().map(|(writer, file)| topic_info(inner, &writer, file)).collect()
}

pub fn topic(inner: &Arc<Inner>, name: &str) -> Result<TopicInfo> {
    let writer = inner.topic_writer(name)?;
    let file = inner.registry().definition(name).and_then(|d| d.origin.file.clone());
    Ok(topic_info(inner, &writer, file))
}

fn topic_info(inner: &Arc<Inner>, writer: &TopicWriter, file: Option<String>) -> TopicInfo {
    let topic = &writer.topic;
    let name = &topic.name;
    let stats = crate::topics::topic_stats::TopicStats::of(&writer.log);
    let config = writer.log.config();
    TopicInfo {
        name: name.clone(),
        format: topic.format.name().into(),
        partitions: topic.partitions,
        columns: columns(&topic.schema()),
        watermark: topic
            .watermark
            .as_ref()
            .map(|w| WatermarkInfo { column: w.column.clone(), delay_us: w.delay_us }),
        key: topic.key.clone(),
        retention_ms: config.retention_us.map(|us| us / 1_000),
        retention_bytes: config.retention_bytes,
        cleanup_policy: config.cleanup_policy,
        records: stats.records,
        bytes: stats.bytes,
        events_per_second: inner.rate(&format!("topic {name}")),
        bytes_per_second: inner.rate(&format!("topic bytes {name}")),
        last_arrived: writer.last_arrived().map(rfc3339),
        file,
    }
}

/// All views, with their texts.
pub fn views(inner: &Arc<Inner>) -> Vec<ViewInfo> {
    let mut views = view_figures(inner);
    let registry = inner.registry();
    for view in &mut views {
        view.text = registry.views.get(&view.name).map(|entry| ViewText {
            sql: entry.definition.origin.statement().to_string(),
            columns: columns(&entry.schema),
        });
    }
    views
}

fn view_figures(inner: &Arc<Inner>) -> Vec<ViewInfo> {
    let info = |(name, entry): (&String, &ViewEntry), registry: &Registry| {
        let status = entry.pipeline.status();
        let key = match entry.store.key() {
            graph::OutputKey::Columns(c) => {
                c.iter().map(|c| entry.schema.field(*c).name().clone()).collect()
            }
            _ => vec![],
        };
        ViewInfo {
            name: name.clone(),
            text: None,
            key,
            state: status.state.to_string(),
            serves_previous: registry.previous(name).is_some(),
            error: status.error,
            epoch: status.epoch,
            rows: status.rows,
            lag_events: 0,
            freshness_ms: status.freshness_ms,
            events_per_second: inner.rate(&format!("view {name}")),
            watermark: status.watermark.map(rfc3339),
            watermark_us: status.watermark,
            state_bytes: status.state_bytes,
            depends_on: entry.definition.depends_on.iter().map(|(n, _)| n.clone()).collect(),
            file: entry.definition.origin.file.clone(),
        }
    };
    let known: Vec<_> = {
        let registry = inner.registry();
        let one = |view: (&String, &ViewEntry)| {
            let (spec, store) = (view.1.pipeline.spec.clone(), view.1.store.clone());
            (info(view, &registry), spec, store)
        };
        registry.views.iter().map(one).collect()
    };
    let with_stored = |(mut info, spec, store): (ViewInfo, Arc<Spec>, Arc<ViewStore>)| {
        // First what is committed: an event that comes in between is then counted as lag.
        info.lag_events = lag(inner, &spec);
        if let Ok(meta) = store.kv().snapshot().and_then(|s| store.meta(&s)) {
            (info.epoch, info.rows) = (meta.epoch.0, meta.rows);
        }
        info
    };
    known.into_iter().map(with_stored).collect()
}

/// Durable events that no committed epoch has, whatever the pipeline is doing: one that is
/// still starting is behind by all that came since it stopped.
fn lag(inner: &Arc<Inner>, spec: &Spec) -> u64 {
    let stored = state::load_checkpoint(&inner.kv, &spec.id).ok().flatten();
    let stored = stored.filter(|c| c.fingerprint == spec.fingerprint).unwrap_or_default();
    let logs = spec.topics.keys().filter_map(|name| Some((name, inner.log.topic(name).ok()?)));
    let behind = |(name, log): (&String, Arc<log::Topic>)| -> u64 {
        let partitions = log.partitions();
        let behind = partitions.iter().map(|p| {
            let taken = stored.offsets.get(&(name.clone(), p.id())).map_or(0, |o| o.0);
            (p.high_watermark().0 - taken).max(0) as u64
        });
        behind.sum()
    };
    logs.map(behind).sum()
}

fn sources(inner: &Arc<Inner>) -> Vec<SourceInfo> {
    let registry = inner.registry();
    let info = |(name, entry): (&String, &SourceEntry)| {
        let shared = &entry.runner.shared;
        let error = shared.error();
        let (connector, into) = match &entry.definition.object {
            catalog::Object::Source(s) => (s.connector.clone(), s.into.clone()),
            _ => (String::new(), String::new()),
        };
        let state = match &error {
            Some(_) if shared.stopped.load(Ordering::Relaxed) => "failed",
            Some(_) => "failing",
            None if shared.finished.load(Ordering::Relaxed) => "finished",
            None => "running",
        };
        SourceInfo {
            name: name.clone(),
            connector,
            into,
            state,
            error,
            events_per_second: inner.rate(&format!("source {name}")),
            events_total: shared.events.load(Ordering::Relaxed),
        }
    };
    registry.sources.iter().map(info).collect()
}

fn sinks(inner: &Arc<Inner>) -> Vec<SinkInfo> {
    let info = |(name, entry): (&String, &SinkEntry)| {
        let shared = &entry.runner.shared;
        let error = shared.error();
        let status = entry.pipeline.status();
        let connector = match &entry.definition.object {
            catalog::Object::Sink(s) => s.connector.clone(),
            _ => String::new(),
        };
        let info = SinkInfo {
            name: name.clone(),
            connector,
            state: match &error {
                Some(_) if shared.stopped.load(Ordering::Relaxed) => "failed",
                Some(_) => "failing",
                None => status.state,
            },
            error: error.or(status.error),
            rows_total: shared.rows.load(Ordering::Relaxed),
            delivery: entry.runner.delivery.to_string(),
            lag_events: 0,
            waiting_epochs: entry.runner.outbox.waiting(),
        };
        (info, entry.pipeline.spec.clone())
    };
    let known: Vec<_> = inner.registry().sinks.iter().map(info).collect();
    let with_lag = |(info, spec): (SinkInfo, Arc<Spec>)| {
        let lag_events = lag(inner, &spec);
        SinkInfo { lag_events, ..info }
    };
    known.into_iter().map(with_lag).collect()
}

fn archive(inner: &Arc<Inner>) -> Vec<ArchiveInfo> {
    let info = |(name, entry): (&String, &TopicEntry)| {
        if !entry.writer.topic.archive {
            return None;
        }
        let archived = inner.archive.of(name).unwrap_or_default();
        let sum: i64 = archived.values().map(|o| o.0).sum();
        let end: i64 = entry.writer.log.partitions().iter().map(|p| p.high_watermark().0).sum();
        let lag_events = (end - sum).max(0) as u64;
        Some(ArchiveInfo { topic: name.clone(), archived_offset_sum: sum, lag_events })
    };
    inner.registry().topics.iter().filter_map(info).collect()
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
    let events = |t: &TopicEntry| t.writer.events.load(Ordering::Relaxed);
    let events_total = inner.registry().topics.values().map(events).sum();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        project: inner.project.name(),
        uptime_s: inner.started.elapsed().as_secs(),
        ready: crate::observe::problems::ready(inner).is_ok(),
        events_per_second: inner.rate("events"),
        events_total,
        topics: topics.len(),
        views: view_figures(inner),
        sources: sources(inner),
        sinks: sinks(inner),
        archive: archive(inner),
        ports: ports(inner),
        dead_letters: inner.dead_letters.total(),
        problems: crate::observe::problems::problems(inner),
        memory_bytes: crate::stores::memory::resident_bytes(),
        disk_bytes: topics.values().map(|t| t.bytes).sum(),
    }
}
