//! The server-side assignors of KIP-848: from the members' subscriptions and the topics to who
//! should own what. Both give every partition of a subscribed topic to exactly one subscriber.

use std::collections::{BTreeMap, BTreeSet};

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
    let wants = |m: &ConsumerMember| m.subscribed_topic_names.contains(topic);
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
    let mut targets: BTreeMap<String, Assignment> =
        members.keys().map(|id| (id.clone(), Assignment::new())).collect();
    let mut loads: BTreeMap<&String, usize> = members.keys().map(|id| (id, 0)).collect();
    let mut unassigned = vec![];
    for (name, topic) in topics {
        let subscribers = subscribers(members, name);
        let mut free: BTreeSet<i32> = (0..topic.partitions).collect();
        for id in &subscribers {
            let had = members.get(*id).and_then(|m| m.target.get(&topic.topic_id));
            let kept: BTreeSet<i32> =
                had.into_iter().flatten().filter(|p| free.remove(p)).copied().collect();
            *loads.entry(id).or_default() += kept.len();
            if !kept.is_empty() {
                targets.entry((*id).clone()).or_default().insert(topic.topic_id, kept);
            }
        }
        unassigned.push((subscribers, topic.topic_id, free));
    }
    // Topics with few subscribers first: they have the least choice.
    unassigned.sort_by_key(|(subscribers, ..)| subscribers.len());
    for (subscribers, topic_id, free) in &unassigned {
        for partition in free {
            let Some(id) = subscribers.iter().min_by_key(|id| loads.get(*id)) else { break };
            *loads.entry(id).or_default() += 1;
            let target = targets.entry((*id).clone()).or_default();
            target.entry(*topic_id).or_default().insert(*partition);
        }
    }
    for (subscribers, topic_id, _) in &unassigned {
        level(subscribers, *topic_id, &mut targets, &mut loads);
    }
    targets.retain(|_, target| !target.is_empty());
    targets
}

/// Moves partitions of a topic from those who have most to those who have least in all, until
/// they differ by one at most or have none of this topic left to give.
fn level<'a>(
    subscribers: &[&'a String],
    topic_id: uuid::Uuid,
    targets: &mut BTreeMap<String, Assignment>,
    loads: &mut BTreeMap<&'a String, usize>,
) {
    loop {
        let load = |id: &String| loads.get(id).copied().unwrap_or(0);
        let has = |id: &String| targets.get(id).is_some_and(|t| t.contains_key(&topic_id));
        let from = subscribers.iter().filter(|id| has(id)).max_by_key(|id| load(id)).copied();
        let to = subscribers.iter().min_by_key(|id| load(id)).copied();
        let (Some(from), Some(to)) = (from, to) else { return };
        if load(from) < load(to) + 2 {
            return;
        }
        let Some(target) = targets.get_mut(from) else { return };
        let Some(partitions) = target.get_mut(&topic_id) else { return };
        let Some(partition) = partitions.pop_last() else { return };
        if partitions.is_empty() {
            target.remove(&topic_id);
        }
        targets.entry(to.clone()).or_default().entry(topic_id).or_default().insert(partition);
        loads.entry(from).and_modify(|n| *n -= 1);
        *loads.entry(to).or_default() += 1;
    }
}
