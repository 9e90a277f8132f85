//! Reads partitions of a Kafka from given offsets on, for ever: only what is committed there, and
//! nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::{Error, Offset, Partition, Result};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};

use super::{ANSWER_MAX, Cluster, Event, Incoming};

/// New partitions, and the end of the thread, are waited for no longer than this.
const POLL_MAX: Duration = Duration::from_millis(50);
/// After something went wrong.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

type Wanted = BTreeMap<Arc<str>, BTreeSet<Partition>>;

/// A thread that follows. Dropping it ends it.
pub struct Follower {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// The partitions that are followed.
    wanted: Mutex<Wanted>,
    changed: AtomicBool,
}

impl Follower {
    /// `hear` is called on the follower's thread. After it fails, reading begins again.
    pub fn start(
        cluster: &Cluster,
        hear: impl FnMut(Event<'_>) -> Result<()> + Send + 'static,
    ) -> Result<Follower> {
        let mut config = cluster.config();
        config
            // librdkafka wants one; nothing is committed to it.
            .set("group.id", "watershed-follower")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false")
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", "16384");
        let consumer = config.create().map_err(|e| cluster.failed("making a consumer", &e))?;
        let shared = Arc::new(Shared::default());
        let run = Run { cluster: cluster.clone(), consumer, shared: shared.clone(), hear };
        let thread = thread::Builder::new()
            .name("kafka-follow".into())
            .spawn(move || run.run())
            .map_err(|e| Error::io("starting the thread that follows Kafka", e))?;
        Ok(Follower { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Follows a partition too.
    pub fn follow(&self, topic: &str, partition: Partition) {
        self.shared.wanted().entry(topic.into()).or_default().insert(partition);
        self.shared.changed.store(true, Ordering::Release);
    }

    /// Follows a topic no longer.
    pub fn forget(&self, topic: &str) {
        self.shared.wanted().remove(topic);
        self.shared.changed.store(true, Ordering::Release);
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Run<H> {
    cluster: Cluster,
    consumer: BaseConsumer,
    shared: Arc<Shared>,
    hear: H,
}

impl<H: FnMut(Event<'_>) -> Result<()>> Run<H> {
    fn run(mut self) {
        let mut idle = true;
        while !self.shared.stop.load(Ordering::Acquire) {
            let wait = if idle { POLL_MAX } else { Duration::ZERO };
            if let Err(e) = self.step(wait, &mut idle) {
                let _ = (self.hear)(Event::Trouble(e));
                thread::sleep(RETRY_PAUSE);
                self.shared.changed.store(true, Ordering::Release);
            }
        }
        let _ = (self.hear)(Event::Idle);
    }

    fn step(&mut self, wait: Duration, idle: &mut bool) -> Result<()> {
        if self.shared.changed.swap(false, Ordering::AcqRel) {
            self.assign()?;
        }
        let message = match self.consumer.poll(wait) {
            None => {
                if !*idle {
                    (self.hear)(Event::Idle)?;
                }
                *idle = true;
                return Ok(());
            }
            Some(Err(e)) => return self.trouble(&e),
            Some(Ok(message)) => message,
        };
        *idle = false;
        let (topic, partition) = (message.topic(), Partition(message.partition()));
        if !self.shared.wanted().contains_key(topic) {
            return Ok(());
        }
        let headers = message.headers().map(|all| {
            all.iter().map(|h| (h.key, h.value.unwrap_or_default())).collect::<Vec<_>>()
        });
        (self.hear)(Event::Record(Incoming {
            topic,
            partition,
            offset: Offset(message.offset()),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            key: message.key(),
            value: message.payload(),
            headers: headers.unwrap_or_default(),
        }))
    }

    fn assign(&mut self) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for (topic, partition, next) in self.places()? {
            let next = rdkafka::Offset::Offset(next.0);
            let added = list.add_partition_offset(&topic, partition.0, next);
            added.map_err(|e| self.cluster.failed("choosing partitions", &e))?;
        }
        self.consumer.assign(&list).map_err(|e| self.cluster.failed("choosing partitions", &e))
    }

    fn places(&mut self) -> Result<Vec<(Arc<str>, Partition, Offset)>> {
        let wanted = self.shared.wanted().clone();
        let mut places = vec![];
        for (topic, partitions) in wanted {
            for partition in partitions {
                let mut next = Offset(0);
                (self.hear)(Event::From { topic: &topic, partition, next: &mut next })?;
                places.push((topic.clone(), partition, next));
            }
        }
        Ok(places)
    }

    /// Errors do not say which partition they are about.
    fn trouble(&mut self, e: &KafkaError) -> Result<()> {
        let mut told = false;
        for (topic, partition, next) in self.places()? {
            let kept = self.consumer.fetch_watermarks(&topic, partition.0, ANSWER_MAX);
            let doing = format!("looking up the offsets of '{topic}'");
            let (first, end) = kept.map_err(|e| self.cluster.failed(&doing, &e))?;
            if (first..=end).contains(&next.0) {
                continue;
            }
            let (kept, mut forget) = ((Offset(first), Offset(end)), false);
            (self.hear)(Event::Gone { topic: &topic, partition, kept, forget: &mut forget })?;
            if forget && let Some(partitions) = self.shared.wanted().get_mut(&topic) {
                partitions.remove(&partition);
            }
            told = true;
        }
        if told { self.assign() } else { Err(self.cluster.failed("reading", e)) }
    }
}
