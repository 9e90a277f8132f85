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

/// All of it can be planned; that the sink's connector can't be made is found when it is made.
#[test]
fn a_fault_while_it_takes_effect_changes_nothing_that_ran() {
    let other = "CREATE MATERIALIZED VIEW other AS SELECT count(*) AS n FROM events;\n";
    let good = format!("{EVENTS}{TOTALS}{other}");
    let bench = Bench::new(&good);
    bench.send("events", &events(0..20));
    bench.until_equal();
    let catalog = || std::fs::read(bench.place.path().join("data/catalog.json")).unwrap();
    let (before, epochs) = (catalog(), |b: &Bench| {
        b.platform.views().into_iter().map(|v| (v.name, v.epoch < 1_000)).collect::<Vec<_>>()
    });
    let ran = epochs(&bench);
    let bad = "CREATE TOPIC more (a INT);
        CREATE MATERIALIZED VIEW late AS SELECT max(v) AS m FROM events;
        CREATE SINK out FROM (SELECT * FROM totals)
        WITH (connector = 'file', path = 'out/totals.csv', format = 'csv');\n";
    let changed = TOTALS.replace("sum(v)", "max(v)");
    bench.place.write("sql/project.sql", &format!("{EVENTS}{changed}{bad}"));
    let faults = bench.apply().unwrap_err();
    assert!(faults[0].to_string().contains("single file"), "{faults:?}");
    bench.send("events", &events(20..40));
    bench.until_equal();
    bench.until("SELECT n FROM other", &strings([40]));
    assert_eq!(epochs(&bench), ran, "views were made anew");
    assert_eq!(bench.refused("SELECT * FROM more").kind(), Kind::NotFound);
    assert_eq!(bench.refused("SELECT * FROM late").kind(), Kind::NotFound);
    assert_eq!(catalog(), before);
    // What was prepared is gone, and the same can be made once the fault is mended.
    let mended = bad.replace("out/totals.csv", "out");
    bench.place.write("sql/project.sql", &format!("{EVENTS}{TOTALS}{other}{mended}"));
    let report = bench.apply().unwrap();
    assert_eq!(report.created, ["more", "late", "out"]);
    bench.until("SELECT m FROM late", &strings([39]));
    let bench = bench.reopen();
    bench.until_equal();
    bench.until("SELECT m FROM late", &strings([39]));
}

#[test]
fn a_start_on_faulty_files_runs_what_ran_last() {
    let bench = Bench::new(&format!("{EVENTS}{TOTALS}"));
    bench.sql("CREATE MATERIALIZED VIEW ids AS SELECT id FROM events");
    bench.send("events", &events(0..10));
    bench.until_equal();
    let place = bench.close();
    place
        .write("sql/totals.sql", "CREATE MATERIALIZED VIEW wrong AS SELECT avgg(v) FROM events;\n");
    let bench = place.open().unwrap();
    assert_eq!(bench.apply().unwrap_err().len(), 1);
    let platform = bench.platform.clone();
    bench.on(async move { platform.apply_last_good().await }).unwrap();
    assert_eq!(bench.platform.problems().len(), 1);
    bench.wait("ready", |b| b.platform.ready().is_ok());
    bench.send("events", &events(10..20));
    bench.until_equal();
    bench.until("SELECT count(*) FROM ids", &strings([20]));
    // And the files again once they are mended.
    bench.place.write("sql/totals.sql", "");
    assert!(bench.apply().unwrap().changed.is_empty());
    assert!(bench.platform.problems().is_empty());
}

#[test]
fn a_file_takes_over_what_was_typed_and_says_what_stays_when_it_goes() {
    let bench = Bench::new("");
    bench.sql(EVENTS.trim().trim_end_matches(';'));
    bench.send("events", &events(0..10));
    bench.place.write("sql/events.sql", EVENTS);
    let report = bench.apply().unwrap();
    assert_eq!((report.kept, report.created.len()), (vec!["events".to_string()], 0));
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["10"]);
    assert_eq!(bench.platform.topics()[0].file.as_deref(), Some("sql/events.sql"));
    // Another definition of the same name is none to take over.
    bench.sql("CREATE TOPIC other (a INT)");
    bench.place.write("sql/other.sql", "CREATE TOPIC other (a TEXT);\n");
    assert!(bench.apply().unwrap_err()[0].to_string().contains("other"));
    bench.place.write("sql/other.sql", "");
    let bench = bench.reopen();
    bench.place.write("sql/events.sql", "");
    let report = bench.apply().unwrap();
    assert_eq!((report.dropped, report.left_over), (strings(["events"]), strings(["events"])));
    bench.place.write("sql/events.sql", EVENTS);
    bench.apply().unwrap();
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["10"]);
}

#[test]
fn a_name_may_be_of_another_kind_after_an_edit() {
    let sink =
        "CREATE SINK ids FROM (SELECT id FROM events) WITH (connector = 'file', path = 'out');\n";
    let view = "CREATE MATERIALIZED VIEW ids AS SELECT id FROM events;\n";
    let bench = Bench::new(&format!("{EVENTS}{view}"));
    bench.send("events", &events(0..10));
    bench.until("SELECT count(*) FROM ids", &strings([10]));
    bench.place.write("sql/project.sql", &format!("{EVENTS}{sink}"));
    let report = bench.apply().unwrap();
    assert_eq!((report.changed, report.dropped), (strings(["ids"]), vec![]));
    assert_eq!(bench.refused("SELECT * FROM ids").kind(), Kind::NotFound);
    assert!(bench.platform.views().is_empty(), "the view has ended");
    bench.wait("the sink delivers", |b| b.platform.status().sinks[0].rows_total == 10);
    let bench = bench.reopen();
    bench.place.write("sql/project.sql", &format!("{EVENTS}{view}"));
    bench.apply().unwrap();
    assert!(bench.platform.status().sinks.is_empty(), "the sink has ended");
    bench.until("SELECT count(*) FROM ids", &strings([10]));
}
