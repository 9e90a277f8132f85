//! Live changes: what a reader folds together is the view, whether it was cut off, slow or new.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use common::Epoch;
use engine::{Subscription, Update};

use super::support::*;

/// What a reader has gathered.
#[derive(Default)]
struct Reader {
    rows: BTreeMap<String, i64>,
    epoch: Epoch,
    snapshots: usize,
    resyncs: usize,
}

impl Reader {
    fn take(&mut self, update: Update) {
        match update {
            Update::Snapshot(part) => {
                if part.is_first {
                    self.rows.clear();
                }
                part.batches.iter().for_each(|b| self.add(b, |_| 1));
                self.epoch = part.epoch;
                self.snapshots += usize::from(part.is_last);
            }
            Update::Changes(epoch) => {
                assert!(epoch.epoch > self.epoch, "{:?} after {:?}", epoch.epoch, self.epoch);
                for change in epoch.changes.iter() {
                    let weights = change.weights.clone();
                    self.add(&change.batch, |i| {
                        weights.as_ref().map_or(1, |w| i64::from(w.value(i)))
                    });
                }
                self.epoch = epoch.epoch;
            }
            Update::Resync => self.resyncs += 1,
        }
    }

    fn add(&mut self, batch: &RecordBatch, weight: impl Fn(usize) -> i64) {
        for (i, row) in rows(batch).into_iter().enumerate() {
            *self.rows.entry(row).or_default() += weight(i);
        }
        self.rows.retain(|_, n| *n != 0);
    }

    /// Reads until the rows are these.
    fn until(
        &mut self,
        bench: &Bench,
        mut from: Subscription,
        expected: &[String],
    ) -> Subscription {
        let since = std::time::Instant::now();
        while self.snapshots == 0 || self.shown() != expected {
            assert!(since.elapsed() < PATIENCE, "{:?}, expected {expected:?}", self.rows);
            let (update, back) = bench.on(async move {
                let update = tokio::time::timeout(PATIENCE, from.next()).await;
                (update, from)
            });
            from = back;
            self.take(update.expect("an update in time").expect("the view is there").unwrap());
        }
        from
    }

    fn shown(&self) -> Vec<String> {
        assert!(self.rows.values().all(|n| *n == 1), "{:?}", self.rows);
        self.rows.keys().cloned().collect()
    }
}

#[test]
fn who_was_cut_off_goes_on_where_it_was() {
    let bench = Bench::new(&format!("{EVENTS}{TOTALS}"));
    bench.send("events", &events(0..20));
    bench.until_equal();
    let mut reader = Reader::default();
    let mut after = None;
    for i in 2..10 {
        bench.send("events", &events(i * 10..(i + 1) * 10));
        bench.until_equal();
        let expected = bench.sorted("SELECT * FROM totals");
        let subscription = bench.platform.subscribe("totals", after).unwrap();
        drop(reader.until(&bench, subscription, &expected));
        after = Some(reader.epoch);
    }
    assert_eq!(reader.snapshots, 1, "later ones resumed");
    // After a restart nobody knows the epochs before; a snapshot puts it right.
    let bench = bench.reopen();
    let expected = bench.sorted("SELECT * FROM totals");
    reader.rows.insert("stale|1|1".into(), 1);
    let subscription = bench.platform.subscribe("totals", after).unwrap();
    reader.until(&bench, subscription, &expected);
    assert_eq!(reader.snapshots, 2);
}

#[test]
fn a_slow_reader_is_told_to_start_again() {
    let bench = Bench::new(&format!("{EVENTS}{TOTALS}"));
    let mut reader = Reader::default();
    let subscription = bench.platform.subscribe("totals", None).unwrap();
    bench.send("events", &events(0..5));
    bench.until_equal();
    let expected = bench.sorted("SELECT * FROM totals");
    let subscription = reader.until(&bench, subscription, &expected);
    // More epochs than are kept, each waited for.
    let first = bench.platform.views()[0].epoch;
    let mut i = 1;
    while bench.platform.views()[0].epoch < first + 300 {
        let seen = bench.platform.views()[0].epoch;
        bench.send("events", &events(i * 5..i * 5 + 1));
        bench.wait("the next epoch", |b| b.platform.views()[0].epoch > seen);
        i += 1;
    }
    bench.until_equal();
    let expected = bench.sorted("SELECT * FROM totals");
    reader.until(&bench, subscription, &expected);
    assert_eq!((reader.resyncs, reader.snapshots), (1, 2));
    // One who asks for an epoch that is no longer kept gets a snapshot too.
    let subscription = bench.platform.subscribe("totals", Some(Epoch(first))).unwrap();
    let mut late = Reader::default();
    late.until(&bench, subscription, &expected);
    assert_eq!(late.snapshots, 1);
}

#[test]
fn epochs_of_an_edited_view_are_not_taken_for_the_old_ones() {
    let bench = Bench::new(&format!("{EVENTS}{TOTALS}"));
    bench.send("events", &events(0..20));
    bench.until_equal();
    let mut reader = Reader::default();
    let subscription = bench.platform.subscribe("totals", None).unwrap();
    let expected = bench.sorted("SELECT * FROM totals");
    let mut old = reader.until(&bench, subscription, &expected);
    bench
        .place
        .write("sql/project.sql", &format!("{EVENTS}{}", TOTALS.replace("sum(v)", "min(v)")));
    bench.apply().unwrap();
    // The old stream ends.
    let ended = bench.on(async move {
        while let Ok(Some(_)) = tokio::time::timeout(PATIENCE, old.next()).await {}
        true
    });
    assert!(ended);
    // Many epochs later the reader comes back with the number it had.
    for i in 2..12 {
        let seen = bench.platform.views()[0].epoch;
        bench.send("events", &events(i * 10..(i + 1) * 10));
        bench.wait("the next epoch", |b| b.platform.views()[0].epoch > seen);
    }
    let expected = bench.sorted("SELECT k, count(*), min(v) FROM events GROUP BY k");
    bench.until("SELECT * FROM totals", &expected);
    let subscription = bench.platform.subscribe("totals", Some(reader.epoch)).unwrap();
    reader.until(&bench, subscription, &expected);
    assert_eq!(reader.snapshots, 2);
}
