//! Damaged files: said clearly, nothing skipped silently.

use std::path::{Path, PathBuf};

use common::{Error, Kind};

use super::support::*;

fn flip(path: &std::path::Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_byte_in_a_segment_is_never_skipped() {
    let place = {
        let bench = Bench::new(EVENTS);
        for i in 0..10 {
            bench.send("events", &events(i * 10..(i + 1) * 10));
        }
        bench.close()
    };
    let path = place.path().join("data/log/events-0/00000000000000000000.log");
    let good = std::fs::read(&path).unwrap();
    for part in 1..8 {
        flip(&path, good.len() * part / 8);
        match place.clone().open() {
            Err(e) => assert_kind(&e, Kind::Corrupt, &["events-0"]),
            Ok(bench) => {
                bench.apply().unwrap();
                let e = bench.refused("SELECT count(*) FROM events");
                assert_kind(&e, Kind::Corrupt, &["events"]);
                // A view on it says so too, and does not go on without.
                bench.sql(TOTALS.trim().trim_end_matches(';'));
                bench.wait("the view fails", |b| b.platform.views()[0].state == "failed");
                let error = bench.platform.views()[0].error.clone().unwrap();
                assert_eq!(error.code, "corrupt", "{error:?}");
                let e = bench.refused("SELECT * FROM totals");
                assert_kind(&e, Kind::Unavailable, &["totals", "stopped"]);
                assert!(bench.platform.ready().is_ok(), "one view is not the platform");
                assert_eq!(bench.archive().unwrap_err().kind(), Kind::Corrupt);
                bench.sql("DROP MATERIALIZED VIEW totals");
                bench.close();
            }
        }
        std::fs::write(&path, &good).unwrap();
    }
    let bench = place.start();
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["100"]);
}

#[test]
fn a_log_that_lost_its_end_or_is_gone_is_missed() {
    let place = {
        let bench = Bench::new(&format!("{EVENTS}{TOTALS}"));
        bench.send("events", &events(0..50));
        bench.until_equal();
        bench.close()
    };
    let log = place.path().join("data/log");
    let aside = place.path().join("aside");
    // One partition's folder is gone.
    std::fs::rename(log.join("events-1"), &aside).unwrap();
    let bench = place.clone().open().unwrap();
    bench.apply().unwrap();
    bench.wait("the view fails", |b| b.platform.views()[0].state == "failed");
    let error = bench.platform.views()[0].error.clone().unwrap();
    assert_eq!(error.code, "corrupt", "{error:?}");
    assert!(error.detail.contains("'events' partition 1"), "{error:?}");
    bench.close();
    let _ = std::fs::remove_dir_all(log.join("events-1"));
    std::fs::rename(&aside, log.join("events-1")).unwrap();
    // All of it is gone.
    std::fs::rename(&log, &aside).unwrap();
    let bench = place.clone().open().unwrap();
    let faults = bench.apply().unwrap_err();
    assert_kind(&faults[0], Kind::Corrupt, &["'events'", "backup"]);
    bench.close();
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::rename(&aside, &log).unwrap();
    place.start().until_equal();
}

/// The segments of a partition, oldest first.
fn segments(log: &Path, partition: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = files(&log.join(partition))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .collect();
    found.sort();
    found
}

/// At the start, in the middle, at the end: never fewer rows without a word.
#[test]
fn a_missing_segment_is_said_and_costs_no_other_topic() {
    let other = "CREATE TOPIC other (id BIGINT);";
    let place = Place::new(&format!("{EVENTS}{other}"), &[("log.segment_bytes_max", "1 KiB")]);
    let place = {
        let bench = place.start();
        for i in 0..40 {
            bench.send("events", &events(i * 50..(i + 1) * 50));
        }
        bench.send("other", r#"{"id":1}"#);
        bench.close()
    };
    let found = segments(&place.path().join("data/log"), "events-1");
    assert!(found.len() > 5, "{found:?}");
    let aside = place.path().join("aside");
    for lost in [&found[0], &found[found.len() / 2], &found[found.len() - 1]] {
        std::fs::rename(lost, &aside).unwrap();
        let bench = place.clone().start();
        let name = lost.file_name().unwrap().to_string_lossy().into_owned();
        let base = name.trim_start_matches('0').trim_end_matches(".log").to_string();
        let e = bench.refused("SELECT count(*) FROM events");
        assert_kind(&e, Kind::Corrupt, &["'events' partition 1", &name, "offsets", &base]);
        let problems = format!("{:?}", bench.platform.problems());
        assert!(problems.contains(&name), "{problems}");
        assert_eq!(bench.archive().unwrap_err().kind(), Kind::Corrupt);
        assert_eq!(bench.sql("SELECT count(*) FROM other"), ["1"]);
        bench.close();
        std::fs::rename(&aside, lost).unwrap();
    }
    let bench = place.start();
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["2000"]);
    assert!(bench.platform.problems().is_empty());
}

#[test]
fn an_archive_ahead_of_its_log_hides_no_event() {
    let place = {
        let bench = Bench::new(EVENTS);
        bench.send("events", &events(0..50));
        bench.archive().unwrap();
        bench.close()
    };
    for p in 0..2 {
        std::fs::remove_dir_all(place.path().join(format!("data/log/events-{p}"))).unwrap();
    }
    // The lists of segments would tell first.
    for path in files(&place.path().join("data/log/topics")) {
        if path.extension().is_some_and(|e| e == "segments") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let bench = place.start();
    let e = bench.refused("SELECT count(*) FROM events");
    assert_kind(&e, Kind::Corrupt, &["'events'", "archived up to"]);
    assert_eq!(bench.archive().unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn a_damaged_catalog_stops_the_start() {
    let place = {
        let bench = Bench::new("");
        bench.sql(EVENTS.trim().trim_end_matches(';'));
        bench.send("events", &events(0..5));
        bench.close()
    };
    let path = place.path().join("data/catalog.json");
    let good = std::fs::read_to_string(&path).unwrap();
    for bad in [good.replace("BIGINT", "BIGINS"), good[..good.len() / 2].into(), String::new()] {
        std::fs::write(&path, bad).unwrap();
        let e = place.clone().open().err().unwrap();
        assert_kind(&e, Kind::Corrupt, &["catalog.json", "sql/"]);
    }
    std::fs::write(&path, good).unwrap();
    assert_eq!(place.start().sql("SELECT count(*) FROM events"), ["5"]);
}

/// A byte of the keyed store's files flipped: the answer is an error or the right one.
#[test]
fn a_damaged_store_gives_no_wrong_rows() {
    let place = {
        let bench = Bench::new(&format!("{EVENTS}{TOTALS}"));
        bench.send("events", &events(0..200));
        bench.until_equal();
        bench.close()
    };
    let bench = place.clone().start();
    let right = bench.sorted("SELECT * FROM totals");
    bench.close();
    let mut found = 0;
    for path in files(&place.path().join("data/views")) {
        let good = std::fs::read(&path).unwrap();
        // Of a journal only the beginning is written, the rest is room.
        let used = good.iter().rposition(|b| *b != 0).unwrap_or(0);
        for at in [used / 3, used * 2 / 3].into_iter().filter(|_| used > 8) {
            flip(&path, at);
            let said = answer(&place);
            match said {
                Ok(rows) => assert_eq!(rows, right, "{} at {at}", path.display()),
                Err(e) => {
                    assert_kind(&e, Kind::Corrupt, &[]);
                    found += 1;
                }
            }
            restore(&path, &good, &place);
        }
    }
    assert!(found > 0, "no damage was met");
    assert_eq!(answer(&place).unwrap(), right);
}

/// What the view says after a start, or the first error on the way there.
fn answer(place: &Place) -> Result<Vec<String>, Error> {
    let saved = place.path().join("saved");
    copy(&place.path().join("data"), &saved);
    let bench = place.clone().open()?;
    let read = || {
        bench.apply().map_err(|mut e| e.remove(0))?;
        let since = std::time::Instant::now();
        while since.elapsed() < PATIENCE {
            if let Some(error) = bench.platform.views()[0].error.clone() {
                assert_eq!(error.code, "corrupt", "{error:?}");
                return Err(Error::corrupt("the view"));
            }
            if bench.platform.ready().is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let mut rows = bench.try_sql("SELECT * FROM totals")?;
        rows.sort();
        Ok(rows)
    };
    let said = read();
    bench.close();
    said
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let _ = std::fs::remove_dir_all(to);
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(path, target).unwrap();
    }
}

/// As it was before the start on damaged files, which may have changed others.
fn restore(path: &std::path::Path, good: &[u8], place: &Place) {
    let data = place.path().join("data");
    copy(&place.path().join("saved"), &data);
    std::fs::write(path, good).unwrap();
}
