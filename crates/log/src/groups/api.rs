//! What a group is asked and what it answers: Kafka's messages as plain structs, fields named as
//! in the protocol. Where the protocol's versions differ in behaviour, the request has a flag that
//! says which version from. All times are milliseconds. Next: `coordinator.rs`.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::error_code::ErrorCode;

/// An answer that may come later (another member, or a deadline, gives it). If the sender is gone,
/// the group was removed: answer `COORDINATOR_NOT_AVAILABLE`.
pub type Reply<T> = oneshot::Receiver<T>;

/// JoinGroup 0–9.
#[derive(Clone, Debug, Default)]
pub struct JoinGroupRequest {
    pub group_id: String,
    pub session_timeout_ms: i32,
    /// Version 0 has none: the session timeout then.
    pub rebalance_timeout_ms: i32,
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub protocol_type: String,
    pub protocols: Vec<JoinGroupProtocol>,
    /// From the request's header.
    pub client_id: String,
    /// Address of the client, as Kafka shows it: "/127.0.0.1".
    pub client_host: String,
    /// From version 4 on (KIP-394).
    pub requires_known_member_id: bool,
    /// From version 9 on (KIP-814).
    pub supports_skipping_assignment: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinGroupProtocol {
    pub name: String,
    pub metadata: Bytes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinGroupResponse {
    pub error_code: ErrorCode,
    /// -1 with an error.
    pub generation_id: i32,
    pub protocol_type: Option<String>,
    /// Versions below 7 send "" for none.
    pub protocol_name: Option<String>,
    pub leader: String,
    pub skip_assignment: bool,
    pub member_id: String,
    /// For the leader only.
    pub members: Vec<JoinGroupResponseMember>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinGroupResponseMember {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub metadata: Bytes,
}

/// SyncGroup 0–5.
#[derive(Clone, Debug, Default)]
pub struct SyncGroupRequest {
    pub group_id: String,
    pub generation_id: i32,
    pub member_id: String,
    pub group_instance_id: Option<String>,
    /// From version 5 on; both are checked when given.
    pub protocol_type: Option<String>,
    pub protocol_name: Option<String>,
    /// Empty but from the leader.
    pub assignments: Vec<SyncGroupAssignment>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncGroupAssignment {
    pub member_id: String,
    pub assignment: Bytes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncGroupResponse {
    pub error_code: ErrorCode,
    pub protocol_type: Option<String>,
    pub protocol_name: Option<String>,
    pub assignment: Bytes,
}

/// Heartbeat 0–4.
#[derive(Clone, Debug, Default)]
pub struct HeartbeatRequest {
    pub group_id: String,
    pub generation_id: i32,
    pub member_id: String,
    pub group_instance_id: Option<String>,
}

/// LeaveGroup 0–5. Versions 0–2 name one member: their answer's error is that member's, when the
/// group itself has none.
#[derive(Clone, Debug, Default)]
pub struct LeaveGroupRequest {
    pub group_id: String,
    pub members: Vec<MemberIdentity>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberIdentity {
    /// Empty: the static member is meant by its instance id alone.
    pub member_id: String,
    pub group_instance_id: Option<String>,
    /// From version 5 on (KIP-800); for the operator's eyes.
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaveGroupResponse {
    pub error_code: ErrorCode,
    pub members: Vec<LeaveGroupMember>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaveGroupMember {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub error_code: ErrorCode,
}

/// OffsetCommit 2–9.
#[derive(Clone, Debug, Default)]
pub struct OffsetCommitRequest {
    pub group_id: String,
    /// -1 from a consumer without a group, and from the admin client.
    pub generation_id_or_member_epoch: i32,
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub topics: Vec<OffsetCommitTopic>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetCommitTopic {
    pub name: String,
    pub partitions: Vec<OffsetCommitPartition>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetCommitPartition {
    pub partition_index: i32,
    pub committed_offset: i64,
    /// -1 when unknown.
    pub committed_leader_epoch: i32,
    pub committed_metadata: Option<String>,
}

/// A topic with one error per partition; the answer of OffsetCommit, TxnOffsetCommit and
/// OffsetDelete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicErrors {
    pub name: String,
    pub partitions: Vec<PartitionError>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionError {
    pub partition_index: i32,
    pub error_code: ErrorCode,
}

/// One group of OffsetFetch 1–9.
#[derive(Clone, Debug, Default)]
pub struct OffsetFetchRequest {
    pub group_id: String,
    /// From version 9 on, with the member's epoch (KIP-848); -1 otherwise.
    pub member_id: Option<String>,
    pub member_epoch: i32,
    /// None: all.
    pub topics: Option<Vec<TopicPartitions>>,
    pub require_stable: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicPartitions {
    pub name: String,
    pub partition_indexes: Vec<i32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetFetchResponse {
    pub error_code: ErrorCode,
    pub topics: Vec<OffsetFetchTopic>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetFetchTopic {
    pub name: String,
    pub partitions: Vec<OffsetFetchPartition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetFetchPartition {
    pub partition_index: i32,
    /// -1: none is committed.
    pub committed_offset: i64,
    pub committed_leader_epoch: i32,
    pub metadata: String,
    pub error_code: ErrorCode,
}

/// TxnOffsetCommit 0–4; asked of the transaction coordinator, which knows whether the transaction
/// is open.
#[derive(Clone, Debug, Default)]
pub struct TxnOffsetCommitRequest {
    pub transactional_id: String,
    pub group_id: String,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Versions below 3 have neither: -1, "" and None.
    pub generation_id: i32,
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub topics: Vec<OffsetCommitTopic>,
}

/// A group as ListGroups 0–5 shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    pub group_id: String,
    pub protocol_type: String,
    pub group_state: &'static str,
    /// "Classic" or "Consumer".
    pub group_type: &'static str,
}

/// A group as DescribeGroups 0–6 shows it. A group that does not exist has the state "Dead" and
/// `GROUP_ID_NOT_FOUND`; versions below 6 answer `NONE` then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribedGroup {
    pub error_code: ErrorCode,
    pub group_id: String,
    pub group_state: &'static str,
    pub protocol_type: String,
    /// The chosen protocol (assignor).
    pub protocol_data: String,
    pub members: Vec<DescribedGroupMember>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribedGroupMember {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub member_metadata: Bytes,
    pub member_assignment: Bytes,
}

/// ConsumerGroupHeartbeat 0–1 (KIP-848).
#[derive(Clone, Debug, Default)]
pub struct ConsumerGroupHeartbeatRequest {
    pub group_id: String,
    /// Version 0 may leave it empty at joining: it gets one then.
    pub member_id: String,
    /// 0 joins, -1 leaves, -2 leaves for a while (static members).
    pub member_epoch: i32,
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    /// -1: as before.
    pub rebalance_timeout_ms: i32,
    /// None: as before.
    pub subscribed_topic_names: Option<Vec<String>>,
    /// A pattern in the syntax of RE2 that the whole name of a topic must match. None: as before.
    pub subscribed_topic_regex: Option<String>,
    pub server_assignor: Option<String>,
    /// What the member owns now. None: as before.
    pub topic_partitions: Option<Vec<TopicIdPartitions>>,
    pub client_id: String,
    pub client_host: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicIdPartitions {
    pub topic_id: Uuid,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerGroupHeartbeatResponse {
    pub error_code: ErrorCode,
    pub error_message: Option<String>,
    pub member_id: Option<String>,
    pub member_epoch: i32,
    pub heartbeat_interval_ms: i32,
    /// None: no news.
    pub assignment: Option<Vec<TopicIdPartitions>>,
}

/// A group as ConsumerGroupDescribe 0–1 shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribedConsumerGroup {
    pub error_code: ErrorCode,
    pub group_id: String,
    pub group_state: &'static str,
    pub group_epoch: i32,
    pub assignment_epoch: i32,
    pub assignor_name: String,
    pub members: Vec<DescribedConsumerGroupMember>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribedConsumerGroupMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub member_epoch: i32,
    pub client_id: String,
    pub client_host: String,
    pub subscribed_topic_names: Vec<String>,
    pub subscribed_topic_regex: Option<String>,
    pub assignment: Vec<NamedTopicPartitions>,
    pub target_assignment: Vec<NamedTopicPartitions>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedTopicPartitions {
    pub topic_id: Uuid,
    pub topic_name: String,
    pub partitions: Vec<i32>,
}

/// What a group must know of a topic to assign its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    pub topic_id: Uuid,
    pub partitions: i32,
}

type Find = dyn Fn(&str) -> Option<TopicMetadata> + Send + Sync;
type Names = dyn Fn() -> Vec<String> + Send + Sync;

/// What groups ask of the topics that there are.
pub struct TopicLookup {
    pub(crate) find: Box<Find>,
    pub(crate) names: Box<Names>,
}

impl TopicLookup {
    /// `find` gives a topic by its name, None when there is none; `names` gives all names.
    pub fn new(
        find: impl Fn(&str) -> Option<TopicMetadata> + Send + Sync + 'static,
        names: impl Fn() -> Vec<String> + Send + Sync + 'static,
    ) -> Arc<TopicLookup> {
        Arc::new(TopicLookup { find: Box::new(find), names: Box::new(names) })
    }
}
