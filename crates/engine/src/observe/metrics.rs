//! The engine's figures in the Prometheus text format, named after its conventions: base units,
//! `_total` for counters, labels for topic and view. Partitions and groups: `log_metrics.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::Result;

use crate::inner::Inner;
use crate::observe::prometheus::Page;
use crate::query::compute::ENDS;
use crate::stores::blocking::blocking;

/// All figures of the engine.
pub async fn metrics(inner: &Arc<Inner>) -> Result<String> {
    let platform = inner.clone();
    // Some figures come from files.
    blocking(move || Ok(metrics_page(&platform).0)).await
}

fn metrics_page(inner: &Arc<Inner>) -> Page {
    let mut page = Page(String::new());
    let uptime = inner.started.elapsed().as_secs_f64();
    page.one(("watershed_uptime_seconds", "gauge", "Time since the start."), uptime);
    if let Some(bytes) = crate::stores::memory::resident_bytes() {
        let family = ("process_resident_memory_bytes", "gauge", "Resident memory.");
        page.one(family, bytes as f64);
    }
    let running = inner.compute.running();
    page.one(("watershed_queries_running", "gauge", "Queries that run now."), running as f64);
    let ended = inner.compute.ended();
    page.by(
        ("watershed_queries_total", "counter", "Queries that have ended, by how."),
        "end",
        ENDS.into_iter().zip(ended.queries.map(|n| n as f64)),
    );
    let time = ("watershed_query_seconds", "summary", "Time from a statement to its end.");
    page.family(time);
    page.labelled("watershed_query_seconds_sum", &[], Some(ended.seconds));
    let n = ended.queries.iter().sum::<u64>() as f64;
    page.labelled("watershed_query_seconds_count", &[], Some(n));
    disk_metrics(inner, &mut page);
    topic_metrics(inner, &mut page);
    crate::observe::log_metrics::log_metrics(inner, &mut page);
    view_metrics(inner, &mut page);
    let letters = inner.dead_letters.total();
    page.one(("watershed_dead_letters", "gauge", "Dead letters kept."), letters as f64);
    let name = "watershed_dead_letters_total";
    page.family((name, "counter", "Dead letters written since the start."));
    for ((topic, kind), n) in inner.dead_letters.counted() {
        page.labelled(name, &[("topic", &topic), ("kind", &kind)], Some(n as f64));
    }
    let problems = crate::observe::problems::problems(inner).len() as f64;
    let family = ("watershed_problems", "gauge", "Faults that /ready and doctor tell of.");
    page.one(family, problems);
    page
}

/// Where a disk can't say what is left, there is no sample.
fn disk_metrics(inner: &Arc<Inner>, page: &mut Page) {
    let name = "watershed_disk_free_bytes";
    page.family((name, "gauge", "Bytes left on the disk of a store."));
    for (store, dir) in crate::stores::lock::folders(&inner.project) {
        let free = kv::free_bytes(&dir).map(|n| n as f64);
        page.labelled(name, &[("store", store)], free);
    }
}

fn topic_metrics(inner: &Arc<Inner>, page: &mut Page) {
    let counts: Vec<(String, u64, u64)> = inner
        .registry()
        .topics
        .iter()
        .map(|(name, t)| {
            let load = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
            (name.clone(), load(&t.writer.events), load(&t.writer.refused))
        })
        .collect();
    let topics = crate::observe::status::topics(inner);
    page.by(
        ("watershed_topic_events_total", "counter", "Events taken in since the start."),
        "topic",
        counts.iter().map(|(n, events, _)| (n.as_str(), *events as f64)),
    );
    page.by(
        ("watershed_topic_refused_total", "counter", "Events refused since the start."),
        "topic",
        counts.iter().map(|(n, _, refused)| (n.as_str(), *refused as f64)),
    );
    page.by(
        ("watershed_topic_records", "gauge", "Records in the log."),
        "topic",
        topics.iter().map(|t| (t.name.as_str(), t.records as f64)),
    );
    page.by(
        ("watershed_topic_bytes", "gauge", "Bytes in the log."),
        "topic",
        topics.iter().map(|t| (t.name.as_str(), t.bytes as f64)),
    );
    let archive = crate::observe::status::status(inner).archive;
    page.by(
        ("watershed_archive_lag_events", "gauge", "Durable events not yet archived."),
        "topic",
        archive.iter().map(|a| (a.topic.as_str(), a.lag_events as f64)),
    );
}

fn view_metrics(inner: &Arc<Inner>, page: &mut Page) {
    let views = crate::observe::status::views(inner);
    let each = |value: fn(&crate::observe::status::ViewInfo) -> f64| {
        views.iter().map(move |v| (v.name.as_str(), value(v)))
    };
    let each_of = |value: fn(&crate::observe::status::ViewInfo) -> Option<f64>| {
        views.iter().filter_map(move |v| Some((v.name.as_str(), value(v)?)))
    };
    page.by(
        ("watershed_view_epoch", "gauge", "Last committed epoch."),
        "view",
        each(|v| v.epoch as f64),
    );
    page.by(("watershed_view_rows", "gauge", "Rows of the view."), "view", each(|v| v.rows as f64));
    page.by(
        ("watershed_view_lag_events", "gauge", "Events not yet in the view."),
        "view",
        each(|v| v.lag_events as f64),
    );
    page.by(
        ("watershed_view_state_bytes", "gauge", "Memory of the view's operators."),
        "view",
        each(|v| v.state_bytes as f64),
    );
    page.by(
        ("watershed_view_freshness_seconds", "gauge", "From an event's arrival to its being seen."),
        "view",
        each_of(|v| v.freshness_ms.map(|ms| ms as f64 / 1e3)),
    );
    page.by(
        ("watershed_view_watermark_seconds", "gauge", "Watermark, in seconds since 1970."),
        "view",
        each_of(|v| v.watermark_us.map(|us| us as f64 / 1e6)),
    );
    page.by(
        ("watershed_view_up", "gauge", "1 while the view runs, 0 when it failed."),
        "view",
        each(|v| f64::from(u8::from(v.state != "failed"))),
    );
}
