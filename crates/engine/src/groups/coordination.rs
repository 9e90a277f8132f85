//! Consumer groups and transactions of Kafka clients: the log's coordinators over the platform's
//! keyed store and its partitions, and the two threads that keep their deadlines.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Clock, Error, Partition, Result};
use kv::{Keyspace, Kv};
use log::groups::{GroupConfig, GroupCoordinator, TopicLookup, TopicMetadata};
use log::transactions::{
    InitProducerIdRequest, ListTransactionsRequest, Markers, TransactionConfig,
    TransactionCoordinator, TransactionalProducer,
};
use log::{Change, CoordinatorStore, Coordinators, ErrorCode};

use crate::stores::meta::Meta;

/// How often deadlines are looked at, at the least.
const TICK: Duration = Duration::from_millis(25);

/// Transactional ids of the platform's own statements begin so.
const OWN: &str = "watershed-sql/";
/// After so long a statement's transaction that nobody ends is undone.
const OWN_TIMEOUT_MS: i32 = 60_000;

/// The coordinators with their threads. Dropping it ends these.
pub struct Coordination {
    pub groups: Arc<GroupCoordinator>,
    pub transactions: Arc<TransactionCoordinator>,
    /// A name of this data folder that no other has.
    pub cluster_id: String,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Coordination {
    /// All topics must be open: transactions whose end was decided are finished here.
    pub fn start(log: &Arc<log::Log>, kv: &Arc<Kv>, clock: &Arc<dyn Clock>) -> Result<Self> {
        let store = Store { kv: kv.clone(), pairs: kv.keyspace("coordinator")? };
        let for_lookup = log.clone();
        let find = move |name: &str| {
            let topic = for_lookup.topic(name).ok()?;
            let partitions = i32::try_from(topic.partitions().len()).ok()?;
            Some(TopicMetadata { topic_id: topic.id(), partitions })
        };
        let for_names = log.clone();
        let names = move || for_names.topics().iter().map(|t| t.name().to_string()).collect();
        let Coordinators { groups, transactions } = Coordinators::open(
            Arc::new(store),
            clock.clone(),
            TopicLookup::new(find, names),
            Arc::new(LogMarkers(log.clone())),
            GroupConfig::default(),
            TransactionConfig::default(),
        )?;
        let stop = Arc::new(AtomicBool::new(false));
        let coordination = Self {
            groups,
            transactions,
            cluster_id: Meta::new(kv)?.cluster_id()?,
            stop,
            threads: Mutex::default(),
        };
        coordination.undo_own()?;
        let (groups, transactions) =
            (coordination.groups.clone(), coordination.transactions.clone());
        let (clock_of_groups, clock) = (clock.clone(), clock.clone());
        // Apart: the end of a transaction waits for the disk, and no member should for that.
        coordination.keep("groups", move || groups.tick(clock_of_groups.now_us()))?;
        coordination.keep("transactions", move || transactions.tick(clock.now_us()))?;
        Ok(coordination)
    }

    /// Begins the transaction of a statement that writes to this topic. Whoever began one there and
    /// did not end it is undone.
    pub fn begin_own(&self, topic: &str) -> Result<TransactionalProducer> {
        let transactional_id = format!("{OWN}{topic}");
        let began = self.transactions.init_producer_id(&InitProducerIdRequest {
            transactional_id: Some(transactional_id.clone()),
            transaction_timeout_ms: OWN_TIMEOUT_MS,
            producer_id: -1,
            producer_epoch: -1,
        });
        let (producer_id, producer_epoch) = (began.producer_id, began.producer_epoch);
        match began.error_code {
            ErrorCode::None => {
                Ok(TransactionalProducer { transactional_id, producer_id, producer_epoch })
            }
            code => Err(Error::unavailable(format!("writing to topic '{topic}': {code:?}"))
                .hint("nothing was written; try again")),
        }
    }

    /// What statements had open when the process ended: nobody will go on with it, and whoever
    /// reads the topic would wait for it.
    fn undo_own(&self) -> Result<()> {
        let all = ListTransactionsRequest {
            state_filters: vec!["Ongoing".into()],
            producer_id_filters: vec![],
            duration_filter: -1,
        };
        for open in self.transactions.list_transactions(&all).transaction_states {
            if let Some(topic) = open.transactional_id.strip_prefix(OWN) {
                self.begin_own(topic)?;
            }
        }
        Ok(())
    }

    fn keep(&self, name: &str, tick: impl Fn() + Send + 'static) -> Result<()> {
        let stop = self.stop.clone();
        let run = move || {
            while !stop.load(Ordering::Acquire) {
                tick();
                std::thread::sleep(TICK);
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run);
        let thread = thread.map_err(|e| Error::io(format!("starting the thread '{name}'"), e))?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Coordination {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Store {
    kv: Arc<Kv>,
    pairs: Keyspace,
}

impl CoordinatorStore for Store {
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.pairs.iter()?.map(|pair| pair.map(|(k, v)| (k.to_vec(), v.to_vec()))).collect()
    }

    fn commit(&self, changes: Vec<Change>) -> Result<()> {
        let mut batch = self.kv.batch();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(&self.pairs, key, value),
                None => batch.delete(&self.pairs, key),
            }
        }
        batch.commit_durable()
    }
}

struct LogMarkers(Arc<log::Log>);

impl Markers for LogMarkers {
    fn write(
        &self,
        topic: &str,
        partition: i32,
        producer_id: i64,
        producer_epoch: i16,
        commit: bool,
    ) -> Result<()> {
        let Ok(topic) = self.0.topic(topic) else { return Ok(()) };
        let Ok(log) = topic.partition(Partition(partition)) else { return Ok(()) };
        match log.end_transaction(producer_id, producer_epoch, commit)? {
            Some(marker) => log.wait_durable(marker),
            None => Ok(()),
        }
    }
}
