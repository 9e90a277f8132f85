//! The settings of group coordination, under Kafka's names (`group.*`, `offsets.*`), and
//! where the ids of new members come from: a simulation must be able to repeat them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// Where the ids of new members come from. The coordinator walks over its members in the order of
/// their ids, so a run is the same again only if the ids are.
#[derive(Clone, Debug, Default)]
pub enum MemberIds {
    #[default]
    Random,
    /// From a seed, all clones together.
    Seeded(Arc<AtomicU64>),
}

impl MemberIds {
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(AtomicU64::new(seed)))
    }

    pub(crate) fn next_id(&self) -> Uuid {
        match self {
            Self::Random => Uuid::new_v4(),
            Self::Seeded(state) => Uuid::from_u64_pair(split_mix(state), split_mix(state)),
        }
    }
}

/// SplitMix64: good enough to bring ids into any order.
fn split_mix(state: &AtomicU64) -> u64 {
    const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut z = state.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Settings of the group coordinator. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long the first member of an empty group waits for
    /// others. Kafka's 3 s spare a big group many rebalances over the network of a cluster. Here
    /// a rebalance is a few calls in one process, and who starts one consumer wants its records
    /// now: 100 ms gather the consumers that one program starts together.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`, `group.consumer.max.size`
    pub max_size: usize,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval_ms: i64,
    /// `group.consumer.session.timeout.ms`
    pub consumer_session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`
    pub consumer_heartbeat_interval_ms: i32,
    pub member_ids: MemberIds,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 100,
            max_size: 10_000,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            offsets_retention_check_interval_ms: 600_000,
            consumer_session_timeout_ms: 45_000,
            consumer_heartbeat_interval_ms: 5_000,
            member_ids: MemberIds::default(),
        }
    }
}
