//! Many commits at once share the writes of the store, and none holds up another group.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::{Clock, Error, Result, SystemClock};
use log::groups::{GroupConfig, TopicLookup};
use log::transactions::*;
use log::{Change, CoordinatorStore, Coordinators, ErrorCode as E};

use super::{Partitions, Store, commit, error};

/// A store that takes as long as a disk.
struct SlowStore(Store);

impl CoordinatorStore for SlowStore {
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.0.load()
    }

    fn commit(&self, changes: Vec<Change>) -> Result<()> {
        thread::sleep(Duration::from_millis(5));
        self.0.commit(changes)
    }
}

#[test]
fn commits_of_many_groups_share_a_write() {
    let store = Store::default();
    let coordinators = Coordinators::open(
        Arc::new(SlowStore(store.clone())),
        Arc::new(SystemClock),
        TopicLookup::new(|_| None, Vec::new),
        Arc::new(Partitions::default()),
        GroupConfig::default(),
        TransactionConfig::default(),
    )
    .unwrap();
    thread::scope(|scope| {
        for client in 0..16 {
            let groups = &coordinators.groups;
            scope.spawn(move || {
                for offset in 0..20 {
                    let request = commit(&format!("group {}", client % 8), "", -1, offset);
                    assert_eq!(error(&groups.commit_offsets(&request)), E::None);
                }
            });
        }
    });
    let commits = store.commits();
    // On a busy machine fewer come together, but never none.
    assert!((20..320).contains(&commits), "{commits} writes for 320 commits");
}

/// Partitions that take their time; those of the topic "stuck" until they are let go.
#[derive(Default)]
struct SlowPartitions {
    is_let_go: AtomicBool,
    written: AtomicUsize,
    /// Written at the same time, now and at most.
    running: AtomicUsize,
    running_max: AtomicUsize,
}

impl Markers for SlowPartitions {
    fn write(&self, topic: &str, _: i32, _: i64, _: i16, _: bool) -> Result<()> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.running_max.fetch_max(running, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(30));
        while topic == "stuck" && !self.is_let_go.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.written.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn transactions_go_on_side_by_side_and_their_markers_too() {
    let partitions = Arc::new(SlowPartitions::default());
    let coordinators = Coordinators::open(
        Arc::new(Store::default()),
        Arc::new(SystemClock),
        TopicLookup::new(|_| None, Vec::new),
        partitions.clone(),
        GroupConfig::default(),
        TransactionConfig::default(),
    )
    .unwrap();
    let transactions = &coordinators.transactions;
    let run = |id: &str, topic: &str, count: i32| {
        let answer = transactions.init_producer_id(&InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
        });
        let producer = TransactionalProducer {
            transactional_id: id.into(),
            producer_id: answer.producer_id,
            producer_epoch: answer.producer_epoch,
        };
        let places: Vec<_> = (0..count).map(|n| (topic.to_owned(), n)).collect();
        assert_eq!(transactions.add_partitions(&producer, &places), E::None);
        transactions.end_transaction(&producer, true)
    };
    thread::scope(|scope| {
        let stuck = scope.spawn(|| run("stuck", "stuck", 1));
        while transactions.describe_transaction("stuck").transaction_state != "PrepareCommit" {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(run("other", "orders", 100), E::None);
        // Not by the clock, which a busy machine takes away: one of them is the stuck one.
        let running_max = partitions.running_max.load(Ordering::SeqCst);
        assert!(running_max > 2, "at most {running_max} markers were written at a time");
        assert_eq!(partitions.written.load(Ordering::SeqCst), 100);
        // The ticker and groups are not held up either.
        transactions.tick(SystemClock.now_us());
        let request = commit("g", "", -1, 1);
        assert_eq!(error(&coordinators.groups.commit_offsets(&request)), E::None);
        assert!(!stuck.is_finished());
        partitions.is_let_go.store(true, Ordering::SeqCst);
        assert_eq!(stuck.join().unwrap(), E::None);
    });
}

#[test]
fn a_store_that_panics_does_not_leave_others_waiting() {
    struct Panics(AtomicBool);
    impl CoordinatorStore for Panics {
        fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
            Ok(vec![])
        }

        fn commit(&self, _: Vec<Change>) -> Result<()> {
            assert!(self.0.swap(true, Ordering::SeqCst), "the first write");
            Ok(())
        }
    }
    let coordinators = Coordinators::open(
        Arc::new(Panics(AtomicBool::new(false))),
        Arc::new(SystemClock),
        TopicLookup::new(|_| None, Vec::new),
        Arc::new(Partitions::default()),
        GroupConfig::default(),
        TransactionConfig::default(),
    )
    .unwrap();
    thread::scope(|scope| {
        let groups = &coordinators.groups;
        let first = scope.spawn(|| groups.commit_offsets(&commit("g", "", -1, 1)));
        assert!(first.join().is_err());
        assert_eq!(error(&groups.commit_offsets(&commit("g", "", -1, 2))), E::None);
    });
}

#[test]
fn a_store_with_unreadable_values_is_refused() {
    struct Damaged;
    impl CoordinatorStore for Damaged {
        fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
            let key = [&b"g"[..], &[0, 0, 0, 1], b"g"].concat();
            Ok(vec![(key, vec![9, 0, 0])])
        }

        fn commit(&self, _: Vec<Change>) -> Result<()> {
            Err(Error::unavailable("nothing is written here"))
        }
    }
    let opened = Coordinators::open(
        Arc::new(Damaged),
        Arc::new(SystemClock),
        TopicLookup::new(|_| None, Vec::new),
        Arc::new(Partitions::default()),
        GroupConfig::default(),
        TransactionConfig::default(),
    );
    let e = opened.err().unwrap();
    assert_eq!(e.kind(), common::Kind::Unsupported);
    assert!(e.to_string().contains("the stored group has version 9"), "{e}");
}
