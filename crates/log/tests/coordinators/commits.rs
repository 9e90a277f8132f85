//! Many commits at once share the writes of the store, and none holds up another group.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::{Error, Result, SystemClock};
use log::groups::GroupConfig;
use log::transactions::TransactionConfig;
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
        Arc::new(|_: &str| None),
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
    assert!((20..160).contains(&commits), "{commits} writes for 320 commits");
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
        Arc::new(|_: &str| None),
        Arc::new(Partitions::default()),
        GroupConfig::default(),
        TransactionConfig::default(),
    );
    let e = opened.err().unwrap();
    assert_eq!(e.kind(), common::Kind::Unsupported);
    assert!(e.to_string().contains("the stored group has version 9"), "{e}");
}
