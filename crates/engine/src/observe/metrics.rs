//! The engine's figures in the Prometheus text format, named after its conventions: base units,
//! `_total` for counters, labels for topic and view. Partitions and groups: `log_metrics.rs`.

use std::sync::Arc;

use common::Result;

use crate::define::kinds::KINDS;
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
    row_cache_metrics(inner, &mut page);
    disk_metrics(inner, &mut page);
    for kind in KINDS {
        let label = kind.words().short.to_lowercase();
        for family in kind.figures(inner) {
            let samples = family.samples.iter().map(|(name, value)| (name.as_str(), *value));
            page.by((family.name, family.kind, family.help), &label, samples);
        }
    }
    crate::observe::log_metrics::log_metrics(inner, &mut page);
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

fn row_cache_metrics(inner: &Arc<Inner>, page: &mut Page) {
    let stats = inner.env.readers.cache.stats();
    page.by(
        ("watershed_rows_read_total", "counter", "Rows read of logs: kept as columns, or decoded."),
        "from",
        [("cache", stats.records_found as f64), ("log", stats.records_decoded as f64)],
    );
    let family = ("watershed_row_cache_bytes", "gauge", "Memory of the rows kept as columns.");
    page.one(family, stats.bytes as f64);
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
