//! What the coordinator reads of what clients of the classic protocol tell each other: the topics
//! of a subscription (`ConsumerProtocolSubscription`: version i16, topics as an array of strings)
//! and the partitions of an assignment (`ConsumerProtocolAssignment`: version i16, an array of
//! topic and array of i32). More follows in both that is not of interest here.

use std::collections::BTreeSet;

use bytes::{Buf, Bytes};

use super::api::TopicPartitions;

/// The topics of a subscription; None when the bytes are none.
pub(crate) fn subscribed_topics(mut metadata: Bytes) -> Option<BTreeSet<String>> {
    let version = metadata.try_get_i16().ok()?;
    if version < 0 {
        return None;
    }
    let count = metadata.try_get_i32().ok()?;
    let mut topics = BTreeSet::new();
    for _ in 0..count.max(0) {
        topics.insert(text(&mut metadata)?);
    }
    Some(topics)
}

/// The partitions that a leading consumer gave to a member (`DescribedGroupMember`); None when the
/// bytes are of another protocol than "consumer", or none.
pub fn assigned_partitions(mut assignment: Bytes) -> Option<Vec<TopicPartitions>> {
    let version = assignment.try_get_i16().ok()?;
    if version < 0 {
        return None;
    }
    let mut topics = vec![];
    for _ in 0..assignment.try_get_i32().ok()?.max(0) {
        let name = text(&mut assignment)?;
        let mut partition_indexes = vec![];
        for _ in 0..assignment.try_get_i32().ok()?.max(0) {
            partition_indexes.push(assignment.try_get_i32().ok()?);
        }
        topics.push(TopicPartitions { name, partition_indexes });
    }
    Some(topics)
}

fn text(bytes: &mut Bytes) -> Option<String> {
    let len = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    if bytes.len() < len {
        return None;
    }
    String::from_utf8(bytes.split_to(len).into()).ok()
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

    #[test]
    fn an_assignment_is_read_and_garbage_is_not_believed() {
        let two =
            b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x03\0\x01b\0\0\0\0\xff\xff\xff\xff";
        let of = |name: &str, partition_indexes: &[i32]| TopicPartitions {
            name: name.into(),
            partition_indexes: partition_indexes.to_vec(),
        };
        let read = assigned_partitions(Bytes::from_static(two));
        assert_eq!(read, Some(vec![of("a", &[0, 3]), of("b", &[])]));
        for cut in 0..two.len() - 4 {
            assert_eq!(assigned_partitions(Bytes::from_static(&two[..cut])), None, "{cut}");
        }
        let endless = b"\0\0\x7f\xff\xff\xff\0\x01a\x7f\xff\xff\xff\0\0\0\x01";
        assert_eq!(assigned_partitions(Bytes::from_static(endless)), None);
    }
}
