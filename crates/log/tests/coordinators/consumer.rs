//! The new protocol (KIP-848): the server assigns, members move by their heartbeats.

use std::collections::BTreeMap;

use log::ErrorCode as E;
use log::groups::*;
use uuid::Uuid;

use super::{World, commit, committed, error, join, leave, now};

/// A consumer that does as it is told: what it has is what it was last given.
#[derive(Clone)]
pub struct Consumer {
    pub id: String,
    pub instance: Option<String>,
    pub epoch: i32,
    pub owned: Vec<TopicIdPartitions>,
    pub topics: Vec<String>,
    pub assignor: Option<String>,
}

impl Consumer {
    pub fn new(id: &str, topics: &[&str]) -> Self {
        Self {
            id: id.into(),
            instance: None,
            epoch: 0,
            owned: vec![],
            topics: topics.iter().map(|t| (*t).to_owned()).collect(),
            assignor: None,
        }
    }

    pub fn request(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            rebalance_timeout_ms: 60_000,
            subscribed_topic_names: Some(self.topics.clone()),
            server_assignor: self.assignor.clone(),
            topic_partitions: Some(self.owned.clone()),
            client_id: "app".into(),
            client_host: "/127.0.0.1".into(),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    pub fn beat(&mut self, world: &World) -> E {
        let answer = world.groups().consumer_group_heartbeat(self.request());
        assert_eq!(answer.error_message.is_some(), answer.error_code != E::None);
        if answer.error_code == E::None {
            self.epoch = answer.member_epoch;
            if let Some(assignment) = answer.assignment {
                self.owned = assignment;
            }
        }
        answer.error_code
    }

    fn leave(&mut self, world: &World, epoch: i32) -> E {
        let request = ConsumerGroupHeartbeatRequest { member_epoch: epoch, ..self.request() };
        let answer = world.groups().consumer_group_heartbeat(request);
        self.epoch = 0;
        self.owned.clear();
        answer.error_code
    }

    fn count(&self) -> usize {
        self.owned.iter().map(|t| t.partitions.len()).sum()
    }

    fn partitions(&self, topic: Uuid) -> Vec<i32> {
        let of = self.owned.iter().filter(|t| t.topic_id == topic);
        of.flat_map(|t| t.partitions.clone()).collect()
    }
}

fn group(world: &World) -> DescribedConsumerGroup {
    world.groups().describe_consumer_group("g")
}

/// Lets all send heartbeats until nothing changes; no partition has two owners on the way.
fn settle(world: &World, consumers: &mut [&mut Consumer]) {
    for _ in 0..4 {
        for i in 0..consumers.len() {
            assert_eq!(consumers[i].beat(world), E::None);
            let mut owners: BTreeMap<(Uuid, i32), usize> = BTreeMap::new();
            for (n, consumer) in consumers.iter().enumerate() {
                for topic in &consumer.owned {
                    for partition in &topic.partitions {
                        let before = owners.insert((topic.topic_id, *partition), n);
                        assert_eq!(before, None, "two members own partition {partition}");
                    }
                }
            }
        }
    }
    assert_eq!(group(world).group_state, "Stable");
}

#[test]
fn a_new_member_gets_partitions_when_the_others_gave_them_up() {
    let world = World::new();
    let orders = world.topic("orders", 4);
    let (mut a, mut b) = (Consumer::new("a", &["orders"]), Consumer::new("b", &["orders"]));
    assert_eq!(a.beat(&world), E::None);
    assert_eq!((a.epoch, a.partitions(orders)), (1, vec![0, 1, 2, 3]));
    assert_eq!(b.beat(&world), E::None);
    assert_eq!((b.epoch, b.count()), (2, 0), "it has reached its target as far as it can");
    assert_eq!(group(&world).group_state, "Reconciling");
    // "a" is told to give up two, and still has the epoch it had.
    let old = a.clone();
    assert_eq!(a.beat(&world), E::None);
    assert_eq!((a.epoch, a.count()), (1, 2));
    assert_eq!(b.beat(&world), E::None);
    assert_eq!(b.count(), 0, "it was not said yet that they are given up");
    assert_eq!(a.beat(&world), E::None);
    assert_eq!((a.epoch, a.count()), (2, 2));
    assert_eq!(b.beat(&world), E::None);
    assert_eq!((b.epoch, b.count()), (2, 2));
    assert_eq!(group(&world).group_state, "Stable");
    // The answer with the new epoch may have been lost, but who owns too much is fenced.
    assert_eq!(old.clone().beat(&world), E::FencedMemberEpoch);
    let mut retry = Consumer { epoch: 1, ..a.clone() };
    assert_eq!((retry.beat(&world), retry.epoch), (E::None, 2));
}

#[test]
fn a_heartbeat_without_news_says_so_and_writes_nothing() {
    let world = World::new();
    world.topic("orders", 4);
    let mut a = Consumer::new("a", &["orders"]);
    a.beat(&world);
    let writes = world.store.commits();
    let short = ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: -1,
        subscribed_topic_names: None,
        topic_partitions: None,
        ..a.request()
    };
    let answer = world.groups().consumer_group_heartbeat(short);
    assert_eq!((answer.error_code, answer.member_epoch), (E::None, 1));
    assert_eq!((answer.assignment, answer.heartbeat_interval_ms), (None, 5_000));
    assert_eq!(world.store.commits(), writes);
}

#[test]
fn partitions_are_spread_evenly_and_stay_where_they_are() {
    let world = World::new();
    let (orders, payments) = (world.topic("orders", 6), world.topic("payments", 3));
    let both = ["orders", "payments"];
    let (mut a, mut b) = (Consumer::new("a", &both), Consumer::new("b", &both));
    let mut c = Consumer::new("c", &["payments"]);
    settle(&world, &mut [&mut a, &mut b]);
    assert!(a.count().abs_diff(b.count()) <= 1 && a.count() + b.count() == 9);
    let (had_a, had_b) = (a.clone(), b.clone());
    settle(&world, &mut [&mut a, &mut b, &mut c]);
    assert_eq!((a.count(), b.count(), c.count()), (3, 3, 3));
    assert_eq!((c.partitions(orders).len(), c.partitions(payments).len()), (0, 3));
    for (now, before) in [(&a, &had_a), (&b, &had_b)] {
        let kept =
            now.partitions(orders).iter().filter(|p| before.partitions(orders).contains(p)).count();
        assert!(kept >= 2, "{:?} of {:?}", now.owned, before.owned);
    }
    assert_eq!(c.leave(&world, -1), E::None);
    settle(&world, &mut [&mut a, &mut b]);
    assert_eq!(a.count() + b.count(), 9);
}

#[test]
fn range_gives_each_member_a_run_of_each_topic() {
    let world = World::new();
    let (orders, payments) = (world.topic("orders", 5), world.topic("payments", 5));
    let range = |id: &str| Consumer {
        assignor: Some("range".into()),
        ..Consumer::new(id, &["orders", "payments"])
    };
    let (mut a, mut b) = (range("a"), range("b"));
    settle(&world, &mut [&mut a, &mut b]);
    for topic in [orders, payments] {
        assert_eq!((a.partitions(topic), b.partitions(topic)), (vec![0, 1, 2], vec![3, 4]));
    }
    assert_eq!(group(&world).assignor_name, "range");
}

#[test]
fn new_and_dropped_topics_and_partitions_are_noticed() {
    let world = World::new();
    let orders = world.topic("orders", 2);
    let mut a = Consumer::new("a", &["orders", "payments"]);
    a.beat(&world);
    assert_eq!(a.partitions(orders), [0, 1]);
    let payments = world.topic("payments", 1);
    world.topic("orders", 3);
    a.beat(&world);
    assert_eq!(a.epoch, 1, "topics are looked at once a second");
    world.pass(1_000);
    a.beat(&world);
    assert_eq!((a.partitions(orders), a.partitions(payments)), (vec![0, 1, 2], vec![0]));
    world.topics.lock().unwrap().remove("orders");
    world.pass(1_000);
    settle(&world, &mut [&mut a]);
    assert_eq!((a.partitions(orders), a.partitions(payments)), (vec![], vec![0]));
}

#[test]
fn who_is_silent_for_a_session_or_does_not_give_up_partitions_is_out() {
    let world = World::new();
    world.topic("orders", 2);
    let (mut a, mut b) = (Consumer::new("a", &["orders"]), Consumer::new("b", &["orders"]));
    a.beat(&world);
    b.beat(&world);
    let stubborn = Consumer { ..a.clone() };
    for _ in 0..5 {
        // It goes on saying that it owns both.
        let mut same = stubborn.clone();
        assert_eq!(same.beat(&world), E::None);
        world.pass(13_000);
        assert_eq!(b.beat(&world), E::None);
    }
    assert_eq!(stubborn.clone().beat(&world), E::UnknownMemberId);
    assert_eq!(b.count(), 2);
    world.pass(45_000);
    assert_eq!(b.beat(&world), E::UnknownMemberId);
    assert_eq!(group(&world).group_state, "Empty");
}

#[test]
fn a_static_member_finds_its_partitions_again() {
    let mut world = World::new();
    let orders = world.topic("orders", 4);
    let instance = |id: &str, instance: &str| Consumer {
        instance: Some(instance.into()),
        ..Consumer::new(id, &["orders"])
    };
    let (mut a, mut b) = (instance("a", "one"), instance("b", "two"));
    settle(&world, &mut [&mut a, &mut b]);
    let (had, epoch) = (b.partitions(orders), group(&world).group_epoch);
    assert_eq!(instance("c", "two").beat(&world), E::UnreleasedInstanceId);
    assert_eq!(b.leave(&world, -2), E::None);
    world.restart();
    assert_eq!(a.beat(&world), E::None);
    assert_eq!(a.count(), 2, "nobody else gets them meanwhile");
    let mut back = instance("c", "two");
    assert_eq!(back.beat(&world), E::None);
    assert_eq!((back.partitions(orders), group(&world).group_epoch), (had, epoch));
    let mut old = Consumer { epoch: back.epoch, ..instance("b", "two") };
    assert_eq!(old.beat(&world), E::FencedInstanceId);
    assert_eq!(old.leave(&world, -1), E::FencedInstanceId);
    assert_eq!(instance("x", "three").leave(&world, -2), E::UnknownMemberId);
    // Away for longer than a session: its partitions go to the others.
    assert_eq!(back.leave(&world, -2), E::None);
    world.pass(44_000);
    assert_eq!(a.beat(&world), E::None);
    world.pass(1_000);
    settle(&world, &mut [&mut a]);
    assert_eq!(a.count(), 4);
}

#[test]
fn offsets_are_committed_with_the_members_epoch() {
    let world = World::new();
    world.topic("orders", 1);
    let mut a = Consumer::new("a", &["orders"]);
    a.beat(&world);
    let commits =
        |member, epoch| error(&world.groups().commit_offsets(&commit("g", member, epoch, 7)));
    assert_eq!(commits("a", 0), E::StaleMemberEpoch);
    assert_eq!(commits("stranger", 1), E::UnknownMemberId);
    assert_eq!(commits("", -1), E::UnknownMemberId);
    assert_eq!(commits("a", 1), E::None);
    assert_eq!(committed(&world, "g"), 7);
    let fetches = |member: &str, member_epoch| {
        let request = OffsetFetchRequest {
            group_id: "g".into(),
            member_id: Some(member.into()),
            member_epoch,
            ..OffsetFetchRequest::default()
        };
        world.groups().fetch_offsets(&request).error_code
    };
    assert_eq!(fetches("a", 1), E::None);
    assert_eq!(fetches("a", 2), E::StaleMemberEpoch);
    assert_eq!(fetches("stranger", 1), E::UnknownMemberId);
    assert_eq!(a.leave(&world, -1), E::None);
    assert_eq!(commits("", -1), E::None);
}

#[test]
fn what_is_not_right_gets_kafkas_error() {
    let world = World::with(GroupConfig { max_size: 1, ..GroupConfig::default() });
    world.topic("orders", 1);
    let mut a = Consumer::new("a", &["orders"]);
    assert_eq!(Consumer { epoch: 3, ..a.clone() }.beat(&world), E::GroupIdNotFound);
    assert_eq!(a.beat(&world), E::None);
    assert_eq!(Consumer { epoch: 2, ..a.clone() }.beat(&world), E::FencedMemberEpoch);
    assert_eq!(Consumer::new("b", &["orders"]).beat(&world), E::GroupMaxSizeReached);
    assert_eq!(Consumer::new("b", &["orders"]).leave(&world, -1), E::UnknownMemberId);
    let other = Consumer { assignor: Some("own".into()), ..a.clone() };
    assert_eq!(other.clone().beat(&world), E::UnsupportedAssignor);
    let ask = |change: &dyn Fn(&mut ConsumerGroupHeartbeatRequest)| {
        let mut request = Consumer::new("a", &["orders"]).request();
        change(&mut request);
        world.groups().consumer_group_heartbeat(request).error_code
    };
    assert_eq!(ask(&|r| r.group_id = String::new()), E::InvalidRequest);
    assert_eq!(ask(&|r| r.member_epoch = -3), E::InvalidRequest);
    assert_eq!(ask(&|r| r.member_epoch = -2), E::InvalidRequest);
    assert_eq!(ask(&|r| (r.member_id, r.member_epoch) = (String::new(), 1)), E::InvalidRequest);
    assert_eq!(ask(&|r| r.instance_id = Some(String::new())), E::InvalidRequest);
    assert_eq!(ask(&|r| r.rebalance_timeout_ms = -1), E::InvalidRequest);
    assert_eq!(ask(&|r| r.topic_partitions = None), E::InvalidRequest);
    assert_eq!(ask(&|r| r.subscribed_topic_names = None), E::InvalidRequest);
    for regex in ["ord(", "a)(b", "x{100000}"] {
        let regex = Some(regex.to_owned());
        assert_eq!(ask(&|r| r.subscribed_topic_regex = regex.clone()), E::InvalidRegularExpression);
    }
}

#[test]
fn a_pattern_follows_the_topics_that_come_and_go() {
    let mut world = World::new();
    world.topic("orders", 1);
    world.topic("orders-eu", 2);
    world.topic("payments", 1);
    let mut a = Consumer::new("a", &[]);
    // Several times: what is to be given up is given up before others are taken.
    let mut beat = |world: &World, regex: Option<&str>| {
        for _ in 0..3 {
            let request = ConsumerGroupHeartbeatRequest {
                subscribed_topic_regex: regex.map(String::from),
                ..a.request()
            };
            let answer = world.groups().consumer_group_heartbeat(request);
            assert_eq!(answer.error_code, E::None, "{:?}", answer.error_message);
            a.epoch = answer.member_epoch;
            a.owned = answer.assignment.unwrap_or(std::mem::take(&mut a.owned));
        }
        a.owned.iter().map(|t| t.partitions.len()).sum::<usize>()
    };
    // The whole name must match; of two ways that match, any.
    assert_eq!(beat(&world, Some("order|orders(-.*)?")), 3);
    let described = world.groups().describe_consumer_group("g");
    let member = &described.members[0];
    assert_eq!(member.subscribed_topic_regex.as_deref(), Some("order|orders(-.*)?"));
    assert!(member.subscribed_topic_names.is_empty());
    assert_eq!(beat(&world, None), 3, "it is remembered");
    world.topic("orders-us", 4);
    world.pass(1_500);
    assert_eq!(beat(&world, None), 7, "a new topic is found");
    world.restart();
    assert_eq!(beat(&world, None), 7, "the pattern is kept over a restart");
    assert_eq!(beat(&world, Some("pay.*")), 1, "another pattern");
    assert_eq!(beat(&world, Some("")), 0, "none any more");
}

#[test]
fn a_client_of_version_0_gets_a_member_id() {
    let world = World::new();
    world.topic("orders", 1);
    let request = Consumer::new("", &["orders"]).request();
    let answer = world.groups().consumer_group_heartbeat(request);
    assert_eq!(answer.error_code, E::None);
    assert_eq!(answer.member_id.unwrap().len(), 36);
}

#[test]
fn a_group_with_members_keeps_its_protocol() {
    let world = World::new();
    world.topic("orders", 1);
    let mut a = Consumer::new("a", &["orders"]);
    a.beat(&world);
    let classic = now(world.groups().join_group(join("g", "")));
    assert_eq!(classic.error_code, E::InconsistentGroupProtocol);
    // Kafka's tool removes members of such a group by LeaveGroup too.
    let left = world.groups().leave_group(leave("g", "a", None));
    assert_eq!(left.members[0].error_code, E::None);
    let classic = now(world.groups().join_group(join("g", "")));
    assert_eq!(classic.error_code, E::None);
    assert_eq!(a.beat(&world), E::GroupIdNotFound);
    let left = world.groups().leave_group(leave("g", &classic.member_id, None));
    assert_eq!(left.members[0].error_code, E::None);
    assert_eq!(Consumer::new("a", &["orders"]).beat(&world), E::None);
}

#[test]
fn a_restart_does_not_disturb_the_members() {
    let mut world = World::new();
    world.topic("orders", 4);
    let (mut a, mut b) = (Consumer::new("a", &["orders"]), Consumer::new("b", &["orders"]));
    assert_eq!(a.beat(&world), E::None);
    for _ in 0..4 {
        // In the middle of reconciling, too.
        world.restart();
        for consumer in [&mut a, &mut b] {
            assert_eq!(consumer.beat(&world), E::None);
        }
    }
    settle(&world, &mut [&mut a, &mut b]);
    let epoch = group(&world).group_epoch;
    world.restart();
    settle(&world, &mut [&mut a, &mut b]);
    assert_eq!(group(&world).group_epoch, epoch);
    let described = group(&world);
    assert_eq!(described.members.len(), 2);
    let member = &described.members[0];
    assert_eq!((&*member.client_id, &*member.subscribed_topic_names[0]), ("app", "orders"));
    assert_eq!(member.assignment, member.target_assignment);
    assert_eq!(
        (&*member.assignment[0].topic_name, member.assignment[0].partitions.len()),
        ("orders", 2)
    );
}
