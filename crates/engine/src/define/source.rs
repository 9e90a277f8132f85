//! Sources as a kind of object: a connector that reads into a topic.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::ArrayRef;
use catalog::{Definition, Object, Source};
use common::{Error, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::access::secrets::{connection, outside_of};
use crate::define::decide::{Change, Part};
use crate::define::facts::{Family, numbers, texts};
use crate::define::infos::{SourceInfo, Status};
use crate::define::kind::{AsStored, Kind, Plan, Planned};
use crate::define::planning::Planning;
use crate::define::prepared::Prepared;
use crate::define::registry::{Entry, Registry};
use crate::define::running::Running;
use crate::flows::sources::{SourceRunner, producer};
use crate::inner::Inner;
use crate::topics::ingest::TopicWriter;

pub struct Sources;

impl Kind for Sources {
    fn words(&self) -> &'static catalog::Kind {
        &catalog::kind::SOURCE
    }

    fn plan<'a>(
        &'a self,
        planning: &'a mut Planning,
        definition: Definition,
        _as_stored: AsStored<'a>,
    ) -> BoxFuture<'a, Plan> {
        std::future::ready(plan(planning, definition)).boxed()
    }

    fn list(&self, inner: &Arc<Inner>) -> Vec<Value> {
        sources(inner).iter().map(|s| serde_json::json!(s)).collect()
    }

    fn shown(&self, inner: &Arc<Inner>) -> Vec<(&'static str, ArrayRef)> {
        let s = sources(inner);
        vec![
            ("name", texts(s.iter().map(|s| s.name.as_str()))),
            ("connector", texts(s.iter().map(|s| s.connector.as_str()))),
            ("into", texts(s.iter().map(|s| s.into.as_str()))),
            ("state", texts(s.iter().map(|s| s.state))),
            ("events", numbers(s.iter().map(|s| s.events_total))),
        ]
    }

    fn figures(&self, inner: &Arc<Inner>) -> Vec<Family> {
        let sources = sources(inner);
        let events = sources.iter().map(|s| (s.name.clone(), s.events_total as f64));
        let is_up = |s: &SourceInfo| f64::from(u8::from(s.error.is_none()));
        let up = sources.iter().map(|s| (s.name.clone(), is_up(s)));
        vec![
            Family::counter(
                "watershed_source_events_total",
                "Events a source gave since it started.",
                events,
            ),
            Family::gauge("watershed_source_up", "1 while the source reads, 0 when it can't.", up),
        ]
    }

    fn status(&self, inner: &Arc<Inner>, to: &mut Status) {
        to.sources = sources(inner);
    }

    fn counters(&self, registry: &Registry) -> Vec<(String, u64)> {
        let events = |r: &SourceRunner| r.shared.events.load(Ordering::Relaxed);
        registry.all().map(|(n, r)| (format!("source {n}"), events(r))).collect()
    }

    fn start(&self, _inner: &Inner, entry: &mut Entry) {
        if let Some(runner) = entry.of_mut::<SourceRunner>() {
            runner.start();
        }
    }

    fn remove<'a>(&self, inner: &'a Arc<Inner>, name: &'a str) -> BoxFuture<'a, Result<()>> {
        std::future::ready(inner.producers.forget(&producer(name))).boxed()
    }
}

impl Running for SourceRunner {
    fn stop(&mut self) -> BoxFuture<'_, ()> {
        SourceRunner::stop(self).boxed()
    }
}

struct PlannedSource {
    definition: Definition,
    source: Source,
}

fn plan(planning: &Planning, definition: Definition) -> Plan {
    let Object::Source(source) = definition.object.clone() else {
        return Err(vec![Error::internal("not a source")]);
    };
    if !planning.is_topic(&source.into) {
        let e = Error::invalid(format!("'{}' is not a topic", source.into))
            .hint("a source writes INTO a topic");
        return Err(vec![e.at(definition.origin.whole())]);
    }
    Ok(Box::new(PlannedSource { definition, source }))
}

impl Planned for PlannedSource {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn part(&self, inner: &Inner) -> Result<Part> {
        // Nothing of a source waits for a delivery: connected otherwise it is made anew.
        let connection = connection(&inner.rules, &self.definition)?.digest();
        let print = format!("{:?} {connection}", self.source);
        let part = Part::new(&catalog::kind::SOURCE, &self.source.name, print);
        Ok(Part { holds: vec![self.source.into.clone()], ..part })
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

fn prepare(planned: PlannedSource, inner: &Arc<Inner>, to: &mut Prepared) -> Result<()> {
    let part = planned.part(inner)?;
    let PlannedSource { definition, source } = planned;
    let running = || inner.registry().get::<Arc<TopicWriter>>(&source.into).cloned();
    let Some(writer) = to.topic(&source.into).cloned().or_else(running) else {
        return Err(Error::internal(format!("source '{}' has no topic", source.name)));
    };
    let outside = outside_of(&inner.rules, &definition);
    let (ingest, producers) = (&inner.ingest, &inner.producers);
    let runner = SourceRunner::make(&source, outside, writer, ingest, producers)?;
    to.new.push(Entry::new(definition, part, runner));
    Ok(())
}

pub fn sources(inner: &Arc<Inner>) -> Vec<SourceInfo> {
    let registry = inner.registry();
    let info = |(name, runner): (&str, &SourceRunner)| {
        let shared = &runner.shared;
        let (trouble, error) = shared.status.trouble().unzip();
        let (connector, into) = match registry.definition(name).map(|d| &d.object) {
            Some(Object::Source(s)) => (s.connector.clone(), s.into.clone()),
            _ => (String::new(), String::new()),
        };
        let is_finished = shared.finished.load(Ordering::Relaxed);
        let state = trouble.unwrap_or(if is_finished { "finished" } else { "running" });
        SourceInfo {
            name: name.to_string(),
            connector,
            into,
            state,
            error,
            events_per_second: inner.rate(&format!("source {name}")),
            events_total: shared.events.load(Ordering::Relaxed),
        }
    };
    registry.all::<SourceRunner>().map(info).collect()
}
