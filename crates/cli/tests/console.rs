//! The console's files as a browser asks for them, and what it is not allowed to do.

use crate::support::Project;

#[test]
fn pages_have_a_policy_and_may_be_cached_as_they_should() {
    let server = Project::new("").serve(&[]);
    let page = server.get("/");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'self'"), "{policy}");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let text = page.text();
    assert!(!text.contains("http://") && !text.contains("https://"), "nothing from elsewhere");
    assert_eq!(server.get("/views/any").text(), text, "pages have paths of their own");
    assert_eq!(server.get("/nothing.js").status, 404);
    let Some(etag) = page.header("etag") else {
        assert!(text.contains("make console"), "says how to build it");
        return;
    };
    let again = server.send("GET", "/", &[("if-none-match", etag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    let asset = text.split('"').find(|p| p.starts_with("/assets/") && p.ends_with(".js")).unwrap();
    let script = server.send("GET", asset, &[("accept-encoding", "gzip")], b"");
    assert_eq!(script.header("content-encoding"), Some("gzip"));
    assert!(script.header("cache-control").unwrap().contains("immutable"));
}

#[test]
fn the_openapi_document_knows_every_route_that_answers() {
    let server = Project::new(crate::support::READINGS).serve(&[]);
    let document = server.get("/api/openapi.json").json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            if path.ends_with("/changes") {
                continue; // streams do not end; see sse.rs
            }
            let asked = path.replace("{topic}", "readings").replace("{view}", "none");
            let asked = asked.replace("{key}", "none");
            let answer = server.send(&method.to_uppercase(), &asked, &[], b"");
            assert_ne!(answer.status, 405, "{method} {path}");
            assert!(!answer.text().contains("unknown path"), "{method} {path}");
        }
    }
    assert_eq!(server.send("DELETE", "/api/topics", &[], b"").status, 405);
    let unknown = server.get("/api/topicz");
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("/api/topics"), "{}", unknown.text());
}

#[test]
fn metrics_follow_the_conventions() {
    let server = Project::new(crate::support::READINGS).serve(&[]);
    server.post("/api/topics/readings", r#"{"sensor":"a"}"#);
    let text = server.get("/metrics").text();
    for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_sum", "_count", "_bucket"]
            .iter()
            .find_map(|s| name.strip_suffix(s).filter(|f| text.contains(&format!("# TYPE {f} "))))
            .unwrap_or(name);
        assert!(text.contains(&format!("# HELP {family} ")), "no HELP for {line}");
        assert_eq!(text.matches(&format!("# TYPE {family} ")).count(), 1, "TYPE of {line}");
        let counter = text.contains(&format!("# TYPE {family} counter"));
        assert!(!counter || family.ends_with("_total"), "counter without _total: {line}");
        assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "value of {line}");
    }
    assert!(text.contains("watershed_http_requests_total"));
}
