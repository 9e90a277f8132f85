//! Who may talk to the Kafka door, and how: TLS, SASL mechanisms, keys for tokens, the address that
//! is advertised. Made of the configuration before the door opens; a fault stops the start and
//! names the key or file. Read next: `tls.rs`, then `../sasl/mod.rs`.

mod certificate;
mod tls;
pub mod watched;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Config, Error, Result};
use tokio::sync::Semaphore;

use super::sasl::Mechanism;
use super::sasl::tokens::Tokens;
pub use tls::Tls;

/// How often files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Addresses are spread over so many queues for logins.
const QUEUES: usize = 64;
/// Logins of one queue that are checked at once. One that fails keeps its place for a while, so
/// that nobody can try many passwords, from however many connections.
const LOGINS_AT_ONCE: usize = 4;

/// What a client is told to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub host: Arc<str>,
    pub port: u16,
}

/// Settings of the door.
pub struct Security {
    pub tls: Option<Arc<Tls>>,
    /// None: nobody needs to log in.
    pub mechanisms: Vec<Mechanism>,
    /// How tokens are checked; there with OAUTHBEARER.
    pub tokens: Option<Arc<Tokens>>,
    pub session_lifetime: Option<Duration>,
    pub advertised: Option<Endpoint>,
    /// Salts of unknown users are made with it.
    pub secret: [u8; 32],
    queues: Vec<Arc<Semaphore>>,
    spread: RandomState,
}

impl Security {
    /// Reads all files. Paths are relative to the project's folder.
    pub fn open(config: &Config, dir: &Path) -> Result<Security> {
        let mechanisms = mechanisms(&config.kafka_sasl)?;
        let tokens = match mechanisms.contains(&Mechanism::OAuthBearer) {
            true => Some(Arc::new(Tokens::open(config, dir)?)),
            false => None,
        };
        let session_lifetime = config.kafka_session_lifetime.to_std();
        Ok(Security {
            tls: Tls::open(config, dir)?.map(Arc::new),
            mechanisms,
            tokens,
            session_lifetime: (!session_lifetime.is_zero()).then_some(session_lifetime),
            advertised: advertised(&config.kafka_advertised)?,
            secret: engine::scram::random()?,
            queues: (0..QUEUES).map(|_| Arc::new(Semaphore::new(LOGINS_AT_ONCE))).collect(),
            spread: RandomState::new(),
        })
    }

    /// Mechanisms for a connection. What shows a password or a token is not for the open network.
    pub fn mechanisms_for(&self, is_private: bool) -> Vec<Mechanism> {
        let allowed = |m: &Mechanism| is_private || !m.shows_secrets();
        self.mechanisms.iter().copied().filter(allowed).collect()
    }

    /// Where logins from an address wait for their turn.
    pub fn queue(&self, address: IpAddr) -> Option<Arc<Semaphore>> {
        let n = self.spread.hash_one(address) as usize % self.queues.len().max(1);
        self.queues.get(n).cloned()
    }

    /// Reads files again when they change, until the process stops.
    pub async fn follow_files(&self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if let Some(tls) = &self.tls {
                tls.look();
            }
            if let Some(tokens) = &self.tokens {
                tokens.look();
            }
        }
    }
}

fn mechanisms(names: &[String]) -> Result<Vec<Mechanism>> {
    let known = Mechanism::ALL.map(Mechanism::name);
    let one = |name: &String| {
        let found = Mechanism::from_name(name);
        found.ok_or_else(|| Error::unknown("value", name, known).context("'kafka.sasl'"))
    };
    names.iter().map(one).collect()
}

fn advertised(text: &str) -> Result<Option<Endpoint>> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.rsplit_once(':').and_then(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then(|| Endpoint { host: host.into(), port })
    });
    match parsed {
        Some(endpoint) => Ok(Some(endpoint)),
        None => Err(Error::invalid(format!("'kafka.advertised': '{text}' is not host:port"))
            .hint("for instance: kafka.advertised = \"events.example.org:4682\"")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn open(settings: &[(&str, &str)]) -> Result<Security> {
        let flags: Vec<_> = settings.iter().map(|(k, v)| (*k, v.to_string())).collect();
        Security::open(&Config::load(None, [], &flags).unwrap(), Path::new("."))
    }

    #[test]
    fn faults_name_the_key() {
        for (settings, part) in [
            (&[("kafka.sasl", "SCRAM-SHA-1")][..], "'kafka.sasl': unknown value 'SCRAM-SHA-1'"),
            (&[("kafka.sasl", "OAUTHBEARER")], "kafka.oauth.jwks"),
            (&[("kafka.advertised", "host")], "'kafka.advertised': 'host' is not host:port"),
            (&[("kafka.advertised", ":1")], "'kafka.advertised'"),
            (&[("kafka.advertised", "a:0")], "'kafka.advertised'"),
            (&[("kafka.tls.certificate", "no.pem")], "kafka.tls.key"),
            (&[("kafka.tls.key", "no.pem")], "kafka.tls.certificate"),
            (&[("kafka.tls.client_ca", "no.pem")], "kafka.tls.certificate"),
        ] {
            let e = open(settings).err().unwrap().to_string();
            assert!(e.contains(part), "{settings:?}: {e}");
        }
        let advertised = open(&[("kafka.advertised", "[::1]:9092")]).unwrap().advertised;
        assert_eq!(advertised, Some(Endpoint { host: "::1".into(), port: 9092 }));
    }

    #[test]
    fn what_shows_secrets_is_not_for_the_open_network() {
        let all = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512";
        let security = open(&[("kafka.sasl", all)]).unwrap();
        assert_eq!(security.mechanisms_for(true).len(), 3);
        let open = security.mechanisms_for(false);
        assert!(!open.contains(&Mechanism::Plain) && open.len() == 2, "{open:?}");
    }
}
