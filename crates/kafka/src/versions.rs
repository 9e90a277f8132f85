//! What is served, and the answer to ApiVersions (KIP-35, KIP-511).

use bytes::Buf;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};

/// One request that is served.
pub struct Served {
    pub key: ApiKey,
    /// Versions that are read.
    pub min: i16,
    pub max: i16,
    /// The first version with compact lengths and tagged fields.
    flexible_from: i16,
    /// An operator's request that changes something: it is logged with who sent it.
    pub is_change: bool,
}

const fn served(key: ApiKey, min: i16, max: i16, flexible_from: i16) -> Served {
    Served { key, min, max, flexible_from, is_change: false }
}

const fn change(key: ApiKey, min: i16, max: i16, flexible_from: i16) -> Served {
    Served { key, min, max, flexible_from, is_change: true }
}

/// Of a request that never had tagged fields.
const NEVER: i16 = i16::MAX;

const SERVED: [Served; 50] = [
    served(ApiKey::Produce, 3, 11, 9),
    served(ApiKey::Fetch, 4, 12, 12),
    served(ApiKey::ListOffsets, 1, 7, 6),
    served(ApiKey::Metadata, 0, 12, 9),
    served(ApiKey::ApiVersions, 0, 4, 3),
    change(ApiKey::CreateTopics, 2, 7, 5),
    change(ApiKey::DeleteTopics, 1, 6, 4),
    served(ApiKey::FindCoordinator, 0, 4, 3),
    served(ApiKey::JoinGroup, 0, 9, 6),
    served(ApiKey::SyncGroup, 0, 5, 4),
    served(ApiKey::Heartbeat, 0, 4, 4),
    served(ApiKey::LeaveGroup, 0, 5, 4),
    served(ApiKey::ConsumerGroupHeartbeat, 0, 1, 0),
    served(ApiKey::OffsetCommit, 2, 9, 8),
    served(ApiKey::OffsetFetch, 1, 9, 6),
    change(ApiKey::OffsetDelete, 0, 0, NEVER),
    served(ApiKey::ListGroups, 0, 5, 3),
    served(ApiKey::DescribeGroups, 0, 6, 5),
    served(ApiKey::ConsumerGroupDescribe, 0, 1, 0),
    change(ApiKey::DeleteGroups, 0, 2, 2),
    // Those of transactions end before KIP-890's second part, which needs a server that names it
    // as a finalized feature.
    served(ApiKey::InitProducerId, 0, 5, 2),
    served(ApiKey::AddPartitionsToTxn, 0, 3, 3),
    served(ApiKey::AddOffsetsToTxn, 0, 3, 3),
    served(ApiKey::TxnOffsetCommit, 0, 4, 3),
    served(ApiKey::EndTxn, 0, 4, 3),
    served(ApiKey::DescribeProducers, 0, 0, 0),
    served(ApiKey::DescribeTransactions, 0, 0, 0),
    served(ApiKey::ListTransactions, 0, 1, 0),
    change(ApiKey::WriteTxnMarkers, 1, 1, 1),
    served(ApiKey::OffsetForLeaderEpoch, 2, 4, 4),
    served(ApiKey::DescribeCluster, 0, 1, 0),
    served(ApiKey::DescribeConfigs, 1, 4, 4),
    change(ApiKey::IncrementalAlterConfigs, 0, 1, 1),
    change(ApiKey::AlterConfigs, 0, 2, 2),
    change(ApiKey::CreatePartitions, 0, 3, 2),
    change(ApiKey::DeleteRecords, 0, 2, 2),
    served(ApiKey::DescribeLogDirs, 1, 4, 2),
    change(ApiKey::AlterReplicaLogDirs, 1, 2, 2),
    change(ApiKey::AlterPartitionReassignments, 0, 0, 0),
    served(ApiKey::ListPartitionReassignments, 0, 0, 0),
    change(ApiKey::ElectLeaders, 0, 2, 2),
    served(ApiKey::DescribeQuorum, 0, 2, 0),
    served(ApiKey::DescribeAcls, 1, 3, 2),
    change(ApiKey::CreateAcls, 1, 3, 2),
    change(ApiKey::DeleteAcls, 1, 3, 2),
    served(ApiKey::DescribeClientQuotas, 0, 1, 1),
    served(ApiKey::DescribeUserScramCredentials, 0, 0, 0),
    change(ApiKey::AlterUserScramCredentials, 0, 0, 0),
    served(ApiKey::SaslHandshake, 0, 1, NEVER),
    served(ApiKey::SaslAuthenticate, 0, 2, 2),
];

impl Served {
    pub fn of(key: i16) -> Option<&'static Served> {
        SERVED.iter().find(|s| s.key as i16 == key)
    }

    pub fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }
}

/// The correlation id of an ApiVersions request of a version that is not known: the one request
/// that is answered even so (KIP-35).
pub fn unknown_api_versions(frame: &[u8]) -> Option<i32> {
    let mut header = frame.get(..8)?;
    let (key, version, correlation_id) = (header.get_i16(), header.get_i16(), header.get_i32());
    let served = Served::of(key).filter(|s| s.key == ApiKey::ApiVersions)?;
    (!(served.min..=served.max).contains(&version)).then_some(correlation_id)
}

/// The table, as clients read it; with what belongs to logins where these are asked for.
pub fn answer(error_code: i16, has_login: bool) -> ApiVersionsResponse {
    let is_there = |s: &&Served| {
        has_login || !matches!(s.key, ApiKey::SaslHandshake | ApiKey::SaslAuthenticate)
    };
    let api = |s: &Served| {
        // librdkafka before 2.11.1 switches off compression unless Produce begins with 0
        // (KAFKA-18659); Kafka 4 advertises it for the same reason.
        let min = if s.key == ApiKey::Produce { 0 } else { s.min };
        ApiVersion::default()
            .with_api_key(s.key as i16)
            .with_min_version(min)
            .with_max_version(s.max)
    };
    ApiVersionsResponse::default()
        .with_error_code(error_code)
        .with_api_keys(SERVED.iter().filter(is_there).map(api).collect())
}
