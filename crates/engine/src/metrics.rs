//! The engine's figures in the Prometheus text format, named after its conventions: base units,
//! `_total` for counters, labels for topic and view.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use crate::platform::Platform;

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, label: Option<(&str, &str)>, value: f64) {
        let _ = match label {
            Some((key, of)) => {
                let of = of.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                writeln!(self.0, "{name}{{{key}=\"{of}\"}} {value}")
            }
            None => writeln!(self.0, "{name} {value}"),
        };
    }

    fn by<'a>(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        label: &str,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        self.family(name, kind, help);
        for (of, value) in values {
            self.sample(name, Some((label, of)), value);
        }
    }
}

impl Platform {
    /// All figures of the engine.
    pub fn metrics(&self) -> String {
        let mut page = Page(String::new());
        page.family("watershed_uptime_seconds", "gauge", "Time since the start.");
        let uptime = self.inner.started.elapsed().as_secs_f64();
        page.sample("watershed_uptime_seconds", None, uptime);
        if let Some(bytes) = crate::status::resident_bytes() {
            page.family("process_resident_memory_bytes", "gauge", "Resident memory.");
            page.sample("process_resident_memory_bytes", None, bytes as f64);
        }
        self.topic_metrics(&mut page);
        self.view_metrics(&mut page);
        let letters = self.inner.dead_letters.total();
        page.family("watershed_dead_letters", "gauge", "Dead letters kept.");
        page.sample("watershed_dead_letters", None, letters as f64);
        page.0
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
