//! The one look the coordinator takes into what clients tell each other: the topics of a consumer
//! that uses the classic protocol, from its subscription (`ConsumerProtocolSubscription`: version
//! i16, topics as an array of strings, then more that is not of interest here).

use std::collections::BTreeSet;

use bytes::{Buf, Bytes};

/// The topics of a subscription; None when the bytes are none.
pub(crate) fn subscribed_topics(mut metadata: Bytes) -> Option<BTreeSet<String>> {
    let version = metadata.try_get_i16().ok()?;
    if version < 0 {
        return None;
    }
    let count = metadata.try_get_i32().ok()?;
    let mut topics = BTreeSet::new();
    for _ in 0..count.max(0) {
        let len = usize::try_from(metadata.try_get_i16().ok()?).ok()?;
        if metadata.len() < len {
            return None;
        }
        topics.insert(String::from_utf8(metadata.split_to(len).into()).ok()?);
    }
    Some(topics)
}
