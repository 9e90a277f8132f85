//! A producer whose requests are each in Kafka exactly once, whatever crashes. Each one is a
//! transaction that also commits its number, as the offset of a consumer group (KIP-98, KIP-447):
//! both are there or none. Who comes back asks for the last number.

use std::time::Duration;

use common::{Error, Partition, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use super::producer::{Deliveries, Request};
use super::{ANSWER_MAX, Cluster, Committed};

/// A longer transaction is aborted by the cluster, should nobody come back.
const TRANSACTION_MAX: Duration = Duration::from_secs(60);

/// See the module's page. One request at a time.
pub struct TransactionalProducer {
    cluster: Cluster,
    client: ThreadedProducer<Deliveries>,
    /// Never reads: it stands for the consumer group.
    group: BaseConsumer,
}

impl TransactionalProducer {
    /// Ends what an earlier process with the same id left open, and shuts that process out.
    /// `id` is the transactional id and the name of the group. Blocks.
    pub fn open(cluster: &Cluster, id: &str) -> Result<TransactionalProducer> {
        let mut config = cluster.config();
        config
            .set("transactional.id", id)
            .set("linger.ms", "2")
            .set("transaction.timeout.ms", TRANSACTION_MAX.as_millis().to_string());
        let doing = format!("opening the transactional producer '{id}'");
        let failed = |e: KafkaError| cluster.failed(&doing, &e);
        let client: ThreadedProducer<Deliveries> =
            config.create_with_context(Deliveries).map_err(failed)?;
        client.init_transactions(TRANSACTION_MAX).map_err(failed)?;
        let mut config = cluster.config();
        config.set("group.id", id).set("enable.auto.commit", "false");
        let group = config.create().map_err(failed)?;
        Ok(TransactionalProducer { cluster: cluster.clone(), client, group })
    }

    /// The last committed request to a topic. Blocks.
    pub fn committed(&self, topic: &str) -> Result<Option<Committed>> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition(topic, 0);
        let doing = format!("asking what of '{topic}' is committed");
        let found = self.group.committed_offsets(asked, ANSWER_MAX);
        let found = found.map_err(|e| self.cluster.failed(&doing, &e))?;
        let committed = found.find_partition(topic, 0).and_then(|p| match p.offset() {
            Offset::Offset(n) => {
                Some(Committed { number: n.unsigned_abs(), note: p.metadata().to_string() })
            }
            _ => None,
        });
        Ok(committed)
    }

    /// Begins a request. What is pushed is seen by nobody before `commit`. Blocks.
    pub fn begin(&self) -> Result<()> {
        self.client.begin_transaction().map_err(|e| self.failed("beginning a transaction", &e))
    }

    /// The records of the request.
    pub fn request<'a>(&'a self, topic: &'a str) -> Request<'a> {
        Request::new(&self.cluster, &self.client, topic)
    }

    /// Commits the request's records together with its number and a note. After an error that is
    /// not `Conflict` it may be asked for again. Blocks.
    pub fn commit(&self, topic: &str, number: u64, note: &str) -> Result<()> {
        let doing = "committing a transaction";
        let failed = |e: KafkaError| self.failed(doing, &e);
        let number = i64::try_from(number)
            .map_err(|_| Error::internal(format!("{number} is no number of a request")))?;
        let mut offsets = TopicPartitionList::new();
        let at = Partition(0).0;
        offsets.add_partition_offset(topic, at, Offset::Offset(number)).map_err(failed)?;
        if let Some(mut p) = offsets.find_partition(topic, at) {
            p.set_metadata(note);
        }
        let group = self
            .group
            .group_metadata()
            .ok_or_else(|| Error::internal("the consumer group has no metadata"))?;
        self.client.send_offsets_to_transaction(&offsets, &group, ANSWER_MAX).map_err(failed)?;
        self.client.commit_transaction(TRANSACTION_MAX).map_err(failed)
    }

    /// Gives a request up: none of its records will be seen. Blocks.
    pub fn abort(&self) -> Result<()> {
        let aborted = self.client.abort_transaction(TRANSACTION_MAX);
        aborted.map_err(|e| self.failed("aborting a transaction", &e))
    }

    fn failed(&self, doing: &str, e: &KafkaError) -> Error {
        let fenced = [RDKafkaErrorCode::Fenced, RDKafkaErrorCode::ProducerFenced];
        if e.rdkafka_error_code().is_some_and(|code| fenced.contains(&code)) {
            let brokers = self.cluster.brokers();
            return Error::conflict(format!(
                "Kafka at {brokers}: {doing}: another process took over"
            ))
            .hint("only one process may run a project");
        }
        self.cluster.failed(doing, e)
    }
}
