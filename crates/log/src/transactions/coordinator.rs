//! All transactional ids, and what a producer asks within a transaction. Each id has a lock of its
//! own; no lock is held while something is made durable, so transactions go on side by side. The
//! calls block for writes: async callers use a blocking thread.
//!
//! How a transaction ends: `end.rs`. How a producer gets its id: `init_producer_id.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::{Clock, Result};

use super::api::{
    DescribedTransaction, ListTransactionsRequest, ListTransactionsResponse, ListedTransaction,
    Markers, TransactionConfig, TransactionalProducer,
};
use super::producer_ids::ProducerIds;
use super::transaction::{Transaction, TransactionState};
use crate::coordinator_store::encoding::kind;
use crate::coordinator_store::{CommitQueue, Ticket};
use crate::error_code::ErrorCode;
use crate::groups::{GroupCoordinator, TopicErrors, TxnOffsetCommitRequest, all_failed};
use crate::lock::lock;

pub(super) type Shared = Arc<Mutex<Transaction>>;

/// Coordinates the transactions of producers.
pub struct TransactionCoordinator {
    pub(super) config: TransactionConfig,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) queue: Arc<CommitQueue>,
    pub(super) groups: Arc<GroupCoordinator>,
    pub(super) markers: Arc<dyn Markers>,
    pub(super) producer_ids: ProducerIds,
    pub(super) transactions: Mutex<BTreeMap<String, Shared>>,
}

impl TransactionCoordinator {
    /// Takes over the transactions among the stored pairs, and finishes those whose end was
    /// decided.
    pub(crate) fn load(
        pairs: Vec<(Vec<u8>, Vec<u8>)>,
        queue: Arc<CommitQueue>,
        clock: Arc<dyn Clock>,
        groups: Arc<GroupCoordinator>,
        markers: Arc<dyn Markers>,
        config: TransactionConfig,
    ) -> Result<Self> {
        let mut transactions = BTreeMap::new();
        let mut producer_ids = None;
        for (key, value) in pairs {
            match key.first() {
                Some(&kind::TRANSACTION) => {
                    let transaction = Transaction::load(&key, value)?;
                    let id = transaction.transactional_id.clone();
                    transactions.insert(id, Arc::new(Mutex::new(transaction)));
                }
                Some(&kind::PRODUCER_IDS) => producer_ids = Some(value),
                _ => {}
            }
        }
        let producer_ids = ProducerIds::load(producer_ids, queue.clone())?;
        let transactions = Mutex::new(transactions);
        let coordinator =
            Self { config, clock, queue, groups, markers, producer_ids, transactions };
        for transaction in coordinator.all() {
            coordinator.finish_or_retry(&transaction);
        }
        Ok(coordinator)
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now_us() / 1000
    }

    pub(super) fn all(&self) -> Vec<Shared> {
        lock(&self.transactions).values().cloned().collect()
    }

    pub(super) fn find(&self, transactional_id: &str) -> Option<Shared> {
        lock(&self.transactions).get(transactional_id).cloned()
    }

    pub(super) fn save(&self, transaction: &mut Transaction) -> Ticket {
        transaction.saved = self.queue.enqueue([transaction.to_save()]);
        transaction.saved.clone()
    }

    /// Works on the transactional id of a producer that is not fenced.
    pub(super) fn with<T>(
        &self,
        producer: &TransactionalProducer,
        work: impl FnOnce(&mut Transaction) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        if producer.transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let found = self.find(&producer.transactional_id);
        let transaction = found.ok_or(ErrorCode::InvalidProducerIdMapping)?;
        let mut transaction = lock(&transaction);
        if transaction.is_removed {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        transaction.check(producer.producer_id, producer.producer_epoch)?;
        work(&mut transaction)
    }

    /// AddPartitionsToTxn 0–3: all or none. The caller made sure that the partitions exist. Only
    /// when this has answered may the producer's records be appended there.
    pub fn add_partitions(
        &self,
        producer: &TransactionalProducer,
        partitions: &[(String, i32)],
    ) -> ErrorCode {
        let now_ms = self.now_ms();
        let is_there = |t: &Transaction| partitions.iter().all(|p| t.partitions.contains(p));
        let add = |t: &mut Transaction| t.partitions.extend(partitions.iter().cloned());
        self.add(producer, now_ms, is_there, add).into()
    }

    /// AddOffsetsToTxn: offsets of this group will be part of the transaction.
    pub fn add_offsets(&self, producer: &TransactionalProducer, group_id: &str) -> ErrorCode {
        let now_ms = self.now_ms();
        let is_there = |t: &Transaction| t.groups.contains(group_id);
        let add = |t: &mut Transaction| {
            t.groups.insert(group_id.to_owned());
        };
        self.add(producer, now_ms, is_there, add).into()
    }

    fn add(
        &self,
        producer: &TransactionalProducer,
        now_ms: i64,
        is_there: impl FnOnce(&Transaction) -> bool,
        add: impl FnOnce(&mut Transaction),
    ) -> Result<(), ErrorCode> {
        let saved = self.with(producer, |transaction| {
            if transaction.state.prepared().is_some() {
                return Err(ErrorCode::ConcurrentTransactions);
            }
            if transaction.state == TransactionState::Ongoing && is_there(transaction) {
                return Ok(transaction.saved.clone());
            }
            transaction.begin(now_ms);
            add(transaction);
            Ok(self.save(transaction))
        })?;
        self.queue.settle(&saved).map_err(|_| ErrorCode::CoordinatorNotAvailable)
    }

    /// Runs `append` if the producer has an open transaction with this partition, and keeps it
    /// open meanwhile: no record can come behind the transaction's marker (Kafka's transaction
    /// verification, KIP-890). `append` should write and not wait for durability.
    pub fn while_open<T>(
        &self,
        producer: &TransactionalProducer,
        topic: &str,
        partition: i32,
        append: impl FnOnce() -> T,
    ) -> Result<T, ErrorCode> {
        let place = (topic.to_owned(), partition);
        self.with(producer, |transaction| {
            if transaction.state == TransactionState::Ongoing
                && transaction.partitions.contains(&place)
            {
                Ok(append())
            } else {
                Err(ErrorCode::InvalidTxnState)
            }
        })
    }

    /// TxnOffsetCommit: the offsets count when the transaction commits.
    pub fn txn_offset_commit(&self, request: &TxnOffsetCommitRequest) -> Vec<TopicErrors> {
        if request.group_id.is_empty() {
            return all_failed(&request.topics, ErrorCode::InvalidGroupId);
        }
        let producer = TransactionalProducer {
            transactional_id: request.transactional_id.clone(),
            producer_id: request.producer_id,
            producer_epoch: request.producer_epoch,
        };
        let taken = self.with(&producer, |transaction| {
            let is_part = transaction.groups.contains(&request.group_id);
            if transaction.state != TransactionState::Ongoing || !is_part {
                return Err(ErrorCode::InvalidTxnState);
            }
            self.groups.take_txn_offsets(request)
        });
        // This request has no version that knows PRODUCER_FENCED.
        let taken = taken.map_err(|error| error.for_client(false));
        self.groups.answer_txn_offsets(request, taken)
    }

    /// ListTransactions.
    pub fn list_transactions(&self, request: &ListTransactionsRequest) -> ListTransactionsResponse {
        let is_unknown = |name: &&String| !TransactionState::is_name(name);
        let unknown = request.state_filters.iter().filter(is_unknown).cloned().collect();
        let now_ms = self.now_ms();
        let mut listed = vec![];
        for transaction in self.all() {
            let t = lock(&transaction);
            let name = t.state.name();
            let states = &request.state_filters;
            let ids = &request.producer_id_filters;
            let runs_ms = if t.start_ms < 0 { -1 } else { now_ms - t.start_ms };
            if !t.is_removed
                && (states.is_empty() || states.iter().any(|s| s == name))
                && (ids.is_empty() || ids.contains(&t.producer_id))
                && (request.duration_filter < 0 || runs_ms > request.duration_filter)
            {
                listed.push(ListedTransaction {
                    transactional_id: t.transactional_id.clone(),
                    producer_id: t.producer_id,
                    transaction_state: name,
                });
            }
        }
        ListTransactionsResponse { unknown_state_filters: unknown, transaction_states: listed }
    }

    /// DescribeTransactions, for one transactional id.
    pub fn describe_transaction(&self, transactional_id: &str) -> DescribedTransaction {
        let found = self.find(transactional_id);
        let Some(transaction) = found.filter(|t| !lock(t).is_removed) else {
            let error_code = match transactional_id.is_empty() {
                true => ErrorCode::InvalidRequest,
                false => ErrorCode::TransactionalIdNotFound,
            };
            return DescribedTransaction {
                error_code,
                transactional_id: transactional_id.to_owned(),
                transaction_start_time_ms: -1,
                ..Default::default()
            };
        };
        let t = lock(&transaction);
        let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &t.partitions {
            topics.entry(topic.clone()).or_default().push(*partition);
        }
        DescribedTransaction {
            error_code: ErrorCode::None,
            transactional_id: t.transactional_id.clone(),
            transaction_state: t.state.name(),
            transaction_timeout_ms: t.timeout_ms,
            transaction_start_time_ms: t.start_ms,
            producer_id: t.producer_id,
            producer_epoch: t.producer_epoch,
            topics: topics.into_iter().collect(),
        }
    }
}
