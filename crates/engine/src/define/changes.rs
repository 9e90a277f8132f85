//! Puts planned definitions into effect. All that can fail is prepared beside what runs: logs, new
//! pipelines, connectors, the catalog's text. Only then the registry is swapped under its lock, the
//! old is stopped, and last its state is removed. A fault before the swap is undone, and what ran
//! has not noticed.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use catalog::{Definition, Object};
use common::{Epoch, Error, Result, fail_point};
use connector::Role;
use log::TopicConfig;
use serde::Serialize;

use crate::access::secrets::{Connection, connection, outside_of};
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
use crate::topics::ingest::Inlet;
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
    report: ApplyReport,
    /// A view that is to begin anew, whatever it has.
    rebuild: Option<String>,
}

struct Kept {
    definition: Definition,
    /// Of a view, for views on it.
    plan: Option<datafusion::logical_expr::LogicalPlan>,
}

struct NewSink {
    definition: Definition,
    fingerprint: String,
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
    let mut prepared = Prepared { rebuild: rebuild.map(str::to_string), ..Prepared::default() };
    let definitions: Vec<Definition> = planned.iter().map(|p| p.definition().clone()).collect();
    let names: HashSet<&str> = definitions.iter().map(|d| d.object.name()).collect();
    let ready = match prepare_all(inner, planned, &mut prepared).await {
        Ok(()) => make_durable(inner, &prepared, &names, &definitions, save),
        Err(e) => Err(e),
    };
    if let Err(e) = ready {
        take_back(inner, prepared).await;
        return Err(e);
    }
    fail_point("apply.prepared");
    let mut report = std::mem::take(&mut prepared.report);
    let replacing = {
        let registry = inner.registry();
        let is_there = |(name, _): &(&String, _)| registry.readable(name).is_some();
        prepared.views.iter().filter(is_there).map(|(_, v)| &v.pipeline).collect::<Vec<_>>()
    };
    crate::define::replaced::wait_shortly(&replacing).await;
    let old = swap(inner, prepared, &names, &mut report).await;
    remove(inner, old, &names).await;
    if !inner.registry().serving.is_empty() {
        tokio::spawn(crate::define::replaced::end_replaced(inner.clone()));
    }
    Ok(report)
}

async fn prepare_all(inner: &Arc<Inner>, planned: Vec<Planned>, to: &mut Prepared) -> Result<()> {
    for p in planned {
        let name = p.definition().object.name().to_string();
        let existed = inner.registry().definition(&name).is_some();
        let changed = match p {
            Planned::Topic { definition, checks } => prepare_topic(inner, definition, checks, to)?,
            Planned::Source(definition) => prepare_source(inner, definition, to)?,
            Planned::View { definition, query } => {
                prepare_view(inner, definition, query, to).await?
            }
            Planned::Sink { definition, query } => {
                prepare_sink(inner, definition, query, to).await?
            }
        };
        fail_point("apply.one");
        match (existed, changed) {
            (false, _) => to.report.created.push(name),
            (true, true) => to.report.changed.push(name),
            (true, false) => to.report.kept.push(name),
        }
    }
    Ok(())
}

fn prepare_topic(
    inner: &Arc<Inner>,
    definition: Definition,
    checks: Checks,
    to: &mut Prepared,
) -> Result<bool> {
    let Object::Topic(topic) = definition.object.clone() else { return Ok(false) };
    let running = inner.registry().topics.get(&topic.name).map(|e| e.inlet.clone());
    if running.is_some_and(|inlet| inlet.topic == topic) {
        to.kept.push(Kept { definition, plan: None });
        return Ok(false);
    }
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
    let feed = inner.env.feeds.topic(&topic.name)?;
    let inlet = Arc::new(Inlet::new(topic, log, feed, checks, external.clone()));
    crate::topics::screen::catch_up(&inlet, &inner.ingest)?;
    to.topics.insert(name, TopicEntry { definition, inlet });
    Ok(true)
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

fn prepare_source(inner: &Arc<Inner>, definition: Definition, to: &mut Prepared) -> Result<bool> {
    let Object::Source(source) = definition.object.clone() else { return Ok(false) };
    let running = || inner.registry().topics.get(&source.into).map(|t| t.inlet.clone());
    let inlet = to.topics.get(&source.into).map(|new| new.inlet.clone()).or_else(running);
    let Some(inlet) = inlet else {
        return Err(Error::internal(format!("source '{}' has no topic", source.name)));
    };
    let connection = connection(&inner.rules, &definition)?;
    let is_same = |e: &SourceEntry| {
        e.definition.object == definition.object
            && e.runner.inlet_ptr() == Arc::as_ptr(&inlet)
            && e.connection.is_same(&connection)
    };
    if inner.registry().sources.get(&source.name).is_some_and(is_same) {
        to.kept.push(Kept { definition, plan: None });
        return Ok(false);
    }
    let outside = outside_of(&inner.rules, &definition);
    let (ingest, producers) = (&inner.ingest, &inner.producers);
    let made = SourceRunner::make(&source, outside, inlet, ingest, producers)?;
    to.sources.insert(source.name.clone(), NewSource { definition, connection, made });
    Ok(true)
}

async fn prepare_view(
    inner: &Arc<Inner>,
    definition: Definition,
    mut query: PlannedQuery,
    to: &mut Prepared,
) -> Result<bool> {
    name_logs(inner, &mut query)?;
    let Object::View(view) = definition.object.clone() else { return Ok(false) };
    let on_error = OnError::of(&view.options);
    if on_error == OnError::Stop {
        query.fingerprint.push_str("\non_error = 'stop'");
    }
    let is_anew = to.rebuild.as_ref() == Some(&view.name);
    let running = inner.registry().views.get(&view.name).map(|e| e.fingerprint.clone());
    if running.as_ref() == Some(&query.fingerprint) && !is_anew {
        to.kept.push(Kept { definition, plan: Some(query.plan) });
        return Ok(false);
    }
    let inner = inner.clone();
    let (entry, new) =
        blocking(move || start_view(&inner, definition, query, on_error, is_anew)).await?;
    to.pipelines.extend(new);
    to.views.insert(view.name, entry);
    Ok(true)
}

async fn prepare_sink(
    inner: &Arc<Inner>,
    definition: Definition,
    mut query: PlannedQuery,
    to: &mut Prepared,
) -> Result<bool> {
    name_logs(inner, &mut query)?;
    let Object::Sink(sink) = definition.object.clone() else { return Ok(false) };
    let spec = connectors::spec(Role::Sink, &sink.connector)?;
    let options = connector::without_secrets(spec, &sink.options);
    let fingerprint = format!("{}\n{:?}", query.fingerprint, (&sink.connector, &options));
    let connection = connection(&inner.rules, &definition)?;
    let outside = outside_of(&inner.rules, &definition);
    let running = {
        let registry = inner.registry();
        let same = registry.sinks.get(&sink.name).filter(|e| e.fingerprint == fingerprint);
        same.map(|e| {
            let runner = (e.runner.outbox.clone(), e.runner.committed.clone());
            (e.connection.is_same(&connection), runner)
        })
    };
    if let Some((is_same, (outbox, committed))) = running {
        if !is_same {
            let schema = query.graph.output.schema.clone();
            let made = SinkRunner::make(&inner.clock, &sink, outside, schema, outbox, committed)?;
            to.reconnected.insert(sink.name, (connection, made));
        }
        to.kept.push(Kept { definition, plan: None });
        return Ok(!is_same);
    }
    let (starting, fp) = (inner.clone(), fingerprint.clone());
    let schema = query.graph.output.schema.clone();
    let name = sink.name.clone();
    let started = blocking(move || start_sink_pipeline(&starting, &name, &fp, query)).await?;
    let (pipeline, outbox, committed, new) = started;
    to.pipelines.extend(new);
    let committed = Arc::new(AtomicU64::new(committed.0));
    let made = SinkRunner::make(&inner.clock, &sink, outside, schema, outbox, committed)?;
    let new = NewSink { definition, fingerprint, connection, pipeline, made };
    to.sinks.insert(sink.name, new);
    Ok(true)
}

/// The last that can fail: what a restart will find.
fn make_durable(
    inner: &Arc<Inner>,
    prepared: &Prepared,
    names: &HashSet<&str>,
    definitions: &[Definition],
    save: &(dyn Fn(&[&Definition]) -> Result<()> + Send + Sync),
) -> Result<()> {
    let all: Vec<&Definition> = definitions.iter().collect();
    save(&all)?;
    let retired: Vec<String> = {
        let registry = inner.registry();
        let running = registry.views.keys().chain(registry.sinks.keys());
        running.filter(|n| !names.contains(n.as_str())).cloned().collect()
    };
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
async fn swap(
    inner: &Arc<Inner>,
    prepared: Prepared,
    names: &HashSet<&str>,
    report: &mut ApplyReport,
) -> Old {
    let Prepared { kept, topics, views, sinks, sources, reconnected, .. } = prepared;
    let inlets: Vec<Arc<Inlet>> = topics.values().map(|t| t.inlet.clone()).collect();
    let (old_sources, old_sinks, old_views) = {
        let mut registry = inner.registry_mut();
        for kept in kept {
            registry.redefine(kept.definition, kept.plan);
        }
        let gone = |name: &str| !names.contains(name);
        let dropped: Vec<String> = registry.topics.keys().filter(|n| gone(n)).cloned().collect();
        registry.topics.retain(|n, _| !gone(n));
        report.dropped.extend(dropped.iter().cloned());
        report.left_over.extend(dropped);
        registry.topics.extend(topics);
        let replaced = |n: &String| gone(n) || sources.contains_key(n);
        let old_sources: Vec<_> = registry.sources.extract_if(.., |n, _| replaced(n)).collect();
        let replaced = |n: &String| gone(n) || sinks.contains_key(n);
        let old_sinks: Vec<_> = registry.sinks.extract_if(.., |n, _| replaced(n)).collect();
        report.dropped.extend(registry.views.keys().filter(|n| gone(n)).cloned());
        (old_sources, old_sinks, registry.replace_views(views, &gone))
    };
    let taken = old_sources.iter().map(|(n, _)| n).chain(old_sinks.iter().map(|(n, _)| n));
    report.dropped.extend(taken.filter(|n| !names.contains(n.as_str())).cloned());
    for inlet in inlets {
        inner.screening.watch(&inlet);
        if let Some(kafka) = &inner.external {
            kafka.follow(&inlet.log);
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
    for (name, NewSink { definition, fingerprint, connection, pipeline, made }) in sinks {
        let runner = SinkRunner::start(made);
        let entry = SinkEntry { definition, fingerprint, connection, pipeline, runner };
        registry.sinks.insert(name, entry);
    }
    old
}

/// Ends what was replaced and removes what it kept. A failure leaves waste for the next start.
async fn remove(inner: &Arc<Inner>, old: Old, names: &HashSet<&str>) {
    let gone: Vec<String> = old.sources.iter().map(|(name, _)| name.clone()).collect();
    let gone: Vec<String> = gone.into_iter().filter(|n| !names.contains(n.as_str())).collect();
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
                inner.env.feeds.forget(log.id())?;
            }
            inner.log.drop_topic(&name)
        }
        Undo::AlteredLog(name, config) => inner.log.alter(&name, config).map(|_| ()),
        Undo::Record(_, Some(old)) => Meta::new(&inner.kv)?.put_topic(&old),
        Undo::Record(name, None) => Meta::new(&inner.kv)?.topic_dropped(&name),
    }
}

/// State belongs to the very topics it was made from, not to later ones of their names.
fn name_logs(inner: &Inner, query: &mut PlannedQuery) -> Result<()> {
    for name in query.topics.keys() {
        let id = inner.log.topic(name)?.id();
        query.fingerprint.push_str(&format!("\n{name} {id}"));
    }
    Ok(())
}

fn start_view(
    inner: &Arc<Inner>,
    definition: Definition,
    query: PlannedQuery,
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
    let entry = ViewEntry {
        definition,
        fingerprint: query.fingerprint,
        plan: query.plan,
        schema,
        store,
        publisher,
        pipeline,
    };
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
