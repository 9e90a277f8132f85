//! What is true of objects of every kind: each is listed, shown, described and counted by walking
//! one list of kinds.

use serde_json::Value;

use crate::support::{Project, Server};

const ALL_KINDS: &str = "CREATE TOPIC prices (item TEXT, price DOUBLE);
CREATE SOURCE made WITH (connector = 'generator', rows = 5, rows_per_second = 0) INTO prices;
CREATE MATERIALIZED VIEW dear AS SELECT item, max(price) AS price FROM prices GROUP BY item;
CREATE SINK written FROM dear WITH (connector = 'file', path = 'out-{epoch}.ndjson');
";

const NAMES: [(&str, &str, &str); 4] = [
    ("topic", "prices", "TOPICS"),
    ("source", "made", "SOURCES"),
    ("materialized view", "dear", "VIEWS"),
    ("sink", "written", "SINKS"),
];

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of[field].as_str().unwrap_or_default()
}

fn listed(server: &Server, query: &str) -> Vec<Value> {
    server.get(&format!("/api/objects{query}")).json().as_array().unwrap().clone()
}

#[test]
fn every_kind_is_listed_shown_and_counted() {
    let server = Project::new(ALL_KINDS).serve(&[]);
    server.wait_until("the sink has all", |s| {
        let sinks = listed(s, "?kind=sink");
        sinks[0]["info"]["rows_total"].as_u64() > Some(0)
            && listed(s, "?kind=source")[0]["info"]["events_total"] == 5
    });
    let all = listed(&server, "");
    let found: Vec<(&str, &str)> = all.iter().map(|o| (text(o, "kind"), text(o, "name"))).collect();
    assert_eq!(found, NAMES.map(|(kind, name, _)| (kind, name)));
    for (object, (kind, name, plural)) in all.iter().zip(NAMES) {
        let statement = text(object, "statement");
        assert!(
            statement.starts_with(&format!("CREATE {} {name}", kind.to_uppercase())),
            "{statement}"
        );
        assert_eq!(text(object, "file"), "sql/project.sql");
        assert_eq!(text(&object["info"], "name"), name);
        // The two words of a view, and its short one.
        for word in kind.split(' ').rev().take(1).chain([kind]) {
            let of_kind = listed(&server, &format!("?kind={}", word.replace(' ', "%20")));
            assert_eq!(of_kind.len(), 1, "{word}");
            assert_eq!(text(&of_kind[0], "name"), name);
        }
        let shown = server.sql(&format!("SHOW {plural}"));
        assert_eq!(shown[0][0], name, "{shown}");
    }
    let depends = |i: usize| all[i]["depends_on"].clone();
    assert_eq!(depends(1), serde_json::json!(["prices"]));
    assert_eq!(depends(2), serde_json::json!(["prices"]));
    assert_eq!(depends(3), serde_json::json!(["dear"]));
    let feeds: Vec<&Value> = all.iter().map(|o| &o["feeds"]).collect();
    assert_eq!(
        serde_json::json!(feeds),
        serde_json::json!([["dear"], ["prices"], ["written"], []])
    );
    let page = server.get("/metrics").text();
    for sample in [
        "watershed_topic_events_total{topic=\"prices\"} 5",
        "watershed_source_events_total{source=\"made\"} 5",
        "watershed_source_up{source=\"made\"} 1",
        "watershed_view_up{view=\"dear\"} 1",
        "watershed_sink_up{sink=\"written\"} 1",
        "watershed_sink_lag_events{sink=\"written\"} 0",
    ] {
        assert!(page.lines().any(|l| l == sample), "{sample} is not in\n{page}");
    }
}

/// What goes through the operators behind a view and a sink, and what each keeps.
#[test]
fn operators_tell_their_rows_and_state() {
    let server = Project::new(ALL_KINDS).serve(&[]);
    for (pipeline, word) in [("dear", "max(price)"), ("written", "max(price)")] {
        let path = format!("/api/pipelines/{pipeline}/operators");
        server.wait_until("all rows have passed", |s| s.get(&path).json()[0]["rows_out"] == 5);
        let all = server.get(&path).json().as_array().unwrap().clone();
        let aggregate = all.iter().find(|o| text(o, "name").contains(word)).unwrap();
        assert_eq!(aggregate["rows_in"], 5, "{aggregate}");
        assert!(aggregate["groups"].as_u64() > Some(0), "{aggregate}");
        assert!(aggregate["state_bytes"].as_u64() > Some(0), "{aggregate}");
        let numbers: Vec<&Value> = all.iter().map(|o| &o["operator"]).collect();
        let inputs = all.iter().flat_map(|o| o["inputs"].as_array().unwrap());
        assert!(inputs.clone().count() == all.len() - 1, "{all:?}");
        assert!(inputs.into_iter().all(|i| numbers.contains(&i)), "{all:?}");
    }
    for (name, said) in [("prices", "view or sink 'prices'"), ("dea", "dear")] {
        let answer = server.get(&format!("/api/pipelines/{name}/operators"));
        assert_eq!((answer.status, answer.text().contains(said)), (404, true), "{}", answer.text());
    }
}

#[test]
fn a_kind_that_is_not_there_is_told() {
    let server = Project::new(ALL_KINDS).serve(&[]);
    let answer = server.get("/api/objects?kind=table");
    assert_eq!(answer.status, 400);
    let detail = answer.text();
    assert!(detail.contains("table") && detail.contains("TOPIC"), "{detail}");
    for (kind, name, _) in NAMES {
        let other = if kind == "sink" { "SOURCE" } else { "SINK" };
        let wrong = format!(r#"{{"query": "DROP {other} {name}"}}"#);
        assert_eq!(server.post("/api/sql", wrong).status, 400, "DROP {other} {name}");
    }
    assert_eq!(listed(&server, "").len(), 4);
    server.sql("CREATE TOPIC typed (n BIGINT)");
    server.sql("CREATE MATERIALIZED VIEW most AS SELECT max(n) AS n FROM typed");
    server.sql("DROP MATERIALIZED VIEW most");
    server.sql("DROP TOPIC typed");
    assert_eq!(listed(&server, "").len(), 4);
}

/// What only its connector can know is said with the statement's place, as faults of planning are.
#[test]
fn a_fault_found_while_it_is_made_names_file_and_line() {
    let project = Project::new(&ALL_KINDS.replace("out-{epoch}", "out"));
    let ran = project.command(&["serve", "."]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success());
    assert!(said.contains("names a single file"), "{said}");
    assert!(said.contains("sql/project.sql:4"), "{said}");
}
