//! Events of a topic as they are in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Offset, Partition, Result};

use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::topics::rows::for_each_record;
use crate::topics::topic_reader::TopicReader;

/// A raw event.
#[derive(Clone, Debug)]
pub struct Event {
    pub partition: Partition,
    pub offset: Offset,
    pub timestamp_us: i64,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
}

/// Events from given offsets on (the start where none is given), by partition.
pub async fn read_topic(
    inner: &Arc<Inner>,
    topic: &str,
    from: BTreeMap<Partition, Offset>,
    limit: usize,
) -> Result<Vec<Event>> {
    let writer = inner.topic_writer(topic)?;
    blocking(move || {
        let mut events = vec![];
        for (partition, from) in from {
            let at = from.max(writer.log.partition(partition)?.start_offset());
            read_events(&writer.reader, partition, at, limit - events.len(), &mut events)?;
            if events.len() >= limit {
                break;
            }
        }
        Ok(events)
    })
    .await
}

/// The last events over all partitions, newest first.
pub async fn tail_topic(inner: &Arc<Inner>, topic: &str, n: usize) -> Result<Vec<Event>> {
    let writer = inner.topic_writer(topic)?;
    blocking(move || {
        let mut events = vec![];
        for log in writer.log.partitions() {
            let end = writer.reader.end(&log)?;
            let from = Offset((end.0 - n as i64).max(log.start_offset().0));
            read_events(&writer.reader, log.id(), from, n, &mut events)?;
        }
        events.sort_by_key(|e| std::cmp::Reverse((e.timestamp_us, e.partition, e.offset)));
        events.truncate(n);
        Ok(events)
    })
    .await
}

fn read_events(
    reader: &TopicReader,
    partition: Partition,
    mut at: Offset,
    limit: usize,
    events: &mut Vec<Event>,
) -> Result<()> {
    let end = events.len() + limit;
    while events.len() < end {
        let stretch = reader.read(partition, at, 1 << 20)?;
        if stretch.next <= at {
            break;
        }
        for_each_record(&stretch.batches, |record| {
            if stretch.has(record.offset) && events.len() < end {
                events.push(Event {
                    partition,
                    offset: record.offset,
                    timestamp_us: record.timestamp_us(),
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.unwrap_or_default().to_vec(),
                });
            }
        })?;
        at = stretch.next;
    }
    Ok(())
}
