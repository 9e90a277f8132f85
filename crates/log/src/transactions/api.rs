//! What the transaction coordinator is asked and what it answers: Kafka's messages as plain
//! structs, fields named as in the protocol. Next: `coordinator.rs`.

use common::Result;

use crate::error_code::ErrorCode;

/// Writes the end of a transaction into a partition.
pub trait Markers: Send + Sync {
    /// Durable when it returns; nothing happens if the producer has nothing open there, or if the
    /// partition is gone.
    fn write(
        &self,
        topic: &str,
        partition: i32,
        producer_id: i64,
        producer_epoch: i16,
        commit: bool,
    ) -> Result<()>;
}

/// Settings of the transaction coordinator, under Kafka's names. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct TransactionConfig {
    /// `transaction.max.timeout.ms`
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`
    pub transactional_id_expiration_ms: i64,
    /// Threads that write the markers of one transaction at a time.
    pub marker_threads: usize,
}

impl Default for TransactionConfig {
    fn default() -> Self {
        Self {
            max_timeout_ms: 900_000,
            transactional_id_expiration_ms: 7 * 24 * 3_600_000,
            marker_threads: 16,
        }
    }
}

/// InitProducerId 0–5.
#[derive(Clone, Debug)]
pub struct InitProducerIdRequest {
    /// None: an idempotent producer without transactions.
    pub transactional_id: Option<String>,
    pub transaction_timeout_ms: i32,
    /// What the producer has now (from version 3 on, KIP-360); -1 otherwise.
    pub producer_id: i64,
    pub producer_epoch: i16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitProducerIdResponse {
    pub error_code: ErrorCode,
    /// -1 with an error.
    pub producer_id: i64,
    pub producer_epoch: i16,
}

/// Who speaks, in all requests within a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionalProducer {
    pub transactional_id: String,
    pub producer_id: i64,
    pub producer_epoch: i16,
}

/// A transaction as ListTransactions 0–1 shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTransaction {
    pub transactional_id: String,
    pub producer_id: i64,
    pub transaction_state: &'static str,
}

/// Which transactions to list; empty lists take all.
#[derive(Clone, Debug)]
pub struct ListTransactionsRequest {
    /// As Kafka names states; unknown ones match nothing.
    pub state_filters: Vec<String>,
    pub producer_id_filters: Vec<i64>,
    /// Only those that run longer than this, in milliseconds (version 1, KIP-994); -1: all.
    pub duration_filter: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListTransactionsResponse {
    pub unknown_state_filters: Vec<String>,
    pub transaction_states: Vec<ListedTransaction>,
}

/// A transaction as DescribeTransactions 0 shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribedTransaction {
    pub error_code: ErrorCode,
    pub transactional_id: String,
    pub transaction_state: &'static str,
    pub transaction_timeout_ms: i32,
    /// -1 when none is open.
    pub transaction_start_time_ms: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Partitions of the open transaction, by topic.
    pub topics: Vec<(String, Vec<i32>)>,
}
