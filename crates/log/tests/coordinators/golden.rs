//! A store that the first release wrote (`docs/formats/groups.md`) is read for ever. Each line of
//! the file is a key and a value in hexadecimal digits.

use common::Kind;
use log::ErrorCode as E;
use log::transactions::TransactionalProducer;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Store, World, beat, committed, fetch, try_open};

const GOLDEN: &str = include_str!("../golden/coordinators-1.txt");

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

fn golden() -> Store {
    let store = Store::default();
    for line in GOLDEN.lines() {
        let (key, value) = line.split_once(' ').unwrap();
        store.0.lock().unwrap().pairs.insert(bytes(key), bytes(value));
    }
    store
}

#[test]
fn a_store_with_wrong_bytes_is_refused_and_never_panics() {
    let mut rng = StdRng::seed_from_u64(1);
    let world = World::new();
    world.topic("orders", 4);
    let mut refused = 0;
    for _ in 0..800 {
        let store = golden();
        {
            let mut state = store.0.lock().unwrap();
            let at = rng.random_range(0..state.pairs.len());
            let (old, value) = state.pairs.iter().nth(at).unwrap();
            let (old, mut key, mut value) = (old.clone(), old.clone(), value.clone());
            let changed = if rng.random_bool(0.2) { &mut key } else { &mut value };
            let from = rng.random_range(0..changed.len());
            match rng.random_range(0..4) {
                0 => changed.truncate(from),
                1 => changed.insert(from, rng.random()),
                _ => changed[from] = rng.random(),
            }
            state.pairs.remove(&old);
            state.pairs.insert(key, value);
        }
        let (groups, transactions) = (&world.group_config, &world.transaction_config);
        let opened =
            try_open(&world.clock, &store, &world.partitions, &world.topics, groups, transactions);
        match opened {
            Ok(running) => {
                // What could be read is used as if it were right.
                for group in running.groups.list_groups(&[], &[]) {
                    running.groups.describe_group(&group.group_id);
                    running.groups.describe_consumer_group(&group.group_id);
                }
                running.groups.tick(super::T0);
                running.transactions.tick(super::T0);
            }
            Err(e) => {
                assert!(matches!(e.kind(), Kind::Corrupt | Kind::Unsupported), "{e}");
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "only {refused} were refused");
}

#[test]
fn a_store_of_the_first_release_is_read() {
    let mut world = World::new();
    world.store = golden();
    world.topic("orders", 4);
    world.restart();

    let classic = world.groups().describe_group("classic");
    assert_eq!((classic.group_state, &*classic.protocol_data), ("Stable", "range"));
    let member = &classic.members[0];
    assert_eq!(member.group_instance_id.as_deref(), Some("one"));
    assert_eq!((&*member.client_id, &*member.client_host), ("app", "/127.0.0.1"));
    assert_eq!(&member.member_assignment[..], b"all");
    assert_eq!(beat(&world, "classic", &member.member_id, 1), E::None);

    let consumer = world.groups().describe_consumer_group("g");
    assert_eq!((consumer.group_state, consumer.group_epoch), ("Stable", 2));
    let epochs: Vec<_> = consumer.members.iter().map(|m| (&*m.member_id, m.member_epoch)).collect();
    assert_eq!(epochs, [("a", 2), ("b", 2)]);
    assert!(consumer.members.iter().all(|m| m.assignment[0].partitions.len() == 2));
    assert!(consumer.members.iter().all(|m| m.assignment == m.target_assignment));

    let found = fetch(&world, "plain", "orders", false);
    assert_eq!((found.committed_offset, found.committed_leader_epoch), (7, 3));
    assert_eq!(found.metadata, "at 7");
    assert_eq!(fetch(&world, "plain", "orders", true).error_code, E::UnstableOffsetCommit);
    let described = world.transactions().describe_transaction("t");
    assert_eq!((described.transaction_state, described.producer_epoch), ("Ongoing", 1));
    assert_eq!(described.topics, [("orders".to_owned(), vec![0, 3])]);
    let producer = TransactionalProducer {
        transactional_id: "t".into(),
        producer_id: described.producer_id,
        producer_epoch: 1,
    };
    assert_eq!(world.transactions().end_transaction(&producer, true), E::None);
    assert_eq!(committed(&world, "plain"), 8);
    assert_eq!(world.partitions.take().len(), 2);
}
