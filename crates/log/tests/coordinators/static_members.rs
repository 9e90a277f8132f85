//! Static members (KIP-345): an instance that comes back finds its place again.

use log::ErrorCode as E;
use log::groups::*;

use super::{World, join, leave, now, sync, waits};

fn static_join(instance: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest { group_instance_id: Some(instance.into()), ..join("g", member) }
}

fn static_beat(world: &World, instance: &str, member: &str, generation: i32) -> E {
    world.groups().heartbeat(&HeartbeatRequest {
        group_id: "g".into(),
        generation_id: generation,
        member_id: member.into(),
        group_instance_id: Some(instance.into()),
    })
}

/// The leader "one" and the member "two", their ids and the generation.
fn pair(world: &World) -> (String, String, i32) {
    let first = now(world.groups().join_group(static_join("one", "")));
    let second = world.groups().join_group(static_join("two", ""));
    let first = now(world.groups().join_group(static_join("one", &first.member_id)));
    let (one, two) = (first.member_id, now(second).member_id);
    assert_eq!(first.leader, one);
    let given = [(&*one, "first half"), (&*two, "second half")];
    now(world.groups().sync_group(sync("g", &one, first.generation_id, &given)));
    (one, two, first.generation_id)
}

#[test]
fn an_instance_that_comes_back_takes_its_place_without_a_rebalance() {
    let mut world = World::new();
    let (_, two, generation) = pair(&world);
    let back = now(world.groups().join_group(static_join("two", "")));
    assert_eq!((back.error_code, back.generation_id), (E::None, generation));
    assert!(back.member_id != two && back.member_id.starts_with("two-"));
    assert_eq!(world.groups().describe_group("g").group_state, "Stable");
    assert_eq!(static_beat(&world, "two", &two, generation), E::FencedInstanceId);
    assert_eq!(static_beat(&world, "two", &back.member_id, generation), E::None);
    let old = SyncGroupRequest {
        group_instance_id: Some("two".into()),
        ..sync("g", &two, generation, &[])
    };
    assert_eq!(now(world.groups().sync_group(old)).error_code, E::FencedInstanceId);
    let synced = now(world.groups().sync_group(sync("g", &back.member_id, generation, &[])));
    assert_eq!(&synced.assignment[..], b"second half");
    world.restart();
    assert_eq!(static_beat(&world, "two", &back.member_id, generation), E::None);
}

#[test]
fn a_leader_that_comes_back_does_not_assign_anew() {
    let world = World::new();
    let (one, _, generation) = pair(&world);
    let back = now(world.groups().join_group(static_join("one", "")));
    assert!(back.skip_assignment && back.leader == back.member_id, "{back:?}");
    assert_eq!((back.generation_id, back.members.len()), (generation, 2));
    // A client that does not know the flag is not told that it leads.
    let old_client =
        JoinGroupRequest { supports_skipping_assignment: false, ..static_join("one", "") };
    let again = now(world.groups().join_group(old_client));
    assert!(!again.skip_assignment && again.leader == back.member_id, "{again:?}");
    assert!(again.members.is_empty() && again.member_id != one);
}

#[test]
fn an_instance_that_comes_back_with_another_protocol_starts_a_rebalance() {
    let world = World::new();
    let first = now(world.groups().join_group(static_join("one", "")));
    let id = first.member_id;
    now(world.groups().sync_group(sync("g", &id, 1, &[(&id, "all")])));
    let mut request = static_join("one", "");
    request.protocols[0].name = "sticky".into();
    let refused = now(world.groups().join_group(request.clone()));
    assert_eq!(refused.error_code, E::InconsistentGroupProtocol, "the old one is still there");
    request.protocols.push(JoinGroupProtocol { name: "range".into(), ..Default::default() });
    let back = now(world.groups().join_group(request));
    assert_eq!((back.generation_id, back.protocol_name.as_deref()), (2, Some("sticky")));
}

#[test]
fn an_instance_that_is_replaced_while_it_waits_is_told_so() {
    let world = World::new();
    let (one, _, _) = pair(&world);
    let mut waiting = world.groups().join_group(static_join("one", &one));
    assert!(waits(&mut waiting));
    let mut newer = world.groups().join_group(static_join("one", ""));
    assert_eq!(now(waiting).error_code, E::FencedInstanceId);
    assert!(waits(&mut newer), "the other member has to join first");
}

#[test]
fn an_instance_keeps_its_place_over_a_rebalance_until_its_session_ends() {
    let world = World::new();
    let first = now(world.groups().join_group(static_join("one", "")));
    let long = JoinGroupRequest { session_timeout_ms: 100_000, ..static_join("two", "") };
    let second = world.groups().join_group(long);
    let one = now(world.groups().join_group(static_join("one", &first.member_id))).member_id;
    let two = now(second).member_id;
    let given = [(&*one, "first half"), (&*two, "second half")];
    now(world.groups().sync_group(sync("g", &one, 2, &given)));
    // The leader rebalances, "two" is being restarted and does not join.
    let mut again = world.groups().join_group(static_join("one", &one));
    assert!(waits(&mut again));
    world.pass(60_000);
    let led = now(again);
    assert_eq!((led.generation_id, led.members.len()), (3, 2), "it is assigned to all the same");
    assert!(led.members.iter().any(|m| m.group_instance_id.as_deref() == Some("two")));
}

#[test]
fn unknown_and_fenced_instances_are_refused() {
    let world = World::new();
    let (one, two, generation) = pair(&world);
    assert_eq!(static_beat(&world, "three", &one, generation), E::UnknownMemberId);
    let wrong = now(world.groups().join_group(static_join("one", &two)));
    assert_eq!(wrong.error_code, E::FencedInstanceId);
    let unknown = now(world.groups().join_group(static_join("three", &two)));
    assert_eq!(unknown.error_code, E::UnknownMemberId);
    let left = |request| world.groups().leave_group(request).members[0].error_code;
    assert_eq!(left(leave("g", &one, Some("two"))), E::FencedInstanceId);
    assert_eq!(left(leave("g", "", Some("three"))), E::UnknownMemberId);
    assert_eq!(left(leave("g", "", Some("two"))), E::None, "as the admin client does it");
    assert_eq!(static_beat(&world, "two", &two, generation), E::UnknownMemberId);
}
