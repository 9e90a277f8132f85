//! Materialized views as a kind of object: a pipeline into a store, and who is told of changes.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::SchemaRef;
use catalog::{Definition, Object, View};
use common::{Error, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::define::decide::{Change, Part};
use crate::define::facts::{Described, Family, columns, numbers, options, texts};
use crate::define::infos::{Status, ViewInfo, ViewText};
use crate::define::kind::{AsStored, Kind, Plan, Planned};
use crate::define::lag::lag;
use crate::define::planning::{Emit, PlannedQuery, Planning};
use crate::define::prepared::Prepared;
use crate::define::registry::{Entry, Registry};
use crate::define::running::Running;
use crate::flows::pipeline::{Pipeline, Spec, Target};
use crate::flows::subscription::Publisher;
use crate::flows::uncomputable::OnError;
use crate::flows::view_store::ViewStore;
use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::stores::meta::{Meta, NewPipeline};
use crate::stores::text::rfc3339;

pub struct Views;

impl Kind for Views {
    fn words(&self) -> &'static catalog::Kind {
        &catalog::kind::VIEW
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
        views(inner).iter().map(|v| serde_json::json!(v)).collect()
    }

    fn shown(&self, inner: &Arc<Inner>) -> Vec<(&'static str, ArrayRef)> {
        let views = figures_of(inner);
        let freshness: Int64Array = views.iter().map(|v| v.freshness_ms).collect();
        vec![
            ("name", texts(views.iter().map(|v| v.name.as_str()))),
            ("state", texts(views.iter().map(|v| v.state.as_str()))),
            ("epoch", numbers(views.iter().map(|v| v.epoch))),
            ("rows", numbers(views.iter().map(|v| v.rows))),
            ("lag_events", numbers(views.iter().map(|v| v.lag_events))),
            ("freshness_ms", Arc::new(freshness)),
            ("watermark", options(views.iter().map(|v| v.watermark.clone()))),
        ]
    }

    fn figures(&self, inner: &Arc<Inner>) -> Vec<Family> {
        families(&figures_of(inner))
    }

    fn status(&self, inner: &Arc<Inner>, to: &mut Status) {
        to.views = figures_of(inner);
    }

    fn counters(&self, registry: &Registry) -> Vec<(String, u64)> {
        let views = registry.all::<RunningView>();
        views.map(|(n, v)| (format!("view {n}"), v.pipeline.status().events_total)).collect()
    }

    fn replaced(&self, registry: &mut Registry, old: Entry) -> Option<Entry> {
        registry.serve_on(old)
    }
}

/// A running view.
pub struct RunningView {
    pub schema: SchemaRef,
    pub store: Arc<ViewStore>,
    pub publisher: Arc<Publisher>,
    pub pipeline: Arc<Pipeline>,
}

impl Running for RunningView {
    fn pipeline(&self) -> Option<&Arc<Pipeline>> {
        Some(&self.pipeline)
    }

    fn columns(&self) -> Vec<Described> {
        let keys = match self.store.key() {
            graph::OutputKey::Columns(c) => c.as_slice(),
            _ => &[],
        };
        let comment = |i| if keys.contains(&i) { "key".to_string() } else { String::new() };
        let fields = self.schema.fields().iter().enumerate();
        fields.map(|(i, f)| Described::new(f, comment(i))).collect()
    }
}

struct PlannedView {
    definition: Definition,
    view: View,
    query: PlannedQuery,
}

async fn plan(planning: &mut Planning, definition: Definition) -> Plan {
    let one = |e: Error| vec![e];
    let Object::View(view) = definition.object.clone() else {
        return Err(one(Error::internal("not a view")));
    };
    let query =
        planning.query(&definition, &view.query, Emit::of(&view.options)).await.map_err(one)?;
    planning.add_view(&view.name, &query).map_err(one)?;
    Ok(Box::new(PlannedView { definition, view, query }))
}

impl Planned for PlannedView {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn part(&self, _inner: &Inner) -> Result<Part> {
        let print = format!("{}{}", self.query.fingerprint, options_of(&self.view));
        let part = Part::new(&catalog::kind::VIEW, &self.view.name, print);
        Ok(Part { reads: self.query.topics.keys().cloned().collect(), ..part })
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

/// What of a view decides whether it is the same, beside its plan.
fn options_of(view: &View) -> &'static str {
    match OnError::of(&view.options) {
        OnError::Stop => "\non_error = 'stop'",
        OnError::DeadLetter => "",
    }
}

async fn prepare(
    mut planned: PlannedView,
    inner: &Arc<Inner>,
    change: Change,
    to: &mut Prepared,
) -> Result<()> {
    let part = planned.part(inner)?;
    let fingerprint = planned.query.with_logs(&inner.log)?;
    planned.query.fingerprint = format!("{fingerprint}{}", options_of(&planned.view));
    let inner = inner.clone();
    let started = blocking(move || start(&inner, planned, part, change == Change::Rebuild)).await?;
    let (entry, new) = started;
    to.pipelines.extend(new);
    to.new.push(entry);
    Ok(())
}

fn start(
    inner: &Arc<Inner>,
    planned: PlannedView,
    part: Part,
    is_anew: bool,
) -> Result<(Entry, Option<NewPipeline>)> {
    let PlannedView { definition, view, query } = planned;
    let name = view.name.clone();
    let (id, new) = Meta::new(&inner.kv)?.prepare_pipeline(&name, &query.fingerprint, is_anew)?;
    let schema = query.graph.output.schema.clone();
    let key = query.graph.output.key.clone();
    let store = Arc::new(ViewStore::open(&inner.kv, &id.id, schema.clone(), key)?);
    let publisher = Arc::new(Publisher::default());
    let spec = Arc::new(Spec {
        id: id.id,
        name,
        fingerprint: query.fingerprint,
        first_epoch: id.first_epoch,
        graph: query.graph,
        topics: query.topics,
        target: Target::View { store: store.clone(), publisher: publisher.clone() },
        on_error: OnError::of(&view.options),
    });
    let pipeline = Arc::new(Pipeline::start(spec, inner.env.clone())?);
    let running = RunningView { schema, store, publisher, pipeline };
    Ok((Entry::new(definition, part, running), new))
}

/// All views, with their texts.
pub fn views(inner: &Arc<Inner>) -> Vec<ViewInfo> {
    let mut views = figures_of(inner);
    let registry = inner.registry();
    for view in &mut views {
        let Some(entry) = registry.objects.get(&view.name) else { continue };
        view.text = entry.of::<RunningView>().map(|running| ViewText {
            sql: entry.definition.origin.statement().to_string(),
            columns: columns(&running.schema),
        });
    }
    views
}

/// All views, without.
pub fn figures_of(inner: &Arc<Inner>) -> Vec<ViewInfo> {
    let known: Vec<_> = {
        let registry = inner.registry();
        let one = |entry: &Entry| {
            let view = entry.of::<RunningView>()?;
            let info = info(inner, &registry, entry, view);
            Some((info, view.pipeline.spec.clone(), view.store.clone()))
        };
        registry.objects.values().filter_map(one).collect()
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

fn info(inner: &Inner, registry: &Registry, entry: &Entry, view: &RunningView) -> ViewInfo {
    let name = entry.name();
    let status = view.pipeline.status();
    let key = match view.store.key() {
        graph::OutputKey::Columns(c) => {
            c.iter().map(|c| view.schema.field(*c).name().clone()).collect()
        }
        _ => vec![],
    };
    ViewInfo {
        name: name.to_string(),
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
}

fn families(views: &[ViewInfo]) -> Vec<Family> {
    let each = |value: fn(&ViewInfo) -> f64| {
        views.iter().map(|v| (v.name.clone(), value(v))).collect::<Vec<_>>()
    };
    let known = |value: fn(&ViewInfo) -> Option<f64>| {
        let one = |v: &ViewInfo| Some((v.name.clone(), value(v)?));
        views.iter().filter_map(one).collect::<Vec<_>>()
    };
    vec![
        Family::gauge("watershed_view_epoch", "Last committed epoch.", each(|v| v.epoch as f64)),
        Family::gauge("watershed_view_rows", "Rows of the view.", each(|v| v.rows as f64)),
        Family::gauge(
            "watershed_view_lag_events",
            "Events not yet in the view.",
            each(|v| v.lag_events as f64),
        ),
        Family::gauge(
            "watershed_view_state_bytes",
            "Memory of the view's operators.",
            each(|v| v.state_bytes as f64),
        ),
        Family::gauge(
            "watershed_view_freshness_seconds",
            "From an event's arrival to its being seen.",
            known(|v| v.freshness_ms.map(|ms| ms as f64 / 1e3)),
        ),
        Family::gauge(
            "watershed_view_watermark_seconds",
            "Watermark, in seconds since 1970.",
            known(|v| v.watermark_us.map(|us| us as f64 / 1e6)),
        ),
        Family::gauge(
            "watershed_view_up",
            "1 while the view runs, 0 when it failed.",
            each(|v| f64::from(u8::from(v.state != "failed"))),
        ),
    ]
}
