//! Topics as a kind of object: the log behind one, its columns, and what SHOW and REST tell of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::ArrayRef;
use catalog::{Definition, Object, Topic};
use common::{Error, Result, fail_point};
use futures::FutureExt;
use futures::future::BoxFuture;
use log::TopicConfig;

use crate::define::decide::{Change, Part};
use crate::define::facts::{Described, Family, columns, numbers, options, texts};
use crate::define::infos::{ArchiveInfo, Status, TopicInfo, WatermarkInfo};
use crate::define::kind::{AsStored, Kind, Plan, Planned};
use crate::define::planning::{Checks, Planning};
use crate::define::prepared::{Prepared, Undo};
use crate::define::registry::{Entry, Registry};
use crate::define::running::Running;
use crate::inner::Inner;
use crate::stores::meta::{Meta, TopicRecord};
use crate::stores::text::rfc3339;
use crate::topics::ingest::TopicWriter;
use crate::topics::partitions::{bytes_counter, records_counter};
use crate::topics::topic_log::{is_empty, log_config};
use crate::topics::topic_stats::{TopicStats, topic_stats};
use crate::topics::validation;

pub struct Topics;

impl Kind for Topics {
    fn words(&self) -> &'static catalog::Kind {
        &catalog::kind::TOPIC
    }

    fn plan<'a>(
        &'a self,
        planning: &'a mut Planning,
        definition: Definition,
        as_stored: AsStored<'a>,
    ) -> BoxFuture<'a, Plan> {
        std::future::ready(plan(planning, definition, as_stored)).boxed()
    }

    fn list(&self, inner: &Arc<Inner>) -> Vec<serde_json::Value> {
        topics(inner).iter().map(|t| serde_json::json!(t)).collect()
    }

    fn shown(&self, inner: &Arc<Inner>) -> Vec<(&'static str, ArrayRef)> {
        let topics = topics(inner);
        vec![
            ("name", texts(topics.iter().map(|t| t.name.as_str()))),
            ("partitions", numbers(topics.iter().map(|t| t.partitions as u64))),
            ("records", numbers(topics.iter().map(|t| t.records))),
            ("bytes", numbers(topics.iter().map(|t| t.bytes))),
            ("key", options(topics.iter().map(|t| t.key.clone()))),
        ]
    }

    fn figures(&self, inner: &Arc<Inner>) -> Vec<Family> {
        figures(inner)
    }

    fn status(&self, inner: &Arc<Inner>, to: &mut Status) {
        status(inner, to);
    }

    fn counters(&self, registry: &Registry) -> Vec<(String, u64)> {
        counters(registry)
    }

    fn start(&self, inner: &Inner, entry: &mut Entry) {
        let Some(writer) = entry.of::<Arc<TopicWriter>>() else { return };
        inner.validation.watch(writer);
        if let Some(kafka) = &inner.external {
            kafka.follow(&writer.log);
        }
    }

    fn outlives_its_definition(&self) -> bool {
        true
    }

    fn remove<'a>(&self, inner: &'a Arc<Inner>, name: &'a str) -> BoxFuture<'a, Result<()>> {
        remove(inner, name).boxed()
    }
}

impl Running for Arc<TopicWriter> {
    fn columns(&self) -> Vec<Described> {
        let topic = &self.topic;
        let default = |column: &str| {
            let declared = topic.columns.iter().find(|c| c.name == column)?;
            Some(format!("default {}", declared.default.as_ref()?))
        };
        let comment = |column: &str| match &topic.watermark {
            _ if default(column).is_some() => default(column).unwrap_or_default(),
            _ if topic.key.as_deref() == Some(column) => "record key".to_string(),
            Some(w) if w.column == column => {
                format!("event time, watermark {} ms behind", w.delay_us / 1_000)
            }
            _ if column.starts_with('_') => "hidden".to_string(),
            _ => String::new(),
        };
        let schema = crate::topics::rows::full_schema(topic);
        schema.fields().iter().map(|f| Described::new(f, comment(f.name()))).collect()
    }
}

struct PlannedTopic {
    definition: Definition,
    topic: Topic,
    checks: Checks,
}

fn plan(planning: &mut Planning, definition: Definition, as_stored: AsStored<'_>) -> Plan {
    let Object::Topic(topic) = definition.object.clone() else {
        return Err(vec![Error::internal("not a topic")]);
    };
    let place = definition.origin.whole();
    let stored = as_stored(&topic).map_err(|e| vec![e.at(place)])?;
    let checks = planning.add_topic(&definition, &stored)?;
    Ok(Box::new(PlannedTopic { definition, topic, checks }))
}

impl Planned for PlannedTopic {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn part(&self, _inner: &Inner) -> Result<Part> {
        let (topic, kind) = (&self.topic, &catalog::kind::TOPIC);
        let part = Part::new(kind, &topic.name, format!("{topic:?}"));
        Ok(Part { partitions: topic.partitions, ..part })
    }

    fn prepare<'a>(
        self: Box<Self>,
        inner: &'a Arc<Inner>,
        _change: Change,
        to: &'a mut Prepared,
    ) -> BoxFuture<'a, Result<()>> {
        std::future::ready(prepare(*self, inner, to)).boxed()
    }
}

fn prepare(planned: PlannedTopic, inner: &Arc<Inner>, to: &mut Prepared) -> Result<()> {
    let part = planned.part(inner)?;
    let PlannedTopic { definition, topic, checks } = planned;
    let external = &inner.external;
    if let Some(kafka) = external {
        kafka.create(&topic.name, &log_config(&topic))?;
    }
    let log = open_log(inner, &topic.name, log_config(&topic), &mut to.undo)?;
    let meta = Meta::new(&inner.kv)?;
    let mut record = TopicRecord::of(&topic);
    let known = meta.topic(&topic.name)?;
    if let Some(old) = known.as_ref().filter(|_| !is_empty(&log)) {
        record.succeed(old);
    }
    record.log_id = Some(log.id().to_string());
    if known.as_ref() != Some(&record) {
        to.undo.push(Undo::Record(topic.name.clone(), known));
        meta.put_topic(&record)?;
    }
    let reader = inner.env.readers.topic(&topic.name)?;
    let writer = Arc::new(TopicWriter::new(topic, log, reader, checks, external.clone()));
    validation::catch_up(&writer, &inner.ingest)?;
    to.new.push(Entry::new(definition, part, writer));
    Ok(())
}

/// The topic's log, made when it is not there.
fn open_log(
    inner: &Arc<Inner>,
    name: &str,
    config: TopicConfig,
    undo: &mut Vec<Undo>,
) -> Result<Arc<log::Topic>> {
    let Ok(log) = inner.log.topic(name) else {
        let log = inner.log.create_topic(name, config)?;
        undo.push(Undo::NewLog(name.to_string()));
        return Ok(log);
    };
    if config.partitions < log.config().partitions && is_empty(&log) {
        // Nothing is in it: made anew it is the same again.
        inner.log.drop_topic(name)?;
        return inner.log.create_topic(name, config);
    }
    if log.config() != config {
        undo.push(Undo::AlteredLog(name.to_string(), log.config()));
        inner.log.alter(name, config)?;
    }
    Ok(log)
}

pub fn take_back(inner: &Inner, step: Undo) -> Result<()> {
    match step {
        Undo::NewLog(name) => {
            if let Ok(log) = inner.log.topic(&name) {
                inner.env.readers.forget(log.id())?;
            }
            inner.log.drop_topic(&name)
        }
        Undo::AlteredLog(name, config) => inner.log.alter(&name, config).map(|_| ()),
        Undo::Record(_, Some(old)) => Meta::new(&inner.kv)?.put_topic(&old),
        Undo::Record(name, None) => Meta::new(&inner.kv)?.topic_dropped(&name),
    }
}

/// Removes a topic's events, archive and records. Its name is free afterwards.
async fn remove(inner: &Arc<Inner>, name: &str) -> Result<()> {
    let _archiving = inner.archive.turn().await;
    if let Some(kafka) = &inner.external {
        kafka.forget(name);
    }
    if let Ok(log) = inner.log.topic(name) {
        // Its id never comes again: what a crash leaves of this is waste, not harm.
        inner.env.readers.forget(log.id())?;
        inner.log.drop_topic(name)?;
    }
    inner.coordination.groups.topic_dropped(name)?;
    fail_point("drop.log");
    inner.lake.drop_table(name).await?;
    fail_point("drop.lake");
    inner.archive.forget(name);
    inner.producers.forget(&crate::topics::once::import_producer(name, ""))?;
    Meta::new(&inner.kv)?.topic_dropped(name)
}

pub fn topics(inner: &Arc<Inner>) -> Vec<TopicInfo> {
    // Looking at the logs may wait for the disk: not under the registry's lock.
    let known: Vec<_> = {
        let registry = inner.registry();
        let of = |(name, writer): (&str, &Arc<TopicWriter>)| {
            let file = registry.definition(name).and_then(|d| d.origin.file.clone());
            (writer.clone(), file)
        };
        registry.all::<Arc<TopicWriter>>().map(of).collect()
    };
    known.into_iter().map(|(writer, file)| info(inner, &writer, file)).collect()
}

pub fn topic(inner: &Arc<Inner>, name: &str) -> Result<TopicInfo> {
    let writer = inner.topic_writer(name)?;
    let file = inner.registry().definition(name).and_then(|d| d.origin.file.clone());
    Ok(info(inner, &writer, file))
}

fn info(inner: &Arc<Inner>, writer: &TopicWriter, file: Option<String>) -> TopicInfo {
    let topic = &writer.topic;
    let name = &topic.name;
    let stats = TopicStats::of(&writer.log);
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

/// How far each archived topic has come.
pub fn archives(inner: &Arc<Inner>) -> Vec<ArchiveInfo> {
    let info = |(name, writer): (&str, &Arc<TopicWriter>)| {
        if !writer.topic.archive {
            return None;
        }
        let archived = inner.archive.of(name).unwrap_or_default();
        let sum: i64 = archived.values().map(|o| o.0).sum();
        let end: i64 = writer.log.partitions().iter().map(|p| p.high_watermark().0).sum();
        let lag_events = (end - sum).max(0) as u64;
        Some(ArchiveInfo { topic: name.to_string(), archived_offset_sum: sum, lag_events })
    };
    inner.registry().all::<Arc<TopicWriter>>().filter_map(info).collect()
}

fn status(inner: &Arc<Inner>, to: &mut Status) {
    let stats = topic_stats(inner);
    let events = |(_, w): (&str, &Arc<TopicWriter>)| w.events.load(Ordering::Relaxed);
    to.events_total = inner.registry().all().map(events).sum();
    to.topics = stats.len();
    to.disk_bytes = stats.values().map(|t| t.bytes).sum();
    to.archive = archives(inner);
}

fn counters(registry: &Registry) -> Vec<(String, u64)> {
    let (mut counters, mut total) = (vec![], 0);
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
    counters
}

fn figures(inner: &Arc<Inner>) -> Vec<Family> {
    let writers: Vec<Arc<TopicWriter>> =
        inner.registry().all::<Arc<TopicWriter>>().map(|(_, w)| w.clone()).collect();
    let count = |of: fn(&TopicWriter) -> &AtomicU64| {
        let one =
            |w: &Arc<TopicWriter>| (w.topic.name.clone(), of(w).load(Ordering::Relaxed) as f64);
        writers.iter().map(one).collect::<Vec<_>>()
    };
    let stats: Vec<_> =
        writers.iter().map(|w| (w.topic.name.clone(), TopicStats::of(&w.log))).collect();
    let stat = |of: fn(&TopicStats) -> u64| {
        stats.iter().map(|(name, s)| (name.clone(), of(s) as f64)).collect::<Vec<_>>()
    };
    let archives = archives(inner).into_iter().map(|a| (a.topic, a.lag_events as f64));
    vec![
        Family::counter(
            "watershed_topic_events_total",
            "Events taken in since the start.",
            count(|w| &w.events),
        ),
        Family::counter(
            "watershed_topic_refused_total",
            "Events refused since the start.",
            count(|w| &w.refused),
        ),
        Family::gauge("watershed_topic_records", "Records in the log.", stat(|s| s.records)),
        Family::gauge("watershed_topic_bytes", "Bytes in the log.", stat(|s| s.bytes)),
        Family::gauge("watershed_archive_lag_events", "Durable events not yet archived.", archives),
    ]
}
