//! What an operator asks of groups: list, describe, delete. Offsets of an empty group are reset by
//! committing others (OffsetCommit with generation -1).

use bytes::Bytes;

use super::api::{
    DescribedConsumerGroup, DescribedConsumerGroupMember, DescribedGroup, DescribedGroupMember,
    ListedGroup, NamedTopicPartitions,
};
use super::classic::{ClassicGroup, ClassicMember, ClassicState};
use super::consumer::{Assignment, ConsumerGroup, ConsumerMember};
use super::coordinator::GroupCoordinator;
use super::group::{Group, Membership};
use crate::error_code::ErrorCode;
use crate::lock::lock;

/// The state of a group that does not exist.
const DEAD: &str = "Dead";

impl GroupCoordinator {
    /// ListGroups: those in one of the states and of one of the types; empty lists take all. Case
    /// does not matter.
    pub fn list_groups(
        &self,
        states_filter: &[String],
        types_filter: &[String],
    ) -> Vec<ListedGroup> {
        let mut listed = vec![];
        for group in self.all() {
            let group = lock(&group);
            let (state, kind) = (group.state_name(), group.type_name());
            if !group.is_removed && takes(states_filter, state) && takes(types_filter, kind) {
                listed.push(ListedGroup {
                    group_id: group.id.clone(),
                    protocol_type: group.protocol_type().to_owned(),
                    group_state: state,
                    group_type: kind,
                });
            }
        }
        listed
    }

    /// DescribeGroups, for one group of the classic protocol.
    pub fn describe_group(&self, group_id: &str) -> DescribedGroup {
        let described = self.with(group_id, |group| match &group.membership {
            Membership::Classic(classic) => Some(describe_classic(group, classic)),
            Membership::Consumer(_) => None,
        });
        described.flatten().unwrap_or_else(|| DescribedGroup {
            error_code: ErrorCode::GroupIdNotFound,
            group_id: group_id.to_owned(),
            group_state: DEAD,
            ..Default::default()
        })
    }

    /// ConsumerGroupDescribe, for one group of the new protocol (KIP-848).
    pub fn describe_consumer_group(&self, group_id: &str) -> DescribedConsumerGroup {
        let described = self.with(group_id, |group| match &group.membership {
            Membership::Consumer(consumer) => Some(describe_consumer(group_id, consumer)),
            Membership::Classic(_) => None,
        });
        described.flatten().unwrap_or_else(|| DescribedConsumerGroup {
            error_code: ErrorCode::GroupIdNotFound,
            group_id: group_id.to_owned(),
            group_state: DEAD,
            ..Default::default()
        })
    }

    /// DeleteGroups, for one group: with its offsets, if nobody is in it. Blocks for a write.
    pub fn delete_group(&self, group_id: &str) -> ErrorCode {
        if group_id.is_empty() {
            return ErrorCode::InvalidGroupId;
        }
        let deleted = self.with(group_id, |group| {
            if !group.is_empty() {
                return Err(ErrorCode::NonEmptyGroup);
            }
            self.remove(group);
            Ok(group.saved.clone())
        });
        match deleted {
            None => ErrorCode::GroupIdNotFound,
            Some(Err(error)) => error,
            Some(Ok(saved)) if self.queue.wait(&saved).is_ok() => ErrorCode::None,
            Some(Ok(_)) => ErrorCode::CoordinatorNotAvailable,
        }
    }
}

fn takes(filter: &[String], value: &str) -> bool {
    filter.is_empty() || filter.iter().any(|f| f.eq_ignore_ascii_case(value))
}

fn describe_classic(group: &Group, classic: &ClassicGroup) -> DescribedGroup {
    let protocol = classic.protocol_name.clone().unwrap_or_default();
    // Before the leader's answer there is nothing to show.
    let is_stable = classic.state == ClassicState::Stable;
    let member = |(id, m): (&String, &ClassicMember)| DescribedGroupMember {
        member_id: id.clone(),
        group_instance_id: m.group_instance_id.clone(),
        client_id: m.client_id.clone(),
        client_host: m.client_host.clone(),
        member_metadata: if is_stable { m.metadata(&protocol) } else { Bytes::new() },
        member_assignment: if is_stable { m.assignment.clone() } else { Bytes::new() },
    };
    DescribedGroup {
        error_code: ErrorCode::None,
        group_id: group.id.clone(),
        group_state: classic.state.name(),
        protocol_type: classic.protocol_type.clone(),
        members: classic.members.iter().map(member).collect(),
        protocol_data: if is_stable { protocol.clone() } else { String::new() },
    }
}

fn describe_consumer(group_id: &str, group: &ConsumerGroup) -> DescribedConsumerGroup {
    let member = |(id, m): (&String, &ConsumerMember)| DescribedConsumerGroupMember {
        member_id: id.clone(),
        instance_id: m.instance_id.clone(),
        rack_id: m.rack_id.clone(),
        member_epoch: m.member_epoch,
        client_id: m.client_id.clone(),
        client_host: m.client_host.clone(),
        subscribed_topic_names: m.subscribed_topic_names.iter().cloned().collect(),
        subscribed_topic_regex: m.pattern.as_ref().map(|p| p.text().to_owned()),
        assignment: named(group, &m.assigned),
        target_assignment: named(group, &m.target),
    };
    DescribedConsumerGroup {
        error_code: ErrorCode::None,
        group_id: group_id.to_owned(),
        group_state: group.state_name(),
        group_epoch: group.group_epoch,
        assignment_epoch: group.assignment_epoch,
        assignor_name: group.assignor.clone(),
        members: group.members.iter().map(member).collect(),
    }
}

/// With the topics' names; those that are gone are left out.
fn named(group: &ConsumerGroup, assignment: &Assignment) -> Vec<NamedTopicPartitions> {
    let mut topics = vec![];
    for (name, topic) in &group.topics {
        if let Some(partitions) = assignment.get(&topic.topic_id) {
            topics.push(NamedTopicPartitions {
                topic_id: topic.topic_id,
                topic_name: name.clone(),
                partitions: partitions.iter().copied().collect(),
            });
        }
    }
    topics
}
