//! Makes definitions run. Everything is parsed, ordered and planned first; only when nothing is
//! wrong are running things changed, and only those whose definition did change. A fault leaves
//! the last good version running.

use std::collections::HashSet;
use std::sync::Arc;

use catalog::store::{CatalogFile, Stored};
use catalog::{Definition, Object};
use common::{Epoch, Error, Result, nearest};
use datafusion::physical_expr::PhysicalExpr;
use log::{CleanupPolicy, TimestampType, TopicConfig, TopicDurability};
use serde::Serialize;

use crate::drops::remove_retired;
use crate::ingest::Inlet;
use crate::meta::{Meta, PipelineId, TopicRecord};
use crate::outbox::Outbox;
use crate::pipeline::{Pipeline, Spec, Target};
use crate::planning::{PlannedQuery, Planning, Wrong};
use crate::platform::{Inner, Platform, blocking};
use crate::registry::{SinkEntry, SourceEntry, TopicEntry, ViewEntry};
use crate::sinks::SinkRunner;
use crate::sources::SourceRunner;
use crate::subscription::Publisher;
use crate::uncomputable::OnError;
use crate::view_store::ViewStore;

/// What is defined: the project's files, and statements typed into a running platform.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    pub files: Vec<sql::Text>,
    pub typed: Vec<String>,
}

impl Texts {
    pub fn load(file: &CatalogFile) -> Result<Texts> {
        let typed = file.load()?.into_iter().filter(|s| s.file.is_none()).map(|s| s.statement);
        Ok(Texts { files: vec![], typed: typed.collect() })
    }

    fn all(&self) -> Vec<sql::Text> {
        let typed = self.typed.iter().map(|s| sql::Text { file: None, text: s.as_str().into() });
        self.files.iter().cloned().chain(typed).collect()
    }
}

/// What an `apply` did, by name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ApplyReport {
    pub created: Vec<String>,
    pub changed: Vec<String>,
    pub dropped: Vec<String>,
    pub kept: Vec<String>,
}

enum Planned {
    Topic { definition: Definition, checks: Vec<(String, Arc<dyn PhysicalExpr>)> },
    Source(Definition),
    View { definition: Definition, query: PlannedQuery },
    Sink { definition: Definition, query: PlannedQuery },
}

impl Planned {
    fn definition(&self) -> &Definition {
        match self {
            Planned::Topic { definition, .. }
            | Planned::Source(definition)
            | Planned::View { definition, .. }
            | Planned::Sink { definition, .. } => definition,
        }
    }
}

impl Platform {
    /// Replaces the definitions that come from files. On any fault nothing changes.
    pub async fn apply(&self, texts: &[sql::Text]) -> Result<ApplyReport, Vec<Error>> {
        let mut now = self.inner.texts.lock().await;
        self.check_open().map_err(|e| vec![e])?;
        let wanted = Texts { files: texts.to_vec(), typed: now.typed.clone() };
        match self.apply_texts(&wanted).await {
            Ok(report) => {
                *now = wanted;
                self.set_problems(&[]);
                Ok(report)
            }
            Err(faults) => {
                self.set_problems(&faults);
                Err(faults)
            }
        }
    }

    /// Reads the project's files and applies them, dashboards included.
    pub async fn apply_project(&self) -> Result<ApplyReport, Vec<Error>> {
        let read = self.inner.project.sql_texts().map_err(|e| vec![e]);
        let boards = self.inner.project.dashboards();
        let texts = match (read, &boards) {
            (Ok(texts), Ok(_)) => texts,
            (Err(faults), _) => {
                self.set_problems(&faults);
                return Err(faults);
            }
            (Ok(_), Err(_)) => {
                let faults = boards.err().unwrap_or_default();
                self.set_problems(&faults);
                return Err(faults);
            }
        };
        let report = self.apply(&texts).await?;
        if let Ok(boards) = boards
            && let Ok(mut now) = self.inner.dashboards.write()
        {
            *now = boards;
        }
        Ok(report)
    }

    /// Adds statements typed at run time, all or none.
    pub(crate) async fn create_typed(&self, statements: &[String]) -> Result<()> {
        let mut now = self.inner.texts.lock().await;
        self.check_open()?;
        let mut wanted = now.clone();
        wanted.typed.extend_from_slice(statements);
        self.apply_texts(&wanted).await.map_err(first)?;
        *now = wanted;
        Ok(())
    }

    /// Changes options of a topic that was made at run time. Those without a value get their
    /// default.
    pub async fn alter_topic(
        &self,
        name: &str,
        changes: &[(String, Option<String>)],
    ) -> Result<()> {
        let mut now = self.inner.texts.lock().await;
        self.check_open()?;
        let is_it = |statement: &String| defines(statement).as_deref() == Some(name);
        let Some(at) = now.typed.iter().position(is_it) else {
            // Refuses what is no topic.
            self.inlet(name)?;
            let definition = self.inner.registry().definition(name).cloned();
            let file = definition.and_then(|d| d.origin.file).unwrap_or_default();
            return Err(Error::conflict(format!("topic '{name}' is defined in {file}"))
                .hint(format!("change its options in {file} and apply it")));
        };
        let mut wanted = now.clone();
        wanted.typed[at] = sql::with_options(&now.typed[at], changes)?;
        self.apply_texts(&wanted).await.map_err(first)?;
        *now = wanted;
        Ok(())
    }

    pub(crate) async fn apply_texts(&self, wanted: &Texts) -> Result<ApplyReport, Vec<Error>> {
        let (platform, texts) = (self.clone(), wanted.all());
        let plan = async move { Ok(platform.plan_texts(&texts).await) };
        let planned = self.inner.compute.run(plan).await.map_err(|e| vec![e])??;
        let report = self.execute_plan(planned).await.map_err(|e| vec![e])?;
        self.save_catalog(wanted).map_err(|e| vec![e])?;
        Ok(report)
    }

    async fn plan_texts(&self, texts: &[sql::Text]) -> Result<Vec<Planned>, Vec<Error>> {
        self.plan_all(sql::order(parse_all(texts)?)?).await
    }

    async fn plan_all(&self, ordered: Vec<Definition>) -> Result<Vec<Planned>, Vec<Error>> {
        let mut planning = Planning::new(&self.inner.runtime).map_err(|e| vec![e])?;
        let meta = Meta::new(&self.inner.kv).map_err(|e| vec![e])?;
        let mut planned = vec![];
        let mut faults = vec![];
        let mut wrong = Wrong::default();
        for definition in ordered {
            if let Err(e) = connectors::check_definition(&definition) {
                faults.extend(e);
                continue;
            }
            if wrong.reads(&definition) {
                continue;
            }
            let name = definition.object.name().to_string();
            match self.plan_one(&mut planning, &meta, definition).await {
                Ok(p) => planned.push(p),
                Err(e) => {
                    faults.extend(e);
                    wrong.add(name);
                }
            }
        }
        if faults.is_empty() { Ok(planned) } else { Err(faults) }
    }

    async fn plan_one(
        &self,
        planning: &mut Planning,
        meta: &Meta,
        definition: Definition,
    ) -> Result<Planned, Vec<Error>> {
        let one = |e: Error| vec![e];
        let place = definition.origin.place(definition.origin.span.clone());
        match &definition.object {
            Object::Topic(topic) => {
                let known = self.check_evolution(meta, topic).map_err(|e| one(e.at(place)))?;
                let as_stored = known.map_or_else(|| topic.clone(), |old| old.relaxed(topic));
                let checks = planning.add_topic(&definition, &as_stored)?;
                Ok(Planned::Topic { definition, checks })
            }
            Object::Source(source) => {
                if !planning.is_topic(&source.into) {
                    let e = Error::invalid(format!("'{}' is not a topic", source.into))
                        .hint("a source writes INTO a topic");
                    return Err(one(e.at(place)));
                }
                Ok(Planned::Source(definition))
            }
            Object::View(view) => {
                let query = planning.query(&definition, &view.query).await.map_err(one)?;
                planning.add_view(&view.name, &query).map_err(one)?;
                Ok(Planned::View { definition, query })
            }
            Object::Sink(sink) => {
                let query = planning.query(&definition, &sink.query).await.map_err(one)?;
                Ok(Planned::Sink { definition, query })
            }
        }
    }

    /// What is stored must stay readable under the new definition. Returns what is known of a
    /// topic that holds events.
    fn check_evolution(&self, meta: &Meta, topic: &catalog::Topic) -> Result<Option<TopicRecord>> {
        let Some(old) = meta.topic(&topic.name)? else { return Ok(None) };
        let log = self.inner.log.topic(&topic.name).ok();
        let id = log.as_ref().map(|l| l.id().to_string());
        if old.log_id.is_some() && old.log_id != id {
            let name = &topic.name;
            return Err(Error::corrupt(format!("the log has lost topic '{name}' with its events"))
                .hint("restore the data folder from a backup, or move all of it away"));
        }
        match log {
            Some(log) if !is_empty(&log) => old.check(topic).map(|()| Some(old)),
            _ => Ok(None),
        }
    }

    async fn execute_plan(&self, planned: Vec<Planned>) -> Result<ApplyReport> {
        let mut report = ApplyReport::default();
        let names: HashSet<&str> = planned.iter().map(|p| p.definition().object.name()).collect();
        self.drop_missing(&names, &mut report).await?;
        for p in planned {
            let name = p.definition().object.name().to_string();
            let existed = self.inner.registry().definition(&name).is_some();
            let changed = match p {
                Planned::Topic { definition, checks } => self.run_topic(definition, checks)?,
                Planned::Source(definition) => self.run_source(definition).await?,
                Planned::View { definition, query } => self.run_view(definition, query).await?,
                Planned::Sink { definition, query } => self.run_sink(definition, query).await?,
            };
            match (existed, changed) {
                (false, _) => report.created.push(name),
                (true, true) => report.changed.push(name),
                (true, false) => report.kept.push(name),
            }
        }
        Ok(report)
    }

    /// Stops what is no longer defined. A topic's events stay on disk until DROP TOPIC is typed.
    async fn drop_missing(&self, wanted: &HashSet<&str>, report: &mut ApplyReport) -> Result<()> {
        let gone = |name: &String| !wanted.contains(name.as_str());
        let (sources, sinks, views) = {
            let mut registry = self.inner.registry_mut();
            let sources: Vec<_> = registry.sources.extract_if(.., |n, _| gone(n)).collect();
            let sinks: Vec<_> = registry.sinks.extract_if(.., |n, _| gone(n)).collect();
            let views: Vec<_> = registry.views.extract_if(.., |n, _| gone(n)).collect();
            let topics: Vec<_> = registry.topics.extract_if(.., |n, _| gone(n)).collect();
            report.dropped.extend(topics.into_iter().map(|(n, _)| n));
            (sources, sinks, views)
        };
        for (name, source) in sources {
            source.runner.stop().await;
            self.inner.producers.forget(&crate::sources::producer(&name))?;
            report.dropped.push(name);
        }
        for (name, sink) in sinks {
            sink.runner.stop().await;
            self.forget(&name, sink.pipeline).await?;
            report.dropped.push(name);
        }
        for (name, view) in views {
            self.forget(&name, view.pipeline).await?;
            report.dropped.push(name);
        }
        Ok(())
    }

    fn run_topic(
        &self,
        definition: Definition,
        checks: Vec<(String, Arc<dyn PhysicalExpr>)>,
    ) -> Result<bool> {
        let Object::Topic(topic) = definition.object.clone() else { return Ok(false) };
        if let Some(entry) = self.inner.registry_mut().topics.get_mut(&topic.name)
            && entry.inlet.topic == topic
        {
            entry.definition = definition;
            return Ok(false);
        }
        let external = &self.inner.external;
        if let Some(kafka) = external {
            kafka.create(&topic.name, &log_config(&topic))?;
        }
        let log = self.open_log(&topic.name, log_config(&topic))?;
        let meta = Meta::new(&self.inner.kv)?;
        let mut record = TopicRecord::of(&topic);
        if let Some(old) = meta.topic(&topic.name)?.filter(|_| !is_empty(&log)) {
            record.nullable.extend(old.nullable);
        }
        record.log_id = Some(log.id().to_string());
        if meta.topic(&topic.name)?.as_ref() != Some(&record) {
            meta.put_topic(&record)?;
        }
        let name = topic.name.clone();
        let feed = self.inner.env.feeds.topic(&topic.name)?;
        let inlet = Arc::new(Inlet::new(topic, log, feed, checks, external.clone()));
        crate::screen::catch_up(&inlet, &self.inner.ingest)?;
        self.inner.screening.watch(&inlet);
        if let Some(kafka) = external {
            kafka.follow(&inlet.log);
        }
        self.inner.registry_mut().topics.insert(name, TopicEntry { definition, inlet });
        Ok(true)
    }

    /// The topic's log, made when it is not there.
    fn open_log(&self, name: &str, config: TopicConfig) -> Result<Arc<log::Topic>> {
        let log = match self.inner.log.topic(name) {
            Ok(log) => log,
            Err(_) => return self.inner.log.create_topic(name, config),
        };
        if config.partitions < log.config().partitions && is_empty(&log) {
            self.inner.log.drop_topic(name)?;
            return self.inner.log.create_topic(name, config);
        }
        if log.config() != config {
            self.inner.log.alter(name, config)?;
        }
        Ok(log)
    }

    async fn run_source(&self, definition: Definition) -> Result<bool> {
        let Object::Source(source) = definition.object.clone() else { return Ok(false) };
        let old = {
            let mut registry = self.inner.registry_mut();
            let same_topic = |e: &SourceEntry| {
                registry.topics.get(&source.into).map(|t| Arc::as_ptr(&t.inlet))
                    == Some(e.runner.inlet_ptr())
            };
            match registry.sources.get(&source.name) {
                Some(e) if e.definition.object == definition.object && same_topic(e) => {
                    if let Some(e) = registry.sources.get_mut(&source.name) {
                        e.definition = definition;
                    }
                    return Ok(false);
                }
                _ => registry.sources.remove(&source.name),
            }
        };
        if let Some(old) = old {
            old.runner.stop().await;
        }
        let runner = SourceRunner::start(self, &source)?;
        let entry = SourceEntry { definition, runner };
        self.inner.registry_mut().sources.insert(source.name, entry);
        Ok(true)
    }

    async fn run_view(&self, definition: Definition, mut query: PlannedQuery) -> Result<bool> {
        self.inner.name_logs(&mut query)?;
        let name = definition.object.name().to_string();
        let old = {
            let mut registry = self.inner.registry_mut();
            match registry.views.get_mut(&name) {
                Some(e) if e.fingerprint == query.fingerprint => {
                    e.definition = definition;
                    e.plan = query.plan;
                    return Ok(false);
                }
                _ => registry.views.remove(&name),
            }
        };
        let inner = self.inner.clone();
        let entry = blocking(move || {
            if let Some(old) = old {
                drop(old.pipeline);
            }
            start_view(&inner, definition, query)
        })
        .await?;
        self.inner.registry_mut().views.insert(name, entry);
        Ok(true)
    }

    async fn run_sink(&self, definition: Definition, mut query: PlannedQuery) -> Result<bool> {
        self.inner.name_logs(&mut query)?;
        let Object::Sink(sink) = definition.object.clone() else { return Ok(false) };
        let fingerprint = format!("{}\n{:?}", query.fingerprint, (&sink.connector, &sink.options));
        let old = {
            let mut registry = self.inner.registry_mut();
            match registry.sinks.get_mut(&sink.name) {
                Some(e) if e.fingerprint == fingerprint => {
                    e.definition = definition;
                    return Ok(false);
                }
                _ => registry.sinks.remove(&sink.name),
            }
        };
        if let Some(old) = old {
            old.runner.stop().await;
            let pipeline = old.pipeline;
            blocking(move || {
                drop(pipeline);
                Ok(())
            })
            .await?;
        }
        let (inner, fp) = (self.inner.clone(), fingerprint.clone());
        let schema = query.graph.output.schema.clone();
        let name = sink.name.clone();
        let (pipeline, outbox, committed) =
            blocking(move || start_sink_pipeline(&inner, &name, &fp, query)).await?;
        let runner = SinkRunner::start(self, &sink, schema, outbox, committed)?;
        let entry = SinkEntry { definition, fingerprint, pipeline, runner };
        self.inner.registry_mut().sinks.insert(sink.name, entry);
        Ok(true)
    }

    fn save_catalog(&self, texts: &Texts) -> Result<()> {
        let mut stored = vec![];
        for definition in self.inner.registry().definitions() {
            stored.push(Stored {
                kind: definition.object.kind().to_string(),
                name: definition.object.name().to_string(),
                statement: definition.origin.statement().to_string(),
                file: definition.origin.file.clone(),
                version: common::Version(1),
            });
        }
        // Statements that define nothing by themselves any more are not kept.
        let whole: HashSet<&str> = texts.typed.iter().map(String::as_str).collect();
        let is_typed = |statement: &str| {
            whole.contains(statement) || texts.typed.iter().any(|t| t.contains(statement))
        };
        stored.retain(|s| s.file.is_some() || is_typed(&s.statement));
        self.inner.catalog.save(&stored)
    }
}

impl Inner {
    /// State belongs to the very topics it was made from, not to later ones of their names.
    fn name_logs(&self, query: &mut PlannedQuery) -> Result<()> {
        for name in query.topics.keys() {
            let id = self.log.topic(name)?.id();
            query.fingerprint.push_str(&format!("\n{name} {id}"));
        }
        Ok(())
    }
}

fn is_empty(log: &log::Topic) -> bool {
    log.partitions().iter().all(|p| p.end_offset().0 == 0)
}

fn start_view(
    inner: &Arc<Inner>,
    definition: Definition,
    query: PlannedQuery,
) -> Result<ViewEntry> {
    let name = definition.object.name().to_string();
    let PipelineId { id, first_epoch } =
        Meta::new(&inner.kv)?.pipeline_id(&name, &query.fingerprint)?;
    remove_retired(inner)?;
    let schema = query.graph.output.schema.clone();
    let key = query.graph.output.key.clone();
    let store = Arc::new(ViewStore::open(&inner.kv, &id, schema.clone(), key)?);
    let publisher = Arc::new(Publisher::default());
    let spec = Arc::new(Spec {
        id,
        name,
        fingerprint: query.fingerprint.clone(),
        first_epoch,
        graph: query.graph,
        topics: query.topics,
        target: Target::View { store: store.clone(), publisher: publisher.clone() },
        on_error: match &definition.object {
            Object::View(view) => OnError::of(&view.options),
            _ => OnError::default(),
        },
    });
    let pipeline = Pipeline::start(spec, inner.env.clone())?;
    Ok(ViewEntry {
        definition,
        fingerprint: query.fingerprint,
        plan: query.plan,
        schema,
        store,
        publisher,
        pipeline,
    })
}

fn start_sink_pipeline(
    inner: &Arc<Inner>,
    name: &str,
    fingerprint: &str,
    query: PlannedQuery,
) -> Result<(Pipeline, Arc<Outbox>, Epoch)> {
    let PipelineId { id, .. } = Meta::new(&inner.kv)?.pipeline_id(name, fingerprint)?;
    remove_retired(inner)?;
    let outbox = Arc::new(Outbox::open(&inner.kv, &id)?);
    let committed = state::load_checkpoint(&inner.kv, &id)?.map_or(Epoch(0), |c| c.epoch);
    let spec = Arc::new(Spec {
        id,
        name: name.to_string(),
        fingerprint: fingerprint.to_string(),
        // A target that shows its epochs must see that these are not its own.
        first_epoch: Epoch(0),
        graph: query.graph,
        topics: query.topics,
        target: Target::Sink(outbox.clone()),
        on_error: OnError::default(),
    });
    Ok((Pipeline::start(spec, inner.env.clone())?, outbox, committed))
}

/// How the log is to keep a topic.
fn log_config(topic: &catalog::Topic) -> TopicConfig {
    let storage = &topic.storage;
    TopicConfig {
        partitions: topic.partitions as u32,
        retention_us: storage.retention_us,
        retention_bytes: storage.retention_bytes,
        segment_bytes_max: storage.segment_bytes,
        segment_us: storage.segment_us,
        cleanup_policy: match (storage.deletes, storage.compacts) {
            (true, true) => CleanupPolicy::CompactDelete,
            (false, true) => CleanupPolicy::Compact,
            _ => CleanupPolicy::Delete,
        },
        max_message_bytes: storage.max_message_bytes,
        message_timestamp_type: match storage.log_append_time {
            true => TimestampType::LogAppendTime,
            false => TimestampType::CreateTime,
        },
        min_cleanable_dirty_ratio: storage.min_cleanable_dirty_ratio,
        delete_retention_us: storage.delete_retention_us,
        min_compaction_lag_us: storage.min_compaction_lag_us,
        durability: match storage.page_cache {
            true => TopicDurability::PageCache,
            false => TopicDurability::Synced,
        },
    }
}

/// Every definition of all texts; all faults at once.
pub(crate) fn parse_all(texts: &[sql::Text]) -> Result<Vec<Definition>, Vec<Error>> {
    let mut definitions = vec![];
    let mut faults = vec![];
    for text in texts {
        match sql::parse(text) {
            Ok(statements) => {
                for statement in statements {
                    match statement {
                        sql::Statement::Create { definition, .. } => definitions.push(*definition),
                        other => faults.push(only_create(text, &other)),
                    }
                }
            }
            Err(e) => faults.extend(e),
        }
    }
    if faults.is_empty() { Ok(definitions) } else { Err(faults) }
}

fn only_create(text: &sql::Text, statement: &sql::Statement) -> Error {
    let is_user = matches!(
        statement,
        sql::Statement::CreateUser { .. }
            | sql::Statement::AlterUser { .. }
            | sql::Statement::DropUser { .. }
    );
    if is_user {
        // Without its place: the text has the password.
        let file = text.file.as_deref().unwrap_or("the text");
        return Error::invalid(format!("{file} has a statement about a user"))
            .hint("passwords do not belong into files; type it into: watershed sql");
    }
    let at = text.place(match statement {
        sql::Statement::Drop { span, .. } | sql::Statement::Describe { span, .. } => span.clone(),
        sql::Statement::Query { start, text } => *start..*start + text.trim_end().len(),
        _ => 0..text.text.trim_end().len(),
    });
    Error::invalid("only CREATE statements can stand in the project's files")
        .hint("run queries with: watershed sql \"SELECT …\"")
        .at(at)
}

/// The name a CREATE statement defines.
pub(crate) fn defines(statement: &str) -> Option<String> {
    let text = sql::Text { file: None, text: statement.into() };
    match sql::parse(&text).ok()?.into_iter().next()? {
        sql::Statement::Create { definition, .. } => Some(definition.object.name().to_string()),
        _ => None,
    }
}

pub(crate) fn first(faults: Vec<Error>) -> Error {
    let n = faults.len();
    match faults.into_iter().next() {
        Some(e) if n > 1 => e.context(format!("{n} faults, the first")),
        Some(e) => e,
        None => Error::internal("failed without a reason"),
    }
}

/// Error for a view that does not exist.
pub(crate) fn unknown_view<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    Error::unknown("view", name, known)
}

/// Error for a topic that does not exist.
pub(crate) fn unknown_topic<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.into_iter().collect();
    let e = Error::unknown("topic", name, known.iter().copied());
    match nearest(name, known.iter().copied()) {
        Some(_) => e,
        None => e.hint(
            "define it with CREATE TOPIC, or import a file: watershed import FILE --into TOPIC",
        ),
    }
}
