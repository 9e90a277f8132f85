//! Numbered batches (imports, sources) over crashes at every step: nothing lost, nothing doubled.

use common::Kind;

use super::support::*;

const BATCHES: u64 = 3;

/// Twenty good lines over both partitions, two bad ones.
fn batch(n: u64) -> String {
    let ids = (n - 1) * 20..n * 20;
    format!("{}{{\"id\":\"x{n}\"}}\nnot json {n}\n", events(ids))
}

pub fn importing(bench: &Bench) {
    for n in 1..=BATCHES {
        bench.import("events", n, &batch(n)).unwrap();
    }
}

#[test]
fn an_import_goes_on_after_a_crash() {
    for at in ["once.begun", "once.appended", "once.recorded"] {
        for n in 1..=BATCHES {
            let place = Place::new(&format!("{EVENTS}{TOTALS}"), &[]);
            let at = format!("{at}:{n}");
            place.crash("import", &at);
            let bench = place.start();
            // The importer does not know how far it came: it sends the batch in doubt again.
            for i in n..=BATCHES {
                let answer = bench.import("events", i, &batch(i)).unwrap();
                assert_eq!((answer.accepted, answer.refused), (20, 2), "{at}");
            }
            let counts = bench.sql("SELECT count(*), count(DISTINCT id), max(id) FROM events");
            assert_eq!(counts, ["60|60|59"], "{at}");
            assert_eq!(bench.sql("SELECT count(*) FROM dead_letters"), ["6"], "{at}");
            bench.until_equal();
        }
    }
}

#[test]
fn a_repeat_has_the_same_answer_and_a_gap_is_refused() {
    let bench = Bench::new(EVENTS);
    let first = bench.import("events", 1, &batch(1)).unwrap();
    let again = bench.import("events", 1, &batch(1)).unwrap();
    assert_eq!(format!("{first:?}"), format!("{again:?}"));
    assert_eq!((first.errors.len(), first.errors[0].line), (2, 21));
    let e = bench.import("events", 3, &batch(3)).unwrap_err();
    assert_kind(&e, Kind::Conflict, &["batch 3", "batch 1"]);
    let bench = bench.reopen();
    bench.import("events", 1, &batch(1)).unwrap();
    bench.import("events", 2, &batch(2)).unwrap();
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["40"]);
    assert_eq!(bench.sql("SELECT count(*) FROM dead_letters"), ["4"]);
    assert_eq!(bench.platform.status().dead_letters, 4);
}

#[test]
fn a_source_with_positions_goes_on_where_it_was() {
    let source = "CREATE SOURCE made WITH (connector = 'generator', rows = 3000,
rows_per_second = 0, batch_rows_max = 100) INTO events;\n";
    let mut bench = Bench::new(&format!("{EVENTS}{TOTALS}{source}"));
    // Stopped wherever it happens to be.
    for _ in 0..5 {
        bench.wait("some rows", |b| b.sql("SELECT count(*) > 0 FROM events") == ["true"]);
        bench = bench.reopen();
    }
    bench.until("SELECT count(*) FROM events", &strings([3000]));
    bench.until_equal();
    let state = bench.platform.status().sources[0].state;
    assert_eq!(state, "finished");
}
