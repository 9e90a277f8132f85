//! What all handlers share: the platform, the limits, and the counters of this door.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::Config;
use engine::Session;
pub use kafka::{PERMIT_BYTES as BODY_PERMIT_BYTES, permits, permits_of};
use tokio::sync::{Mutex as TaskMutex, Semaphore, watch};

/// Request bodies in memory together may take so many times the largest one.
const BODIES_TOGETHER: u64 = 8;
/// hyper takes no smaller limit.
const HEAD_BYTES_MIN: usize = 8 << 10;

/// Shared by all requests; cheap to clone.
#[derive(Clone)]
pub struct App {
    pub session: Session,
    pub limits: Limits,
    pub counters: Arc<Counters>,
    /// The status as text and when it was made, for all who follow it.
    pub status: Arc<TaskMutex<Option<(Instant, bytes::Bytes)>>>,
    /// Becomes true when the process is asked to stop.
    pub stopping: watch::Receiver<bool>,
}

/// Bounds of this door.
#[derive(Clone)]
pub struct Limits {
    pub body_bytes_max: usize,
    pub rows_max: usize,
    pub requests: Arc<Semaphore>,
    /// Long-lived connections (server-sent events), apart from the short requests.
    pub streams: Arc<Semaphore>,
    /// Memory of request bodies, in permits of `BODY_PERMIT_BYTES`.
    pub bodies: Arc<Semaphore>,
    /// Memory of answers that are not taken yet, likewise.
    pub answers: Arc<Semaphore>,
    pub answer_bytes_max: usize,
    pub http: HttpLimits,
}

/// What a connection of HTTP may take, and how long.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    pub connections: usize,
    pub head_timeout: Duration,
    pub head_bytes_max: usize,
    pub idle_timeout: Duration,
    pub body_grace: Duration,
    /// Bytes a second.
    pub body_rate_min: u64,
    pub write_timeout: Duration,
    pub answer_rate_min: u64,
}

/// Route, method, status → count and total time.
pub type Requests = BTreeMap<(String, String, u16), (u64, Duration)>;

/// Figures for `/metrics`.
#[derive(Default)]
pub struct Counters {
    pub body_bytes: AtomicU64,
    pub in_flight: Arc<AtomicU64>,
    pub streams: Arc<AtomicU64>,
    pub pg_connections: Arc<AtomicU64>,
    pub kafka_connections: Arc<AtomicU64>,
    pub panics: AtomicU64,
    requests: Mutex<Requests>,
}

impl App {
    pub fn new(session: Session, config: &Config, stopping: watch::Receiver<bool>) -> App {
        let body_bytes_max = config.http_body_bytes_max.0;
        let requests = config.http_requests_max.max(1) as usize;
        let bodies = (body_bytes_max * BODIES_TOGETHER) as usize / BODY_PERMIT_BYTES + 1;
        let limits = Limits {
            body_bytes_max: body_bytes_max as usize,
            rows_max: config.query_rows_max as usize,
            requests: Arc::new(Semaphore::new(requests)),
            streams: Arc::new(Semaphore::new(requests)),
            bodies: Arc::new(Semaphore::new(bodies.min(Semaphore::MAX_PERMITS))),
            answers: permits(config.http_answers_bytes_max.0),
            answer_bytes_max: config.query_answer_bytes_max.0 as usize,
            http: http_limits(config),
        };
        let counters = Arc::new(Counters::default());
        App { session, limits, counters, status: Arc::default(), stopping }
    }
}

fn http_limits(config: &Config) -> HttpLimits {
    HttpLimits {
        connections: config.http_connections_max.max(1) as usize,
        head_timeout: config.http_head_timeout.to_std(),
        head_bytes_max: (config.http_head_bytes_max.0 as usize).max(HEAD_BYTES_MIN),
        idle_timeout: config.http_idle_timeout.to_std(),
        body_grace: config.http_body_grace.to_std(),
        body_rate_min: config.http_body_rate_min.0,
        write_timeout: config.http_write_timeout.to_std(),
        answer_rate_min: config.http_answer_rate_min.0,
    }
}

impl Counters {
    pub fn request(&self, route: &str, method: &str, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (route.to_string(), method.to_string(), status);
        let entry = requests.entry(key).or_default();
        entry.0 += 1;
        entry.1 += took;
    }

    pub fn requests(&self) -> Requests {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
