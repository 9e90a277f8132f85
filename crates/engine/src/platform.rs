//! The platform: opens the stores of a project and hands out everything a door needs. Opening
//! recovers; `apply` (see `apply.rs`) makes definitions run.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use catalog::store::CatalogFile;
use common::{Clock, Error, Result, SystemDisk};
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, TableProvider};
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use futures::FutureExt;
use futures::future::BoxFuture;
use kv::Kv;
use lake::Lake;

use crate::compute::Compute;
use crate::dead_letters::{DeadLetterPage, DeadLetterQuery, DeadLetters};
use crate::external_log::ExternalLog;
use crate::feed::Feeds;
use crate::history::History;
use crate::ingest::IngestContext;
use crate::lock::StoreLocks;
use crate::memory;
use crate::meta::Meta;
use crate::once::Producers;
use crate::pipeline::Env;
use crate::project::{Dashboard, Project};
use crate::rates::Rates;
use crate::registry::{Registry, TopicEntry};
use crate::screen::Screening;
use crate::state_budget::StateBudget;
use crate::tables::{DeadLettersProvider, PlatformSchema, TopicProvider, ViewProvider};
use crate::users::Users;

/// A running platform; cheap to clone.
#[derive(Clone)]
pub struct Platform {
    pub(crate) inner: Arc<Inner>,
}

/// What all parts of a running platform share.
pub struct Inner {
    pub(crate) project: Project,
    pub(crate) started: Instant,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: Arc<log::Log>,
    /// The Kafka that the log is a copy of.
    pub(crate) external: Option<Arc<ExternalLog>>,
    pub(crate) kv: Arc<Kv>,
    pub(crate) lake: Arc<Lake>,
    pub(crate) catalog: CatalogFile,
    pub(crate) users: Arc<Users>,
    /// What connectors may reach.
    pub(crate) rules: Arc<connector::Rules>,
    pub(crate) env: Arc<Env>,
    pub(crate) ingest: Arc<IngestContext>,
    pub(crate) dead_letters: Arc<DeadLetters>,
    pub(crate) producers: Arc<Producers>,
    pub(crate) runtime: Arc<RuntimeEnv>,
    pub(crate) compute: Compute,
    pub(crate) registry: RwLock<Registry>,
    pub(crate) problems: RwLock<Vec<serde_json::Value>>,
    pub(crate) dashboards: RwLock<Vec<Dashboard>>,
    pub(crate) texts: tokio::sync::Mutex<crate::apply::Texts>,
    pub(crate) rates: Mutex<Rates>,
    pub(crate) archive: crate::archive::Progress,
    /// Held while a backup is made.
    pub(crate) backing_up: tokio::sync::Mutex<()>,
    pub(crate) closing: tokio::sync::watch::Sender<bool>,
    pub(crate) closed: AtomicBool,
    /// The project's definitions have been applied since the start, or their faults are known.
    pub(crate) applied: AtomicBool,
    /// All views have caught up since the start; one made later keeps nobody out.
    caught_up: AtomicBool,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    pub(crate) screening: Screening,
    pub(crate) coordination: crate::coordination::Coordination,
    _locks: StoreLocks,
}

impl Platform {
    /// Opens a project's stores and recovers them. Definitions do not run yet: see `apply`.
    pub fn open(project: Project, clock: Arc<dyn Clock>) -> BoxFuture<'static, Result<Platform>> {
        Self::open_all(project, clock).boxed()
    }

    async fn open_all(project: Project, clock: Arc<dyn Clock>) -> Result<Platform> {
        let opened = tokio::task::spawn_blocking(move || Inner::open(project, clock))
            .await
            .map_err(|e| Error::internal(format!("opening the project: {e}")))??;
        let platform = Platform { inner: Arc::new(opened) };
        platform.finish_removals().await?;
        platform.start_tasks();
        Ok(platform)
    }

    fn start_tasks(&self) {
        let tasks = [
            self.inner.compute.spawn(crate::archive::run(self.clone())),
            tokio::spawn(crate::upkeep::run(self.clone())),
        ];
        self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks);
    }

    pub fn project(&self) -> &Project {
        &self.inner.project
    }

    /// A session for queries: all tables, Spark's semantics.
    pub fn session(&self) -> Result<SessionState> {
        let state = sql::batch_state(self.inner.runtime.clone(), sql::SessionOptions::default());
        let catalog = MemoryCatalogProvider::new();
        let schema = Arc::new(PlatformSchema::new(Arc::downgrade(&self.inner)));
        let options = &state.config_options().catalog;
        catalog
            .register_schema(&options.default_schema, schema)
            .map_err(|e| Error::internal(format!("making a session: {e}")))?;
        state.catalog_list().register_catalog(options.default_catalog.clone(), Arc::new(catalog));
        Ok(state)
    }

    pub async fn dead_letters(&self, query: DeadLetterQuery) -> Result<DeadLetterPage> {
        let store = self.inner.dead_letters.clone();
        blocking(move || store.page(&query)).await
    }

    pub fn dashboards(&self) -> Vec<Dashboard> {
        self.inner.dashboards.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn definitions_running(&self) -> usize {
        self.inner.registry().definitions().len()
    }

    /// Faults of the project's files; the last good version goes on running beside them.
    pub fn set_problems(&self, problems: &[Error]) {
        let mut now = self.inner.problems.write().unwrap_or_else(PoisonError::into_inner);
        *now = problems.iter().map(Error::to_json).collect();
        self.inner.applied.store(true, Ordering::Relaxed);
    }

    pub fn problems(&self) -> Vec<serde_json::Value> {
        let mut problems =
            self.inner.problems.read().unwrap_or_else(PoisonError::into_inner).clone();
        problems.extend(self.inner.log.damage().iter().map(Error::to_json));
        problems.extend(self.inner.archive.trouble());
        let external = self.inner.external.iter().flat_map(|kafka| kafka.troubles());
        problems.extend(external.map(|(topic, why)| match topic.is_empty() {
            true => Error::unavailable(why).to_json(),
            false => Error::corrupt(format!("topic '{topic}': {why}")).to_json(),
        }));
        problems
    }

    /// Who may log in.
    pub fn users(&self) -> &Arc<Users> {
        &self.inner.users
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        match *self.inner.closing.borrow() {
            true => Err(Error::unavailable("the platform is stopping")),
            false => Ok(()),
        }
    }

    /// Archives everything that is durable now, without waiting for the next turn.
    pub async fn archive_now(&self) -> Result<()> {
        crate::archive::archive_all(self).await
    }

    /// Applies retention to the log and the dead letters, without waiting for the next turn.
    pub async fn retention_now(&self) -> Result<()> {
        crate::upkeep::retention(self).await
    }

    /// Why requests would fail now, if they would: the platform is stopping, nobody has looked at
    /// the definitions yet, or (after the start) a view has not yet taken in what was there. A view
    /// that has stopped says so to its own readers.
    pub fn ready(&self) -> Result<()> {
        self.check_open()?;
        if !self.inner.applied.load(Ordering::Relaxed) {
            return Err(Error::unavailable("the project's definitions do not run yet"));
        }
        let was_caught_up = self.inner.caught_up.load(Ordering::Relaxed);
        for (name, view) in &self.inner.registry().views {
            // Views made later do not take the platform out of service, nor does one that fails.
            let status = view.pipeline.status();
            if was_caught_up || status.stopped().is_some() {
                continue;
            }
            if status.state == "starting" {
                return Err(Error::unavailable(format!("view '{name}' is starting"))
                    .hint("its state is being read; it takes new events after that"));
            }
            if !status.caught_up {
                let lag = status.lag_events;
                let e = format!("view '{name}' is catching up, {lag} events to go");
                return Err(Error::unavailable(e));
            }
        }
        self.inner.caught_up.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the queries that run, and those that come.
    pub fn stop_queries(&self) {
        self.inner.compute.stop();
    }

    /// Stops sources, commits every pipeline, ends deliveries and archiving, syncs the log. Nothing
    /// is written after it returned.
    pub async fn shutdown(&self) -> Result<()> {
        if self.inner.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.inner.closing.send_replace(true);
        self.stop_queries();
        // A definition being made is finished first; later ones are refused.
        let _texts = self.inner.texts.lock().await;
        let registry = std::mem::take(&mut *self.inner.registry_mut());
        for (_, mut source) in registry.sources {
            source.runner.stop().await;
        }
        let tasks =
            std::mem::take(&mut *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            let _ = task.await;
        }
        let views = (registry.views, registry.serving);
        let (mut pipelines, mut deliveries) = (vec![], vec![]);
        for (_, sink) in registry.sinks {
            pipelines.push(sink.pipeline);
            deliveries.push(sink.runner);
        }
        blocking(move || {
            drop((views, pipelines));
            Ok(())
        })
        .await?;
        for mut delivery in deliveries {
            delivery.stop().await;
        }
        let inner = self.inner.clone();
        blocking(move || {
            if let Some(kafka) = &inner.external {
                kafka.stop();
            }
            inner.screening.stop();
            inner.coordination.stop();
            inner.log.close();
            Ok(())
        })
        .await
    }
}

/// The log in another system that `url` names.
fn external_log(url: &str, log: &Arc<log::Log>, kv: &Arc<Kv>) -> Result<Arc<ExternalLog>> {
    let id = Meta::new(kv)?.cluster_id()?;
    Ok(Arc::new(ExternalLog::open(url, log, &id)?))
}

fn report(recovery: &log::Recovery) {
    for r in &recovery.partitions {
        let lost = match r.may_be_acknowledged {
            true => "its durability is page_cache, so acknowledged records may be lost",
            false => "nothing acknowledged was in it",
        };
        tracing::warn!(
            topic = r.topic,
            partition = r.partition.0,
            truncated_bytes = r.truncated_bytes,
            "the log's end was torn and is cut: {lost}"
        );
    }
}

impl Inner {
    fn open(project: Project, clock: Arc<dyn Clock>) -> Result<Inner> {
        let config = &project.config;
        let locks = StoreLocks::take(&project)?;
        crate::backup::remove_stages(&project)?;
        let disk = Arc::new(SystemDisk);
        let log_config = log_config(config);
        let is_external = project.has_external_log();
        let dir = project.log_dir();
        let (log, recovery) = log::Log::open(disk.clone(), clock.clone(), &dir, log_config)?;
        report(&recovery);
        let kv = Kv::open(project.path(&config.views), kv::Options::default())?;
        let lake = Arc::new(Lake::open(&config.lake, &project.dir)?);
        let catalog = CatalogFile::open(disk.clone(), project.path(&config.catalog))?;
        let users = Users::open(disk, project.path(&config.catalog).with_file_name("users.json"))?;
        let texts = crate::apply::Texts::load(&catalog)?;
        let dead_letters = Arc::new(DeadLetters::open(&kv)?);
        let runtime = runtime(memory::part(config.query_memory_max.0, config) as usize)?;
        let compute = Compute::start(memory::limit(config))?;
        let handle = compute.handle().clone();
        let history = Some(Arc::new(History::new(lake.clone(), runtime.clone(), handle)));
        let env = Arc::new(Env {
            kv: kv.clone(),
            feeds: Arc::new(Feeds::open(log.clone(), &kv)?),
            log: log.clone(),
            clock: clock.clone(),
            dead_letters: dead_letters.clone(),
            history,
            idle_timeout_us: config.idle_timeout.0,
            epoch_min: config.epoch_interval_min.to_std(),
            epoch_max: config.epoch_interval_max.to_std(),
            state: StateBudget::new(memory::part(config.state_bytes_max.0, config)),
        });
        let ingest = Arc::new(ingest_context(config, &clock, &dead_letters));
        Ok(Inner {
            external: is_external.then(|| external_log(&config.log, &log, &kv)).transpose()?,
            screening: Screening::start(ingest.clone(), log.commits())?,
            coordination: crate::coordination::Coordination::start(&log, &kv, &clock)?,
            started: Instant::now(),
            clock,
            log,
            lake,
            catalog,
            users: Arc::new(users),
            rules: Arc::new(crate::secrets::rules(&project)),
            env,
            ingest,
            dead_letters,
            producers: Arc::new(Producers::open(&kv)?),
            kv,
            runtime,
            compute,
            registry: RwLock::default(),
            problems: RwLock::default(),
            dashboards: RwLock::default(),
            texts: tokio::sync::Mutex::new(texts),
            rates: Mutex::default(),
            archive: crate::archive::Progress::default(),
            backing_up: tokio::sync::Mutex::default(),
            closing: tokio::sync::watch::channel(false).0,
            closed: AtomicBool::new(false),
            applied: AtomicBool::new(false),
            caught_up: AtomicBool::new(false),
            tasks: Mutex::default(),
            _locks: locks,
            project,
        })
    }

    pub(crate) fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn registry_mut(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn table_names(&self) -> Vec<String> {
        self.registry().tables()
    }

    pub(crate) fn table(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        if name == "dead_letters" {
            return Some(Arc::new(DeadLettersProvider(self.dead_letters.clone())));
        }
        let registry = self.registry();
        if let Some(view) = registry.readable(name) {
            return Some(Arc::new(ViewProvider {
                name: name.to_string(),
                store: view.store.clone(),
                status: view.pipeline.shared.clone(),
                stopped: self.project.config.query_stopped_views,
            }));
        }
        let inlet = &registry.topics.get(name)?.inlet;
        Some(Arc::new(TopicProvider::new(
            inlet.topic.clone(),
            inlet.feed.clone(),
            self.lake.clone(),
        )))
    }

    /// Figures of each topic.
    pub(crate) fn topic_stats(&self) -> BTreeMap<String, TopicStats> {
        let log = |(name, entry): (&String, &TopicEntry)| (name.clone(), entry.inlet.log.clone());
        // Looking at the logs may wait for the disk: not under the registry's lock.
        let logs: Vec<_> = self.registry().topics.iter().map(log).collect();
        logs.into_iter().map(|(name, log)| (name, TopicStats::of(&log))).collect()
    }
}

/// Figures of a topic over its partitions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TopicStats {
    pub records: u64,
    pub bytes: u64,
    /// Bytes appended since the start.
    pub bytes_appended: u64,
}

impl TopicStats {
    pub fn of(topic: &log::Topic) -> TopicStats {
        let mut sum = TopicStats::default();
        for p in topic.partitions() {
            sum.records += (p.high_watermark().0 - p.start_offset().0).max(0) as u64;
            if let Ok(stats) = p.stats() {
                sum.bytes += stats.bytes;
                sum.bytes_appended += stats.bytes_appended;
            }
        }
        sum
    }
}

fn ingest_context(
    config: &common::Config,
    clock: &Arc<dyn Clock>,
    dead_letters: &Arc<DeadLetters>,
) -> IngestContext {
    IngestContext {
        clock: clock.clone(),
        dead_letters: dead_letters.clone(),
        event_bytes_max: config.event_bytes_max.0 as usize,
        future_max_us: config.future_max.0,
        refused_max: config.dead_letters_request_rows_max.max(1) as usize,
    }
}

fn log_config(config: &common::Config) -> log::LogConfig {
    log::LogConfig {
        commit_interval_us: config.log_commit_interval.0,
        segment_bytes_max: config.log_segment_bytes_max.0,
        ..log::LogConfig::default()
    }
}

fn runtime(memory: usize) -> Result<Arc<RuntimeEnv>> {
    let top = NonZeroUsize::MIN.saturating_add(4);
    let pool = Arc::new(TrackConsumersPool::new(FairSpillPool::new(memory), top));
    RuntimeEnvBuilder::new()
        .with_memory_pool(pool)
        .build_arc()
        .map_err(|e| Error::internal(format!("making the query runtime: {e}")))
}

/// Runs blocking work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(Error::internal(format!("a task ended early: {e}"))))
}
