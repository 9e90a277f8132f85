//! `/metrics`, and the dashboard and alert rules that read them.

use serde_json::Value;

use crate::support::{MINUTES, Project, READINGS, root};

/// Every `watershed_…` in a text.
fn named(text: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c)).filter(|w| w.starts_with("watershed_"));
    let mut words: Vec<&str> = words.collect();
    words.sort_unstable();
    words.dedup();
    words
}

#[test]
fn figures_of_queries_letters_views_and_disks() {
    let server = Project::new(&format!("{READINGS}{MINUTES}")).serve(&[]);
    let lines = "{\"sensor\":\"a\",\"celsius\":1,\"at\":\"2026-01-01T00:00:00Z\"}\n{\"sensor\":\"a\",\
                 \"celsius\":900,\"at\":\"2026-01-01T00:00:01Z\"}\nno json\nnor this\n";
    assert_eq!(server.post("/api/topics/readings", lines).status, 200);
    server.settle();
    server.sql("SELECT 1");
    assert_eq!(server.post("/api/sql", r#"{"query": "SELECT 1/0"}"#).status, 400);
    let value = |page: &str, sample: &str| {
        let line = page.lines().find_map(|l| l.strip_prefix(sample));
        line.and_then(|v| v.trim().parse::<f64>().ok())
    };
    let failed = "watershed_queries_total{end=\"failed\"}";
    server.wait_until("counted", |s| value(&s.get("/metrics").text(), failed) == Some(1.0));
    let page = server.get("/metrics").text();
    let of = |sample: &str| value(&page, sample);
    assert_eq!(of("watershed_queries_total{end=\"done\"}"), Some(1.0));
    assert_eq!(of("watershed_query_seconds_count"), Some(2.0));
    let letters = |kind: &str| {
        of(&format!("watershed_dead_letters_total{{topic=\"readings\",kind=\"{kind}\"}}"))
    };
    assert_eq!((letters("parse"), letters("check")), (Some(2.0), Some(1.0)));
    // 2026-01-01 less the delay of ten seconds that READINGS allows.
    let watermark = of("watershed_view_watermark_seconds{view=\"minute_avg\"}").unwrap();
    assert!((1_767_225_000.0..=1_767_225_600.0).contains(&watermark), "{watermark}");
    assert!(of("watershed_view_freshness_seconds{view=\"minute_avg\"}").unwrap() >= 0.0);
    for store in ["data", "log", "views", "lake", "catalog"] {
        assert!(of(&format!("watershed_disk_free_bytes{{store=\"{store}\"}}")).unwrap() > 0.0);
    }
    assert_eq!(of("watershed_problems"), Some(0.0));
    // All of the page is described, and all that is described and monitored is there.
    let reference = std::fs::read_to_string(root().join("docs/reference/metrics.md")).unwrap();
    let known = named(&reference);
    let families = page.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next());
    let families: Vec<&str> = families.filter(|f| f.starts_with("watershed_")).collect();
    for family in &families {
        assert!(known.contains(family), "{family} is not in docs/reference/metrics.md");
    }
    for name in ["alerts.yml", "grafana.json"] {
        let text = std::fs::read_to_string(root().join("docs/monitoring").join(name)).unwrap();
        let named = named(&text);
        assert!(named.len() > 8, "{name}");
        for metric in named {
            let parts = ["_sum", "_count", "_bucket"];
            let family = parts.iter().find_map(|p| metric.strip_suffix(p)).unwrap_or(metric);
            let is_there = |f: &str| families.contains(&f);
            assert!(is_there(metric) || is_there(family), "{name} has {metric}");
        }
    }
    let dashboard = std::fs::read(root().join("docs/monitoring/grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_slice(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 15);
}
