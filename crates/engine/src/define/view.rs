//! A view as a kind of definition.

use std::sync::Arc;

use catalog::{Definition, Object, View};
use common::Result;

use crate::define::decide::Part;
use crate::define::planning::PlannedQuery;
use crate::define::prepared::Prepared;
use crate::define::registry::ViewEntry;
use crate::flows::pipeline::{Pipeline, Spec, Target};
use crate::flows::subscription::Publisher;
use crate::flows::uncomputable::OnError;
use crate::flows::view_store::ViewStore;
use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::stores::meta::{Meta, NewPipeline};

pub fn part(view: &View, query: &PlannedQuery) -> Part {
    Part {
        kind: "MATERIALIZED VIEW",
        name: view.name.clone(),
        print: format!("{}{}", query.fingerprint, view_options(view)),
        connection: 0,
        topics: query.topics.keys().cloned().collect(),
        partitions: 0,
    }
}

/// What of a view decides whether it is the same, beside its plan.
fn view_options(view: &View) -> &'static str {
    match OnError::of(&view.options) {
        OnError::Stop => "\non_error = 'stop'",
        OnError::DeadLetter => "",
    }
}

pub async fn prepare(
    inner: &Arc<Inner>,
    definition: Definition,
    mut query: PlannedQuery,
    is_anew: bool,
    to: &mut Prepared,
) -> Result<()> {
    let Object::View(view) = definition.object.clone() else { return Ok(()) };
    let (options, on_error) = (view_options(&view), OnError::of(&view.options));
    let part = part(&view, &query);
    query.fingerprint = format!("{}{options}", query.with_logs(&inner.log)?);
    let inner = inner.clone();
    let started =
        blocking(move || start_view(&inner, definition, query, part, on_error, is_anew)).await?;
    let (entry, new) = started;
    to.pipelines.extend(new);
    to.views.insert(view.name, entry);
    Ok(())
}

fn start_view(
    inner: &Arc<Inner>,
    definition: Definition,
    query: PlannedQuery,
    part: Part,
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
        ViewEntry { definition, part, plan: query.plan, schema, store, publisher, pipeline };
    Ok((entry, new))
}
