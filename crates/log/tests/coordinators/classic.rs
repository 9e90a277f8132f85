//! The classic protocol: joining, generations, leaving, deadlines, what survives a restart.

use log::ErrorCode as E;
use log::groups::*;

use super::{World, beat, commit, error, join, leave, now, stable, stable_pair, sync, waits};

fn state(world: &World, group: &str) -> &'static str {
    world.groups().describe_group(group).group_state
}

#[test]
fn members_that_start_together_are_in_the_first_generation_together() {
    let world = World::with(GroupConfig::default());
    let mut a = world.groups().join_group(join("g", ""));
    world.pass(60);
    let mut b = world.groups().join_group(join("g", ""));
    world.pass(60);
    assert!(waits(&mut a) && waits(&mut b), "the second one made the delay longer");
    assert_eq!(state(&world, "g"), "PreparingRebalance");
    world.pass(40);
    let (a, b) = (now(a), now(b));
    assert_eq!((a.error_code, a.generation_id, b.generation_id), (E::None, 1, 1));
    assert_eq!((&a.leader, &b.leader), (&a.member_id, &a.member_id), "the first one leads");
    assert_eq!((a.members.len(), b.members.len()), (2, 0));
    assert_eq!(a.protocol_name.as_deref(), Some("range"));
    assert_eq!(state(&world, "g"), "CompletingRebalance");
}

#[test]
fn the_initial_delay_ends_with_the_rebalance_timeout() {
    let world = World::with(GroupConfig::default());
    let request = JoinGroupRequest { rebalance_timeout_ms: 150, ..join("g", "") };
    let first = world.groups().join_group(request.clone());
    world.pass(90);
    let second = world.groups().join_group(request);
    world.pass(60);
    assert_eq!((now(first).generation_id, now(second).generation_id), (1, 1));
}

#[test]
fn a_member_joins_with_the_id_it_is_given() {
    let world = World::new();
    let ask = JoinGroupRequest { requires_known_member_id: true, ..join("g", "") };
    let given = now(world.groups().join_group(ask.clone()));
    assert_eq!((given.error_code, given.generation_id), (E::MemberIdRequired, -1));
    assert!(given.member_id.starts_with("app-"), "{}", given.member_id);
    let again = JoinGroupRequest { member_id: given.member_id.clone(), ..ask.clone() };
    let joined = now(world.groups().join_group(again));
    assert_eq!((joined.error_code, joined.member_id), (E::None, given.member_id));
    // One that does not come back is not waited for longer than its session.
    let gone = now(world.groups().join_group(ask));
    world.pass(9_999);
    let joins = JoinGroupRequest { requires_known_member_id: true, ..join("g", &gone.member_id) };
    world.pass(1);
    assert_eq!(now(world.groups().join_group(joins)).error_code, E::UnknownMemberId);
}

#[test]
fn a_new_member_makes_all_join_again() {
    let world = World::new();
    let (a, first) = stable(&world, "g");
    let mut b = world.groups().join_group(join("g", ""));
    assert_eq!(beat(&world, "g", &a, first), E::RebalanceInProgress);
    let refused = now(world.groups().sync_group(sync("g", &a, first, &[])));
    assert_eq!(refused.error_code, E::RebalanceInProgress);
    assert!(waits(&mut b));
    let a2 = now(world.groups().join_group(join("g", &a)));
    let b2 = now(b);
    assert_eq!((a2.generation_id, b2.generation_id, a2.members.len()), (2, 2, 2));
    assert_eq!(beat(&world, "g", &a, 2), E::None);
    assert_eq!(beat(&world, "g", &a, 1), E::IllegalGeneration);
    // A follower's retry gets the same generation again.
    let retry = now(world.groups().join_group(join("g", &b2.member_id)));
    assert_eq!((retry.generation_id, retry.error_code), (2, E::None));
    assert_eq!(
        error(&world.groups().commit_offsets(&commit("g", &a, 2, 1))),
        E::RebalanceInProgress
    );
}

#[test]
fn the_leader_or_new_metadata_start_a_rebalance_and_a_retry_does_not() {
    let world = World::new();
    let (leader, other, generation) = stable_pair(&world, "g");
    let same = now(world.groups().join_group(join("g", &other)));
    assert_eq!((same.error_code, same.generation_id), (E::None, generation));
    assert_eq!(state(&world, "g"), "Stable");
    let mut again = world.groups().join_group(join("g", &leader));
    assert!(waits(&mut again));
    assert_eq!(state(&world, "g"), "PreparingRebalance");
    assert_eq!(now(world.groups().join_group(join("g", &other))).generation_id, generation + 1);
    assert_eq!(now(again).generation_id, generation + 1);
    let world = World::new();
    let (_, other, _) = stable_pair(&world, "g");
    let mut changed = join("g", &other);
    changed.protocols[0].metadata = super::subscription(&["orders", "payments"]);
    assert!(waits(&mut world.groups().join_group(changed)));
}

#[test]
fn the_protocol_with_most_votes_among_those_all_know_wins() {
    let world = World::with(GroupConfig::default());
    let protocols = |names: &[&str]| {
        let protocol = |n: &&str| JoinGroupProtocol { name: (*n).into(), ..Default::default() };
        JoinGroupRequest { protocols: names.iter().map(protocol).collect(), ..join("g", "") }
    };
    let a = world.groups().join_group(protocols(&["range", "sticky", "own"]));
    let b = world.groups().join_group(protocols(&["sticky", "range"]));
    let c = world.groups().join_group(protocols(&["sticky", "range"]));
    world.pass(100);
    for member in [a, b, c] {
        assert_eq!(now(member).protocol_name.as_deref(), Some("sticky"));
    }
    let stranger = now(world.groups().join_group(protocols(&["own"])));
    assert_eq!(stranger.error_code, E::InconsistentGroupProtocol);
    let other = JoinGroupRequest { protocol_type: "connect".into(), ..protocols(&["range"]) };
    assert_eq!(now(world.groups().join_group(other)).error_code, E::InconsistentGroupProtocol);
}

#[test]
fn what_is_not_right_gets_kafkas_error() {
    let world = World::with(GroupConfig {
        initial_rebalance_delay_ms: 0,
        max_size: 2,
        ..Default::default()
    });
    let joined = |request| now(world.groups().join_group(request)).error_code;
    assert_eq!(joined(join("", "")), E::InvalidGroupId);
    assert_eq!(joined(join("g", "stranger")), E::UnknownMemberId);
    for session_timeout_ms in [5_999, 1_800_001] {
        let request = JoinGroupRequest { session_timeout_ms, ..join("g", "") };
        assert_eq!(joined(request), E::InvalidSessionTimeout);
    }
    let none = JoinGroupRequest { protocols: vec![], ..join("g", "") };
    assert_eq!(joined(none), E::InconsistentGroupProtocol);
    let (a, b, generation) = stable_pair(&world, "g");
    assert_eq!(joined(join("g", "")), E::GroupMaxSizeReached);
    assert_eq!(joined(join("g", "stranger")), E::GroupMaxSizeReached);
    assert_eq!(beat(&world, "", &a, 1), E::InvalidGroupId);
    assert_eq!(beat(&world, "nobody", &a, 1), E::UnknownMemberId);
    assert_eq!(beat(&world, "g", "stranger", generation), E::UnknownMemberId);
    let synced = |request| now(world.groups().sync_group(request)).error_code;
    assert_eq!(synced(sync("", &a, generation, &[])), E::InvalidGroupId);
    assert_eq!(synced(sync("nobody", &a, generation, &[])), E::UnknownMemberId);
    assert_eq!(synced(sync("g", "stranger", generation, &[])), E::UnknownMemberId);
    assert_eq!(synced(sync("g", &a, generation + 1, &[])), E::IllegalGeneration);
    let wrong = Some("sticky".to_owned());
    let wrong = SyncGroupRequest { protocol_name: wrong, ..sync("g", &a, generation, &[]) };
    assert_eq!(synced(wrong), E::InconsistentGroupProtocol);
    let wrong = Some("connect".to_owned());
    let wrong = SyncGroupRequest { protocol_type: wrong, ..sync("g", &b, generation, &[]) };
    assert_eq!(synced(wrong), E::InconsistentGroupProtocol);
    let left = |request| world.groups().leave_group(request);
    assert_eq!(left(leave("", &a, None)).error_code, E::InvalidGroupId);
    assert_eq!(left(leave("nobody", &a, None)).error_code, E::UnknownMemberId);
    assert_eq!(left(leave("g", "stranger", None)).members[0].error_code, E::UnknownMemberId);
}

#[test]
fn ids_are_not_given_out_without_end() {
    let world = World::with(GroupConfig { max_size: 3, ..GroupConfig::default() });
    let ask = JoinGroupRequest { requires_known_member_id: true, ..join("g", "") };
    let mut answers: Vec<_> =
        (0..5).map(|_| now(world.groups().join_group(ask.clone())).error_code).collect();
    assert_eq!(answers.split_off(3), [E::GroupMaxSizeReached, E::GroupMaxSizeReached]);
    assert_eq!(answers, [E::MemberIdRequired; 3]);
    world.pass(10_000);
    assert_eq!(now(world.groups().join_group(ask)).error_code, E::MemberIdRequired);
}

#[test]
fn who_is_silent_for_a_session_is_out() {
    let world = World::new();
    let (leader, other, generation) = stable_pair(&world, "g");
    world.pass(6_000);
    assert_eq!(beat(&world, "g", &other, generation), E::None);
    world.pass(4_000);
    assert_eq!(beat(&world, "g", &leader, generation), E::UnknownMemberId);
    assert_eq!(beat(&world, "g", &other, generation), E::RebalanceInProgress);
    let alone = now(world.groups().join_group(join("g", &other)));
    assert_eq!((alone.generation_id, alone.leader), (generation + 1, other.clone()));
    assert_eq!(alone.members.len(), 1);
    world.pass(10_000);
    assert_eq!(state(&world, "g"), "Empty");
}

#[test]
fn who_does_not_join_in_time_is_out_and_who_waits_is_not() {
    let world = World::new();
    let (leader, other, generation) = stable_pair(&world, "g");
    let mut waiting = world.groups().join_group(join("g", &leader));
    for _ in 0..11 {
        world.pass(5_000);
        assert_eq!(beat(&world, "g", &other, generation), E::RebalanceInProgress);
        assert!(waits(&mut waiting));
    }
    world.pass(5_000);
    let joined = now(waiting);
    assert_eq!((joined.generation_id, joined.members.len()), (generation + 1, 1));
    assert_eq!(beat(&world, "g", &other, generation), E::UnknownMemberId);
}

#[test]
fn who_does_not_sync_in_time_is_out() {
    let world = World::new();
    let (leader, other, generation) = stable_pair(&world, "g");
    let again = world.groups().join_group(join("g", &leader));
    now(world.groups().join_group(join("g", &other)));
    let generation = {
        now(again);
        generation + 1
    };
    let mut follower = world.groups().sync_group(sync("g", &other, generation, &[]));
    for _ in 0..11 {
        world.pass(5_000);
        assert_eq!(beat(&world, "g", &leader, generation), E::None);
        assert!(waits(&mut follower), "it waits for the leader, which is alive");
    }
    world.pass(5_000);
    assert_eq!(now(follower).error_code, E::RebalanceInProgress);
    assert_eq!(beat(&world, "g", &leader, generation), E::UnknownMemberId);
}

#[test]
fn the_next_deadline_is_told() {
    let world = World::new();
    assert_eq!(world.groups().next_deadline_us(), None);
    let (a, generation) = stable(&world, "g");
    assert_eq!(world.groups().next_deadline_us(), Some(super::T0 + 10_000_000));
    world.pass(1_000);
    assert_eq!(beat(&world, "g", &a, generation), E::None);
    assert_eq!(world.groups().next_deadline_us(), Some(super::T0 + 11_000_000));
}

#[test]
fn members_leave_one_by_one_or_several_at_once() {
    let world = World::new();
    let (leader, other, generation) = stable_pair(&world, "g");
    let left = world.groups().leave_group(leave("g", &leader, None));
    assert_eq!((left.error_code, left.members[0].error_code), (E::None, E::None));
    assert_eq!(beat(&world, "g", &other, generation), E::RebalanceInProgress);
    let joined = now(world.groups().join_group(join("g", &other)));
    assert_eq!(joined.leader, other, "another one leads");
    let identity = |id: &str| MemberIdentity { member_id: id.into(), ..Default::default() };
    let left = world.groups().leave_group(LeaveGroupRequest {
        group_id: "g".into(),
        members: vec![identity(&leader), identity(&other)],
    });
    let errors: Vec<_> = left.members.iter().map(|m| m.error_code).collect();
    assert_eq!(errors, [E::UnknownMemberId, E::None]);
    assert_eq!(state(&world, "g"), "Empty");
    assert_eq!(beat(&world, "g", &other, generation), E::UnknownMemberId);
}

#[test]
fn a_restart_does_not_disturb_a_stable_group() {
    let mut world = World::new();
    let (leader, other, generation) = stable_pair(&world, "g");
    world.pass(9_000);
    world.restart();
    world.pass(9_000);
    assert_eq!(state(&world, "g"), "Stable");
    assert_eq!(beat(&world, "g", &leader, generation), E::None);
    assert_eq!(beat(&world, "g", &other, generation), E::None);
    let synced = now(world.groups().sync_group(sync("g", &other, generation, &[])));
    assert_eq!(&synced.assignment[..], b"second half");
    assert_eq!(
        error(&world.groups().commit_offsets(&commit("g", &leader, generation, 5))),
        E::None
    );
    world.restart();
    world.pass(10_000);
    assert_eq!(state(&world, "g"), "Empty", "nobody came back");
    world.restart();
    assert_eq!(state(&world, "g"), "Empty");
}

#[test]
fn a_rebalance_that_a_crash_interrupts_begins_again() {
    let mut world = World::new();
    let (a, generation) = stable(&world, "g");
    let _b = world.groups().join_group(join("g", ""));
    let joined = now(world.groups().join_group(join("g", &a)));
    assert_eq!(joined.generation_id, generation + 1);
    world.restart();
    assert_eq!(beat(&world, "g", &a, generation + 1), E::IllegalGeneration);
    let joined = now(world.groups().join_group(join("g", &a)));
    assert_eq!((joined.error_code, joined.members.len()), (E::None, 1));
}

#[test]
fn an_assignment_that_can_not_be_stored_is_not_told() {
    let mut world = World::new();
    let joined = now(world.groups().join_group(join("g", "")));
    let id = joined.member_id;
    world.store.refuse(1);
    let request = sync("g", &id, 1, &[(&id, "all")]);
    let refused = now(world.groups().sync_group(request.clone()));
    assert_eq!(refused.error_code, E::CoordinatorNotAvailable);
    let synced = now(world.groups().sync_group(request));
    assert_eq!((synced.error_code, &synced.assignment[..]), (E::None, &b"all"[..]));
    world.restart();
    assert_eq!(beat(&world, "g", &id, 1), E::None);
}
