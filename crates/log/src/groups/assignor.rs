//! The server-side assignors of KIP-848: from the members' subscriptions and the topics to who
//! should own what. Both give every partition of a subscribed topic to exactly one subscriber.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use uuid::Uuid;

use super::api::TopicMetadata;
use super::consumer::{Assignment, ConsumerMember};

/// The assignors by their names; the first is the default, as in Kafka.
pub(crate) const ASSIGNORS: [&str; 2] = ["uniform", "range"];

type Members = BTreeMap<String, ConsumerMember>;
type Topics = BTreeMap<String, TopicMetadata>;

/// Computes the target of each member with the assignor of that name.
pub(crate) fn assign(
    assignor: &str,
    members: &Members,
    topics: &Topics,
) -> BTreeMap<String, Assignment> {
    if assignor == "range" { range(members, topics) } else { uniform(members, topics) }
}

fn subscribers<'a>(members: &'a Members, topic: &str) -> Vec<&'a String> {
    let wants = |m: &ConsumerMember| m.wants(topic);
    members.iter().filter(|(_, m)| wants(m)).map(|(id, _)| id).collect()
}

/// Per topic, each subscriber gets a run of partitions; static members are ordered by their
/// instance id, so that they find the same partitions again.
fn range(members: &Members, topics: &Topics) -> BTreeMap<String, Assignment> {
    let mut targets: BTreeMap<String, Assignment> = BTreeMap::new();
    for (name, topic) in topics {
        let mut subscribers = subscribers(members, name);
        subscribers.sort_by_key(|id| {
            let instance = members.get(*id).and_then(|m| m.instance_id.as_ref());
            (instance.is_none(), instance, *id)
        });
        let count = subscribers.len() as i32;
        if count == 0 {
            continue;
        }
        let (each, one_more) = (topic.partitions / count, topic.partitions % count);
        let mut next = 0;
        for (i, id) in subscribers.into_iter().enumerate() {
            let end = next + each + i32::from((i as i32) < one_more);
            if next < end {
                let target = targets.entry(id.clone()).or_default();
                target.insert(topic.topic_id, (next..end).collect());
            }
            next = end;
        }
    }
    targets
}

/// As many partitions for each member as for any other, as far as subscriptions allow; members
/// keep what they have unless balance needs it.
fn uniform(members: &Members, topics: &Topics) -> BTreeMap<String, Assignment> {
    let loads = members.keys().map(|id| (id, 0)).collect();
    let mut spread = Spread { loads, ..Spread::default() };
    let mut unassigned = vec![];
    for (name, topic) in topics {
        let subscribers = subscribers(members, name);
        let mut free: BTreeSet<i32> = (0..topic.partitions).collect();
        for id in &subscribers {
            let had = members.get(*id).and_then(|m| m.target.get(&topic.topic_id));
            for partition in had.into_iter().flatten() {
                if free.remove(partition) {
                    spread.give(id, topic.topic_id, *partition);
                }
            }
        }
        unassigned.push((subscribers.len(), topic.topic_id, free));
        spread.subscribers.insert(topic.topic_id, subscribers);
    }
    // Topics with few subscribers first: they have the least choice.
    unassigned.sort_by_key(|(subscribers, ..)| *subscribers);
    for (_, topic_id, free) in unassigned {
        for partition in free {
            let Some(id) = spread.least_loaded(&topic_id) else { break };
            spread.give(id, topic_id, partition);
        }
    }
    while spread.level_once() {}
    let owned = spread.targets.into_iter().filter(|(_, target)| !target.is_empty());
    owned.map(|(id, target)| (id.clone(), target)).collect()
}

/// Partitions on their way to an even spread.
#[derive(Default)]
struct Spread<'a> {
    targets: BTreeMap<&'a String, Assignment>,
    /// Partitions of each member.
    loads: BTreeMap<&'a String, usize>,
    subscribers: BTreeMap<Uuid, Vec<&'a String>>,
}

impl<'a> Spread<'a> {
    fn load(&self, id: &String) -> usize {
        self.loads.get(id).copied().unwrap_or(0)
    }

    fn least_loaded(&self, topic_id: &Uuid) -> Option<&'a String> {
        let subscribers = self.subscribers.get(topic_id)?;
        subscribers.iter().copied().min_by_key(|id| self.load(id))
    }

    fn give(&mut self, id: &'a String, topic_id: Uuid, partition: i32) {
        *self.loads.entry(id).or_default() += 1;
        self.targets.entry(id).or_default().entry(topic_id).or_default().insert(partition);
    }

    /// Takes one partition of a topic away.
    fn take(&mut self, id: &'a String, topic_id: Uuid) -> Option<i32> {
        let target = self.targets.get_mut(id)?;
        let partitions = target.get_mut(&topic_id)?;
        let partition = partitions.pop_last()?;
        if partitions.is_empty() {
            target.remove(&topic_id);
        }
        self.loads.entry(id).and_modify(|load| *load -= 1);
        Some(partition)
    }

    /// Moves one partition's worth of load from a member to one that has at least two less, over
    /// others in between where they share no topic. False when there is no such pair: then the
    /// spread is as even as it can be.
    fn level_once(&mut self) -> bool {
        let least = self.loads.values().min().copied().unwrap_or(0);
        let mut heavy: Vec<(usize, &'a String)> =
            self.loads.iter().map(|(id, load)| (*load, *id)).collect();
        heavy.retain(|(load, _)| *load >= least + 2);
        heavy.sort_by(|a, b| b.cmp(a));
        let Some(path) = heavy.into_iter().find_map(|(load, from)| self.path(from, load)) else {
            return false;
        };
        for (from, topic_id, to) in path {
            if let Some(partition) = self.take(from, topic_id) {
                self.give(to, topic_id, partition);
            }
        }
        true
    }

    /// The shortest chain of hand-overs (from, topic, to) to a member with two partitions less.
    fn path(&self, from: &'a String, load: usize) -> Option<Vec<(&'a String, Uuid, &'a String)>> {
        let mut came_by: BTreeMap<&'a String, (&'a String, Uuid)> = BTreeMap::new();
        let mut seen_topics = BTreeSet::new();
        let mut queue = VecDeque::from([from]);
        while let Some(giver) = queue.pop_front() {
            for topic_id in self.targets.get(giver).into_iter().flat_map(|t| t.keys()) {
                if !seen_topics.insert(*topic_id) {
                    continue;
                }
                for taker in self.subscribers.get(topic_id).into_iter().flatten().copied() {
                    if taker == from || came_by.contains_key(taker) {
                        continue;
                    }
                    came_by.insert(taker, (giver, *topic_id));
                    if self.load(taker) + 2 <= load {
                        return Some(trace(&came_by, taker));
                    }
                    queue.push_back(taker);
                }
            }
        }
        None
    }
}

fn trace<'a>(
    came_by: &BTreeMap<&'a String, (&'a String, Uuid)>,
    end: &'a String,
) -> Vec<(&'a String, Uuid, &'a String)> {
    let mut path = vec![];
    let mut taker = end;
    while let Some((giver, topic_id)) = came_by.get(taker) {
        path.push((*giver, *topic_id, taker));
        taker = giver;
    }
    path
}
