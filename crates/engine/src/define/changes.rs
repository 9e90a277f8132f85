//! Puts planned definitions into effect. All that can fail is prepared beside what runs: logs, new
//! pipelines, connectors, the catalog's text. Only then the registry is swapped under its lock, the
//! old is stopped, and last its state is removed. A fault before the swap is undone, and what ran
//! has not noticed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use catalog::{Definition, Object};
use common::{Epoch, Error, Result, fail_point};
use connector::Role;
use log::TopicConfig;
use serde::Serialize;

use crate::access::secrets::{Connection, connection, outside_of};
use crate::define::decide::{Change, Part, decide};
use crate::define::planned::Planned;
use crate::define::planning::{Checks, PlannedQuery};
use crate::define::registry::{Registry, SinkEntry, SourceEntry, TopicEntry, ViewEntry};
use crate::define::retired::remove_retired;
use crate::flows::outbox::Outbox;
use crate::flows::pipeline::{Pipeline, Spec, Target};
use crate::flows::sinks::{SinkMade, SinkRunner};
use crate::flows::sources::{SourceMade, SourceRunner};
use crate::flows::subscription::Publisher;
use crate::flows::uncomputable::OnError;
use crate::flows::view_store::ViewStore;
use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::stores::meta::{Meta, NewPipeline, TopicRecord};
use crate::topics::ingest::TopicWriter;
use crate::topics::topic_log::{is_empty, log_config};

/// What an `apply` did, by name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ApplyReport {
    pub created: Vec<String>,
    pub changed: Vec<String>,
    pub dropped: Vec<String>,
    pub kept: Vec<String>,
    /// Topics that nothing defines any more; their events stay until DROP TOPIC.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_over: Vec<String>,
}

/// What is ready to take the place of what runs.
#[derive(Default)]
struct Prepared {
    /// Definitions whose running part stays as it is.
    kept: Vec<Kept>,
    topics: BTreeMap<String, TopicEntry>,
    views: BTreeMap<String, ViewEntry>,
    sinks: BTreeMap<String, NewSink>,
    /// Sinks that go on with another token, or under other rules.
    reconnected: BTreeMap<String, (Connection, SinkMade)>,
    sources: BTreeMap<String, NewSource>,
    pipelines: Vec<NewPipeline>,
    undo: Vec<Undo>,
}

struct Kept {
    definition: Definition,
    /// Of a view, for views on it.
    plan: Option<datafusion::logical_expr::LogicalPlan>,
}

struct NewSink {
    definition: Definition,
    print: String,
    connection: Connection,
    pipeline: Pipeline,
    made: SinkMade,
}

struct NewSource {
    definition: Definition,
    connection: Connection,
    made: SourceMade,
}

/// How to take back what was prepared.
enum Undo {
    NewLog(String),
    AlteredLog(String, TopicConfig),
    Record(String, Option<TopicRecord>),
}

/// What ran before and does no longer.
struct Old {
    sources: Vec<(String, SourceEntry)>,
    sinks: Vec<SinkEntry>,
    views: Vec<ViewEntry>,
}

/// Makes the planned definitions run in place of those that do; `save` writes the catalog.
pub(crate) async fn put_into_effect(
    inner: &Arc<Inner>,
    planned: Vec<Planned>,
    rebuild: Option<&str>,
    save: &(dyn Fn(&[&Definition]) -> Result<()> + Send + Sync),
) -> Result<ApplyReport> {
    let retired = inner.clone();
    // What an earlier attempt left must not be taken for a new pipeline's state.
    blocking(move || remove_retired(&retired)).await?;
    let wanted = planned.iter().map(|p| wanted_part(inner, p)).collect::<Result<Vec<Part>>>()?;
    let running = inner.registry().parts();
    let (decided, ended) = decide(&running, &wanted, rebuild);
    let mut report = report_of(&wanted, &decided, &ended);
    let definitions: Vec<Definition> = planned.iter().map(|p| p.definition().clone()).collect();
    let mut prepared = Prepared::default();
    let ready = match prepare_all(inner, planned, &decided, rebuild, &mut prepared).await {
        Ok(()) => make_durable(inner, &prepared, &ended, &definitions, save),
        Err(e) => Err(e),
    };
    if let Err(e) = ready {
        take_back(inner, prepared).await;
        return Err(e);
    }
    fail_point("apply.prepared");
    let replacing = {
        let registry = inner.registry();
        let is_there = |(name, _): &(&String, _)| registry.readable(name).is_some();
        prepared.views.iter().filter(is_there).map(|(_, v)| &v.pipeline).collect::<Vec<_>>()
    };
    crate::define::replaced::wait_shortly(&replacing).await;
    let old = swap(inner, prepared, &ended).await;
    remove(inner, old, &ended).await;
    report.left_over = ended.iter().filter(|p| p.kind == "TOPIC").map(|p| p.name.clone()).collect();
    if !inner.registry().serving.is_empty() {
        tokio::spawn(crate::define::replaced::end_replaced(inner.clone()));
    }
    Ok(report)
}

/// By name, what is to be done.
fn report_of(wanted: &[Part], decided: &[Change], ended: &[&Part]) -> ApplyReport {
    let mut report = ApplyReport::default();
    // One that is of another kind now has changed.
    let had_name = |part: &Part| ended.iter().any(|e| e.name == part.name);
    for (part, change) in wanted.iter().zip(decided) {
        let list = match change {
            Change::Keep => &mut report.kept,
            Change::Make if !had_name(part) => &mut report.created,
            Change::Make | Change::Replace | Change::Reconnect => &mut report.changed,
        };
        list.push(part.name.clone());
    }
    let is_again = |part: &&&Part| wanted.iter().any(|w| w.name == part.name);
    report.dropped = ended.iter().filter(|p| !is_again(p)).map(|p| p.name.clone()).collect();
    report
}

/// What a definition stands for.
fn wanted_part(inner: &Arc<Inner>, planned: &Planned) -> Result<Part> {
    let definition = planned.definition();
    let part = |print: String, topics: Vec<String>| Part {
        kind: definition.object.kind(),
        name: definition.object.name().to_string(),
        print,
        connection: 0,
        topics,
        partitions: 0,
    };
    Ok(match (planned, &definition.object) {
        (Planned::View { query, .. }, Object::View(view)) => {
            let print = format!("{}{}", query.fingerprint, view_options(view));
            part(print, query.topics.keys().cloned().collect())
        }
        (Planned::Sink { query, .. }, Object::Sink(sink)) => {
            let connection = connection(&inner.rules, definition)?.digest();
            let print = format!("{}{}", query.fingerprint, sink_options(sink)?);
            Part { connection, ..part(print, query.topics.keys().cloned().collect()) }
        }
        (_, Object::Source(source)) => {
            let connection = connection(&inner.rules, definition)?.digest();
            Part { connection, ..part(format!("{source:?}"), vec![source.into.clone()]) }
        }
        (_, Object::Topic(topic)) => {
            Part { partitions: topic.partitions, ..part(format!("{topic:?}"), vec![]) }
        }
        (_, other) => {
            return Err(Error::internal(format!("'{}' is planned as another kind", other.name())));
        }
    })
}

/// What of a view decides whether it is the same, beside its plan.
fn view_options(view: &catalog::View) -> &'static str {
    match OnError::of(&view.options) {
        OnError::Stop => "\non_error = 'stop'",
        OnError::DeadLetter => "",
    }
}

/// Of a sink, likewise.
fn sink_options(sink: &catalog::Sink) -> Result<String> {
    let spec = connectors::spec(Role::Sink, &sink.connector)?;
    let options = connector::without_secrets(spec, &sink.options);
    Ok(format!("\n{:?}", (&sink.connector, &options)))
}

async fn prepare_all(
    inner: &Arc<Inner>,
    planned: Vec<Planned>,
    decided: &[Change],
    rebuild: Option<&str>,
    to: &mut Prepared,
) -> Result<()> {
    for (planned, change) in planned.into_iter().zip(decided) {
        match (planned, change) {
            (planned, Change::Keep) => to.kept.push(kept(planned)),
            (Planned::Topic { definition, checks }, _) => {
                prepare_topic(inner, definition, checks, to)?;
            }
            (Planned::Source(definition), _) => prepare_source(inner, definition, to)?,
            (Planned::View { definition, query }, _) => {
                let is_anew = rebuild == Some(definition.object.name());
                prepare_view(inner, definition, query, is_anew, to).await?;
            }
            (Planned::Sink { definition, query }, Change::Reconnect) => {
                reconnect_sink(inner, definition, &query, to)?;
            }
            (Planned::Sink { definition, query }, _) => {
                prepare_sink(inner, definition, query, to).await?;
            }
        }
        fail_point("apply.one");
    }
    Ok(())
}

fn kept(planned: Planned) -> Kept {
    match planned {
        Planned::View { definition, query } => Kept { definition, plan: Some(query.plan) },
        Planned::Topic { definition, .. }
        | Planned::Source(definition)
        | Planned::Sink { definition, .. } => Kept { definition, plan: None },
    }
}

fn prepare_topic(
    inner: &Arc<Inner>,
    definition: Definition,
    checks: Checks,
    to: &mut Prepared,
) -> Result<()> {
    let Object::Topic(topic) = definition.object.clone() else { return Ok(()) };
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
    let name = topic.name.clone();
    let reader = inner.env.readers.topic(&topic.name)?;
    let writer = Arc::new(TopicWriter::new(topic, log, reader, checks, external.clone()));
    crate::topics::validation::catch_up(&writer, &inner.ingest)?;
    to.topics.insert(name, TopicEntry { definition, writer });
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

fn prepare_source(inner: &Arc<Inner>, definition: Definition, to: &mut Prepared) -> Result<()> {
    let Object::Source(source) = definition.object.clone() else { return Ok(()) };
    let running = || inner.registry().topics.get(&source.into).map(|t| t.writer.clone());
    let writer = to.topics.get(&source.into).map(|new| new.writer.clone()).or_else(running);
    let Some(writer) = writer else {
        return Err(Error::internal(format!("source '{}' has no topic", source.name)));
    };
    let connection = connection(&inner.rules, &definition)?;
    let outside = outside_of(&inner.rules, &definition);
    let (ingest, producers) = (&inner.ingest, &inner.producers);
    let made = SourceRunner::make(&source, outside, writer, ingest, producers)?;
    to.sources.insert(source.name.clone(), NewSource { definition, connection, made });
    Ok(())
}

async fn prepare_view(
    inner: &Arc<Inner>,
    definition: Definition,
    mut query: PlannedQuery,
    is_anew: bool,
    to: &mut Prepared,
) -> Result<()> {
    let Object::View(view) = definition.object.clone() else { return Ok(()) };
    let (options, on_error) = (view_options(&view), OnError::of(&view.options));
    let print = format!("{}{options}", query.fingerprint);
    query.fingerprint = format!("{}{options}", with_logs(inner, &query)?);
    let inner = inner.clone();
    let started =
        blocking(move || start_view(&inner, definition, query, print, on_error, is_anew)).await?;
    let (entry, new) = started;
    to.pipelines.extend(new);
    to.views.insert(view.name, entry);
    Ok(())
}

async fn prepare_sink(
    inner: &Arc<Inner>,
    definition: Definition,
    query: PlannedQuery,
    to: &mut Prepared,
) -> Result<()> {
    let Object::Sink(sink) = definition.object.clone() else { return Ok(()) };
    let options = sink_options(&sink)?;
    let print = format!("{}{options}", query.fingerprint);
    let fingerprint = format!("{}{options}", with_logs(inner, &query)?);
    let connection = connection(&inner.rules, &definition)?;
    let outside = outside_of(&inner.rules, &definition);
    let schema = query.graph.output.schema.clone();
    let (starting, name) = (inner.clone(), sink.name.clone());
    let started =
        blocking(move || start_sink_pipeline(&starting, &name, &fingerprint, query)).await?;
    let (pipeline, outbox, committed, new) = started;
    to.pipelines.extend(new);
    let committed = Arc::new(AtomicU64::new(committed.0));
    let made = SinkRunner::make(&inner.clock, &sink, outside, schema, outbox, committed)?;
    let new = NewSink { definition, print, connection, pipeline, made };
    to.sinks.insert(sink.name, new);
    Ok(())
}

/// The same pipeline goes on, and delivers by another connector.
fn reconnect_sink(
    inner: &Arc<Inner>,
    definition: Definition,
    query: &PlannedQuery,
    to: &mut Prepared,
) -> Result<()> {
    let Object::Sink(sink) = definition.object.clone() else { return Ok(()) };
    let connection = connection(&inner.rules, &definition)?;
    let outside = outside_of(&inner.rules, &definition);
    let running = inner
        .registry()
        .sinks
        .get(&sink.name)
        .map(|e| (e.runner.outbox.clone(), e.runner.committed.clone()));
    let Some((outbox, committed)) = running else {
        return Err(Error::internal(format!("sink '{}' does not run", sink.name)));
    };
    let schema = query.graph.output.schema.clone();
    let made = SinkRunner::make(&inner.clock, &sink, outside, schema, outbox, committed)?;
    to.reconnected.insert(sink.name, (connection, made));
    to.kept.push(Kept { definition, plan: None });
    Ok(())
}

/// The last that can fail: what a restart will find.
fn make_durable(
    inner: &Arc<Inner>,
    prepared: &Prepared,
    ended: &[&Part],
    definitions: &[Definition],
    save: &(dyn Fn(&[&Definition]) -> Result<()> + Send + Sync),
) -> Result<()> {
    let all: Vec<&Definition> = definitions.iter().collect();
    save(&all)?;
    // A pipeline of the same name, of another kind, retires it by itself.
    let is_new =
        |name: &str| prepared.views.contains_key(name) || prepared.sinks.contains_key(name);
    let has_pipeline = |p: &&&Part| p.kind != "TOPIC" && p.kind != "SOURCE";
    let retired = ended.iter().filter(has_pipeline).filter(|p| !is_new(&p.name));
    let retired: Vec<String> = retired.map(|p| p.name.clone()).collect();
    let meta = Meta::new(&inner.kv)?;
    meta.commit_pipelines(&prepared.pipelines, &retired).inspect_err(|_| {
        // What is running is what a restart should find.
        let registry = inner.registry();
        if let Err(e) = save(&registry.definitions()) {
            tracing::error!("the catalog names definitions that do not run: {e}");
        }
    })
}

async fn take_back(inner: &Arc<Inner>, prepared: Prepared) {
    let Prepared { topics, views, sinks, sources, undo, .. } = prepared;
    drop((topics, sources));
    let inner = inner.clone();
    let taken = blocking(move || {
        drop((views, sinks));
        let mut first = Ok(());
        for step in undo.into_iter().rev() {
            first = first.and(take_back_step(&inner, step));
        }
        first.and(remove_retired(&inner))
    });
    if let Err(e) = taken.await {
        tracing::error!("what was prepared for new definitions could not be taken back: {e}");
    }
}

/// Takes the old out and puts the new in, under one lock; then starts what must not run beside
/// its predecessor.
async fn swap(inner: &Arc<Inner>, prepared: Prepared, ended: &[&Part]) -> Old {
    let Prepared { kept, topics, views, sinks, sources, reconnected, .. } = prepared;
    let writers: Vec<Arc<TopicWriter>> = topics.values().map(|t| t.writer.clone()).collect();
    let gone = |kind: &str, name: &str| ended.iter().any(|p| p.kind == kind && p.name == name);
    let (old_sources, old_sinks, old_views) = {
        let mut registry = inner.registry_mut();
        for kept in kept {
            registry.redefine(kept.definition, kept.plan);
        }
        registry.topics.retain(|n, _| !gone("TOPIC", n));
        registry.topics.extend(topics);
        let replaced = |n: &String| gone("SOURCE", n) || sources.contains_key(n);
        let old_sources: Vec<_> = registry.sources.extract_if(.., |n, _| replaced(n)).collect();
        let replaced = |n: &String| gone("SINK", n) || sinks.contains_key(n);
        let old_sinks: Vec<_> = registry.sinks.extract_if(.., |n, _| replaced(n)).collect();
        let gone = |name: &str| gone("MATERIALIZED VIEW", name);
        (old_sources, old_sinks, registry.replace_views(views, &gone))
    };
    for writer in writers {
        inner.validation.watch(&writer);
        if let Some(kafka) = &inner.external {
            kafka.follow(&writer.log);
        }
    }
    let mut old = Old { sources: vec![], sinks: vec![], views: vec![] };
    for (name, source) in old_sources {
        old.sources.push((name, source));
    }
    for (_, source) in &mut old.sources {
        source.runner.stop().await;
    }
    for (_, mut sink) in old_sinks {
        sink.runner.stop().await;
        old.sinks.push(sink);
    }
    old.views.extend(old_views);
    for (name, (connection, made)) in reconnected {
        let entry = inner.registry_mut().sinks.remove(&name);
        let Some(mut entry) = entry else { continue };
        entry.runner.stop().await;
        entry.runner = SinkRunner::start(made);
        entry.connection = connection;
        inner.registry_mut().sinks.insert(name, entry);
    }
    let mut registry = inner.registry_mut();
    for (name, NewSource { definition, connection, made }) in sources {
        let runner = SourceRunner::start(made);
        registry.sources.insert(name, SourceEntry { definition, connection, runner });
    }
    for (name, NewSink { definition, print, connection, pipeline, made }) in sinks {
        let runner = SinkRunner::start(made);
        let entry = SinkEntry { definition, print, connection, pipeline, runner };
        registry.sinks.insert(name, entry);
    }
    old
}

/// Ends what was replaced and removes what it kept. A failure leaves waste for the next start.
async fn remove(inner: &Arc<Inner>, old: Old, ended: &[&Part]) {
    let gone = ended.iter().filter(|p| p.kind == "SOURCE");
    let gone: Vec<String> = gone.map(|p| p.name.clone()).collect();
    let inner = inner.clone();
    let removed = blocking(move || {
        drop(old);
        gone.iter()
            .try_for_each(|n| inner.producers.forget(&crate::flows::sources::producer(n)))?;
        remove_retired(&inner)
    });
    if let Err(e) = removed.await {
        tracing::warn!("state of definitions that were replaced is still on disk: {e}");
    }
}

impl Registry {
    /// The same thing runs on, under a definition that stands elsewhere or reads otherwise.
    fn redefine(
        &mut self,
        definition: Definition,
        plan: Option<datafusion::logical_expr::LogicalPlan>,
    ) {
        let name = definition.object.name();
        if let Some(entry) = self.topics.get_mut(name) {
            entry.definition = definition;
        } else if let Some(entry) = self.views.get_mut(name) {
            entry.definition = definition;
            entry.plan = plan.unwrap_or_else(|| entry.plan.clone());
        } else if let Some(entry) = self.sinks.get_mut(name) {
            entry.definition = definition;
        } else if let Some(entry) = self.sources.get_mut(name) {
            entry.definition = definition;
        }
    }
}

fn take_back_step(inner: &Inner, step: Undo) -> Result<()> {
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

/// State belongs to the very topics it was made from, not to later ones of their names.
fn with_logs(inner: &Inner, query: &PlannedQuery) -> Result<String> {
    let mut fingerprint = query.fingerprint.clone();
    for name in query.topics.keys() {
        fingerprint.push_str(&format!("\n{name} {}", inner.log.topic(name)?.id()));
    }
    Ok(fingerprint)
}

fn start_view(
    inner: &Arc<Inner>,
    definition: Definition,
    query: PlannedQuery,
    print: String,
    on_error: OnError,
    is_anew: bool,
) -> Result<(ViewEntry, Option<NewPipeline>)> {
    let name = definition.object.name().to_string();
    let (id, new) = Meta::new(&inner.kv)?.prepare_pipeline(&name, &query.fingerprint, is_anew)?;
    let schema = query.graph.output.schema.clone();
    let key = query.graph.output.key.clone();
    let store = Arc::new(ViewStore::open(&inner.kv, &id.id, schema.clone(), key)?);
    let publisher = Arc::new(Publisher::default());
    let spec = Arc::new(Spec {
        id: id.id,
        name,
        fingerprint: query.fingerprint.clone(),
        first_epoch: id.first_epoch,
        graph: query.graph,
        topics: query.topics,
        target: Target::View { store: store.clone(), publisher: publisher.clone() },
        on_error,
    });
    let pipeline = Pipeline::start(spec, inner.env.clone())?;
    let entry =
        ViewEntry { definition, print, plan: query.plan, schema, store, publisher, pipeline };
    Ok((entry, new))
}

type StartedSink = (Pipeline, Arc<Outbox>, Epoch, Option<NewPipeline>);

fn start_sink_pipeline(
    inner: &Arc<Inner>,
    name: &str,
    fingerprint: &str,
    query: PlannedQuery,
) -> Result<StartedSink> {
    let (id, new) = Meta::new(&inner.kv)?.prepare_pipeline(name, fingerprint, false)?;
    let id = id.id;
    let outbox = Arc::new(Outbox::open(&inner.kv, &id)?);
    let committed = state::load_checkpoint(&inner.kv, &id)?.map_or(Epoch(0), |c| c.epoch);
    let spec = Arc::new(Spec {
        id,
        name: name.to_string(),
        fingerprint: fingerprint.to_string(),
        // A target that shows its epochs must see that these are not its own.
        first_epoch: Epoch(0),
        graph: query.graph,
        topics: query.topics,
        target: Target::Sink(outbox.clone()),
        on_error: OnError::default(),
    });
    Ok((Pipeline::start(spec, inner.env.clone())?, outbox, committed, new))
}
