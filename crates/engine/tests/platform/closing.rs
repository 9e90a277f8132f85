//! Closing: everything ends before it returns, and nothing is written afterwards. And opening:
//! when the platform says that it is ready.

use common::Kind;

use super::support::*;

#[test]
fn nothing_is_written_after_it_closed() {
    let sources =
        "CREATE SOURCE made WITH (connector = 'generator', rows_per_second = 0) INTO events;
CREATE SINK out FROM totals WITH (connector = 'file', path = 'out');\n";
    let busy: Settings = &[("lake.archive_interval", "10 ms"), ("lake.archive_bytes", "64 KiB")];
    let bench = Place::new(&format!("{EVENTS}{TOTALS}{sources}"), busy).start();
    bench.wait("all is at work", |b| {
        let status = b.platform.status();
        status.archive[0].archived_offset_sum > 0 && status.sinks[0].rows_total > 0
    });
    let opened = bench.opened.clone();
    bench.on(async move { opened.shutdown().await }).unwrap();
    let written = |b: &Bench| -> Vec<(std::path::PathBuf, std::time::SystemTime, u64)> {
        let meta = |p: std::path::PathBuf| {
            let m = std::fs::metadata(&p).unwrap();
            (p, m.modified().unwrap(), m.len())
        };
        let all = ["data/log", "data/lake", "out"].map(|d| files(&b.place.path().join(d)));
        all.into_iter().flatten().map(meta).collect()
    };
    let before = written(&bench);
    // Every way in is shut.
    let e = bench.try_send("events", &events(0..1)).unwrap_err();
    assert!(matches!(e.kind(), Kind::Unavailable), "{e}");
    let e = bench.import("events", 1, &events(0..1)).unwrap_err();
    assert_kind(&e, Kind::Unavailable, &["stopping"]);
    assert_eq!(bench.apply().unwrap_err()[0].kind(), Kind::Unavailable);
    assert_eq!(bench.refused("CREATE TOPIC x (a INT)").kind(), Kind::Unavailable);
    assert_kind(&bench.platform.ready().unwrap_err(), Kind::Unavailable, &["stopping"]);
    bench.archive().unwrap();
    assert_eq!(written(&bench), before);
    // Twice is once.
    let bench = bench.reopen();
    let counts = bench.sql("SELECT count(*) = count(DISTINCT (_partition, _offset)) FROM events");
    assert_eq!(counts, ["true"]);
}

#[test]
fn ready_once_every_view_has_caught_up() {
    let place = Place::new(EVENTS, &[("stream.epoch_interval_max", "10 ms")]);
    let bench = place.start();
    for i in 0..20 {
        bench.send("events", &events(i * 5_000..(i + 1) * 5_000));
    }
    bench.wait("ready", |b| b.platform.ready().is_ok());
    // A view made now does not take the platform out of service.
    bench.sql(TOTALS.trim().trim_end_matches(';'));
    assert!(bench.platform.ready().is_ok());
    bench.sql("DROP MATERIALIZED VIEW totals");
    let place = bench.close();
    place.write("sql/totals.sql", TOTALS);
    let bench = place.open().unwrap();
    assert_kind(&bench.platform.ready().unwrap_err(), Kind::Unavailable, &["definitions"]);
    bench.apply().unwrap();
    // From the moment it says so, the view has all that was there.
    bench.wait("ready", |b| b.platform.ready().is_ok());
    assert_eq!(bench.sql("SELECT sum(n) FROM totals"), ["100000"]);
}
