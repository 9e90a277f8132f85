//! How far from the clock the timestamps of a producer's records may be (KIP-937). With
//! `LogAppendTime` they are replaced and say nothing.

use bytes::Bytes;
use common::Result;

use crate::batch::Header;
use crate::error_code::ErrorCode;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::{compression, records};

/// So many records at fault are named.
const NAMED_MAX: usize = 1_000;

const AHEAD: &str = "its timestamp is further ahead of the clock than the topic takes";
const BEHIND: &str = "its timestamp is older than the topic takes";

/// Refuses a checked batch with records that are too far from `now_us`. Only a topic that has a
/// bound for old ones pays for a look at each record.
pub(crate) fn check(
    batch: &Bytes,
    header: &Header,
    settings: &Settings,
    now_us: i64,
) -> std::result::Result<(), Refusal> {
    let (before, after) = settings.timestamps_max_us();
    let newest_ms = after.map(|us| now_us.saturating_add(us).div_euclid(1000));
    let oldest_ms = before.map(|us| now_us.saturating_sub(us).div_euclid(1000));
    let is_ahead = newest_ms.is_some_and(|newest| header.max_timestamp_ms > newest);
    if !is_ahead && oldest_ms.is_none() {
        return Ok(());
    }
    let why = |timestamp_ms: i64| match () {
        () if newest_ms.is_some_and(|newest| timestamp_ms > newest) => Some(AHEAD),
        () if oldest_ms.is_some_and(|oldest| timestamp_ms < oldest) => Some(BEHIND),
        () => None,
    };
    let invalid = |what: String| Refusal::new(ErrorCode::InvalidTimestamp, what);
    let records = at_fault(batch, &why).map_err(|e| invalid(e.message().to_string()))?;
    match records.first() {
        Some((first, why)) => {
            let refusal = invalid(format!("record {first}: {why}"));
            Err(Refusal { records, ..refusal })
        }
        None if is_ahead => Err(invalid(format!("the batch: {AHEAD}"))),
        None => Ok(()),
    }
}

type Fault = (usize, &'static str);

fn at_fault(batch: &Bytes, why: &dyn Fn(i64) -> Option<&'static str>) -> Result<Vec<Fault>> {
    let batch = compression::unpacked(batch)?;
    let mut found = vec![];
    for (i, record) in records::iter(&batch)?.enumerate() {
        found.extend(why(record?.timestamp_ms).map(|why| (i, why)));
        if found.len() == NAMED_MAX {
            break;
        }
    }
    Ok(found)
}
