//! The engine's figures in the Prometheus text format, named after its conventions: base units,
//! `_total` for counters, labels for topic and view. Partitions and groups: `log_metrics.rs`.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use common::Result;

use crate::platform::{Platform, blocking};

/// The page as it is written.
pub(crate) struct Page(String);

impl Page {
    pub fn family(&mut self, (name, kind, help): (&str, &str, &str)) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample, if there is a value.
    pub fn labelled(&mut self, name: &str, labels: &[(&str, &str)], value: Option<f64>) {
        let Some(value) = value else { return };
        let label = |(key, of): &(&str, &str)| {
            let of = of.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{key}=\"{of}\"")
        };
        let _ = match labels {
            [] => writeln!(self.0, "{name} {value}"),
            _ => {
                let labels: Vec<String> = labels.iter().map(label).collect();
                writeln!(self.0, "{name}{{{}}} {value}", labels.join(","))
            }
        };
    }

    fn one(&mut self, family: (&str, &str, &str), value: f64) {
        self.family(family);
        self.labelled(family.0, &[], Some(value));
    }

    fn by<'a>(
        &mut self,
        family: (&str, &str, &str),
        label: &str,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        self.family(family);
        for (of, value) in values {
            self.labelled(family.0, &[(label, of)], Some(value));
        }
    }
}

impl Platform {
    /// All figures of the engine.
    pub async fn metrics(&self) -> Result<String> {
        let platform = self.clone();
        // Some figures come from files.
        blocking(move || Ok(platform.metrics_page().0)).await
    }

    fn metrics_page(&self) -> Page {
        let mut page = Page(String::new());
        let uptime = self.inner.started.elapsed().as_secs_f64();
        page.one(("watershed_uptime_seconds", "gauge", "Time since the start."), uptime);
        if let Some(bytes) = crate::status::resident_bytes() {
            let family = ("process_resident_memory_bytes", "gauge", "Resident memory.");
            page.one(family, bytes as f64);
        }
        let running = self.inner.compute.running();
        page.one(("watershed_queries_running", "gauge", "Queries that run now."), running as f64);
        self.topic_metrics(&mut page);
        self.inner.log_metrics(&mut page);
        self.view_metrics(&mut page);
        let letters = self.inner.dead_letters.total();
        page.one(("watershed_dead_letters", "gauge", "Dead letters kept."), letters as f64);
        page
    }

    fn topic_metrics(&self, page: &mut Page) {
        let counts: Vec<(String, u64, u64)> = self
            .inner
            .registry()
            .topics
            .iter()
            .map(|(name, t)| {
                let load = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
                (name.clone(), load(&t.inlet.events), load(&t.inlet.refused))
            })
            .collect();
        let topics = self.topics();
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
        let archive = self.status().archive;
        page.by(
            ("watershed_archive_lag_events", "gauge", "Durable events not yet archived."),
            "topic",
            archive.iter().map(|a| (a.topic.as_str(), a.lag_events as f64)),
        );
    }

    fn view_metrics(&self, page: &mut Page) {
        let views = self.views();
        let each = |value: fn(&crate::status::ViewInfo) -> f64| {
            views.iter().map(move |v| (v.name.as_str(), value(v)))
        };
        page.by(
            ("watershed_view_epoch", "gauge", "Last committed epoch."),
            "view",
            each(|v| v.epoch as f64),
        );
        page.by(
            ("watershed_view_rows", "gauge", "Rows of the view."),
            "view",
            each(|v| v.rows as f64),
        );
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
            ("watershed_view_up", "gauge", "1 while the view runs, 0 when it failed."),
            "view",
            each(|v| f64::from(u8::from(v.state != "failed"))),
        );
    }
}
