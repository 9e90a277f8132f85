//! Records of a compacted topic need keys (Kafka's error `INVALID_RECORD`): one without could
//! never be told to be the latest of its kind. Looked at before anything is written.

use bytes::Bytes;
use common::{Error, Result};

use crate::batch::{HEADER_LEN, Header};
use crate::{compression, records};

/// Refuses checked batches that have a record without a key, or whose records cannot be unpacked.
pub(crate) fn check(batches: &Bytes) -> Result<()> {
    let mut at = 0;
    while let Some(header) = batches.get(at..).and_then(Header::parse) {
        let end = at + header.batch_len().unwrap_or(HEADER_LEN);
        let invalid = |why: String| Error::invalid(format!("record batch at byte {at}: {why}"));
        let batch = compression::unpacked(&batches.slice(at..end.min(batches.len())))
            .map_err(|e| invalid(e.message().to_string()))?;
        for (i, record) in records::iter(&batch)?.enumerate() {
            let record = record.map_err(|e| invalid(e.message().to_string()))?;
            if record.key.is_none() {
                return Err(invalid(format!("record {i} has no key"))
                    .hint("give each record of a compacted topic a key"));
            }
        }
        at = end;
    }
    Ok(())
}
