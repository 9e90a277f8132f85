//! Offsets: commit, fetch, delete, expiry, topics that are dropped.

use log::ErrorCode as E;
use log::groups::*;

use super::{World, commit, committed, error, fetch, leave, offsets, stable};

const DAY_MS: i64 = 24 * 3_600_000;

#[test]
fn what_is_committed_is_fetched_also_after_a_restart() {
    let mut world = World::new();
    let (id, generation) = stable(&world, "g");
    assert_eq!(error(&world.groups().commit_offsets(&commit("g", &id, generation, 42))), E::None);
    for _ in 0..2 {
        let found = fetch(&world, "g", "orders", true);
        assert_eq!((found.committed_offset, found.committed_leader_epoch), (42, 3));
        assert_eq!((&*found.metadata, found.error_code), ("at 42", E::None));
        let none = fetch(&world, "g", "payments", true);
        assert_eq!((none.committed_offset, none.committed_leader_epoch), (-1, -1));
        assert_eq!((&*none.metadata, none.error_code), ("", E::None));
        world.restart();
    }
    let all = OffsetFetchRequest {
        group_id: "g".into(),
        member_epoch: -1,
        ..OffsetFetchRequest::default()
    };
    let all = world.groups().fetch_offsets(&all).topics;
    assert_eq!((all.len(), &*all[0].name, all[0].partitions.len()), (1, "orders", 1));
    assert_eq!(committed(&world, "a group nobody knows"), -1);
}

#[test]
fn only_members_of_the_generation_commit_while_there_are_members() {
    let world = World::new();
    let commits = |member, generation| {
        error(&world.groups().commit_offsets(&commit("g", member, generation, 1)))
    };
    assert_eq!(commits("stranger", 3), E::IllegalGeneration, "there is no such group");
    assert_eq!(commits("", -1), E::None, "a consumer without a group protocol");
    let (id, generation) = stable(&world, "g");
    assert_eq!(commits(&id, generation), E::None);
    assert_eq!(commits(&id, generation + 1), E::IllegalGeneration);
    assert_eq!(commits("stranger", generation), E::UnknownMemberId);
    assert_eq!(commits("", -1), E::UnknownMemberId);
    let no_group = error(&world.groups().commit_offsets(&commit("", "", -1, 1)));
    assert_eq!(no_group, E::InvalidGroupId);
    // A commit counts as a heartbeat.
    world.pass(9_000);
    assert_eq!(commits(&id, generation), E::None);
    world.pass(9_000);
    assert_eq!(commits(&id, generation), E::None);
    world.groups().leave_group(leave("g", &id, None));
    assert_eq!(commits("", -1), E::None, "this is how offsets are reset");
}

#[test]
fn metadata_has_a_limit() {
    let world = World::new();
    let mut request = commit("g", "", -1, 7);
    request.topics.push(offsets("payments", 0, 8));
    let metadata = |len| Some("x".repeat(len));
    request.topics[0].partitions[0].committed_metadata = metadata(4_097);
    request.topics[1].partitions[0].committed_metadata = metadata(4_096);
    let answer = world.groups().commit_offsets(&request);
    assert_eq!(answer[0].partitions[0].error_code, E::OffsetMetadataTooLarge);
    assert_eq!(answer[1].partitions[0].error_code, E::None);
    assert_eq!(committed(&world, "g"), -1);
    assert_eq!(fetch(&world, "g", "payments", false).metadata.len(), 4_096);
}

#[test]
fn an_offset_that_can_not_be_stored_is_refused_and_the_next_one_is_not() {
    let mut world = World::new();
    world.store.refuse(2);
    let refused = error(&world.groups().commit_offsets(&commit("g", "", -1, 7)));
    assert_eq!(refused, E::CoordinatorNotAvailable);
    // What memory has is not shown before the store has it.
    let request = OffsetFetchRequest { group_id: "g".into(), ..OffsetFetchRequest::default() };
    let unread = world.groups().fetch_offsets(&request);
    assert_eq!((unread.error_code, unread.topics.len()), (E::CoordinatorNotAvailable, 0));
    let accepted = error(&world.groups().commit_offsets(&commit("g", "", -1, 8)));
    assert_eq!((accepted, committed(&world, "g")), (E::None, 8));
    world.restart();
    assert_eq!(committed(&world, "g"), 8);
}

#[test]
fn offsets_of_topics_nobody_reads_can_be_deleted() {
    let mut world = World::new();
    let delete = |world: &World, topic: &str| {
        let topics = [TopicPartitions { name: topic.into(), partition_indexes: vec![0] }];
        world.groups().delete_offsets("g", &topics).map(|answer| error(&answer))
    };
    assert_eq!(delete(&world, "orders"), Err(E::GroupIdNotFound));
    let mut both = commit("g", "", -1, 7);
    both.topics.push(offsets("payments", 0, 8));
    world.groups().commit_offsets(&both);
    let (id, _) = stable(&world, "g");
    assert_eq!(delete(&world, "orders"), Ok(E::GroupSubscribedToTopic));
    assert_eq!(delete(&world, "payments"), Ok(E::None));
    assert_eq!(committed(&world, "g"), 7);
    world.groups().leave_group(leave("g", &id, None));
    assert_eq!(delete(&world, "orders"), Ok(E::None));
    world.restart();
    assert_eq!(fetch(&world, "g", "payments", false).committed_offset, -1);
    assert_eq!(committed(&world, "g"), -1);
    // Members of which nobody knows what they read.
    let mut request = super::join("connect", "");
    request.protocol_type = "connect".into();
    super::now(world.groups().join_group(request));
    let refused = world.groups().delete_offsets("connect", &[]);
    assert_eq!(refused, Err(E::NonEmptyGroup));
}

#[test]
fn offsets_expire_a_week_after_the_group_became_empty() {
    let mut world = World::new();
    let (id, generation) = stable(&world, "g");
    world.groups().commit_offsets(&commit("g", &id, generation, 7));
    for _ in 0..(20 * DAY_MS / 9_000_000) {
        // The clock jumps; a member that is heard of again in time stays.
        world.clock.advance(9_000_000_000);
        assert_eq!(super::beat(&world, "g", &id, generation), E::None);
        world.pass(0);
    }
    assert_eq!(committed(&world, "g"), 7);
    world.groups().leave_group(leave("g", &id, None));
    world.pass(7 * DAY_MS - 1);
    assert_eq!(committed(&world, "g"), 7);
    world.pass(DAY_MS);
    assert_eq!(committed(&world, "g"), -1);
    assert!(world.groups().list_groups(&[], &[]).is_empty());
    world.restart();
    assert!(world.groups().list_groups(&[], &[]).is_empty());
}

#[test]
fn offsets_of_a_consumer_without_a_group_expire_one_by_one() {
    let world = World::new();
    world.groups().commit_offsets(&commit("g", "", -1, 7));
    world.pass(4 * DAY_MS);
    let payments =
        OffsetCommitRequest { topics: vec![offsets("payments", 0, 8)], ..commit("g", "", -1, 8) };
    world.groups().commit_offsets(&payments);
    world.pass(4 * DAY_MS);
    assert_eq!(committed(&world, "g"), -1);
    assert_eq!(fetch(&world, "g", "payments", false).committed_offset, 8);
}

#[test]
fn of_a_topic_its_group_no_longer_reads_offsets_expire() {
    let world = World::new();
    let (id, generation) = stable(&world, "g");
    let mut both = commit("g", &id, generation, 7);
    both.topics.push(offsets("payments", 0, 8));
    world.groups().commit_offsets(&both);
    world.clock.advance(8 * DAY_MS * 1000);
    assert_eq!(super::beat(&world, "g", &id, generation), E::None);
    world.pass(0);
    assert_eq!(committed(&world, "g"), 7);
    assert_eq!(fetch(&world, "g", "payments", false).committed_offset, -1);
}

#[test]
fn offsets_of_a_dropped_topic_are_gone() {
    let mut world = World::new();
    let mut both = commit("g", "", -1, 7);
    both.topics.push(offsets("payments", 0, 8));
    world.groups().commit_offsets(&both);
    world.groups().topic_dropped("orders").unwrap();
    world.restart();
    assert_eq!(committed(&world, "g"), -1);
    assert_eq!(fetch(&world, "g", "payments", false).committed_offset, 8);
}
