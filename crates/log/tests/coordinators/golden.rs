//! A store that the first release wrote (`docs/formats/groups.md`) is read for ever. Each line of
//! the file is a key and a value in hexadecimal digits.

use log::ErrorCode as E;
use log::transactions::TransactionalProducer;

use super::{Store, World, beat, committed, fetch};

const GOLDEN: &str = include_str!("../golden/coordinators-1.txt");

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

#[test]
fn a_store_of_the_first_release_is_read() {
    let mut world = World::new();
    let store = Store::default();
    for line in GOLDEN.lines() {
        let (key, value) = line.split_once(' ').unwrap();
        store.0.lock().unwrap().pairs.insert(bytes(key), bytes(value));
    }
    world.store = store;
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
