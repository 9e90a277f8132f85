//! Records of a compacted topic need keys (Kafka's error `INVALID_RECORD`): one without could
//! never be told to be the latest of its kind. Looked at before anything is written.

use bytes::Bytes;
use common::Result;

use crate::batch::{HEADER_LEN, Header};
use crate::error_code::ErrorCode;
use crate::refusal::Refusal;
use crate::{compression, records};

/// So many records at fault are named.
const NAMED_MAX: usize = 1_000;

/// Refuses checked batches that have a record without a key, or whose records cannot be unpacked.
pub(crate) fn check(batches: &Bytes) -> std::result::Result<(), Refusal> {
    let mut at = 0;
    while let Some(header) = batches.get(at..).and_then(Header::parse) {
        let end = at + header.batch_len().unwrap_or(HEADER_LEN);
        let invalid = |why: &str| {
            Refusal::new(ErrorCode::InvalidRecord, format!("record batch at byte {at}: {why}"))
        };
        let bare = without_key(&batches.slice(at..end.min(batches.len())))
            .map_err(|e| invalid(e.message()))?;
        if let Some(first) = bare.first() {
            let refusal = invalid(&format!("record {first} has no key, in a compacted topic"));
            let why = "a record of a compacted topic needs a key";
            let records = bare.into_iter().map(|i| (i, why)).collect();
            return Err(Refusal { records, ..refusal });
        }
        at = end;
    }
    Ok(())
}

/// The first records of a batch that have no key, by number.
fn without_key(batch: &Bytes) -> Result<Vec<usize>> {
    let batch = compression::unpacked(batch)?;
    let mut bare = vec![];
    for (i, record) in records::iter(&batch)?.enumerate() {
        if record?.key.is_none() {
            bare.push(i);
        }
        if bare.len() == NAMED_MAX {
            break;
        }
    }
    Ok(bare)
}
