//! How a transaction ends, in an order no crash can upset: the outcome is made durable (prepare);
//! a marker is written into every partition and the offsets of its groups take effect or are
//! dropped; then it is complete. Whatever was prepared is finished, at the next tick or at the
//! next start. Both later steps do nothing when they are done a second time.
//!
//! That it is complete need not be durable for the answer: if it is lost, it is done again.

use std::sync::Mutex;
use std::thread;

use common::{Error, Result};

use super::api::TransactionalProducer;
use super::coordinator::{Shared, TransactionCoordinator};
use super::transaction::{Transaction, TransactionState};
use crate::coordinator_store::Ticket;
use crate::error_code::ErrorCode;
use crate::lock::lock;

/// What an end has to do.
struct Work {
    producer_id: i64,
    producer_epoch: i16,
    commit: bool,
    partitions: Vec<(String, i32)>,
    groups: Vec<String>,
    prepared: Ticket,
}

impl TransactionCoordinator {
    /// EndTxn 0–4. When it answers without an error the outcome is durable, and visible everywhere
    /// (unless a marker could not be written: it is tried again, and the next request for this
    /// transactional id gets `CONCURRENT_TRANSACTIONS` until then).
    pub fn end_transaction(&self, producer: &TransactionalProducer, commit: bool) -> ErrorCode {
        self.try_end(producer, commit).into()
    }

    fn try_end(&self, producer: &TransactionalProducer, commit: bool) -> Result<(), ErrorCode> {
        let (shared, saved) = self.with(producer, |transaction| {
            let shared = self.find(&producer.transactional_id);
            Ok((shared, self.decide(transaction, commit)?))
        })?;
        let Some(shared) = shared else { return Ok(()) };
        if self.queue.settle(&saved).is_err() {
            // Nobody waits for it any more: the next tick finishes it.
            lock(&shared).retry_ms = self.now_ms();
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.finish_or_retry(&shared);
        Ok(())
    }

    fn decide(&self, transaction: &mut Transaction, commit: bool) -> Result<Ticket, ErrorCode> {
        match (transaction.state, commit) {
            (TransactionState::Ongoing, _) => {
                transaction.prepare(commit, self.now_ms());
                Ok(self.save(transaction))
            }
            // The answer was lost; the outcome is the same.
            (TransactionState::CompleteCommit, true) | (TransactionState::CompleteAbort, false) => {
                Ok(transaction.saved.clone())
            }
            (TransactionState::PrepareCommit, true) | (TransactionState::PrepareAbort, false) => {
                Err(ErrorCode::ConcurrentTransactions)
            }
            _ => Err(ErrorCode::InvalidTxnState),
        }
    }

    /// Finishes what is prepared; a failure is told to the log and tried again by `tick`.
    pub(super) fn finish_or_retry(&self, shared: &Shared) {
        if let Err(e) = self.finish(shared) {
            let id = lock(shared).transactional_id.clone();
            tracing::warn!("the end of transaction '{id}' is tried again: {e}");
        }
    }

    /// Finishes a transaction whose end is decided, if it is one and nobody else does.
    fn finish(&self, shared: &Shared) -> Result<()> {
        let Some(work) = start_work(shared) else { return Ok(()) };
        let _finishing = Finishing(shared);
        let finished = self.do_work(&work);
        let now_ms = self.now_ms();
        let saved = {
            let mut transaction = lock(shared);
            if finished.is_err() {
                transaction.retry_later(now_ms);
                finished?;
            }
            transaction.complete(work.commit, now_ms);
            self.save(&mut transaction)
        };
        // Offsets must be durable for whoever reads them by another way than this process.
        if work.groups.is_empty() { Ok(()) } else { self.queue.wait(&saved) }
    }

    fn do_work(&self, work: &Work) -> Result<()> {
        self.queue.settle(&work.prepared)?;
        self.write_markers(work)?;
        for group in &work.groups {
            // Durable at the latest with the transaction's own next change, which is queued after.
            self.groups.end_transaction(group, work.producer_id, work.commit);
        }
        Ok(())
    }

    /// Writes all markers side by side, so that their syncs are one wait.
    fn write_markers(&self, work: &Work) -> Result<()> {
        let write = |(topic, partition): &(String, i32)| {
            let (id, epoch) = (work.producer_id, work.producer_epoch);
            self.markers.write(topic, *partition, id, epoch, work.commit)
        };
        if work.partitions.len() < 2 {
            return work.partitions.iter().try_for_each(write);
        }
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        let write_all = |partitions: &[(String, i32)]| {
            if let Err(e) = partitions.iter().try_for_each(write) {
                *lock(&failure) = Some(e);
            }
        };
        let threads = self.config.marker_threads.max(1);
        let share = work.partitions.len().div_ceil(threads);
        thread::scope(|scope| {
            for partitions in work.partitions.chunks(share) {
                let name = "txn-markers".to_owned();
                let run = || write_all(partitions);
                if thread::Builder::new().name(name).spawn_scoped(scope, run).is_err() {
                    // No thread to be had: then one after the other.
                    write_all(partitions);
                }
            }
        });
        let failure = lock(&failure).take();
        failure.map_or(Ok(()), Err)
    }

    /// Does what is due at this time (µs since 1970): aborts transactions that ran too long,
    /// finishes ends that failed, forgets transactional ids nobody used for long. To be called
    /// every 50 ms or so; blocks for writes.
    pub fn tick(&self, now_us: i64) {
        let now_ms = now_us / 1000;
        for shared in self.all() {
            let has_end = {
                let mut transaction = lock(&shared);
                self.check_deadlines(&mut transaction, now_ms) || transaction.must_retry(now_ms)
            };
            if has_end {
                self.finish_or_retry(&shared);
            }
        }
        // What failed is tried again at the next tick; the queue has logged it.
        let _ = self.queue.flush();
    }

    /// Whether it was decided now that the transaction is aborted.
    fn check_deadlines(&self, transaction: &mut Transaction, now_ms: i64) -> bool {
        let expiration_ms = self.config.transactional_id_expiration_ms;
        if transaction.is_removed {
            return false;
        }
        if transaction.state == TransactionState::Ongoing {
            if timeout_ms(transaction) >= now_ms {
                return false;
            }
            let id = &transaction.transactional_id;
            tracing::info!("transaction '{id}' is aborted: it ran longer than its timeout");
            transaction.fence_and_abort(now_ms);
            self.save(transaction);
            return true;
        }
        if transaction.state.prepared().is_none()
            && transaction.update_ms.saturating_add(expiration_ms) <= now_ms
        {
            transaction.is_removed = true;
            transaction.saved = self.queue.enqueue([(transaction.key(), None)]);
            lock(&self.transactions).remove(&transaction.transactional_id);
        }
        false
    }

    /// The earliest time at which `tick` has something to do for an open transaction, in µs since
    /// 1970.
    pub fn next_deadline_us(&self) -> Option<i64> {
        let deadline = |shared: &Shared| {
            let transaction = lock(shared);
            match transaction.state {
                TransactionState::Ongoing => Some(timeout_ms(&transaction).saturating_add(1)),
                state => state.prepared().map(|_| transaction.retry_ms),
            }
        };
        self.all().iter().filter_map(deadline).min().map(|ms| ms.saturating_mul(1000))
    }
}

fn timeout_ms(transaction: &Transaction) -> i64 {
    transaction.start_ms.saturating_add(i64::from(transaction.timeout_ms))
}

fn start_work(shared: &Shared) -> Option<Work> {
    let mut transaction = lock(shared);
    let commit = transaction.state.prepared()?;
    if transaction.is_finishing {
        return None;
    }
    transaction.is_finishing = true;
    Some(Work {
        producer_id: transaction.producer_id,
        producer_epoch: transaction.producer_epoch,
        commit,
        partitions: transaction.partitions.iter().cloned().collect(),
        groups: transaction.groups.iter().cloned().collect(),
        prepared: transaction.saved.clone(),
    })
}

/// The turn of the one who finishes a transaction; given up also after a panic, or nobody else
/// could.
struct Finishing<'a>(&'a Shared);

impl Drop for Finishing<'_> {
    fn drop(&mut self) {
        lock(self.0).is_finishing = false;
    }
}
