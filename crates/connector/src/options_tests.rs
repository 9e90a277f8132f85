//! What a user reads after a mistake in a `WITH (…)` clause.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::{Delivery, OptionSpec, Promise, Role};

const SPEC: Spec = Spec {
    name: "demo",
    role: Role::Sink,
    doc: "For these tests.",
    options: &[
        OptionSpec::required("path", OptionKind::Text, "where the files go"),
        OptionSpec::with_default(
            "interval",
            OptionKind::Duration { min_us: 200_000 },
            "1 s",
            "How often.",
        ),
        OptionSpec::with_default("size", OptionKind::Bytes, "1 MiB", "How much."),
        OptionSpec::with_default("on", OptionKind::Bool, "true", "Whether."),
        OptionSpec::with_default("n", OptionKind::Number { min: 1, max: 9 }, "3", "How many."),
        OptionSpec::with_default("format", OptionKind::OneOf(&["csv", "ndjson"]), "csv", "How."),
        OptionSpec::optional("headers", OptionKind::List, "Which."),
    ],
    delivery: Promise {
        kept: &[Delivery::AtLeastOnce],
        how: "it is repeated until it is confirmed",
        why_not: "nobody can ask it what it has",
    },
};

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect()
}

fn texts(pairs: &[(&str, &str)]) -> Vec<String> {
    faults(&SPEC, &options(pairs)).into_iter().map(|f| f.error.to_string()).collect()
}

#[test]
fn all_faults_are_named_at_once() {
    let found = texts(&[
        ("connector", "demo"),
        ("intervall", "1 s"),
        ("size", "big"),
        ("on", "perhaps"),
        ("n", "10"),
        ("format", "cvs"),
        ("interval", "5 ms"),
        ("delivery", "exactly_once"),
    ]);
    assert_eq!(
        found,
        [
            "sink connector 'demo': option 'format': unknown value 'cvs' (did you mean 'csv'?)",
            "sink connector 'demo': option 'interval': '5 ms' is shorter than the least, 200 ms",
            "sink connector 'demo': unknown option 'intervall' (did you mean 'interval'?)",
            "sink connector 'demo': option 'n': '10' is not between 1 and 9",
            "sink connector 'demo': option 'on': 'perhaps' is neither true nor false",
            "sink connector 'demo': option 'size': 'big' is not a size (write a number and a \
             unit, as in '64 MiB', '1 GB', '1048576')",
            "sink connector 'demo' needs the option 'path' (where the files go)",
            "delivery 'exactly_once' can't be kept by the sink connector 'demo': nobody can ask \
             it what it has (use delivery = 'at_least_once')",
        ]
    );
    assert_eq!(
        texts(&[("path", "x"), ("delivery", "exactly_onse")]),
        ["sink connector 'demo': option 'delivery': unknown value 'exactly_onse' \
             (did you mean 'exactly_once'?)"]
    );
}

#[test]
fn faults_point_at_the_option() {
    let text = "-- sinks\nCREATE SINK s FROM v WITH (connector = 'démo: sizze = 1, n = 2',\n  \
                Sizze = 'x', n = '0')";
    let start = text.find("CREATE").unwrap();
    let origin =
        Origin { file: Some("sql/a.sql".into()), text: text.into(), span: start..text.len() };
    let found = faults(&SPEC, &options(&[("sizze", "x"), ("n", "0")]));
    let shown: Vec<_> = place_faults(found, &origin).iter().map(ToString::to_string).collect();
    assert!(shown[0].starts_with("sql/a.sql:3:16: sink connector 'demo': option 'n'"), "{shown:?}");
    assert!(shown[1].starts_with("sql/a.sql:3:3: sink connector 'demo': unknown option"));
    assert!(shown[2].starts_with("sql/a.sql:2:1: sink connector 'demo' needs"));
}

#[test]
fn values_come_by_type() {
    let given = [("path", "out"), ("headers", r"A: 1\, 2 , , B: 3"), ("on", "FALSE")];
    let values = Values::new(&SPEC, &options(&given), &Outside::of_folder(".")).unwrap();
    assert_eq!(values.text("path").unwrap(), "out");
    assert_eq!(values.duration("interval").unwrap(), Duration::from_secs(1));
    assert_eq!(values.bytes("size").unwrap(), 1 << 20);
    assert_eq!(values.number("n").unwrap(), 3);
    assert!(!values.bool("on").unwrap());
    assert_eq!(values.list("headers"), ["A: 1, 2", "B: 3"]);
    assert_eq!(values.get("delivery"), None);
    assert_eq!(values.get("retry_attempts_max"), None);
    assert_eq!(values.text("pth").unwrap_err().kind(), common::Kind::Internal);
}

#[test]
fn a_promise_is_kept_or_refused_with_the_reason() {
    assert_eq!(SPEC.delivery(None).unwrap(), Delivery::AtLeastOnce);
    assert_eq!(SPEC.delivery(Some("At_Least_Once")).unwrap(), Delivery::AtLeastOnce);
    let refused = SPEC.delivery(Some("at_most_once")).unwrap_err();
    assert_eq!(refused.kind(), common::Kind::Unsupported);
    let unknown = SPEC.delivery(Some("twice")).unwrap_err().to_string();
    assert!(unknown.contains("known are: at_most_once, at_least_once"), "{unknown}");
}
