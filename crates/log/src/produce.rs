//! What clients send and what it may not be: batches of idempotent and transactional producers,
//! and the markers that end transactions. The engine's own batches go through `append`.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use common::{Error, Offset, Result};

use crate::batch::{self, Header};
use crate::builder::BatchBuilder;
use crate::durability::Appended;
use crate::error_code::ErrorCode;
use crate::keys;
use crate::lock::lock;
use crate::partition::PartitionLog;
use crate::producers::{self, ProducerState};
use crate::refusal::Refusal;
use crate::timestamps;

/// Bits of a batch's attributes that a client may set: compression, kind of time, transactional.
const ATTRIBUTES: i16 = 0x1f;
/// The value of a marker: version and coordinator epoch, both 0.
const MARKER_VALUE: [u8; 6] = [0; 6];

impl PartitionLog {
    /// Writes the one batch that a client sent. A batch that its idempotent producer sent before
    /// (KIP-98) is not written again: the answer is where it was written then. As with `append`,
    /// the promise comes from `durable`.
    pub fn append_produced(
        self: &Arc<Self>,
        batch: Bytes,
    ) -> std::result::Result<Appended, Refusal> {
        let mut batch = batch;
        let header = check(&batch)?;
        let records = batch::check_sent(&batch, self.settings.message_bytes_max())?;
        if self.settings.is_compacted() {
            keys::check(&batch)?;
        }
        let mut log_append_time_ms = None;
        if self.settings.is_log_append_time() {
            let now_ms = self.shared.clock.now_us().div_euclid(1000);
            let mut bytes = batch.try_into_mut().unwrap_or_else(|b| BytesMut::from(&b[..]));
            batch::stamp(&mut bytes, now_ms);
            batch = bytes.freeze();
            log_append_time_ms = Some(now_ms);
        } else {
            timestamps::check(&batch, &header, &self.settings, self.shared.clock.now_us())?;
        }
        let stamped = |appended| Appended { log_append_time_ms, ..appended };
        if header.producer_id < 0 {
            return self.place(batch, records, || None, |_| {})?.map(stamped);
        }
        let admit = || match lock(&self.producers).check(&header) {
            Ok(None) => None,
            Ok(Some((first, last))) => {
                let (first, last) = (Offset(first), Offset(last));
                let generation = self.durability.generation();
                Some(Ok(Appended { first, last, log_append_time_ms: None, generation }))
            }
            Err(refusal) => Some(Err(refusal)),
        };
        let note = |appended: Appended| {
            let header = Header { base_offset: appended.first.0, ..header };
            self.note_produced(&header, &[]);
        };
        let placed = self.place(batch, records, admit, note);
        let placed = placed.inspect_err(|_| lock(&self.producers).failed(&header))?;
        placed.map(stamped).or_else(|instead| instead)
    }

    /// Ends the transaction a producer has open here, by a marker as Kafka writes it. None if it
    /// has none open (any more): what was asked for twice is done once.
    pub fn end_transaction(
        self: &Arc<Self>,
        producer_id: i64,
        epoch: i16,
        commit: bool,
    ) -> Result<Option<Appended>> {
        let now_us = self.shared.clock.now_us();
        let mut marker = BatchBuilder::new(now_us).marker(producer_id, epoch);
        marker.push(now_us, Some(&producers::marker_key(commit)), Some(&MARKER_VALUE), &[]);
        let bytes = marker.build();
        let header = Header::parse(&bytes)
            .ok_or_else(|| Error::internal("a transaction marker without a header"))?;
        let admit = || {
            let producers = lock(&self.producers);
            if producers.open_transaction(producer_id, epoch).is_some() {
                return None;
            }
            Some(producers.unsettled_marker(producer_id).map(|at| Appended {
                first: Offset(at),
                last: Offset(at),
                log_append_time_ms: None,
                generation: self.durability.generation(),
            }))
        };
        let copy = bytes.clone();
        let note = |appended: Appended| {
            let header = Header { base_offset: appended.first.0, ..header };
            self.note_produced(&header, &copy);
        };
        Ok(match self.place(bytes, 1, admit, note)? {
            Ok(appended) => Some(appended),
            Err(instead) => instead,
        })
    }

    /// Producers that wrote here of late, by id (KIP-664).
    pub fn producers(&self) -> Vec<ProducerState> {
        lock(&self.producers).states()
    }

    /// Forgets producers that were idle for `producer.id.expiration.ms`.
    pub(crate) fn expire_producers(&self, now_us: i64) {
        let config = &self.shared.config;
        let before_ms = now_us.saturating_sub(config.producer_expiration_us).div_euclid(1000);
        lock(&self.producers).expire(before_ms, config.producers_max);
    }
}

/// What is Kafka's to ask of a client's batch, beyond what any stored batch must have right.
fn check(batch: &Bytes) -> std::result::Result<Header, Refusal> {
    let corrupt = |why| Refusal::new(ErrorCode::CorruptMessage, why);
    let header =
        Header::parse(batch).ok_or_else(|| corrupt("the batch is shorter than its header"))?;
    if header.magic != 2 {
        let why = "record batches before version 2 are not taken";
        return Err(Refusal::new(ErrorCode::UnsupportedForMessageFormat, why));
    }
    if header.batch_len() != Some(batch.len()) {
        return Err(corrupt("exactly one record batch is taken for each partition"));
    }
    let invalid = |why| Err(Refusal::new(ErrorCode::InvalidRecord, why));
    if header.attributes & !ATTRIBUTES != 0 {
        return invalid("its attributes are not a client's to set");
    }
    if header.producer_id >= 0 && (header.producer_epoch < 0 || header.base_sequence < 0) {
        return invalid("it has a producer id, but no epoch or no sequence");
    }
    if header.producer_id < 0 && header.is_transactional() {
        return invalid("it is transactional, but has no producer id");
    }
    Ok(header)
}
