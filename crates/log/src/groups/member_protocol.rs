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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_found_and_garbage_is_not_believed() {
        let two = b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xffand more";
        let topics = subscribed_topics(Bytes::from_static(two)).unwrap();
        assert_eq!(topics.into_iter().collect::<Vec<_>>(), ["a", "bc"]);
        for cut in 0..13 {
            assert_eq!(subscribed_topics(Bytes::from_static(&two[..cut])), None, "{cut}");
        }
        for bad in [
            &b"\xff\xff\0\0\0\0"[..],
            b"\0\0\x7f\xff\xff\xff\0\x01a",
            b"\0\0\0\0\0\x01\xff\xff",
            b"\0\0\0\0\0\x01\0\x01\xff",
        ] {
            assert_eq!(subscribed_topics(Bytes::copy_from_slice(bad)), None, "{bad:?}");
        }
    }
}
