//! InitProducerId: a producer gets its id and epoch. Under a transactional id, each call raises the
//! epoch, which fences whoever produced under it before; what that one left open is aborted first.
//! A producer that states what it has gets the next epoch only if it is the newest (KIP-360).
//!
//! Kafka answers `CONCURRENT_TRANSACTIONS` as soon as it has decided to abort, and the client asks
//! again; here the call aborts, and answers when that is done.

use std::sync::{Arc, Mutex};

use super::api::{InitProducerIdRequest, InitProducerIdResponse};
use super::coordinator::{Shared, TransactionCoordinator};
use super::transaction::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Transaction, TransactionState};
use crate::coordinator_store::Ticket;
use crate::error_code::ErrorCode;
use crate::lock::lock;

/// What the state of the transactional id asks for.
enum Step {
    /// Done; answer this when it is durable.
    Answer(i64, i16, Ticket),
    /// A new producer id is needed.
    NewProducerId,
    /// An open transaction has been decided to be aborted.
    Abort,
}

impl TransactionCoordinator {
    /// InitProducerId 0–5. Blocks for writes.
    pub fn init_producer_id(&self, request: &InitProducerIdRequest) -> InitProducerIdResponse {
        match self.try_init(request) {
            Ok((producer_id, producer_epoch)) => {
                InitProducerIdResponse { error_code: ErrorCode::None, producer_id, producer_epoch }
            }
            Err(error_code) => InitProducerIdResponse {
                error_code,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: NO_PRODUCER_EPOCH,
            },
        }
    }

    fn try_init(&self, request: &InitProducerIdRequest) -> Result<(i64, i16), ErrorCode> {
        let not_available = |_| ErrorCode::CoordinatorNotAvailable;
        let Some(transactional_id) = &request.transactional_id else {
            return Ok((self.producer_ids.allocate().map_err(not_available)?, 0));
        };
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let (id, epoch) = (request.producer_id, request.producer_epoch);
        if (id == NO_PRODUCER_ID) != (epoch == NO_PRODUCER_EPOCH) {
            return Err(ErrorCode::InvalidRequest);
        }
        if !(1..=self.config.max_timeout_ms).contains(&request.transaction_timeout_ms) {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        let mut new_id = None;
        loop {
            let shared = self.find_or_new(transactional_id);
            let step = {
                let mut transaction = lock(&shared);
                if transaction.is_removed {
                    continue;
                }
                self.step(&mut transaction, request, new_id)?
            };
            match step {
                Step::Answer(producer_id, producer_epoch, saved) => {
                    self.queue.settle(&saved).map_err(not_available)?;
                    return Ok((producer_id, producer_epoch));
                }
                Step::NewProducerId => {
                    new_id = Some(self.producer_ids.allocate().map_err(not_available)?);
                }
                // If that fails the next round sees it still open: CONCURRENT_TRANSACTIONS.
                Step::Abort => self.finish_or_retry(&shared),
            }
        }
    }

    fn find_or_new(&self, transactional_id: &str) -> Shared {
        let mut transactions = lock(&self.transactions);
        let entry = transactions.entry(transactional_id.to_owned());
        entry.or_insert_with(|| Arc::new(Mutex::new(Transaction::new(transactional_id)))).clone()
    }

    fn step(
        &self,
        transaction: &mut Transaction,
        request: &InitProducerIdRequest,
        new_id: Option<i64>,
    ) -> Result<Step, ErrorCode> {
        let now_ms = self.now_ms();
        let stated = (request.producer_id != NO_PRODUCER_ID)
            .then_some((request.producer_id, request.producer_epoch));
        if stated.is_some_and(|stated| !is_owner(transaction, stated)) {
            return Err(ErrorCode::ProducerFenced);
        }
        if transaction.state.prepared().is_some() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        if transaction.state == TransactionState::Ongoing {
            let newest = transaction.producer_epoch;
            if stated.is_some_and(|(_, epoch)| epoch != newest) {
                return Err(ErrorCode::ProducerFenced);
            }
            transaction.fence_and_abort(now_ms);
            // Its producer asked for the abort itself and may go on from the epoch it knows.
            transaction.last_producer_epoch = stated.map_or(NO_PRODUCER_EPOCH, |_| newest);
            self.save(transaction);
            return Ok(Step::Abort);
        }
        let is_new = transaction.producer_id == NO_PRODUCER_ID;
        // The highest epoch is there to fence with; nobody produces with it.
        let must_rotate = transaction.producer_epoch == i16::MAX;
        let raises = is_new || check_epoch(transaction, stated)? || must_rotate;
        if raises {
            let (id, epoch) = (transaction.producer_id, transaction.producer_epoch);
            if is_new || Transaction::is_epoch_exhausted(epoch) {
                let Some(new_id) = new_id else { return Ok(Step::NewProducerId) };
                transaction.last_producer_id = id;
                transaction.producer_id = new_id;
                transaction.producer_epoch = 0;
            } else {
                transaction.producer_epoch = epoch + 1;
            }
            // Only who said what it had may come again for the same answer.
            transaction.last_producer_epoch = match stated {
                Some((_, stated)) if !is_new => stated,
                _ => NO_PRODUCER_EPOCH,
            };
        }
        transaction.state = TransactionState::Empty;
        transaction.timeout_ms = request.transaction_timeout_ms;
        transaction.update_ms = now_ms;
        let saved = self.save(transaction);
        Ok(Step::Answer(transaction.producer_id, transaction.producer_epoch, saved))
    }
}

/// Does what a producer states belong to this transactional id, by its id or by the one that was
/// replaced when its epochs were used up?
fn is_owner(transaction: &Transaction, (id, epoch): (i64, i16)) -> bool {
    transaction.producer_id == NO_PRODUCER_ID
        || id == transaction.producer_id
        || (id == transaction.last_producer_id && Transaction::is_epoch_exhausted(epoch))
}

/// True if the epoch is to be raised; false if that was done already and its answer was lost.
fn check_epoch(transaction: &Transaction, stated: Option<(i64, i16)>) -> Result<bool, ErrorCode> {
    match stated {
        None => Ok(true),
        Some((_, epoch)) if epoch == transaction.producer_epoch => Ok(true),
        Some((_, epoch)) if epoch == transaction.last_producer_epoch => Ok(false),
        Some(_) => Err(ErrorCode::ProducerFenced),
    }
}
