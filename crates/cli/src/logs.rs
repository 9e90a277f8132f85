//! Logs: structured, to stderr, level by `WATERSHED_LOG_LEVEL` (`debug`, `info,serve=debug`, …).

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How a log line is written.
#[derive(Clone, Copy, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Starts logging. Libraries below us speak only when something is wrong.
pub fn start(format: LogFormat, level: &str) {
    // Delta warns at each commit that it keeps no least and greatest value of binary columns, as
    // the record key is one: nothing is wrong then.
    let quiet = "fjall=warn,lsm_tree=warn,datafusion=warn,deltalake=warn,deltalake_core=warn,\
                 deltalake_core::writer::stats=error,\
                 delta_kernel=error,buoyant_kernel=error,buoyant_kernel_engine=error,\
                 datafusion_postgres=warn,pgwire=warn,hyper=warn,h2=warn";
    let asked = std::env::var("WATERSHED_LOG_LEVEL").ok().filter(|s| !s.is_empty());
    // These write statements with all that is in them, passwords too; nobody can ask for that.
    let never = "datafusion_postgres::handlers=off,datafusion_postgres::hooks=off";
    let asked = asked.as_deref().unwrap_or(level);
    let directives = format!("{quiet},{asked},{never}");
    let filter = EnvFilter::try_new(&directives).unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(crate::terminal::colours());
    // Only a second call could fail, and there is none.
    let _ = match format {
        LogFormat::Text => builder.compact().try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
