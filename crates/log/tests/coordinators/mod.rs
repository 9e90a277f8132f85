//! Groups and transactions as a Kafka client meets them: over a store in memory that can refuse or
//! die at any write, on a clock that stands until it is moved.

mod admin;
mod classic;
mod commits;
mod consumer;
mod golden;
mod offsets;
mod random_groups;
mod random_transactions;
mod static_members;
mod transactions;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use common::{Clock, Error, Result};
use log::groups::*;
use log::transactions::*;
use log::{Change, CoordinatorStore, Coordinators, ErrorCode};
use testkit::VirtualClock;
use uuid::Uuid;

/// 2026-01-01.
const T0: i64 = 1_767_225_600_000_000;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store in memory. At write number `dies_at` the process dies, before or after the write took
/// effect; from then on nothing is written.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<StoreState>>);

#[derive(Default)]
struct StoreState {
    pairs: Pairs,
    commits: usize,
    refuses: usize,
    dies_at: Option<(usize, bool)>,
    is_dead: bool,
    /// A hash of each write that was asked for, over all restarts: two runs that differ anywhere
    /// differ here.
    trace: Vec<u64>,
}

impl Store {
    fn refuse(&self, commits: usize) {
        self.0.lock().unwrap().refuses = commits;
    }

    fn die_at(&self, commit: usize, takes_effect: bool) {
        self.0.lock().unwrap().dies_at = Some((commit, takes_effect));
    }

    fn is_dead(&self) -> bool {
        self.0.lock().unwrap().is_dead
    }

    fn commits(&self) -> usize {
        self.0.lock().unwrap().commits
    }

    fn trace(&self) -> Vec<u64> {
        self.0.lock().unwrap().trace.clone()
    }

    /// What a new process finds.
    fn survivor(&self) -> Self {
        let state = self.0.lock().unwrap();
        let (pairs, trace) = (state.pairs.clone(), state.trace.clone());
        Self(Arc::new(Mutex::new(StoreState { pairs, trace, ..StoreState::default() })))
    }
}

impl CoordinatorStore for Store {
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        Ok(self.0.lock().unwrap().pairs.clone().into_iter().collect())
    }

    fn commit(&self, changes: Vec<Change>) -> Result<()> {
        let mut state = self.0.lock().unwrap();
        let mut hasher = DefaultHasher::new();
        (&changes, state.commits, state.refuses, state.is_dead).hash(&mut hasher);
        state.trace.push(hasher.finish());
        if state.is_dead {
            return Err(Error::unavailable("the process is dead"));
        }
        if state.refuses > 0 {
            state.refuses -= 1;
            return Err(Error::exhausted("the disk is full"));
        }
        state.commits += 1;
        let dies = state.dies_at.filter(|(at, _)| *at == state.commits);
        if dies.is_none_or(|(_, takes_effect)| takes_effect) {
            for (key, value) in changes {
                match value {
                    Some(value) => state.pairs.insert(key, value),
                    None => state.pairs.remove(&key),
                };
            }
        }
        state.is_dead = dies.is_some();
        if dies.is_some() { Err(Error::unavailable("the process dies")) } else { Ok(()) }
    }
}

/// A marker that was written: topic, partition, producer id, epoch, commit.
type Marker = (String, i32, i64, i16, bool);

#[derive(Clone, Default)]
struct Partitions(Arc<Mutex<(Vec<Marker>, usize)>>);

impl Partitions {
    fn refuse(&self, writes: usize) {
        self.0.lock().unwrap().1 = writes;
    }

    fn take(&self) -> Vec<Marker> {
        let mut markers = std::mem::take(&mut self.0.lock().unwrap().0);
        markers.sort();
        markers
    }
}

impl Markers for Partitions {
    fn write(&self, topic: &str, partition: i32, id: i64, epoch: i16, commit: bool) -> Result<()> {
        let mut state = self.0.lock().unwrap();
        if state.1 > 0 {
            state.1 -= 1;
            return Err(Error::unavailable("the partition can not be written"));
        }
        state.0.push((topic.to_owned(), partition, id, epoch, commit));
        Ok(())
    }
}

/// A platform with coordinators; can be started again.
struct World {
    clock: VirtualClock,
    store: Store,
    partitions: Partitions,
    topics: Arc<Mutex<BTreeMap<String, TopicMetadata>>>,
    group_config: GroupConfig,
    transaction_config: TransactionConfig,
    running: Coordinators,
}

impl World {
    fn new() -> Self {
        // The delay has a test of its own.
        Self::with(GroupConfig { initial_rebalance_delay_ms: 0, ..GroupConfig::default() })
    }

    /// A world that is the same in each run of a seed: ids of members are drawn from it, and
    /// markers are written one after the other, or they would take refusals in any order.
    fn seeded(seed: u64) -> Self {
        let mut world = Self::with(GroupConfig {
            initial_rebalance_delay_ms: 0,
            member_ids: MemberIds::seeded(seed),
            ..GroupConfig::default()
        });
        world.transaction_config.marker_threads = 1;
        world.restart();
        world
    }

    fn with(group_config: GroupConfig) -> Self {
        let clock = VirtualClock::new(T0);
        let (store, partitions) = (Store::default(), Partitions::default());
        let topics = Arc::default();
        let transaction_config = TransactionConfig::default();
        let running =
            open(&clock, &store, &partitions, &topics, &group_config, &transaction_config);
        Self { clock, store, partitions, topics, group_config, transaction_config, running }
    }

    /// The process dies and another opens what was durable.
    fn restart(&mut self) {
        self.store = self.store.survivor();
        self.running = open(
            &self.clock,
            &self.store,
            &self.partitions,
            &self.topics,
            &self.group_config,
            &self.transaction_config,
        );
    }

    fn groups(&self) -> &GroupCoordinator {
        &self.running.groups
    }

    fn transactions(&self) -> &TransactionCoordinator {
        &self.running.transactions
    }

    /// Lets time pass, with a tick at its end.
    fn pass(&self, ms: i64) {
        self.clock.advance(ms * 1000);
        self.groups().tick(self.clock.now_us());
        self.transactions().tick(self.clock.now_us());
    }

    fn topic(&self, name: &str, partitions: i32) -> Uuid {
        let mut topics = self.topics.lock().unwrap();
        let number = topics.len() as u128 + 1;
        let known = topics.get(name).map(|t| t.topic_id);
        let topic_id = known.unwrap_or(Uuid::from_u128(number));
        topics.insert(name.to_owned(), TopicMetadata { topic_id, partitions });
        topic_id
    }
}

fn open(
    clock: &VirtualClock,
    store: &Store,
    partitions: &Partitions,
    topics: &Arc<Mutex<BTreeMap<String, TopicMetadata>>>,
    group_config: &GroupConfig,
    transaction_config: &TransactionConfig,
) -> Coordinators {
    try_open(clock, store, partitions, topics, group_config, transaction_config).unwrap()
}

fn try_open(
    clock: &VirtualClock,
    store: &Store,
    partitions: &Partitions,
    topics: &Arc<Mutex<BTreeMap<String, TopicMetadata>>>,
    group_config: &GroupConfig,
    transaction_config: &TransactionConfig,
) -> Result<Coordinators> {
    let topics = topics.clone();
    let all = topics.clone();
    let lookup = TopicLookup::new(
        move |name| topics.lock().unwrap().get(name).copied(),
        move || all.lock().unwrap().keys().cloned().collect(),
    );
    Coordinators::open(
        Arc::new(store.clone()),
        Arc::new(clock.clone()),
        lookup,
        Arc::new(partitions.clone()),
        group_config.clone(),
        transaction_config.clone(),
    )
}

/// What happened how often in a run, and the hashes of its writes.
type Ran = (BTreeMap<&'static str, usize>, Vec<u64>);

/// Runs all seeds, each twice, and asks that both runs are the same and that each of `kinds`
/// happened often. `WATERSHED_SEED` runs one seed alone.
fn all_seeds(count: u64, run: fn(u64) -> Ran, kinds: &[&str]) {
    let seeds: Vec<u64> = match std::env::var("WATERSHED_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..count).collect(),
    };
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in &seeds {
        let Ok((of_run, trace)) = std::panic::catch_unwind(|| run(*seed)) else {
            panic!("run it again with WATERSHED_SEED={seed}")
        };
        let (again, second) = run(*seed);
        let differs = trace.iter().zip(&second).position(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}: the first write that differs between two runs");
        assert_eq!((&of_run, trace.len()), (&again, second.len()), "seed {seed} ran differently");
        for (what, times) in of_run {
            *seen.entry(what).or_default() += times;
        }
    }
    for what in kinds.iter().filter(|_| seeds.len() > 1) {
        assert!(seen.get(what).is_some_and(|n| *n > 100), "{what} are missing: {seen:?}");
    }
}

/// The answer, which is there.
fn now<T>(mut reply: Reply<T>) -> T {
    reply.try_recv().expect("the answer is there")
}

/// Is the answer still to come?
fn waits<T>(reply: &mut Reply<T>) -> bool {
    reply.try_recv().is_err()
}

/// A consumer's subscription as clients send it.
fn subscription(topics: &[&str]) -> bytes::Bytes {
    let mut bytes = vec![0, 1];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

fn join(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupProtocol {
            name: "range".into(),
            metadata: subscription(&["orders"]),
        }],
        client_id: "app".into(),
        client_host: "/127.0.0.1".into(),
        supports_skipping_assignment: true,
        ..JoinGroupRequest::default()
    }
}

fn sync(group: &str, member: &str, generation: i32, given: &[(&str, &str)]) -> SyncGroupRequest {
    let given = given.iter().map(|(member_id, assignment)| SyncGroupAssignment {
        member_id: (*member_id).into(),
        assignment: assignment.as_bytes().to_vec().into(),
    });
    SyncGroupRequest {
        group_id: group.into(),
        generation_id: generation,
        member_id: member.into(),
        assignments: given.collect(),
        ..SyncGroupRequest::default()
    }
}

fn beat(world: &World, group: &str, member: &str, generation: i32) -> ErrorCode {
    world.groups().heartbeat(&HeartbeatRequest {
        group_id: group.into(),
        generation_id: generation,
        member_id: member.into(),
        group_instance_id: None,
    })
}

fn leave(group: &str, member: &str, instance: Option<&str>) -> LeaveGroupRequest {
    let member = MemberIdentity {
        member_id: member.into(),
        group_instance_id: instance.map(Into::into),
        reason: Some("the test wants it".into()),
    };
    LeaveGroupRequest { group_id: group.into(), members: vec![member] }
}

/// One member in a stable group: its id and generation.
fn stable(world: &World, group: &str) -> (String, i32) {
    let joined = now(world.groups().join_group(join(group, "")));
    assert_eq!(joined.error_code, ErrorCode::None);
    let (id, generation) = (joined.member_id, joined.generation_id);
    let synced = now(world.groups().sync_group(sync(group, &id, generation, &[(&id, "all")])));
    assert_eq!((synced.error_code, &synced.assignment[..]), (ErrorCode::None, &b"all"[..]));
    (id, generation)
}

/// Two members in a stable group, the leader first, and its generation.
fn stable_pair(world: &World, group: &str) -> (String, String, i32) {
    let (a, _) = stable(world, group);
    let mut b = world.groups().join_group(join(group, ""));
    assert!(waits(&mut b), "the first member has to join again");
    let a = now(world.groups().join_group(join(group, &a)));
    let b = now(b);
    assert_eq!((a.generation_id, &a.leader), (b.generation_id, &b.leader));
    let (leader, other) = if a.leader == a.member_id { (a, b) } else { (b, a) };
    let generation = leader.generation_id;
    let (leader, other) = (leader.member_id, other.member_id);
    let follower = world.groups().sync_group(sync(group, &other, generation, &[]));
    let given = [(&*leader, "first half"), (&*other, "second half")];
    let led = now(world.groups().sync_group(sync(group, &leader, generation, &given)));
    assert_eq!(&led.assignment[..], b"first half");
    assert_eq!(&now(follower).assignment[..], b"second half");
    (leader, other, generation)
}

fn commit(group: &str, member: &str, epoch: i32, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: epoch,
        member_id: member.into(),
        group_instance_id: None,
        topics: vec![offsets("orders", 0, offset)],
    }
}

fn offsets(topic: &str, partition: i32, offset: i64) -> OffsetCommitTopic {
    OffsetCommitTopic {
        name: topic.into(),
        partitions: vec![OffsetCommitPartition {
            partition_index: partition,
            committed_offset: offset,
            committed_leader_epoch: 3,
            committed_metadata: Some(format!("at {offset}")),
        }],
    }
}

/// The one error of an answer about one partition.
fn error(answer: &[TopicErrors]) -> ErrorCode {
    assert_eq!((answer.len(), answer[0].partitions.len()), (1, 1), "{answer:?}");
    answer[0].partitions[0].error_code
}

/// The offset of `orders` 0; -1 without one.
fn committed(world: &World, group: &str) -> i64 {
    fetch(world, group, "orders", false).committed_offset
}

fn fetch(world: &World, group: &str, topic: &str, require_stable: bool) -> OffsetFetchPartition {
    let topics = vec![TopicPartitions { name: topic.into(), partition_indexes: vec![0] }];
    let request = OffsetFetchRequest {
        group_id: group.into(),
        member_id: None,
        member_epoch: -1,
        topics: Some(topics),
        require_stable,
    };
    let mut answer = world.groups().fetch_offsets(&request);
    assert_eq!(answer.error_code, ErrorCode::None);
    answer.topics.remove(0).partitions.remove(0)
}
