//! Reading views and topics for the doors: filtered pages of rows, rows of one key, live changes,
//! raw events.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use common::{Epoch, Error, Offset, Partition, Result};
use formats::BodyKind;

use crate::apply::{unknown_topic, unknown_view};
use crate::feed::Feed;
use crate::ingest::{Ingested, Inlet, Origin};
use crate::platform::{Platform, blocking};
use crate::rows::for_each_record;
use crate::subscription::Subscription;
use crate::view_store::ViewStore;

/// What to read of a view.
#[derive(Clone, Debug, Default)]
pub struct ViewQuery {
    /// Column (or `column.field`) = value, all of them.
    pub filters: Vec<(String, String)>,
    /// Column and whether descending.
    pub order: Option<(String, bool)>,
    pub limit: usize,
    /// `next` of the page before.
    pub after: Option<String>,
}

/// Rows of a view at an epoch.
#[derive(Debug)]
pub struct ViewPage {
    pub schema: SchemaRef,
    pub batch: RecordBatch,
    pub epoch: Epoch,
    pub next: Option<String>,
    /// Why the view stands still at this epoch, if it does.
    pub stopped: Option<String>,
}

/// A raw event.
#[derive(Clone, Debug)]
pub struct Event {
    pub partition: Partition,
    pub offset: Offset,
    pub timestamp_us: i64,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
}

impl Platform {
    /// The rows of a view, and why it stands still if it does.
    fn store(&self, view: &str) -> Result<(Arc<ViewStore>, Option<String>)> {
        let registry = self.inner.registry();
        match registry.readable(view) {
            Some(v) => {
                let status = v.pipeline.status();
                status.check_readable(view, self.inner.project.config.query_stopped_views)?;
                Ok((v.store.clone(), status.stopped()))
            }
            None => Err(unknown_view(view, registry.views.keys().map(String::as_str))),
        }
    }

    pub(crate) fn inlet(&self, topic: &str) -> Result<Arc<Inlet>> {
        let registry = self.inner.registry();
        match registry.topics.get(topic) {
            Some(t) => Ok(t.inlet.clone()),
            None => Err(unknown_topic(topic, registry.topics.keys().map(String::as_str))),
        }
    }

    /// A page of rows: in the order asked for and then by all columns, or by their keys.
    pub async fn view_rows(&self, view: &str, query: ViewQuery) -> Result<ViewPage> {
        let (store, stopped) = self.store(view)?;
        blocking(move || crate::view_page::read(&store, &query, None, stopped)).await
    }

    /// A page of the rows whose first key column equals `key`; an error when there are none.
    pub async fn view_key(&self, view: &str, key: &str, query: ViewQuery) -> Result<ViewPage> {
        let (store, stopped) = self.store(view)?;
        let (view, key) = (view.to_string(), key.to_string());
        blocking(move || {
            let schema = store.schema();
            let graph::OutputKey::Columns(columns) = store.key() else {
                return Err(Error::invalid(format!("view '{view}' has no key"))
                    .hint("its rows have no identity; filter with ?column=value"));
            };
            let first = columns.first().copied().unwrap_or_default();
            let field = schema.field(first);
            let value = crate::view_page::parse_value(field.name(), field.data_type(), &key)?;
            let page = crate::view_page::read(&store, &query, Some(&value), stopped)?;
            if page.batch.num_rows() == 0 && query.after.is_none() {
                let name = field.name();
                return Err(Error::not_found(format!("no row of '{view}' has {name} = '{key}'")));
            }
            Ok(page)
        })
        .await
    }

    /// Live changes of a view, after an epoch when it is still known.
    pub fn subscribe(&self, view: &str, after: Option<Epoch>) -> Result<Subscription> {
        self.store(view)?;
        let (publisher, store) = {
            let registry = self.inner.registry();
            match registry.readable(view) {
                Some(v) => (v.publisher.clone(), v.store.clone()),
                None => return Err(unknown_view(view, registry.views.keys().map(String::as_str))),
            }
        };
        let rows_max = u64::from(self.inner.project.config.query_rows_max);
        Ok(publisher.subscribe(store, after, rows_max))
    }

    /// Takes in a body; returns once all of it is durable, in the log or in the dead letters.
    pub async fn ingest(&self, topic: &str, body: Bytes, kind: BodyKind) -> Result<Ingested> {
        self.check_open()?;
        let inlet = self.inlet(topic)?;
        let ctx = self.inner.ingest.clone();
        let (inlet2, ctx2) = (inlet.clone(), ctx.clone());
        let checked = blocking(move || inlet2.check_body(&ctx2, &body, kind, None, None)).await?;
        inlet.append(&ctx, checked, None).await
    }

    /// Takes in batch `sequence` (from 1) of an import, once however often it is sent.
    pub async fn ingest_import(
        &self,
        topic: &str,
        import: &str,
        sequence: u64,
        body: Bytes,
        kind: BodyKind,
        origin: Option<Origin>,
    ) -> Result<Ingested> {
        self.check_open()?;
        let inlet = self.inlet(topic)?;
        let ctx = self.inner.ingest.clone();
        let producer = import_producer(topic, import);
        let (inlet2, ctx2) = (inlet.clone(), ctx.clone());
        let check =
            move |mark: &str| inlet2.check_body(&ctx2, &body, kind, Some(mark), origin.as_ref());
        self.inner.producers.append(&inlet, &ctx, &producer, sequence, None, check).await
    }

    /// Events from given offsets on (the start where none is given), by partition.
    pub async fn read_topic(
        &self,
        topic: &str,
        from: BTreeMap<Partition, Offset>,
        limit: usize,
    ) -> Result<Vec<Event>> {
        let inlet = self.inlet(topic)?;
        blocking(move || {
            let mut events = vec![];
            for (partition, from) in from {
                let at = from.max(inlet.log.partition(partition)?.start_offset());
                read_events(&inlet.feed, partition, at, limit - events.len(), &mut events)?;
                if events.len() >= limit {
                    break;
                }
            }
            Ok(events)
        })
        .await
    }

    /// The last events over all partitions, newest first.
    pub async fn tail_topic(&self, topic: &str, n: usize) -> Result<Vec<Event>> {
        let inlet = self.inlet(topic)?;
        blocking(move || {
            let mut events = vec![];
            for log in inlet.log.partitions() {
                let end = inlet.feed.end(&log)?;
                let from = Offset((end.0 - n as i64).max(log.start_offset().0));
                read_events(&inlet.feed, log.id(), from, n, &mut events)?;
            }
            events.sort_by_key(|e| std::cmp::Reverse((e.timestamp_us, e.partition, e.offset)));
            events.truncate(n);
            Ok(events)
        })
        .await
    }

    /// A topic's log, for doors whose clients send record batches. What they append is checked
    /// before anybody reads it.
    pub fn topic_log(&self, topic: &str) -> Result<Arc<log::Topic>> {
        self.check_open()?;
        Ok(self.inlet(topic)?.log.clone())
    }

    /// The logs of all topics.
    pub fn topic_logs(&self) -> Vec<Arc<log::Topic>> {
        self.inner.registry().topics.values().map(|t| t.inlet.log.clone()).collect()
    }

    /// Changes whenever more of a log can be read.
    pub fn log_commits(&self) -> tokio::sync::watch::Receiver<u64> {
        self.inner.log.commits().subscribe()
    }

    /// Makes a topic that takes any bytes.
    pub async fn create_raw_topic(&self, topic: &RawTopic) -> Result<()> {
        self.execute(&topic.statement()).await.map(|_| ())
    }

    /// Makes several of them, all or none.
    pub async fn create_raw_topics(&self, topics: &[&RawTopic]) -> Result<()> {
        let statements: Vec<_> = topics.iter().map(|t| t.statement()).collect();
        self.create_typed(&statements).await
    }

    /// How many more topics may be made.
    pub fn topics_room(&self) -> usize {
        let max = self.inner.project.config.topics_max as usize;
        max.saturating_sub(self.inner.registry().topics.len())
    }

    /// Whether what comes to a topic is kept in the lake, too.
    pub fn is_archived(&self, topic: &str) -> Result<bool> {
        Ok(self.inlet(topic)?.topic.archive)
    }

    /// Configurations of Kafka that are kept for its clients.
    pub fn kafka_configs(&self, topic: &str) -> Result<BTreeMap<String, String>> {
        Ok(self.inlet(topic)?.topic.storage.kafka_configs.clone())
    }

    /// DROP TOPIC.
    pub async fn drop_topic(&self, name: &str) -> Result<()> {
        self.execute(&format!("DROP TOPIC {}", quoted(name))).await.map(|_| ())
    }

    /// A name of this data folder that no other has.
    pub fn cluster_id(&self) -> &str {
        &self.inner.coordination.cluster_id
    }

    /// The coordinator of Kafka's consumer groups.
    pub fn groups(&self) -> &Arc<log::groups::GroupCoordinator> {
        &self.inner.coordination.groups
    }

    /// The coordinator of Kafka's transactions.
    pub fn transactions(&self) -> &Arc<log::transactions::TransactionCoordinator> {
        &self.inner.coordination.transactions
    }

    /// The platform's clock, µs since 1970.
    pub fn now_us(&self) -> i64 {
        self.inner.clock.now_us()
    }

    /// Partitions of a topic.
    pub fn partitions(&self, topic: &str) -> Result<Vec<Partition>> {
        Ok(self.inlet(topic)?.log.partitions().iter().map(|p| p.id()).collect())
    }
}

/// A topic that takes any bytes (`format = 'raw'`).
pub struct RawTopic {
    pub name: String,
    pub partitions: u32,
    /// Further options of CREATE TOPIC.
    pub options: Vec<(String, String)>,
}

impl RawTopic {
    /// Whether such a topic can be made; not whether there is one of its name.
    pub fn check(&self) -> Result<()> {
        let text = sql::Text { file: None, text: self.statement().into() };
        sql::parse(&text).map(|_| ()).map_err(crate::apply::first)
    }

    fn statement(&self) -> String {
        let quote = |value: &str| value.replace('\'', "''");
        let options = self.options.iter().map(|(k, v)| format!(", {k} = '{}'", quote(v)));
        format!(
            "CREATE TOPIC {} (value BINARY) WITH (format = 'raw', partitions = {}{})",
            quoted(&self.name),
            self.partitions,
            options.collect::<String>()
        )
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Under which name an import's batches are counted.
pub(crate) fn import_producer(topic: &str, import: &str) -> String {
    format!("import:{topic}:{import}")
}

fn read_events(
    feed: &Feed,
    partition: Partition,
    mut at: Offset,
    limit: usize,
    events: &mut Vec<Event>,
) -> Result<()> {
    let end = events.len() + limit;
    while events.len() < end {
        let stretch = feed.read(partition, at, 1 << 20)?;
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
