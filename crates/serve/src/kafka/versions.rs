//! What is served, and the answer to ApiVersions (KIP-35, KIP-511).

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
}

const fn served(key: ApiKey, min: i16, max: i16, flexible_from: i16) -> Served {
    Served { key, min, max, flexible_from }
}

/// Of a request that never had tagged fields.
const NEVER: i16 = i16::MAX;

const SERVED: [Served; 37] = [
    served(ApiKey::Produce, 3, 11, 9),
    served(ApiKey::Fetch, 4, 12, 12),
    served(ApiKey::ListOffsets, 1, 7, 6),
    served(ApiKey::Metadata, 0, 12, 9),
    served(ApiKey::ApiVersions, 0, 4, 3),
    served(ApiKey::CreateTopics, 2, 7, 5),
    served(ApiKey::DeleteTopics, 1, 6, 4),
    served(ApiKey::FindCoordinator, 0, 4, 3),
    served(ApiKey::JoinGroup, 0, 9, 6),
    served(ApiKey::SyncGroup, 0, 5, 4),
    served(ApiKey::Heartbeat, 0, 4, 4),
    served(ApiKey::LeaveGroup, 0, 5, 4),
    served(ApiKey::ConsumerGroupHeartbeat, 0, 1, 0),
    served(ApiKey::OffsetCommit, 2, 9, 8),
    served(ApiKey::OffsetFetch, 1, 9, 6),
    served(ApiKey::OffsetDelete, 0, 0, NEVER),
    served(ApiKey::ListGroups, 0, 5, 3),
    served(ApiKey::DescribeGroups, 0, 6, 5),
    served(ApiKey::ConsumerGroupDescribe, 0, 1, 0),
    served(ApiKey::DeleteGroups, 0, 2, 2),
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
    served(ApiKey::WriteTxnMarkers, 1, 1, 1),
    served(ApiKey::OffsetForLeaderEpoch, 2, 4, 4),
    served(ApiKey::DescribeCluster, 0, 1, 0),
    served(ApiKey::DescribeConfigs, 1, 4, 4),
    served(ApiKey::IncrementalAlterConfigs, 0, 1, 1),
    served(ApiKey::AlterConfigs, 0, 2, 2),
    served(ApiKey::CreatePartitions, 0, 3, 2),
    served(ApiKey::DeleteRecords, 0, 2, 2),
    served(ApiKey::DescribeLogDirs, 1, 4, 2),
];

impl Served {
    pub fn of(key: i16) -> Option<&'static Served> {
        SERVED.iter().find(|s| s.key as i16 == key)
    }

    pub fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }
}

/// The table, as clients read it.
pub fn answer(error_code: i16) -> ApiVersionsResponse {
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
        .with_api_keys(SERVED.iter().map(api).collect())
}
