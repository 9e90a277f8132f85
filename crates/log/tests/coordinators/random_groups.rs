//! Random consumers of both protocols: they join, lead, commit, fall silent and leave, the disk
//! fills up and the process dies at any write. Always: a partition is told to one member of a
//! generation only, and an offset whose commit was answered well is never lost.
//! `WATERSHED_SEED` runs one seed alone.

use std::collections::{BTreeMap, BTreeSet};

use log::ErrorCode as E;
use log::groups::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::consumer::Consumer;
use super::{Ran, World, all_seeds, beat, commit, error, fetch, join, leave, offsets, sync};

const CLIENTS: usize = 4;
const PARTITIONS: i32 = 5;
const STEPS: usize = 300;

/// A client of the classic protocol, as far as it has come.
#[derive(Default)]
enum Progress {
    #[default]
    Idle,
    Joining(Reply<JoinGroupResponse>),
    Syncing(Reply<SyncGroupResponse>),
    Member(Vec<i32>),
}

#[derive(Default)]
struct Client {
    member_id: String,
    generation: i32,
    progress: Progress,
}

struct Run {
    world: World,
    rng: StdRng,
    clients: Vec<Client>,
    /// (generation, partition) → the member it was told to.
    told: BTreeMap<(i32, i32), String>,
    /// Last offset whose commit was answered well, and the ones tried since, by partition.
    acknowledged: BTreeMap<i32, (i64, BTreeSet<i64>)>,
    offset: i64,
    seen: BTreeMap<&'static str, usize>,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            world: World::seeded(seed),
            rng: StdRng::seed_from_u64(seed),
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            told: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            offset: 0,
            seen: BTreeMap::new(),
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn run(mut self) -> Ran {
        for _ in 0..STEPS {
            match self.rng.random_range(0..100) {
                0..2 => {
                    let at = self.world.store.commits() + self.rng.random_range(1..4);
                    self.world.store.die_at(at, self.rng.random_bool(0.5));
                }
                2..4 => self.world.store.refuse(1),
                4..12 => self.world.pass(self.rng.random_range(1..3_000)),
                // Longer than a session: all who are members are removed.
                12..13 => self.world.pass(10_001),
                _ => {
                    let i = self.rng.random_range(0..CLIENTS);
                    self.step(i);
                }
            }
            if self.world.store.is_dead() {
                self.crash();
            }
        }
        self.crash();
        (self.seen, self.world.store.trace())
    }

    fn crash(&mut self) {
        self.note("crashes");
        self.world.restart();
        for client in &mut self.clients {
            // Connections are gone; members that had what they wanted go on.
            if !matches!(client.progress, Progress::Member(_)) {
                client.progress = Progress::Idle;
            }
        }
        for (partition, (known, tried)) in &self.acknowledged {
            let found = fetch(&self.world, "g", &format!("input {partition}"), false);
            let found = found.committed_offset;
            assert!(
                found == *known || tried.contains(&found),
                "partition {partition}: {found}, not {known} or one of {tried:?}"
            );
        }
        // What counts now is known.
        for (partition, (known, tried)) in &mut self.acknowledged {
            *known = fetch(&self.world, "g", &format!("input {partition}"), false).committed_offset;
            tried.clear();
        }
    }

    fn step(&mut self, i: usize) {
        match std::mem::take(&mut self.clients[i].progress) {
            Progress::Idle => {
                let request = JoinGroupRequest {
                    requires_known_member_id: true,
                    rebalance_timeout_ms: 5_000,
                    ..join("g", &self.clients[i].member_id)
                };
                let reply = self.world.groups().join_group(request);
                self.clients[i].progress = Progress::Joining(reply);
            }
            Progress::Joining(mut reply) => match reply.try_recv() {
                Ok(answer) => self.joined(i, answer),
                Err(_) => self.clients[i].progress = Progress::Joining(reply),
            },
            Progress::Syncing(mut reply) => match reply.try_recv() {
                Ok(answer) => self.synced(i, &answer),
                Err(_) => self.clients[i].progress = Progress::Syncing(reply),
            },
            Progress::Member(owned) => self.work(i, owned),
        }
    }

    fn joined(&mut self, i: usize, answer: JoinGroupResponse) {
        match answer.error_code {
            E::None | E::MemberIdRequired => self.clients[i].member_id = answer.member_id.clone(),
            E::CoordinatorNotAvailable | E::RebalanceInProgress => self.note("refused writes"),
            _ => self.clients[i].member_id.clear(),
        }
        if answer.error_code != E::None {
            return;
        }
        let generation = answer.generation_id;
        self.clients[i].generation = generation;
        let mut given: BTreeMap<&str, String> = BTreeMap::new();
        for (partition, member) in (0..PARTITIONS).zip(answer.members.iter().cycle()) {
            let text = given.entry(&member.member_id).or_default();
            text.push_str(&format!("{partition} "));
        }
        let given: Vec<(&str, &str)> = given.iter().map(|(id, text)| (*id, &**text)).collect();
        let request = sync("g", &answer.member_id, generation, &given);
        let reply = self.world.groups().sync_group(request);
        self.clients[i].progress = Progress::Syncing(reply);
    }

    fn synced(&mut self, i: usize, answer: &SyncGroupResponse) {
        match answer.error_code {
            E::None => {}
            E::UnknownMemberId => return self.clients[i].member_id.clear(),
            _ => return self.note("rebalances"),
        }
        let text = String::from_utf8(answer.assignment.to_vec()).unwrap();
        let owned: Vec<i32> = text.split_whitespace().map(|p| p.parse().unwrap()).collect();
        for partition in &owned {
            let place = (self.clients[i].generation, *partition);
            let id = self.clients[i].member_id.clone();
            let owner = self.told.entry(place).or_insert_with(|| id.clone());
            assert_eq!(*owner, id, "partition {partition} of generation {}", place.0);
        }
        self.note("assignments");
        self.clients[i].progress = Progress::Member(owned);
    }

    fn work(&mut self, i: usize, owned: Vec<i32>) {
        let (id, generation) = (self.clients[i].member_id.clone(), self.clients[i].generation);
        match self.rng.random_range(0..40) {
            0 => {
                self.world.groups().leave_group(leave("g", &id, None));
                return self.clients[i].member_id.clear();
            }
            // It dies without a word.
            1 => return self.clients[i].member_id.clear(),
            // A reason to assign anew.
            2 => return,
            3..20 => {
                for partition in &owned {
                    self.commit(&id, generation, *partition);
                }
            }
            _ => {}
        }
        match beat(&self.world, "g", &id, generation) {
            E::None => self.clients[i].progress = Progress::Member(owned),
            E::RebalanceInProgress | E::IllegalGeneration => self.note("rebalances"),
            _ => {
                self.note("removed");
                self.clients[i].member_id.clear();
            }
        }
    }

    fn commit(&mut self, id: &str, generation: i32, partition: i32) {
        self.offset += 1;
        let request = OffsetCommitRequest {
            topics: vec![offsets(&format!("input {partition}"), 0, self.offset)],
            ..commit("g", id, generation, self.offset)
        };
        let (known, tried) = self.acknowledged.entry(partition).or_insert((-1, BTreeSet::new()));
        match error(&self.world.running.groups.commit_offsets(&request)) {
            E::None => {
                *known = self.offset;
                tried.clear();
                self.note("commits");
            }
            E::CoordinatorNotAvailable => {
                tried.insert(self.offset);
                self.note("refused writes");
            }
            _ => {}
        }
    }
}

#[test]
fn a_partition_has_one_member_and_committed_offsets_stay_whatever_happens() {
    let kinds = ["crashes", "refused writes", "rebalances", "assignments", "removed", "commits"];
    all_seeds(200, |seed| Run::new(seed).run(), &kinds);
}

/// Consumers of the new protocol. Each is heard of often enough, or gone.
fn run_consumers(seed: u64) -> Ran {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut world = World::seeded(seed);
    world.topic("orders", PARTITIONS);
    let mut consumers: Vec<Consumer> = vec![];
    let mut born = 0;
    for _ in 0..STEPS {
        match rng.random_range(0..100) {
            0..3 => {
                let at = world.store.commits() + rng.random_range(1..4);
                world.store.die_at(at, rng.random_bool(0.5));
            }
            3..5 => world.store.refuse(1),
            5..10 => {
                // Everybody is heard of before much time passes.
                world.pass(rng.random_range(1..5_000));
                consumers.iter_mut().for_each(|c| told(c, &world, &mut seen));
            }
            10..14 if consumers.len() < CLIENTS => {
                born += 1;
                consumers.push(Consumer::new(&format!("c{born}"), &["orders"]));
            }
            14..16 if !consumers.is_empty() => {
                let mut gone = consumers.remove(rng.random_range(0..consumers.len()));
                if rng.random_bool(0.5) {
                    gone.epoch = -1;
                    gone.beat(&world);
                }
            }
            16..18 if !consumers.is_empty() => {
                // One is cut off for longer than a session, and knows it.
                let cut_off = rng.random_range(0..consumers.len());
                consumers[cut_off].owned.clear();
                for _ in 0..10 {
                    world.pass(5_000);
                    for (i, consumer) in consumers.iter_mut().enumerate() {
                        if i != cut_off {
                            told(consumer, &world, &mut seen);
                        }
                    }
                }
            }
            18..20 => {
                world.topic("payments", rng.random_range(1..4));
                for consumer in &mut consumers {
                    consumer.topics = vec!["orders".into(), "payments".into()];
                }
            }
            _ if !consumers.is_empty() => {
                let i = rng.random_range(0..consumers.len());
                told(&mut consumers[i], &world, &mut seen);
            }
            _ => {}
        }
        let mut owners = BTreeMap::new();
        for consumer in &consumers {
            for topic in &consumer.owned {
                for partition in &topic.partitions {
                    let before = owners.insert((topic.topic_id, *partition), &consumer.id);
                    assert_eq!(before, None, "{} owns partition {partition} too", consumer.id);
                }
            }
        }
        if world.store.is_dead() {
            *seen.entry("crashes").or_default() += 1;
            world.restart();
        }
    }
    settle(&mut world, &mut consumers, &mut seen);
    (seen, world.store.trace())
}

/// A heartbeat; who is fenced owns nothing any more and joins again.
fn told(consumer: &mut Consumer, world: &World, seen: &mut BTreeMap<&'static str, usize>) {
    match consumer.beat(world) {
        E::None => {}
        E::CoordinatorNotAvailable => *seen.entry("refused writes").or_default() += 1,
        E::FencedMemberEpoch | E::UnknownMemberId | E::GroupIdNotFound => {
            *seen.entry("fenced").or_default() += 1;
            consumer.epoch = 0;
            consumer.owned.clear();
        }
        other => panic!("a heartbeat was answered with {other:?}"),
    }
}

/// When nothing fails any more, all partitions are owned, evenly.
fn settle(world: &mut World, consumers: &mut [Consumer], seen: &mut BTreeMap<&'static str, usize>) {
    world.restart();
    for _ in 0..20 {
        world.pass(4_000);
        consumers.iter_mut().for_each(|c| told(c, world, seen));
    }
    if consumers.is_empty() {
        return;
    }
    let topics = world.topics.lock().unwrap().clone();
    let is_read = |name: &String| consumers.iter().any(|c| c.topics.contains(name));
    let all: i32 = topics.iter().filter(|(name, _)| is_read(name)).map(|(_, t)| t.partitions).sum();
    let count = |c: &Consumer| c.owned.iter().map(|t| t.partitions.len()).sum::<usize>();
    let owned: usize = consumers.iter().map(count).sum();
    assert_eq!(owned, all as usize, "{:?}", world.groups().describe_consumer_group("g"));
    assert_eq!(world.groups().describe_consumer_group("g").group_state, "Stable");
    *seen.entry("settled").or_default() += 1;
}

#[test]
fn consumers_of_the_new_protocol_never_share_a_partition_whatever_happens() {
    all_seeds(200, run_consumers, &["crashes", "refused writes", "fenced", "settled"]);
}
