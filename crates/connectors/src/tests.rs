//! What holds for all connectors: the lists, their descriptions, and the errors of a mistyped one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use catalog::Origin;
use connector::conformance::check_spec;

use super::*;

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect()
}

#[test]
fn lists_are_alphabetical_and_described() {
    let sources: Vec<_> = sources().iter().map(|e| e.spec.name).collect();
    let sinks: Vec<_> = sinks().iter().map(|e| e.spec.name).collect();
    assert!(sources.is_sorted() && sinks.is_sorted());
    for spec in SOURCES.iter().map(|e| e.spec) {
        assert_eq!(spec.role, Role::Source);
        check_spec(spec).unwrap();
    }
    for spec in SINKS.iter().map(|e| e.spec) {
        assert_eq!(spec.role, Role::Sink);
        check_spec(spec).unwrap();
    }
}

#[test]
fn mistakes_are_named() {
    let one = |result: Result<(), Vec<Error>>| result.unwrap_err()[0].to_string();
    let none = options(&[]);
    assert_eq!(
        one(check_source("hots", &none)),
        "unknown source connector 'hots' (did you mean 'host'?)"
    );
    assert_eq!(
        one(check_source("file", &none)),
        "the connector 'file' is a sink only (known source connectors are: generator, host)"
    );
    assert_eq!(
        one(check_sink("kafak", &none)),
        "unknown sink connector 'kafak' (did you mean 'kafka'?)"
    );
    let many = check_source("host", &options(&[("intervall", "1 s"), ("interval", "now")]));
    assert_eq!(many.unwrap_err().len(), 2);
    assert!(check_source("host", &options(&[("connector", "host"), ("interval", "2 s")])).is_ok());
}

#[test]
fn what_is_secret_is_said_in_the_spec() {
    let secret = |spec: &Spec| {
        let all = spec.all_options().filter(|o| o.secret).map(|o| o.name);
        all.collect::<Vec<_>>()
    };
    assert_eq!(secret(spec(Role::Sink, "http").unwrap()), ["headers"]);
    let urls = SINKS.iter().flat_map(|e| e.spec.options).filter(|o| o.name == "url");
    assert!(urls.into_iter().all(|o| o.kind == OptionKind::Url));
    let paths = SINKS.iter().flat_map(|e| e.spec.options).filter(|o| o.name == "path");
    assert!(paths.into_iter().all(|o| o.kind == OptionKind::Path));
}

#[test]
fn a_typed_kafka_sink_needs_listed_brokers_and_plain_properties() {
    let outside = |allowed: &[&str]| {
        let rules = connector::Rules {
            project_dir: ".".into(),
            secrets: connector::Secrets::new("no such folder"),
            files_allowed: vec![],
            http_allowed: allowed.iter().map(|a| a.to_string()).collect(),
            secrets_allowed: vec![],
            own: vec![],
            of_owner: vec![],
        };
        Outside::new(std::sync::Arc::new(rules), false)
    };
    let check = |url: &str, allowed: &[&str]| {
        let options = options(&[("url", url), ("topic", "t")]);
        check_reach(&kafka::SPEC, &options, &outside(allowed)).map_err(|f| f.error)
    };
    let e = check("kafka://a:1,b:2", &["a"]).unwrap_err();
    assert!(e.to_string().contains("'b:2'") && e.to_string().contains("http.allowed"), "{e}");
    check("kafka://a:1,b:2?sasl.password=x", &["a", "b:2"]).unwrap();
    for property in ["plugin.library.paths", "ssl.ca.location", "sasl.kerberos.kinit.cmd"] {
        let e = check(&format!("kafka://a:1?{property}=/x"), &["*"]).unwrap_err();
        assert!(e.to_string().contains(property) && e.kind() == common::Kind::Denied, "{e}");
    }
}

#[test]
fn promises_are_kept_or_refused() {
    assert_eq!(delivery("file", None).unwrap(), Delivery::ExactlyOnce);
    assert_eq!(delivery("file", Some("at_least_once")).unwrap(), Delivery::AtLeastOnce);
    assert_eq!(delivery("http", None).unwrap(), Delivery::AtLeastOnce);
    let refused = delivery("http", Some("exactly_once")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "delivery 'exactly_once' can't be kept by the sink connector 'http': an HTTP server \
         can't be asked which epochs it has taken, so after a crash the last one is sent again \
         (use delivery = 'at_least_once')"
    );
    let all = options(&[("url", "http://x/"), ("delivery", "exactly_once")]);
    assert_eq!(check_sink("http", &all).unwrap_err()[0].to_string(), refused.to_string());
}

#[test]
fn a_definition_is_checked_in_its_text() {
    let text = "CREATE SOURCE m WITH (connector = 'host', intervall = '1 s') INTO readings";
    let source = catalog::Source {
        name: "m".into(),
        connector: "host".into(),
        into: "readings".into(),
        options: options(&[("intervall", "1 s")]),
    };
    let origin = Origin { file: Some("sql/r.sql".into()), text: text.into(), span: 0..text.len() };
    let object = Object::Source(source);
    let definition = Definition { object, origin, query_start: 0, depends_on: vec![] };
    let errors = check_definition(&definition, &Outside::of_folder(".")).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "sql/r.sql:1:43: source connector 'host': unknown option 'intervall' (did you mean \
         'interval'?)"
    );
}
