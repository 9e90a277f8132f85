//! Groups as an operator sees them: list, describe, delete.

use log::ErrorCode as E;
use log::groups::*;

use super::{World, commit, committed, join, leave, now, stable, stable_pair};

#[test]
fn groups_are_listed_by_state_and_type() {
    let world = World::new();
    world.topic("orders", 2);
    stable(&world, "stable");
    world.groups().commit_offsets(&commit("empty", "", -1, 1));
    world.groups().consumer_group_heartbeat(ConsumerGroupHeartbeatRequest {
        group_id: "new".into(),
        member_id: "m".into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["orders".into()]),
        topic_partitions: Some(vec![]),
        ..Default::default()
    });
    let list = |states: &[&str], types: &[&str]| -> Vec<String> {
        let texts = |t: &[&str]| t.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let listed = world.groups().list_groups(&texts(states), &texts(types));
        listed.into_iter().map(|g| g.group_id).collect()
    };
    assert_eq!(list(&[], &[]), ["empty", "new", "stable"]);
    assert_eq!(list(&["stable"], &[]), ["new", "stable"]);
    assert_eq!(list(&["Empty", "Stable"], &["classic"]), ["empty", "stable"]);
    assert_eq!(list(&[], &["Consumer"]), ["new"]);
    assert_eq!(list(&["Dead"], &[]), [""; 0]);
    let all = world.groups().list_groups(&[], &[]);
    let new = all.iter().find(|g| g.group_id == "new").unwrap();
    assert_eq!((new.group_type, &*new.protocol_type), ("Consumer", "consumer"));
}

#[test]
fn a_group_is_described_with_its_members() {
    let world = World::new();
    let (leader, other, _) = stable_pair(&world, "g");
    let group = world.groups().describe_group("g");
    assert_eq!((group.error_code, group.group_state), (E::None, "Stable"));
    assert_eq!((&*group.protocol_type, &*group.protocol_data), ("consumer", "range"));
    let mut assigned: Vec<_> =
        group.members.iter().map(|m| (&*m.member_id, &m.member_assignment[..])).collect();
    assigned.sort_by_key(|(_, assignment)| assignment.to_vec());
    assert_eq!(assigned, [(&*leader, &b"first half"[..]), (&*other, &b"second half"[..])]);
    let member = &group.members[0];
    assert_eq!((&*member.client_id, &*member.client_host), ("app", "/127.0.0.1"));
    assert_eq!(member.member_metadata, super::subscription(&["orders"]));
    let none = world.groups().describe_group("nobody");
    assert_eq!((none.error_code, none.group_state), (E::GroupIdNotFound, "Dead"));
    let wrong_kind = world.groups().describe_consumer_group("g");
    assert_eq!(wrong_kind.error_code, E::GroupIdNotFound);
}

#[test]
fn a_group_is_deleted_with_its_offsets_when_nobody_is_in_it() {
    let mut world = World::new();
    let (id, generation) = stable(&world, "g");
    world.groups().commit_offsets(&commit("g", &id, generation, 7));
    assert_eq!(world.groups().delete_group("g"), E::NonEmptyGroup);
    assert_eq!(world.groups().delete_group("nobody"), E::GroupIdNotFound);
    assert_eq!(world.groups().delete_group(""), E::InvalidGroupId);
    world.groups().leave_group(leave("g", &id, None));
    assert_eq!(world.groups().delete_group("g"), E::None);
    assert_eq!(committed(&world, "g"), -1);
    world.restart();
    assert!(world.groups().list_groups(&[], &[]).is_empty());
    let again = now(world.groups().join_group(join("g", "")));
    assert_eq!((again.error_code, again.generation_id), (E::None, 1));
}
