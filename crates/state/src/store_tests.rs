//! What was committed is what is loaded: after a crash at any time, after full deltas replaced
//! older ones, and never from damaged bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::Command;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use common::{Kind, Offset, Partition};
use kv::Options;

use super::*;

fn open(dir: &Path) -> Arc<Kv> {
    let options = Options { memtable_bytes: 64 << 10, reserve_bytes: 0, ..Options::default() };
    Kv::open(dir, options).unwrap()
}

fn rows(from: i64, n: i64) -> RecordBatch {
    let numbers: ArrayRef = Arc::new((from..from + n).collect::<Int64Array>());
    let text = (from..from + n).map(|i| (i % 3 != 0).then(|| format!("key {i}")));
    let text: ArrayRef = Arc::new(text.collect::<StringArray>());
    RecordBatch::try_from_iter_with_nullable([("n", numbers, false), ("t", text, true)]).unwrap()
}

fn delta(operator: u32, from: i64, n: i64, full: bool) -> Delta {
    Delta { operator, batch: rows(from, n), full }
}

/// Commits an epoch as the engine does; gives the checkpoint to go on from.
fn commit(kv: &Arc<Kv>, pipeline: &str, last: &Checkpoint, deltas: &[Delta]) -> Checkpoint {
    let epoch = last.epoch.next();
    let offsets = [(("t".to_owned(), Partition(0)), Offset(epoch.0 as i64 * 10))].into();
    let next = Checkpoint { epoch, offsets, fingerprint: "f".into(), ..last.clone() };
    let mut batch = kv.batch();
    let next = stage(&mut batch, pipeline, &next, deltas).unwrap();
    batch.commit_durable().unwrap();
    next
}

fn read(kv: &Arc<Kv>, pipeline: &str) -> (Checkpoint, Vec<Delta>) {
    let (checkpoint, deltas) = load(kv, pipeline).unwrap().unwrap();
    (checkpoint, deltas.collect::<Result<_>>().unwrap())
}

#[test]
fn deltas_come_back_in_order_and_full_ones_replace() {
    let dir = tempfile::tempdir().unwrap();
    let kv = open(dir.path());
    assert!(load(&kv, "v").unwrap().is_none());
    let c = commit(&kv, "v", &Checkpoint::default(), &[delta(1, 0, 3, true), delta(2, 0, 1, true)]);
    let c = commit(&kv, "v", &c, &[delta(2, 1, 1, false), delta(1, 3, 3, false)]);
    let c = commit(&kv, "v", &c, &[]);
    // Names that contain each other do not share state.
    commit(&kv, "v2", &Checkpoint::default(), &[delta(1, 9, 1, true)]);
    let (loaded, deltas) = read(&kv, "v");
    assert_eq!(loaded, c);
    assert_eq!(loaded.epoch, Epoch(3));
    let expected =
        [delta(1, 0, 3, true), delta(1, 3, 3, false), delta(2, 0, 1, true), delta(2, 1, 1, false)];
    assert_eq!(deltas, expected);

    // The order within an epoch holds for one operator too, and empty batches are kept.
    let now = [delta(1, 50, 2, true), delta(1, 60, 2, false), delta(3, 0, 0, false)];
    commit(&kv, "v", &c, &now);
    let (_, deltas) = read(&kv, "v");
    assert_eq!(deltas[..2], now[..2]);
    assert_eq!(deltas[4], now[2]);

    let mut batch = kv.batch();
    remove(&mut batch, "v").unwrap();
    batch.commit_durable().unwrap();
    assert!(load(&kv, "v").unwrap().is_none());
    assert_eq!(read(&kv, "v2").1.len(), 1);
    assert_eq!(load_checkpoint(&kv, "v2").unwrap().unwrap().epoch, Epoch(1));
}

#[test]
fn a_repeated_epoch_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let kv = open(dir.path());
    let first = commit(&kv, "v", &Checkpoint::default(), &[delta(1, 0, 3, true)]);
    for _ in 0..2 {
        commit(&kv, "v", &first, &[delta(1, 3, 3, true), delta(1, 6, 1, false)]);
    }
    let (_, deltas) = read(&kv, "v");
    assert_eq!(deltas, [delta(1, 3, 3, true), delta(1, 6, 1, false)]);
}

#[test]
fn a_crash_leaves_a_whole_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let kv = open(&dir.path().join("kv"));
    let mut last = Checkpoint::default();
    for round in 1..=12 {
        let full = round % 5 == 0;
        last =
            commit(&kv, "v", &last, &[delta(1, round * 100, 100, full), delta(2, round, 1, full)]);
        // An epoch that is staged but not committed when the power goes.
        let mut lost = kv.batch();
        let next = Checkpoint { epoch: last.epoch.next(), ..last.clone() };
        stage(&mut lost, "v", &next, &[delta(1, 0, 9, true)]).unwrap();
        if round % 3 == 0 {
            let copy = dir.path().join(format!("copy{round}"));
            let mut cp = Command::new("cp");
            assert!(cp.arg("-r").arg(dir.path().join("kv")).arg(&copy).status().unwrap().success());
            let (loaded, deltas) = read(&open(&copy), "v");
            assert_eq!(loaded, last);
            assert_eq!(deltas, read(&kv, "v").1);
            let since_full = if round < 5 { round } else { round % 5 + 1 };
            assert_eq!(deltas.len() as i64, 2 * since_full);
        }
    }
}

#[test]
fn compaction_is_asked_for_by_count_and_by_size() {
    let dir = tempfile::tempdir().unwrap();
    let kv = open(dir.path());
    let mut last = commit(&kv, "v", &Checkpoint::default(), &[delta(1, 0, 10, true)]);
    for n in 0..65 {
        assert!(!should_compact(&last), "after {n} epochs");
        last = commit(&kv, "v", &last, &[delta(1, n, 1, false)]);
    }
    assert!(should_compact(&last));
    last = commit(&kv, "v", &last, &[delta(1, 0, 10, true)]);
    assert!(!should_compact(&last));
    assert_eq!(last.stored.bytes, last.stored.full_bytes);
    last = commit(&kv, "v", &last, &[delta(1, 0, 20_000, false)]);
    assert!(should_compact(&last));
    last = commit(&kv, "v", &last, &[delta(1, 0, 20_000, true)]);
    assert!(!should_compact(&last));
}

#[test]
fn damaged_values_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let kv = open(dir.path());
    commit(&kv, "v", &Checkpoint::default(), &[delta(1, 0, 50, true)]);
    let space = kv.keyspace(KEYSPACE).unwrap();
    let (key, good) = space.prefix(&deltas_key("v")).unwrap().next().unwrap().unwrap();
    let mut damaged: Vec<Vec<u8>> = vec![vec![], vec![9, 9], good[..good.len() - 9].to_vec()];
    for at in 0..good.len() {
        let mut bytes = good.to_vec();
        bytes[at] ^= 4;
        damaged.push(bytes);
    }
    for value in damaged {
        let mut batch = kv.batch();
        batch.put(&space, key.clone(), value);
        batch.commit_durable().unwrap();
        let (_, mut deltas) = load(&kv, "v").unwrap().unwrap();
        let e = deltas.next().unwrap().unwrap_err();
        assert_eq!(e.kind(), Kind::Corrupt);
        assert!(e.to_string().starts_with("view 'v': operator state cannot be read"), "{e}");
        assert!(e.hint_text().unwrap().contains("backup"), "{e}");
    }
    let mut batch = kv.batch();
    batch.put(&space, checkpoint_key("v"), "{}");
    batch.commit_durable().unwrap();
    assert_eq!(load(&kv, "v").err().unwrap().kind(), Kind::Corrupt);
}
