//! Sinks as a kind of object: a pipeline into an outbox, and its delivery by a connector.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::ArrayRef;
use catalog::{Definition, Object, Sink};
use common::{Epoch, Error, Result};
use connector::Role;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::access::secrets::{connection, outside_of};
use crate::define::decide::{Change, Part};
use crate::define::facts::{Family, numbers, texts};
use crate::define::infos::{SinkInfo, Status};
use crate::define::kind::{AsStored, Kind, Plan, Planned};
use crate::define::lag::lag;
use crate::define::planning::{Emit, PlannedQuery, Planning};
use crate::define::prepared::Prepared;
use crate::define::registry::Entry;
use crate::define::running::Running;
use crate::flows::outbox::Outbox;
use crate::flows::pipeline::{Pipeline, Spec, Target};
use crate::flows::sinks::SinkRunner;
use crate::flows::uncomputable::OnError;
use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::stores::meta::{Meta, NewPipeline};

pub struct Sinks;

impl Kind for Sinks {
    fn words(&self) -> &'static catalog::Kind {
        &catalog::kind::SINK
    }

    fn plan<'a>(
        &'a self,
        planning: &'a mut Planning,
        definition: Definition,
        _as_stored: AsStored<'a>,
    ) -> BoxFuture<'a, Plan> {
        plan(planning, definition).boxed()
    }

    fn list(&self, inner: &Arc<Inner>) -> Vec<Value> {
        sinks(inner).iter().map(|s| serde_json::json!(s)).collect()
    }

    fn shown(&self, inner: &Arc<Inner>) -> Vec<(&'static str, ArrayRef)> {
        let s = sinks(inner);
        vec![
            ("name", texts(s.iter().map(|s| s.name.as_str()))),
            ("connector", texts(s.iter().map(|s| s.connector.as_str()))),
            ("delivery", texts(s.iter().map(|s| s.delivery.as_str()))),
            ("state", texts(s.iter().map(|s| s.state))),
            ("rows", numbers(s.iter().map(|s| s.rows_total))),
            ("waiting_epochs", numbers(s.iter().map(|s| s.waiting_epochs))),
        ]
    }

    fn figures(&self, inner: &Arc<Inner>) -> Vec<Family> {
        let sinks = sinks(inner);
        let each = |value: fn(&SinkInfo) -> f64| {
            sinks.iter().map(|s| (s.name.clone(), value(s))).collect::<Vec<_>>()
        };
        vec![
            Family::counter(
                "watershed_sink_rows_total",
                "Rows delivered since the sink started.",
                each(|s| s.rows_total as f64),
            ),
            Family::gauge(
                "watershed_sink_lag_events",
                "Events not yet in the sink's outbox.",
                each(|s| s.lag_events as f64),
            ),
            Family::gauge(
                "watershed_sink_waiting_epochs",
                "Epochs that wait to be delivered.",
                each(|s| s.waiting_epochs as f64),
            ),
            Family::gauge(
                "watershed_sink_up",
                "1 while the sink delivers, 0 when it can't.",
                each(|s| f64::from(u8::from(s.error.is_none()))),
            ),
        ]
    }

    fn status(&self, inner: &Arc<Inner>, to: &mut Status) {
        to.sinks = sinks(inner);
    }

    fn start(&self, _inner: &Inner, entry: &mut Entry) {
        if let Some(sink) = entry.of_mut::<RunningSink>() {
            sink.runner.start();
        }
    }
}

/// A running sink.
pub struct RunningSink {
    pub pipeline: Arc<Pipeline>,
    pub runner: SinkRunner,
}

impl Running for RunningSink {
    fn stop(&mut self) -> BoxFuture<'_, ()> {
        self.runner.stop().boxed()
    }

    fn pipeline(&self) -> Option<&Arc<Pipeline>> {
        Some(&self.pipeline)
    }
}

struct PlannedSink {
    definition: Definition,
    sink: Sink,
    query: PlannedQuery,
}

async fn plan(planning: &Planning, definition: Definition) -> Plan {
    let one = |e: Error| vec![e];
    let Object::Sink(sink) = definition.object.clone() else {
        return Err(one(Error::internal("not a sink")));
    };
    let query = planning.query(&definition, &sink.query, Emit::OnChange).await.map_err(one)?;
    Ok(Box::new(PlannedSink { definition, sink, query }))
}

impl Planned for PlannedSink {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn part(&self, inner: &Inner) -> Result<Part> {
        let print = format!("{}{}", self.query.fingerprint, options_of(&self.sink)?);
        let part = Part::new(&catalog::kind::SINK, &self.sink.name, print);
        let connection = Some(connection(&inner.rules, &self.definition)?.digest());
        Ok(Part { connection, reads: self.query.topics.keys().cloned().collect(), ..part })
    }

    fn prepare<'a>(
        self: Box<Self>,
        inner: &'a Arc<Inner>,
        change: Change,
        to: &'a mut Prepared,
    ) -> BoxFuture<'a, Result<()>> {
        prepare(*self, inner, change, to).boxed()
    }
}

/// What of a sink decides whether it is the same, beside its plan.
fn options_of(sink: &Sink) -> Result<String> {
    let spec = connectors::spec(Role::Sink, &sink.connector)?;
    let options = connector::without_secrets(spec, &sink.options);
    Ok(format!("\n{:?}", (&sink.connector, &options)))
}

async fn prepare(
    planned: PlannedSink,
    inner: &Arc<Inner>,
    change: Change,
    to: &mut Prepared,
) -> Result<()> {
    let part = planned.part(inner)?;
    let PlannedSink { definition, sink, query } = planned;
    let outside = outside_of(&inner.rules, &definition);
    let schema = query.graph.output.schema.clone();
    let feed = match change {
        Change::Reconnect => running(inner, &sink.name)?,
        _ => {
            let fingerprint = format!("{}{}", query.with_logs(&inner.log)?, options_of(&sink)?);
            let (starting, name) = (inner.clone(), sink.name.clone());
            let (feed, new) =
                blocking(move || start_pipeline(&starting, &name, &fingerprint, query)).await?;
            to.pipelines.extend(new);
            feed
        }
    };
    let Feed { pipeline, outbox, committed } = feed;
    let runner = SinkRunner::make(&inner.clock, &sink, outside, schema, outbox, committed)?;
    to.new.push(Entry::new(definition, part, RunningSink { pipeline, runner }));
    Ok(())
}

/// What fills an outbox, and how far it was emptied.
struct Feed {
    pipeline: Arc<Pipeline>,
    outbox: Arc<Outbox>,
    committed: Arc<AtomicU64>,
}

/// The pipeline that runs goes on, and is delivered by another connector.
fn running(inner: &Inner, name: &str) -> Result<Feed> {
    let registry = inner.registry();
    let Some(sink) = registry.get::<RunningSink>(name) else {
        return Err(Error::internal(format!("sink '{name}' does not run")));
    };
    let (outbox, committed) = (sink.runner.outbox.clone(), sink.runner.committed.clone());
    Ok(Feed { pipeline: sink.pipeline.clone(), outbox, committed })
}

fn start_pipeline(
    inner: &Arc<Inner>,
    name: &str,
    fingerprint: &str,
    query: PlannedQuery,
) -> Result<(Feed, Option<NewPipeline>)> {
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
    let pipeline = Arc::new(Pipeline::start(spec, inner.env.clone())?);
    Ok((Feed { pipeline, outbox, committed: Arc::new(AtomicU64::new(committed.0)) }, new))
}

pub fn sinks(inner: &Arc<Inner>) -> Vec<SinkInfo> {
    let info = |entry: &Entry| {
        let sink = entry.of::<RunningSink>()?;
        let shared = &sink.runner.shared;
        let (state, error) = shared.status.trouble().unzip();
        let status = sink.pipeline.status();
        let connector = match &entry.definition.object {
            Object::Sink(s) => s.connector.clone(),
            _ => String::new(),
        };
        let info = SinkInfo {
            name: entry.name().to_string(),
            connector,
            state: state.unwrap_or(status.state),
            error: error.or(status.error),
            rows_total: shared.rows.load(Ordering::Relaxed),
            delivery: sink.runner.delivery.to_string(),
            lag_events: 0,
            waiting_epochs: sink.runner.outbox.waiting(),
        };
        Some((info, sink.pipeline.spec.clone()))
    };
    let known: Vec<_> = inner.registry().objects.values().filter_map(info).collect();
    let with_lag = |(info, spec): (SinkInfo, Arc<Spec>)| {
        let lag_events = lag(inner, &spec);
        SinkInfo { lag_events, ..info }
    };
    known.into_iter().map(with_lag).collect()
}
