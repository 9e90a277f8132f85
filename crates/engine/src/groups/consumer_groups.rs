//! Consumer groups as an operator sees them: who is in a group, who reads which partition, and how
//! far behind. The words are those of `kafka-consumer-groups --describe`. The coordinator itself
//! stands in the crate `log`; offsets are set by `reset_offsets.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Error, Partition, Result};
use log::ErrorCode;
use log::groups::{
    GroupCoordinator, ListedGroup, OffsetFetchRequest, TopicPartitions, assigned_partitions,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::inner::Inner;
use crate::stores::blocking::blocking;

/// A group in a list of all.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Group")]
pub struct GroupInfo {
    pub group: String,
    /// Kafka's name of the state: Empty, PreparingRebalance, CompletingRebalance, Stable; of a
    /// group by KIP-848 also Assigning and Reconciling.
    pub state: &'static str,
    /// "Classic" or "Consumer" (KIP-848).
    #[serde(rename = "type")]
    pub group_type: &'static str,
    pub protocol_type: String,
    pub members: usize,
    /// Topics it committed offsets of, or reads.
    pub topics: Vec<String>,
    /// Records between the committed offsets and the ends of the log; none before a first commit.
    pub lag: Option<u64>,
}

/// A group with its members and partitions.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct GroupDetail {
    pub group: String,
    pub state: &'static str,
    #[serde(rename = "type")]
    pub group_type: &'static str,
    pub protocol_type: String,
    /// How partitions are assigned: the protocol that the members chose, or the server's assignor.
    pub assignor: String,
    pub lag: Option<u64>,
    pub members: Vec<GroupMember>,
    pub partitions: Vec<GroupPartition>,
}

/// A member of a group.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct GroupMember {
    pub consumer_id: String,
    /// `group.instance.id` of a static member (KIP-345).
    pub group_instance_id: Option<String>,
    pub client_id: String,
    /// Address of the client, as Kafka shows it: "/127.0.0.1".
    pub host: String,
    pub assignment: Vec<AssignedTopic>,
}

/// Partitions of a topic that a member reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AssignedTopic {
    pub topic: String,
    pub partitions: Vec<i32>,
}

/// How far a group has read a partition.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct GroupPartition {
    pub topic: String,
    pub partition: i32,
    /// The committed offset: the next one to be read. None before a commit.
    pub current_offset: Option<i64>,
    /// None when the topic or partition is not there (any more).
    pub log_start_offset: Option<i64>,
    pub log_end_offset: Option<i64>,
    /// Offsets between the two, also where a compacted log has no records.
    pub lag: Option<u64>,
    /// What was committed with the offset, for the client's own use.
    pub metadata: String,
    /// The member that reads it now.
    pub consumer_id: Option<String>,
    pub client_id: Option<String>,
    pub host: Option<String>,
}

/// All consumer groups, by name.
pub async fn group_list(inner: &Arc<Inner>) -> Result<Vec<GroupInfo>> {
    let inner = inner.clone();
    blocking(move || all_groups(&inner)).await
}

/// A group. Error: `NotFound` when there is none of this name.
pub async fn group(inner: &Arc<Inner>, group_id: &str) -> Result<GroupDetail> {
    let (inner, group_id) = (inner.clone(), group_id.to_string());
    blocking(move || {
        let listed = find_group(&inner, &group_id)?;
        group_detail(&inner, &listed)
    })
    .await
}

/// Removes a group with its offsets. Errors: `NotFound`, and `Conflict` while it has members.
pub async fn delete_group(inner: &Arc<Inner>, group_id: &str) -> Result<()> {
    inner.check_open()?;
    let (inner, group_id) = (inner.clone(), group_id.to_string());
    blocking(move || match inner.coordination.groups.delete_group(&group_id) {
        ErrorCode::None => Ok(()),
        ErrorCode::GroupIdNotFound => Err(unknown_group(&inner, &group_id)),
        ErrorCode::NonEmptyGroup => Err(Error::conflict(format!("group '{group_id}' has members"))
            .hint("stop its consumers first")),
        code => Err(refused(&group_id, code)),
    })
    .await
}

pub(crate) fn all_groups(inner: &Inner) -> Result<Vec<GroupInfo>> {
    let listed = inner.coordination.groups.list_groups(&[], &[]);
    listed.iter().map(|g| group_detail(inner, g).map(GroupDetail::summary)).collect()
}

pub(crate) fn find_group(inner: &Inner, group_id: &str) -> Result<ListedGroup> {
    let mut all = inner.coordination.groups.list_groups(&[], &[]).into_iter();
    all.find(|g| g.group_id == group_id).ok_or_else(|| unknown_group(inner, group_id))
}

fn unknown_group(inner: &Inner, group_id: &str) -> Error {
    let all = inner.coordination.groups.list_groups(&[], &[]);
    Error::unknown("group", group_id, all.iter().map(|g| g.group_id.as_str()))
}

pub(crate) fn group_detail(inner: &Inner, listed: &ListedGroup) -> Result<GroupDetail> {
    let groups = &inner.coordination.groups;
    let (assignor, members) = match listed.group_type {
        "Consumer" => consumer_members(groups, &listed.group_id),
        _ => classic_members(groups, &listed.group_id),
    };
    let partitions = group_partitions(inner, &listed.group_id, &members)?;
    let lags: Vec<u64> = partitions.iter().filter_map(|p| p.lag).collect();
    Ok(GroupDetail {
        group: listed.group_id.clone(),
        state: listed.group_state,
        group_type: listed.group_type,
        protocol_type: listed.protocol_type.clone(),
        assignor,
        lag: (!lags.is_empty()).then(|| lags.iter().sum()),
        members,
        partitions,
    })
}

/// Partitions with a committed offset, and those that a member reads.
fn group_partitions(
    inner: &Inner,
    group_id: &str,
    members: &[GroupMember],
) -> Result<Vec<GroupPartition>> {
    let mut found: BTreeMap<(String, i32), GroupPartition> = BTreeMap::new();
    for (topic, partition, offset, metadata) in committed(inner, group_id)? {
        let mut one = group_partition(inner, &topic, partition);
        one.commit(offset, metadata);
        found.insert((topic, partition), one);
    }
    for member in members {
        for AssignedTopic { topic, partitions } in &member.assignment {
            for partition in partitions {
                let place = (topic.clone(), *partition);
                let one =
                    found.entry(place).or_insert_with(|| group_partition(inner, topic, *partition));
                one.consumer_id = Some(member.consumer_id.clone());
                one.client_id = Some(member.client_id.clone());
                one.host = Some(member.host.clone());
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Topic, partition, offset and metadata of all that a group committed.
pub(crate) fn committed(inner: &Inner, group_id: &str) -> Result<Vec<(String, i32, i64, String)>> {
    let request = OffsetFetchRequest {
        group_id: group_id.to_string(),
        member_epoch: -1,
        ..OffsetFetchRequest::default()
    };
    let answer = inner.coordination.groups.fetch_offsets(&request);
    if !answer.error_code.is_ok() {
        return Err(refused(group_id, answer.error_code));
    }
    let mut committed = vec![];
    for topic in answer.topics {
        for p in topic.partitions.into_iter().filter(|p| p.committed_offset >= 0) {
            let name = topic.name.clone();
            committed.push((name, p.partition_index, p.committed_offset, p.metadata));
        }
    }
    Ok(committed)
}

fn group_partition(inner: &Inner, topic: &str, partition: i32) -> GroupPartition {
    let log = inner.log.topic(topic).and_then(|t| t.partition(Partition(partition))).ok();
    GroupPartition {
        topic: topic.to_string(),
        partition,
        current_offset: None,
        log_start_offset: log.as_ref().map(|l| l.start_offset().0),
        log_end_offset: log.as_ref().map(|l| l.high_watermark().0),
        lag: None,
        metadata: String::new(),
        consumer_id: None,
        client_id: None,
        host: None,
    }
}

impl GroupPartition {
    fn commit(&mut self, offset: i64, metadata: String) {
        let behind = |end: i64| end.saturating_sub(offset).max(0).unsigned_abs();
        self.current_offset = Some(offset);
        self.lag = self.log_end_offset.map(behind);
        self.metadata = metadata;
    }
}

impl GroupDetail {
    fn summary(self) -> GroupInfo {
        let mut topics: Vec<String> = self.partitions.into_iter().map(|p| p.topic).collect();
        topics.dedup();
        GroupInfo {
            group: self.group,
            state: self.state,
            group_type: self.group_type,
            protocol_type: self.protocol_type,
            members: self.members.len(),
            topics,
            lag: self.lag,
        }
    }
}

fn classic_members(groups: &GroupCoordinator, group_id: &str) -> (String, Vec<GroupMember>) {
    let described = groups.describe_group(group_id);
    let topic =
        |t: TopicPartitions| AssignedTopic { topic: t.name, partitions: t.partition_indexes };
    let is_consumer = described.protocol_type == "consumer";
    let members = described.members.into_iter().map(|m| {
        // Other protocols (Kafka Connect's) assign other things than partitions.
        let assigned = Some(m.member_assignment).filter(|_| is_consumer);
        let assigned = assigned.and_then(assigned_partitions).unwrap_or_default();
        GroupMember {
            consumer_id: m.member_id,
            group_instance_id: m.group_instance_id,
            client_id: m.client_id,
            host: m.client_host,
            assignment: assigned.into_iter().map(topic).collect(),
        }
    });
    (described.protocol_data, members.collect())
}

fn consumer_members(groups: &GroupCoordinator, group_id: &str) -> (String, Vec<GroupMember>) {
    let described = groups.describe_consumer_group(group_id);
    let members = described.members.into_iter().map(|m| GroupMember {
        consumer_id: m.member_id,
        group_instance_id: m.instance_id,
        client_id: m.client_id,
        host: m.client_host,
        assignment: m
            .assignment
            .into_iter()
            .map(|t| AssignedTopic { topic: t.topic_name, partitions: t.partitions })
            .collect(),
    });
    (described.assignor_name, members.collect())
}

/// What the coordinator's code means here.
pub(crate) fn refused(group_id: &str, code: ErrorCode) -> Error {
    match code {
        ErrorCode::InvalidGroupId => Error::invalid("a group has no name"),
        ErrorCode::CoordinatorNotAvailable => {
            Error::unavailable(format!("offsets of group '{group_id}' could not be stored"))
                .hint("is the disk full? try again")
        }
        code => Error::conflict(format!("group '{group_id}' was refused: {code:?}")),
    }
}
