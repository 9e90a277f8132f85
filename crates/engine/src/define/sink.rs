//! A sink as a kind of definition: a pipeline into an outbox, and its delivery.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use catalog::{Definition, Object, Sink};
use common::{Epoch, Error, Result};
use connector::Role;

use crate::access::secrets::{connection, outside_of};
use crate::define::decide::Part;
use crate::define::planning::PlannedQuery;
use crate::define::prepared::{Kept, NewSink, Prepared};
use crate::flows::outbox::Outbox;
use crate::flows::pipeline::{Pipeline, Spec, Target};
use crate::flows::sinks::SinkRunner;
use crate::flows::uncomputable::OnError;
use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::stores::meta::{Meta, NewPipeline};

pub fn part(sink: &Sink, query: &PlannedQuery, connection: u64) -> Result<Part> {
    Ok(Part {
        kind: "SINK",
        name: sink.name.clone(),
        print: format!("{}{}", query.fingerprint, sink_options(sink)?),
        connection,
        topics: query.topics.keys().cloned().collect(),
        partitions: 0,
    })
}

/// Of a sink, likewise.
fn sink_options(sink: &Sink) -> Result<String> {
    let spec = connectors::spec(Role::Sink, &sink.connector)?;
    let options = connector::without_secrets(spec, &sink.options);
    Ok(format!("\n{:?}", (&sink.connector, &options)))
}

pub async fn prepare(
    inner: &Arc<Inner>,
    definition: Definition,
    query: PlannedQuery,
    to: &mut Prepared,
) -> Result<()> {
    let Object::Sink(sink) = definition.object.clone() else { return Ok(()) };
    let options = sink_options(&sink)?;
    let fingerprint = format!("{}{options}", query.with_logs(&inner.log)?);
    let part = part(&sink, &query, connection(&inner.rules, &definition)?.digest())?;
    let outside = outside_of(&inner.rules, &definition);
    let schema = query.graph.output.schema.clone();
    let (starting, name) = (inner.clone(), sink.name.clone());
    let started =
        blocking(move || start_sink_pipeline(&starting, &name, &fingerprint, query)).await?;
    let (pipeline, outbox, committed, new) = started;
    to.pipelines.extend(new);
    let committed = Arc::new(AtomicU64::new(committed.0));
    let made = SinkRunner::make(&inner.clock, &sink, outside, schema, outbox, committed)?;
    let new = NewSink { definition, part, pipeline, made };
    to.sinks.insert(sink.name, new);
    Ok(())
}

/// The same pipeline goes on, and delivers by another connector.
pub fn reconnect(
    inner: &Arc<Inner>,
    definition: Definition,
    query: &PlannedQuery,
    to: &mut Prepared,
) -> Result<()> {
    let Object::Sink(sink) = definition.object.clone() else { return Ok(()) };
    let part = part(&sink, query, connection(&inner.rules, &definition)?.digest())?;
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
    to.reconnected.insert(sink.name, (part, made));
    to.kept.push(Kept { definition, plan: None });
    Ok(())
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
