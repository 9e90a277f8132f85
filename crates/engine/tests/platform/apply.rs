//! Edits of the project's files: all or nothing, with the place of each fault.

use common::Kind;

use super::support::*;

#[test]
fn a_fault_in_one_file_leaves_everything_running() {
    let bench = Bench::new(EVENTS);
    bench.place.write("sql/totals.sql", TOTALS);
    bench.apply().unwrap();
    bench.send("events", &events(0..10));
    bench.until_equal();
    bench.place.write("sql/new.sql", "CREATE MATERIALIZED VIEW ids AS SELECT id FROM events;\n");
    bench.place.write(
        "sql/totals.sql",
        "\n-- what is it\nCREATE MATERIALIZED VIEW totals AS\nSELECT kk FROM events;\n",
    );
    let faults = bench.apply().unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].to_string().contains("sql/totals.sql:4:8"), "{}", faults[0]);
    assert!(
        faults[0].hint_text().unwrap_or_default().contains("'k'")
            || faults[0].to_string().contains("'k'"),
        "{}",
        faults[0]
    );
    assert_eq!(bench.platform.problems().len(), 1);
    // Nothing of the edit runs, everything from before does.
    assert_eq!(bench.refused("SELECT * FROM ids").kind(), Kind::NotFound);
    bench.send("events", &events(10..20));
    bench.until_equal();
    let epoch = bench.platform.views()[0].epoch;
    bench.place.write("sql/totals.sql", TOTALS);
    let report = bench.apply().unwrap();
    assert_eq!((report.created, report.kept.len()), (vec!["ids".to_string()], 2));
    assert!(bench.platform.problems().is_empty());
    assert!(bench.platform.views().iter().any(|v| v.name == "totals" && v.epoch >= epoch));
    bench.until("SELECT count(*) FROM ids", &strings([20]));
}

#[test]
fn all_faults_are_told_at_once() {
    let place = Place::new("CREATE TOPC a (x INT);\n", &[]);
    place.write("sql/b.sql", "CREATE MATERIALIZED VIEW v AS SELECT 1 FRM a;\n");
    let bench = place.open().unwrap();
    assert_kind(&bench.platform.ready().unwrap_err(), Kind::Unavailable, &["definitions"]);
    let faults = bench.apply().unwrap_err();
    let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let text = text.join("\n");
    assert!(text.contains("sql/b.sql:1") && text.contains("sql/project.sql:1:8"), "{text}");
    bench.place.write("sql/project.sql", EVENTS);
    bench.place.write("sql/b.sql", TOTALS);
    bench.apply().unwrap();
    bench.wait("ready", |b| b.platform.ready().is_ok());
}

#[test]
fn an_edited_view_starts_over_and_an_untouched_one_does_not() {
    let other = "CREATE MATERIALIZED VIEW other AS SELECT count(*) AS n FROM events;\n";
    let bench = Bench::new(&format!("{EVENTS}{TOTALS}{other}"));
    bench.send("events", &events(0..50));
    bench.until_equal();
    bench.until("SELECT n FROM other", &strings([50]));
    let epoch = |b: &Bench| b.platform.views().iter().find(|v| v.name == "other").unwrap().epoch;
    let before = epoch(&bench);
    bench.place.write(
        "sql/project.sql",
        &format!("{EVENTS}{}{other}", TOTALS.replace("sum(v)", "max(v)")),
    );
    let report = bench.apply().unwrap();
    assert_eq!((report.changed, report.kept.len()), (vec!["totals".to_string()], 2));
    let expected = bench.sorted("SELECT k, count(*), max(v) FROM events GROUP BY k");
    bench.until("SELECT * FROM totals", &expected);
    assert_eq!(epoch(&bench), before);
    // White space and comments are no edit.
    bench.place.write(
        "sql/project.sql",
        &format!("-- moved\n{EVENTS}\n\n{}{other}", TOTALS.replace("sum(v)", "max(v)")),
    );
    assert!(bench.apply().unwrap().changed.is_empty());
}
