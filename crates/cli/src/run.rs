//! What `dev` and `serve` share: flags, opening a project, serving it until a signal comes, and
//! the runtime all of it runs on.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use common::{Error, SystemClock};
use engine::{Platform, Principal, Project, Session};
use serve::Listeners;

use crate::Outcome;
use crate::render::Faults;

/// Settings given as flags; they win over file and environment.
#[derive(Args, Clone)]
pub struct Settings {
    /// Port of REST and console (http.port); 0 lets the system choose.
    #[arg(long)]
    http_port: Option<String>,
    /// Port of the Postgres protocol (pg.port); 0 switches it off.
    #[arg(long)]
    pg_port: Option<String>,
    /// Port of the Kafka protocol (kafka.port); 0 switches it off.
    #[arg(long)]
    kafka_port: Option<String>,
    /// Any setting: --set http.body_bytes_max="1 MiB".
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// The project in a folder, with these flags.
    pub fn project(&self, dir: &Path) -> Result<Project, Faults> {
        let mut flags: Vec<(&str, String)> = vec![];
        flags.extend(self.http_port.clone().map(|v| ("http.port", v)));
        flags.extend(self.pg_port.clone().map(|v| ("pg.port", v)));
        flags.extend(self.kafka_port.clone().map(|v| ("kafka.port", v)));
        for pair in &self.set {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                Error::invalid(format!("--set {pair} has no '='"))
                    .hint("write it as in --set http.port=5000")
            })?;
            flags.push((key.trim(), value.trim().to_string()));
        }
        Ok(Project::load(dir, &flags)?)
    }
}

/// An open project with its ports; definitions are not applied yet.
pub struct Opened {
    pub platform: Platform,
    pub address: SocketAddr,
    pub pg_port: Option<u16>,
    pub kafka_port: Option<u16>,
    listeners: Listeners,
}

/// Opens the ports first: when one is in use, the data is not touched.
pub async fn open(project: &Project) -> Result<Opened, Faults> {
    if let Err(e) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!("the limit of open files stays as it is: {e}");
    }
    let listeners = Listeners::bind(&project.config, &project.dir).await?;
    let address = listeners.http_address()?;
    let pg_port = listeners.pg.as_ref().map(|_| project.config.pg_port);
    let kafka_port = listeners.kafka.as_ref().map(|_| project.config.kafka_port);
    let platform = Platform::open(project.clone(), Arc::new(SystemClock)).await?;
    Ok(Opened { platform, address, pg_port, kafka_port, listeners })
}

impl Opened {
    /// For the project's own definitions.
    pub fn session(&self) -> Session {
        self.platform.as_user(Principal::System)
    }

    /// Serves until SIGTERM or Ctrl-C, then closes the platform.
    pub async fn serve(self) -> Outcome {
        let served = serve::run(self.platform.clone(), self.listeners, stop_signal()).await;
        tracing::info!("stopping");
        let closed = self.platform.shutdown().await;
        served?;
        closed?;
        tracing::info!("stopped");
        Ok(0)
    }
}

/// Resolves on the first signal; a second one ends the process at once.
async fn stop_signal() {
    next_signal().await;
    tokio::spawn(async {
        next_signal().await;
        std::process::exit(130);
    });
}

async fn next_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut term), Ok(mut int)) => {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        }
        // Without handlers the system's own way of stopping stays in place.
        _ => std::future::pending().await,
    }
}

/// Runs async work to its end. Plans are deep recursions, so threads get large stacks.
pub fn block_on<T: Send + 'static>(
    work: impl Future<Output = Result<T, Faults>> + Send + 'static,
) -> Result<T, Faults> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(16 << 20)
        .thread_name("watershed")
        .build()
        .map_err(|e| Error::io("starting threads", e))?;
    // On a worker, not on the main thread, whose stack others decide about.
    let ended = runtime.block_on(async { tokio::spawn(work).await });
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    ended.unwrap_or_else(|e| Err(Error::internal(format!("the program ended early: {e}")).into()))
}

/// Where this program keeps what belongs to the person and not to a project.
pub fn state_dir() -> Option<PathBuf> {
    let given = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = given("XDG_STATE_HOME").or_else(|| Some(given("HOME")?.join(".local/state")))?;
    Some(base.join("watershed"))
}
