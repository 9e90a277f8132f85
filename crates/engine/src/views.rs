//! Reading views and topics for the doors: filtered pages of rows, rows of one key, live changes,
//! raw events.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{SortOptions, filter_record_batch, kernels::cmp};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use bytes::Bytes;
use common::{Epoch, Error, Offset, Partition, Result};
use formats::BodyKind;

use crate::apply::{unknown_topic, unknown_view};
use crate::feed::Feed;
use crate::ingest::{Ingested, Inlet};
use crate::platform::{Platform, blocking};
use crate::rows::for_each_record;
use crate::subscription::Subscription;
use crate::tables::concat;
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
        match registry.views.get(view) {
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

    /// A page of rows, sorted by the order asked for and then by all columns.
    pub async fn view_rows(&self, view: &str, query: ViewQuery) -> Result<ViewPage> {
        let (store, stopped) = self.store(view)?;
        blocking(move || {
            let snapshot = store.kv().snapshot()?;
            let epoch = store.meta(&snapshot)?.epoch;
            let schema = store.schema();
            let mut rows = concat(&schema, &store.scan(&snapshot)?)?;
            for (column, value) in &query.filters {
                rows = keep_equal(&rows, column, value)?;
            }
            let (batch, next) = page(&rows, &query)?;
            Ok(ViewPage { schema, batch, epoch, next, stopped })
        })
        .await
    }

    /// Rows whose first key column equals `key`; an error when there are none.
    pub async fn view_key(&self, view: &str, key: &str) -> Result<ViewPage> {
        let (store, stopped) = self.store(view)?;
        let (view, key) = (view.to_string(), key.to_string());
        blocking(move || {
            let schema = store.schema();
            let stream::OutputKey::Columns(columns) = store.key() else {
                return Err(Error::invalid(format!("view '{view}' has no key"))
                    .hint("its rows have no identity; filter with ?column=value"));
            };
            let first = columns.first().copied().unwrap_or_default();
            let field = schema.field(first);
            let value = parse_value(field.name(), field.data_type(), &key)?;
            let snapshot = store.kv().snapshot()?;
            let epoch = store.meta(&snapshot)?.epoch;
            let batches = store.scan_first_key(&snapshot, &value)?;
            if batches.is_empty() {
                let name = field.name();
                return Err(Error::not_found(format!("no row of '{view}' has {name} = '{key}'")));
            }
            let batch = concat(&schema, &batches)?;
            Ok(ViewPage { batch, schema, epoch, next: None, stopped })
        })
        .await
    }

    /// Live changes of a view, after an epoch when it is still known.
    pub fn subscribe(&self, view: &str, after: Option<Epoch>) -> Result<Subscription> {
        self.store(view)?;
        let registry = self.inner.registry();
        match registry.views.get(view) {
            Some(v) => Ok(v.publisher.subscribe(v.store.clone(), after)),
            None => Err(unknown_view(view, registry.views.keys().map(String::as_str))),
        }
    }

    /// Takes in a body; returns once all of it is durable, in the log or in the dead letters.
    pub async fn ingest(&self, topic: &str, body: Bytes, kind: BodyKind) -> Result<Ingested> {
        self.check_open()?;
        let inlet = self.inlet(topic)?;
        let ctx = self.inner.ingest.clone();
        let (inlet2, ctx2) = (inlet.clone(), ctx.clone());
        let checked = blocking(move || inlet2.check_body(&ctx2, &body, kind, None)).await?;
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
    ) -> Result<Ingested> {
        self.check_open()?;
        let inlet = self.inlet(topic)?;
        let ctx = self.inner.ingest.clone();
        let producer = import_producer(topic, import);
        let check = |mark: &str| inlet.check_body(&ctx, &body, kind, Some(mark));
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
        self.execute(&topic.statement(), None).await.map(|_| ())
    }

    /// Makes several of them, all or none.
    pub async fn create_raw_topics(&self, topics: &[&RawTopic]) -> Result<()> {
        let statements: Vec<_> = topics.iter().map(|t| t.statement()).collect();
        self.create_typed(&statements).await
    }

    /// Whether what comes to a topic is kept in the lake, too.
    pub fn is_archived(&self, topic: &str) -> Result<bool> {
        Ok(self.inlet(topic)?.topic.archive)
    }

    /// DROP TOPIC.
    pub async fn drop_topic(&self, name: &str) -> Result<()> {
        self.execute(&format!("DROP TOPIC {}", quoted(name)), None).await.map(|_| ())
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

/// A column by name; `w.start` is a field of a struct column.
fn column(rows: &RecordBatch, path: &str) -> Result<ArrayRef> {
    let schema = rows.schema();
    let unknown = |name: &str| {
        Error::unknown("column", name, schema.fields().iter().map(|f| f.name().as_str()))
    };
    if let Some(array) = rows.column_by_name(path) {
        return Ok(array.clone());
    }
    let (name, field) = path.split_once('.').ok_or_else(|| as_invalid(unknown(path)))?;
    let array = rows.column_by_name(name).ok_or_else(|| as_invalid(unknown(name)))?;
    let Some(array) = array.as_struct_opt() else {
        return Err(Error::invalid(format!("column '{name}' has no fields")));
    };
    array.column_by_name(field).cloned().ok_or_else(|| {
        as_invalid(Error::unknown("field", field, array.column_names().iter().copied()))
    })
}

/// A wrong parameter is a bad request, not a missing page.
fn as_invalid(e: Error) -> Error {
    let invalid = Error::invalid(e.message());
    match e.hint_text() {
        Some(hint) => invalid.hint(hint),
        None => invalid,
    }
}

fn parse_value(name: &str, data_type: &DataType, text: &str) -> Result<ArrayRef> {
    let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
    arrow::compute::cast_with_options(&array, data_type, &options).map_err(|_| {
        let shown = formats::types::sql_name(data_type);
        Error::invalid(format!("column '{name}' is {shown}, '{text}' is not"))
    })
}

fn keep_equal(rows: &RecordBatch, path: &str, text: &str) -> Result<RecordBatch> {
    let array = column(rows, path)?;
    let value = parse_value(path, array.data_type(), text)?;
    let equal: BooleanArray = cmp::eq(&array, &arrow::array::Scalar::new(value))
        .map_err(|e| Error::invalid(format!("comparing column '{path}': {e}")))?;
    filter_record_batch(rows, &equal).map_err(|e| Error::internal(format!("filtering: {e}")))
}

/// Sorts and cuts; the token is the sort key of the last row, so pages stay right while rows
/// come and go.
fn page(rows: &RecordBatch, query: &ViewQuery) -> Result<(RecordBatch, Option<String>)> {
    let internal = |e| Error::internal(format!("sorting rows: {e}"));
    let mut arrays: Vec<ArrayRef> = vec![];
    let mut fields = vec![];
    if let Some((path, descending)) = &query.order {
        let array = column(rows, path)?;
        let options = SortOptions { descending: *descending, nulls_first: !*descending };
        fields.push(SortField::new_with_options(array.data_type().clone(), options));
        arrays.push(array);
    }
    for array in rows.columns() {
        fields.push(SortField::new(array.data_type().clone()));
        arrays.push(array.clone());
    }
    let converter = RowConverter::new(fields).map_err(internal)?;
    let keys = converter.convert_columns(&arrays).map_err(internal)?;
    let mut order: Vec<u64> = (0..rows.num_rows() as u64).collect();
    order.sort_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
    if let Some(token) = &query.after {
        let after = unhex(token).ok_or_else(|| {
            Error::invalid(format!("'{token}' is not a place in this view"))
                .hint("pass the 'next' of the page before as 'after', with the same order")
        })?;
        order.retain(|i| keys.row(*i as usize).as_ref() > after.as_slice());
    }
    let more = order.len() > query.limit;
    order.truncate(query.limit);
    let next = match (more, order.last()) {
        (true, Some(last)) => Some(hex(keys.row(*last as usize).as_ref())),
        _ => None,
    };
    let indices = arrow::array::UInt64Array::from(order);
    let batch = arrow::compute::take_record_batch(rows, &indices).map_err(internal)?;
    Ok((batch, next))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}
