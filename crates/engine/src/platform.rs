//! Opens a project's stores in order and recovers them, and closes all in the other. What a
//! platform does stands in the rooms; a door asks for it through `Session`.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use catalog::store::CatalogFile;
use common::{Clock, Error, Result, SystemDisk};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use futures::FutureExt;
use futures::future::BoxFuture;
use kv::Kv;
use lake::Lake;

use crate::access::principal::Principal;
use crate::access::users::Users;
use crate::define::registry::{Entry, Registry};
use crate::define::texts::Texts;
use crate::flows::pipeline::Env;
use crate::flows::state_budget::StateBudget;
use crate::groups::coordination::Coordination;
use crate::inner::Inner;
use crate::query::compute::Compute;
use crate::session::Session;
use crate::stores::blocking::blocking;
use crate::stores::lock::StoreLocks;
use crate::stores::memory;
use crate::stores::meta::Meta;
use crate::stores::project::Project;
use crate::topics::archive_progress::Progress;
use crate::topics::dead_letters::DeadLetters;
use crate::topics::external_log::ExternalLog;
use crate::topics::history::History;
use crate::topics::ingest::IngestContext;
use crate::topics::once::Producers;
use crate::topics::topic_reader::TopicReaders;
use crate::topics::validation::Validation;

/// A running platform; cheap to clone.
#[derive(Clone)]
pub struct Platform {
    pub(crate) inner: Arc<Inner>,
}

impl Platform {
    /// Opens a project's stores and recovers them. Definitions do not run yet: see `apply`.
    pub fn open(project: Project, clock: Arc<dyn Clock>) -> BoxFuture<'static, Result<Platform>> {
        Self::open_all(project, clock).boxed()
    }

    async fn open_all(project: Project, clock: Arc<dyn Clock>) -> Result<Platform> {
        let opened = tokio::task::spawn_blocking(move || open_stores(project, clock))
            .await
            .map_err(|e| Error::internal(format!("opening the project: {e}")))??;
        let platform = Platform { inner: Arc::new(opened) };
        crate::define::drops::finish_removals(&platform.inner).await?;
        platform.start_tasks();
        Ok(platform)
    }

    fn start_tasks(&self) {
        let tasks = [
            self.inner.compute.spawn(crate::topics::archive::run(self.inner.clone())),
            tokio::spawn(crate::topics::retention::run(self.inner.clone())),
            tokio::spawn(crate::observe::status::run(self.inner.clone())),
        ];
        self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks);
    }

    /// What `principal` may do with it.
    pub fn as_user(&self, principal: Principal) -> Session {
        Session::new(self.inner.clone(), principal)
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
        let Registry { objects, serving } = registry;
        let mut objects: Vec<Entry> = objects.into_values().collect();
        for entry in objects.iter_mut().filter(|e| e.object.pipeline().is_none()) {
            entry.object.stop().await;
        }
        let tasks =
            std::mem::take(&mut *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            let _ = task.await;
        }
        let all = objects.iter().chain(serving.values());
        let pipelines: Vec<_> = all.filter_map(|e| e.object.pipeline().cloned()).collect();
        blocking(move || {
            pipelines.iter().for_each(|pipeline| pipeline.stop());
            Ok(())
        })
        .await?;
        // What was committed last is delivered as far as that goes now.
        for entry in &mut objects {
            entry.object.stop().await;
        }
        let inner = self.inner.clone();
        blocking(move || {
            if let Some(kafka) = &inner.external {
                kafka.stop();
            }
            inner.validation.stop();
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

fn open_stores(project: Project, clock: Arc<dyn Clock>) -> Result<Inner> {
    let config = &project.config;
    let locks = StoreLocks::take(&project)?;
    crate::stores::backup::remove_stages(&project)?;
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
    let texts = Texts::load(&catalog)?;
    let dead_letters = Arc::new(DeadLetters::open(&kv)?);
    let runtime = runtime(memory::part(config.query_memory_max.0, config) as usize)?;
    let compute = Compute::start(memory::limit(config))?;
    let handle = compute.handle().clone();
    let history = Some(Arc::new(History::new(lake.clone(), runtime.clone(), handle)));
    let env = Arc::new(Env {
        kv: kv.clone(),
        readers: Arc::new(TopicReaders::open(log.clone(), &kv, config.row_cache_bytes.0 as usize)?),
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
        validation: Validation::start(ingest.clone(), log.commits())?,
        coordination: Coordination::start(&log, &kv, &clock)?,
        started: Instant::now(),
        clock,
        log,
        lake,
        catalog,
        users: Arc::new(users),
        rules: Arc::new(crate::access::secrets::rules(&project)),
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
        archive: Progress::default(),
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
