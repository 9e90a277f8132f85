//! A real Kafka, through librdkafka: the `kafka` sink, and what the engine needs to keep its
//! topics there (`log = "kafka://…"`): topics, a producer, a transactional producer, a follower.
//! The driver is the feature `kafka`; without it a cluster can be named and not be reached.

#[cfg(not(feature = "kafka"))]
mod absent;
#[cfg(feature = "kafka")]
mod cluster;
#[cfg(feature = "kafka")]
mod follower;
#[cfg(feature = "kafka")]
mod producer;
mod record;
mod sink;
#[cfg(feature = "kafka")]
mod transactions;

use std::collections::BTreeMap;
use std::fmt;

use common::secret::shown_url;
use common::{Error, Result};
use connector::Outside;

#[cfg(not(feature = "kafka"))]
pub use absent::{Follower, Producer, Request, TransactionalProducer};
#[cfg(feature = "kafka")]
pub use follower::Follower;
#[cfg(feature = "kafka")]
pub use producer::{Producer, Request};
pub use record::{Committed, Event, Incoming, Ranges, Record, TopicFacts};
pub use sink::{SPEC, make};
#[cfg(feature = "kafka")]
pub use transactions::TransactionalProducer;

/// What a URL of a cluster begins with.
pub const SCHEME: &str = "kafka://";
/// For one answer of the cluster.
#[cfg(feature = "kafka")]
const ANSWER_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// Properties that a sink typed at run time may have. Others name files, programs and libraries
/// that librdkafka reads, starts and loads.
const OPEN_PROPERTIES: [&str; 15] = [
    "acks",
    "batch.num.messages",
    "batch.size",
    "client.id",
    "compression.codec",
    "compression.type",
    "linger.ms",
    "message.max.bytes",
    "message.timeout.ms",
    "request.timeout.ms",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "security.protocol",
];

/// A Kafka cluster: where its brokers are, and how to talk to them.
#[derive(Clone, PartialEq, Eq)]
pub struct Cluster {
    brokers: String,
    /// Properties of librdkafka, by their names in its manual.
    properties: BTreeMap<String, String>,
}

impl Cluster {
    /// From `kafka://host:port[,host:port…][?property=value&…]`.
    pub fn parse(url: &str) -> Result<Cluster> {
        let shape = "write it as kafka://host:port[,host:port][?property=value&…], with \
                     properties of librdkafka";
        let bad = |why: &str| Error::invalid(format!("'{}' {why}", shown_url(url))).hint(shape);
        let rest = url.strip_prefix(SCHEME).ok_or_else(|| bad("is no URL of a Kafka cluster"))?;
        let (brokers, query) = rest.split_once('?').unwrap_or((rest, ""));
        let has_port = |broker: &str| {
            broker.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
            })
        };
        if let Some(broker) = brokers.split(',').find(|broker| !has_port(broker)) {
            return Err(bad(&format!("names a broker without host and port: '{broker}'")));
        }
        let mut properties = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| bad("has a property without a value"))?;
            properties.insert(name.to_string(), value.to_string());
        }
        Ok(Cluster { brokers: brokers.to_string(), properties })
    }

    /// Whether a definition may use the cluster. librdkafka connects by itself, to whatever the
    /// brokers name, so brokers must be listed.
    pub fn check_reach(&self, outside: &Outside) -> Result<()> {
        if outside.is_trusted() {
            return Ok(());
        }
        for broker in self.brokers.split(',') {
            let (host, port) = broker.rsplit_once(':').unwrap_or((broker, ""));
            let host = host.trim_matches(['[', ']']).to_lowercase();
            if !outside.is_listed(&host, port.parse().unwrap_or(0)) {
                let what = "a statement typed at run time may not reach the broker";
                return Err(Error::denied(format!("{what} '{broker}'")).hint(format!(
                    "list '{broker}' in http.allowed (watershed.toml), or define this in a file \
                     under 'sql'"
                )));
            }
        }
        match self.properties.keys().find(|p| !OPEN_PROPERTIES.contains(&p.as_str())) {
            None => Ok(()),
            Some(property) => {
                let what = "a statement typed at run time may not set the property";
                Err(Error::denied(format!("{what} '{property}'"))
                    .hint("define the sink in a file under 'sql'"))
            }
        }
    }

    /// The brokers as they were given, without properties: what may be shown.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster {}", self.brokers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "kafka")]
    fn properties_are_librdkafkas() {
        let c = Cluster::parse("kafka://a:9092,b:9093?linger.ms=3&client.id=x").unwrap();
        assert_eq!(c.config().get("linger.ms"), Some("3"));
        assert_eq!(c.config().get("client.id"), Some("x"));
    }

    #[test]
    fn urls_name_brokers_and_properties() {
        let c = Cluster::parse("kafka://a:9092,b:9093?linger.ms=3&client.id=x").unwrap();
        assert_eq!(c.brokers(), "a:9092,b:9093");
        for (url, why) in [
            ("kafka://", "broker without host and port: ''"),
            ("kafka://a:9092,", "broker without host and port: ''"),
            ("kafka://:9092", "broker without host and port: ':9092'"),
            ("kafka://a:0", "broker without host and port: 'a:0'"),
            ("kafka://a:9092?x", "a property without a value"),
            ("http://a:9092", "is no URL of a Kafka cluster"),
        ] {
            let e = Cluster::parse(url).unwrap_err();
            assert!(e.message().contains(why), "{url}: {e}");
        }
    }
}
