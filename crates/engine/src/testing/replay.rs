//! A project without threads or doors: events are taken in, views advance step by step, crash and
//! come back, and the same text is run in batch over the same events. `watershed test` and the
//! parity suite stand on it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use bytes::Bytes;
use catalog::{Definition, Object};
use common::{Clock, Error, Partition, Result, SystemDisk};
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider,
};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::{MemTable, ViewTable};
use datafusion::execution::runtime_env::RuntimeEnv;
use formats::BodyKind;
use formats::json::ContentKind;
use kv::Kv;

use crate::define::planning::{Checks, Emit, Planning, Wrong};
use crate::define::texts::parse_all;
use crate::flows::pipeline::{Env, Runner, Spec, Target};
use crate::flows::state_budget::StateBudget;
use crate::flows::subscription::Publisher;
use crate::flows::uncomputable::OnError;
use crate::flows::view_store::ViewStore;
use crate::topics::dead_letters::{DeadLetterQuery, DeadLetters, ShownLetter};
use crate::topics::ingest::{IngestContext, Ingested, TopicWriter};
use crate::topics::rows::concat;
use crate::topics::rows::{RowDecoder, read_range};
use crate::topics::topic_reader::TopicReaders;

/// A clock that stands until it is moved.
#[derive(Default)]
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn set(&self, us: i64) {
        self.0.store(us, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A project under test.
pub struct Replay {
    pub clock: Arc<TestClock>,
    definitions: Vec<Definition>,
    writers: BTreeMap<String, Arc<TopicWriter>>,
    views: BTreeMap<String, (Arc<Spec>, Arc<ViewStore>)>,
    runners: BTreeMap<String, Runner>,
    env: Arc<Env>,
    ingest: Arc<IngestContext>,
    runtime: Arc<RuntimeEnv>,
}

impl Replay {
    /// Defines everything in an empty folder. Sources and sinks do not run.
    pub async fn open(dir: &Path, texts: &[sql::Text], now_us: i64) -> Result<Replay, Vec<Error>> {
        let ordered = sql::order(parse_all(texts)?)?;
        let one = |e: Error| vec![e];
        let clock = Arc::new(TestClock::default());
        clock.set(now_us);
        let disk = Arc::new(SystemDisk);
        let (log, _) =
            log::Log::open(disk, clock.clone(), &dir.join("log"), log::LogConfig::default())
                .map_err(one)?;
        let kv = Kv::open(dir.join("views"), kv::Options::default()).map_err(one)?;
        let dead_letters = Arc::new(DeadLetters::open(&kv).map_err(one)?);
        let readers = Arc::new(TopicReaders::open(log.clone(), &kv, 0).map_err(one)?);
        let env = Arc::new(Env {
            kv,
            log,
            readers,
            clock: clock.clone(),
            dead_letters: dead_letters.clone(),
            history: None,
            idle_timeout_us: i64::MAX / 2,
            epoch_min: Duration::ZERO,
            epoch_max: Duration::ZERO,
            state: StateBudget::new(u64::MAX),
        });
        let ingest = Arc::new(IngestContext {
            clock: clock.clone(),
            dead_letters,
            event_bytes_max: 1 << 20,
            future_max_us: i64::MAX / 4,
            refused_max: usize::MAX,
        });
        let mut replay = Replay {
            clock,
            definitions: ordered.clone(),
            writers: BTreeMap::new(),
            views: BTreeMap::new(),
            runners: BTreeMap::new(),
            env,
            ingest,
            runtime: Arc::new(RuntimeEnv::default()),
        };
        let mut planning = Planning::new(&replay.runtime).map_err(one)?;
        let mut faults = vec![];
        let mut wrong = Wrong::default();
        for definition in ordered {
            if wrong.reads(&definition) {
                continue;
            }
            let name = definition.object.name().to_string();
            if let Err(e) = replay.define(&mut planning, definition).await {
                faults.extend(e);
                wrong.add(name);
            }
        }
        if faults.is_empty() { Ok(replay) } else { Err(faults) }
    }

    async fn define(
        &mut self,
        planning: &mut Planning,
        definition: Definition,
    ) -> Result<(), Vec<Error>> {
        if let Object::Topic(topic) = &definition.object {
            let checks = planning.add_topic(&definition, topic)?;
            return self.open_topic(topic, checks).map_err(|e| vec![e]);
        }
        self.open_view(planning, &definition).await.map_err(|e| vec![e])
    }

    fn open_topic(&mut self, topic: &catalog::Topic, checks: Checks) -> Result<()> {
        {
            {
                let config = log::TopicConfig {
                    partitions: topic.partitions as u32,
                    ..log::TopicConfig::default()
                };
                let log = self.env.log.create_topic(&topic.name, config)?;
                let reader = self.env.readers.topic(&topic.name)?;
                let writer = Arc::new(TopicWriter::new(topic.clone(), log, reader, checks, None));
                self.writers.insert(topic.name.clone(), writer);
            }
        }
        Ok(())
    }

    async fn open_view(&mut self, planning: &mut Planning, definition: &Definition) -> Result<()> {
        match &definition.object {
            Object::View(view) => {
                let emit = Emit::of(&view.options);
                let query = planning.query(definition, &view.query, emit).await?;
                planning.add_view(&view.name, &query)?;
                let id = format!("{}@1", view.name);
                let output = &query.graph.output;
                let (schema, key) = (output.schema.clone(), output.key.clone());
                let store = Arc::new(ViewStore::open(&self.env.kv, &id, schema, key)?);
                let publisher = Arc::new(Publisher::default());
                let spec = Arc::new(Spec {
                    id,
                    name: view.name.clone(),
                    fingerprint: query.fingerprint,
                    first_epoch: common::Epoch(0),
                    graph: query.graph,
                    topics: query.topics,
                    target: Target::View { store: store.clone(), publisher },
                    on_error: OnError::of(&view.options),
                });
                let runner = Runner::open(spec.clone(), self.env.clone())?;
                self.runners.insert(view.name.clone(), runner);
                self.views.insert(view.name.clone(), (spec, store));
            }
            Object::Topic(_) | Object::Source(_) | Object::Sink(_) => {}
        }
        Ok(())
    }

    /// What decides whether stored state of a view is taken up.
    pub fn fingerprint(&self, view: &str) -> Option<&str> {
        self.views.get(view).map(|(spec, _)| spec.fingerprint.as_str())
    }

    /// Takes in events; what is refused is in the answer and in the dead letters.
    pub async fn ingest(&self, topic: &str, body: Bytes) -> Result<Ingested> {
        let writer = self.writers.get(topic).ok_or_else(|| {
            Error::unknown("topic", topic, self.writers.keys().map(String::as_str))
        })?;
        let checked = writer.check_body(
            &self.ingest,
            &body,
            BodyKind::Json(ContentKind::Ndjson),
            None,
            None,
        )?;
        writer.append(&self.ingest, checked, None).await
    }

    fn runner(&mut self, view: &str) -> Result<&mut Runner> {
        let known: Vec<String> = self.runners.keys().cloned().collect();
        match self.runners.get_mut(view) {
            Some(runner) => Ok(runner),
            None => Err(Error::unknown("view", view, known.iter().map(String::as_str))),
        }
    }

    /// Lets a view take one log batch of each partition; returns the rows.
    pub fn step(&mut self, view: &str) -> Result<usize> {
        self.runner(view)?.poll(1)
    }

    /// Lets a view take everything there is.
    pub fn catch_up(&mut self, view: &str) -> Result<()> {
        let runner = self.runner(view)?;
        while runner.poll(1 << 20)? > 0 {}
        Ok(())
    }

    pub fn commit(&mut self, view: &str) -> Result<()> {
        self.runner(view)?.commit()
    }

    /// Moves the watermark of a topic's partitions on, as if an event had been seen.
    pub fn advance_watermark(&mut self, view: &str, topic: &str, us: i64) -> Result<()> {
        self.runner(view)?.advance_watermark(topic, us)
    }

    /// Forgets everything since the last commit, as a crash does, and comes back from the store.
    pub fn crash(&mut self, view: &str) -> Result<()> {
        let spec = match self.views.get(view) {
            Some((spec, _)) => spec.clone(),
            None => {
                return Err(Error::unknown("view", view, self.views.keys().map(String::as_str)));
            }
        };
        self.runners.remove(view);
        self.runners.insert(view.to_string(), Runner::open(spec, self.env.clone())?);
        Ok(())
    }

    /// The committed rows of a view.
    pub fn rows(&self, view: &str) -> Result<RecordBatch> {
        let (_, store) = self
            .views
            .get(view)
            .ok_or_else(|| Error::unknown("view", view, self.views.keys().map(String::as_str)))?;
        concat(&store.schema(), &store.scan(&self.env.kv.snapshot()?)?)
    }

    pub fn dead_letters(&self) -> Result<Vec<ShownLetter>> {
        let query = DeadLetterQuery { limit: usize::MAX, ..DeadLetterQuery::default() };
        let mut rows = self.env.dead_letters.page(&query)?.rows;
        rows.reverse();
        Ok(rows)
    }

    /// The view's text in batch, over all events but those that were late for it.
    pub async fn batch_rows(&self, view: &str) -> Result<RecordBatch> {
        let state = sql::batch_state(self.runtime.clone(), sql::SessionOptions::default());
        let schema = Arc::new(MemorySchemaProvider::new());
        let catalog = MemoryCatalogProvider::new();
        let options = &state.config_options().catalog;
        let internal = |e: datafusion::error::DataFusionError| {
            Error::internal(format!("preparing the batch run: {e}"))
        };
        catalog.register_schema(&options.default_schema, schema.clone()).map_err(internal)?;
        state.catalog_list().register_catalog(options.default_catalog.clone(), Arc::new(catalog));
        let late = self.late_offsets(view)?;
        for definition in &self.definitions {
            match &definition.object {
                Object::Topic(topic) => {
                    let (rows_schema, rows) = self.topic_rows(&topic.name, &late)?;
                    let table = MemTable::try_new(rows_schema, vec![rows]).map_err(internal)?;
                    let table = sql::latest_rows(topic, Arc::new(table))?;
                    schema.register_table(topic.name.clone(), table).map_err(internal)?;
                }
                Object::View(v) => {
                    let origin = &definition.origin;
                    let start = definition.query_start;
                    let place = |span: std::ops::Range<usize>| {
                        origin.place(start + span.start..start + span.end)
                    };
                    let plan = sql::plan(&state, &v.query, &place).await?;
                    if v.name == view {
                        let frame = DataFrame::new(state.clone(), plan);
                        let out = Arc::new(frame.schema().as_arrow().clone());
                        let batches = frame.collect().await.map_err(|e| sql::error(e, &place))?;
                        // The analyzer may have widened a type since the plan was made.
                        let out = batches.first().map_or(out, RecordBatch::schema);
                        return concat(&out, &batches);
                    }
                    let table = Arc::new(ViewTable::new(plan, None));
                    schema.register_table(v.name.clone(), table).map_err(internal)?;
                }
                Object::Source(_) | Object::Sink(_) => {}
            }
        }
        Err(Error::unknown("view", view, self.views.keys().map(String::as_str)))
    }

    fn late_offsets(&self, view: &str) -> Result<BTreeSet<(String, i32, i64)>> {
        let late = self.dead_letters()?.into_iter().filter(|l| l.view.as_deref() == Some(view));
        Ok(late
            .map(|l| (l.topic, l.partition.unwrap_or_default(), l.offset.unwrap_or_default()))
            .collect())
    }

    fn topic_rows(
        &self,
        topic: &str,
        late: &BTreeSet<(String, i32, i64)>,
    ) -> Result<(arrow::datatypes::SchemaRef, Vec<RecordBatch>)> {
        let writer = self
            .writers
            .get(topic)
            .ok_or_else(|| Error::internal(format!("topic '{topic}' is not open")))?;
        let mut decoder = RowDecoder::new(&writer.topic)?;
        let mut rows = vec![];
        for p in writer.log.partitions() {
            let (from, to) = (p.start_offset(), writer.reader.end(&p)?);
            read_range(&writer.reader, &mut decoder, p.id(), from, to, 1 << 20, |batch, _| {
                rows.push(without(&batch, topic, late)?);
                Ok(true)
            })?;
        }
        Ok((decoder.schema(), rows))
    }

    /// Partitions of a topic.
    pub fn partitions(&self, topic: &str) -> Vec<Partition> {
        let writer = self.writers.get(topic);
        writer.map(|i| i.log.partitions().iter().map(|p| p.id()).collect()).unwrap_or_default()
    }
}

fn without(
    batch: &RecordBatch,
    topic: &str,
    late: &BTreeSet<(String, i32, i64)>,
) -> Result<RecordBatch> {
    if late.is_empty() {
        return Ok(batch.clone());
    }
    let (Some(partitions), Some(offsets)) =
        (batch.column_by_name("_partition"), batch.column_by_name("_offset"))
    else {
        return Err(Error::internal("rows without offsets"));
    };
    let (partitions, offsets) =
        (partitions.as_primitive::<Int32Type>(), offsets.as_primitive::<Int64Type>());
    let keep: BooleanArray = (0..batch.num_rows())
        .map(|i| Some(!late.contains(&(topic.to_string(), partitions.value(i), offsets.value(i)))))
        .collect();
    arrow::compute::filter_record_batch(batch, &keep)
        .map_err(|e| Error::internal(format!("leaving out late rows: {e}")))
}
