//! Puts planned definitions into effect. All that can fail is prepared beside what runs: logs, new
//! pipelines, connectors, the catalog's text. Only then the registry is swapped under its lock, the
//! old is stopped, and last its state is removed. A fault before the swap is undone, and what ran
//! has not noticed.

use std::sync::Arc;

use catalog::{Definition, Object};
use common::{Error, Result, fail_point};
use serde::Serialize;

use crate::access::secrets::connection;
use crate::define::decide::{Change, Part, decide};
use crate::define::planned::Planned;
use crate::define::prepared::{Kept, NewSink, NewSource, Prepared};
use crate::define::registry::{Registry, SinkEntry, SourceEntry, ViewEntry};
use crate::define::retired::remove_retired;
use crate::define::{sink, source, topic, view};
use crate::flows::sinks::SinkRunner;
use crate::flows::sources::SourceRunner;
use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::stores::meta::Meta;
use crate::topics::ingest::TopicWriter;

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
    let wanted = planned.iter().map(|p| part_of(inner, p)).collect::<Result<Vec<Part>>>()?;
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
fn part_of(inner: &Arc<Inner>, planned: &Planned) -> Result<Part> {
    let definition = planned.definition();
    let connection = || Ok::<u64, Error>(connection(&inner.rules, definition)?.digest());
    match (planned, &definition.object) {
        (Planned::Topic { .. }, Object::Topic(topic)) => Ok(topic::part(topic)),
        (Planned::Source(_), Object::Source(source)) => Ok(source::part(source, connection()?)),
        (Planned::View { query, .. }, Object::View(view)) => Ok(view::part(view, query)),
        (Planned::Sink { query, .. }, Object::Sink(sink)) => sink::part(sink, query, connection()?),
        (_, other) => {
            Err(Error::internal(format!("'{}' is planned as another kind", other.name())))
        }
    }
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
                topic::prepare(inner, definition, checks, to)?;
            }
            (Planned::Source(definition), _) => source::prepare(inner, definition, to)?,
            (Planned::View { definition, query }, _) => {
                let is_anew = rebuild == Some(definition.object.name());
                view::prepare(inner, definition, query, is_anew, to).await?;
            }
            (Planned::Sink { definition, query }, Change::Reconnect) => {
                sink::reconnect(inner, definition, &query, to)?;
            }
            (Planned::Sink { definition, query }, _) => {
                sink::prepare(inner, definition, query, to).await?;
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
            first = first.and(topic::take_back(&inner, step));
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
    for (name, (part, made)) in reconnected {
        let entry = inner.registry_mut().sinks.remove(&name);
        let Some(mut entry) = entry else { continue };
        entry.runner.stop().await;
        entry.runner = SinkRunner::start(made);
        entry.part = part;
        inner.registry_mut().sinks.insert(name, entry);
    }
    let mut registry = inner.registry_mut();
    for (name, NewSource { definition, part, made }) in sources {
        let runner = SourceRunner::start(made);
        registry.sources.insert(name, SourceEntry { definition, part, runner });
    }
    for (name, NewSink { definition, part, pipeline, made }) in sinks {
        let runner = SinkRunner::start(made);
        let entry = SinkEntry { definition, part, pipeline, runner };
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
