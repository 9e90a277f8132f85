//! What is kept, and what makes it go.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};

use super::*;

fn rows(crc: u32, n: usize) -> CachedRows {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n as i64));
    let batch = RecordBatch::try_from_iter([("n", numbers)]).expect("one column is a batch");
    CachedRows::new(crc, 7, vec![batch])
}

fn has(cache: &RowCache, log: Uuid, partition: i32, first: i64) -> bool {
    cache.get(log, Partition(partition), Offset(first), 1).is_some()
}

#[test]
fn the_oldest_go_when_there_is_no_room() {
    let (cache, log) = (RowCache::new(3 * 800), Uuid::from_u128(1));
    for first in 0..5 {
        cache.keep(log, Partition(0), Offset(first * 100), rows(1, 100));
    }
    let there: Vec<bool> = (0..5).map(|i| has(&cache, log, 0, i * 100)).collect();
    assert_eq!(there, [false, false, true, true, true]);
    assert_eq!(cache.stats().bytes, 2400);
    cache.keep(log, Partition(0), Offset(900), rows(1, 1000));
    assert!(!has(&cache, log, 0, 900), "too large to be kept at all");
    cache.keep(log, Partition(0), Offset(900), rows(1, ROWS_MIN - 1));
    assert!(!has(&cache, log, 0, 900), "too small to be worth it");
}

#[test]
fn another_batch_at_the_same_offset_is_not_taken_for_it() {
    let (cache, log) = (RowCache::new(1 << 20), Uuid::from_u128(1));
    cache.keep(log, Partition(0), Offset(0), rows(1, 100));
    assert!(cache.get(log, Partition(0), Offset(0), 2).is_none());
    cache.keep(log, Partition(0), Offset(0), rows(2, 100));
    assert!(cache.get(log, Partition(0), Offset(0), 1).is_none());
    let found = cache.get(log, Partition(0), Offset(0), 2).expect("it is there");
    assert!(found.of(100, 7).is_some());
    assert!(found.of(99, 7).is_none(), "of another number of records");
    assert!(found.of(100, 8).is_none(), "by other columns");
    assert_eq!(cache.stats().bytes, 800);
}

#[test]
fn what_everybody_has_read_goes() {
    let (cache, log, other) = (RowCache::new(1 << 20), Uuid::from_u128(1), Uuid::from_u128(2));
    for first in (0..50_000).step_by(100) {
        cache.keep(log, Partition(0), Offset(first), rows(1, 100));
        cache.forget_before(log, Partition(0), Offset(first));
    }
    cache.keep(log, Partition(1), Offset(0), rows(1, 100));
    cache.keep(other, Partition(0), Offset(0), rows(1, 100));
    assert!(has(&cache, log, 0, 49_900) && !has(&cache, log, 0, 49_800));
    assert!(cache.lock().order.len() < 200, "places whose rows are gone are not kept");
    cache.forget(log);
    assert!(!has(&cache, log, 0, 49_900) && !has(&cache, log, 1, 0) && has(&cache, other, 0, 0));
    assert_eq!(cache.stats().bytes, 800);
}
