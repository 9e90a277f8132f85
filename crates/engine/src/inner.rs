//! What all parts of a running platform share: the stores, what runs, and whether it closes. Opened
//! and closed by `platform.rs`.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use catalog::store::CatalogFile;
use common::{Clock, Error, ProblemDetails, Result};
use datafusion::execution::runtime_env::RuntimeEnv;
use kv::Kv;
use lake::Lake;

use crate::access::users::Users;
use crate::define::registry::{Registry, unknown_topic};
use crate::define::texts::Texts;
use crate::flows::pipeline::Env;
use crate::groups::coordination::Coordination;
use crate::observe::rates::Rates;
use crate::query::compute::Compute;
use crate::stores::lock::StoreLocks;
use crate::stores::project::{Dashboard, Project};
use crate::topics::archive_progress::Progress;
use crate::topics::dead_letters::DeadLetters;
use crate::topics::external_log::ExternalLog;
use crate::topics::ingest::{IngestContext, TopicWriter};
use crate::topics::once::Producers;
use crate::topics::validation::Validation;

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
    pub(crate) problems: RwLock<Vec<ProblemDetails>>,
    pub(crate) dashboards: RwLock<Vec<Dashboard>>,
    pub(crate) texts: tokio::sync::Mutex<Texts>,
    pub(crate) rates: Mutex<Rates>,
    pub(crate) archive: Progress,
    /// Held while a backup is made.
    pub(crate) backing_up: tokio::sync::Mutex<()>,
    pub(crate) closing: tokio::sync::watch::Sender<bool>,
    pub(crate) closed: AtomicBool,
    /// The project's definitions have been applied since the start, or their faults are known.
    pub(crate) applied: AtomicBool,
    /// All views have caught up since the start; one made later keeps nobody out.
    pub(crate) caught_up: AtomicBool,
    pub(crate) tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    pub(crate) validation: Validation,
    pub(crate) coordination: Coordination,
    pub(crate) _locks: StoreLocks,
}

impl Inner {
    pub(crate) fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn registry_mut(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        match *self.closing.borrow() {
            true => Err(Error::unavailable("the platform is stopping")),
            false => Ok(()),
        }
    }

    /// The topic that runs under this name.
    pub(crate) fn topic_writer(&self, topic: &str) -> Result<Arc<TopicWriter>> {
        let registry = self.registry();
        match registry.get::<Arc<TopicWriter>>(topic) {
            Some(writer) => Ok(writer.clone()),
            None => Err(unknown_topic(topic, registry.names::<Arc<TopicWriter>>())),
        }
    }

    /// What a counter of `sample_rates` rises by in a second.
    pub(crate) fn rate(&self, counter: &str) -> Option<f64> {
        let rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.per_second(counter)
    }
}
