//! `/metrics`: figures of this door, then the engine's, in Prometheus' text format.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::app::{App, Counters};
use crate::problem::Answer;

pub async fn get(State(app): State<App>) -> Answer<impl IntoResponse> {
    let mut text = String::new();
    header(&mut text, "watershed_build_info", "gauge", "Version of this program.");
    let _ = writeln!(text, "watershed_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    door(&mut text, &app.counters);
    text.push_str(&app.session.metrics().await?);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

fn header(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn door(text: &mut String, counters: &Counters) {
    let requests = counters.requests();
    header(text, "watershed_http_requests_total", "counter", "Requests answered.");
    for ((route, method, status), (n, _)) in &requests {
        let _ = writeln!(
            text,
            "watershed_http_requests_total\
             {{route=\"{route}\",method=\"{method}\",status=\"{status}\"}} {n}"
        );
    }
    let name = "watershed_http_request_duration_seconds";
    header(text, name, "summary", "Time from a request's head to its answer's head.");
    for ((route, method, status), (n, took)) in &requests {
        let labels = format!("{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}}");
        let _ = writeln!(text, "{name}_sum{labels} {:.6}", took.as_secs_f64());
        let _ = writeln!(text, "{name}_count{labels} {n}");
    }
    let mut one = |name: &str, kind: &str, help: &str, value: &AtomicU64| {
        header(text, name, kind, help);
        let _ = writeln!(text, "{name} {}", value.load(Ordering::Relaxed));
    };
    let c = counters;
    one("watershed_http_body_bytes_total", "counter", "Bytes of request bodies.", &c.body_bytes);
    one("watershed_http_panics_total", "counter", "Handlers that panicked.", &c.panics);
    one("watershed_http_requests_in_flight", "gauge", "Requests being handled.", &c.in_flight);
    one("watershed_http_streams", "gauge", "Open server-sent event streams.", &c.streams);
    one("watershed_pg_connections", "gauge", "Open Postgres connections.", &c.pg_connections);
    one("watershed_kafka_connections", "gauge", "Open Kafka connections.", &c.kafka_connections);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_sample_has_help_and_type() {
        let counters = Counters::default();
        counters.request("/api/sql", "POST", 200, Duration::from_millis(5));
        let mut text = String::new();
        door(&mut text, &counters);
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let family = name.trim_end_matches("_sum").trim_end_matches("_count");
            assert!(text.contains(&format!("# HELP {family} ")), "{line}");
            assert!(text.contains(&format!("# TYPE {family} ")), "{line}");
        }
        assert!(text.contains("method=\"POST\",status=\"200\"} 1"));
    }
}
