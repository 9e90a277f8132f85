//! Opens the ports before anything else starts, so that a port in use is told at once and by the
//! name of the setting that changes it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use common::{Config, Error, Kind, Result};
use tokio::net::TcpListener;

use kafka::Security;

/// Open sockets of the doors.
pub struct Listeners {
    pub http: TcpListener,
    pub pg: Option<TcpListener>,
    pub kafka: Option<TcpListener>,
    pub(crate) kafka_security: Arc<Security>,
    pub(crate) config: Config,
}

impl Listeners {
    /// Binds all ports. Port 0 for HTTP lets the system choose; 0 for another means no such door.
    /// Files that the configuration names are relative to `dir`.
    pub async fn bind(config: &Config, dir: &Path) -> Result<Listeners> {
        let kafka_security = Arc::new(Security::open(config, dir)?);
        let http = bind(&config.host, config.http_port, "http.port", "--http-port").await?;
        let pg = match config.pg_port {
            0 => None,
            port => Some(bind(&config.host, port, "pg.port", "--pg-port").await?),
        };
        let kafka = match config.kafka_port {
            // Its clients talk to the real one.
            _ if config.log.starts_with("kafka://") => None,
            0 => None,
            port => Some(bind(config.kafka_host(), port, "kafka.port", "--kafka-port").await?),
        };
        Ok(Listeners { http, pg, kafka, kafka_security, config: config.clone() })
    }

    /// The address HTTP really listens on.
    pub fn http_address(&self) -> Result<SocketAddr> {
        self.http.local_addr().map_err(|e| Error::io("asking for the HTTP address", e))
    }
}

async fn bind(host: &str, port: u16, key: &str, flag: &str) -> Result<TcpListener> {
    match TcpListener::bind((host, port)).await {
        Ok(listener) => Ok(listener),
        Err(e) => {
            let error = Error::io(format!("listening on {host}:{port}"), e);
            Err(if error.kind() == Kind::Conflict {
                Error::conflict(format!("port {port} on {host} is in use by another program")).hint(
                    format!(
                        "choose another with {flag} {} or {key} in watershed.toml; \
                         is another watershed running?",
                        port.saturating_add(10)
                    ),
                )
            } else {
                error
            })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_names_port_and_flag() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut config = Config::load(None, [], &[]).unwrap();
        config.http_port = port;
        let e = Listeners::bind(&config, Path::new(".")).await.err().unwrap();
        assert_eq!(e.kind(), Kind::Conflict);
        assert!(e.to_string().contains(&port.to_string()), "{e}");
        assert!(e.to_string().contains("--http-port"), "{e}");
    }
}
