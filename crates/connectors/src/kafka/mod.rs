//! A real Kafka, through librdkafka: the `kafka` sink, and what the engine needs to keep its
//! topics there (`log = "kafka://…"`): topics, a producer, a transactional producer, a follower.

mod follower;
mod producer;
mod sink;
mod transactions;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use common::secret::shown_url;
use common::{Error, Kind, Result};
use connector::Outside;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

pub use follower::{Event, Follower, Incoming};
pub use producer::{Producer, Ranges, Record, Request};
pub use sink::{SPEC, make};
pub use transactions::{Committed, TransactionalProducer};

/// What a URL of a cluster begins with.
pub const SCHEME: &str = "kafka://";
/// For one answer of the cluster.
const ANSWER_MAX: Duration = Duration::from_secs(30);

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

/// What a cluster does with the records of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    pub partitions: i32,
    /// Copies of each record; the smallest number over all partitions.
    pub replicas: usize,
    /// `min.insync.replicas`, if the cluster tells.
    pub in_sync_min: Option<usize>,
    /// `flush.messages` is 1: each record is synced before it is acknowledged.
    pub is_synced: bool,
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

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "watershed")
            .set("reconnect.backoff.max.ms", "2000")
            .set("log_level", "2");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        self.config().create().map_err(|e| self.failed("connecting", &e))
    }

    /// Partitions and replicas of a topic; none if the cluster does not have it. Blocks.
    pub fn topic(&self, name: &str) -> Result<Option<TopicFacts>> {
        let admin = self.admin()?;
        // Of all topics: asked for by its name, a missing one may be made.
        let metadata = admin.inner().fetch_metadata(None, ANSWER_MAX);
        let metadata = metadata.map_err(|e| self.failed("listing its topics", &e))?;
        let Some(topic) = metadata.topics().iter().find(|t| t.name() == name) else {
            return Ok(None);
        };
        let partitions = topic.partitions();
        let replicas = partitions.iter().map(|p| p.replicas().len()).min().unwrap_or(0);
        let asked = [ResourceSpecifier::Topic(name)];
        let answer = admin.describe_configs(&asked, &AdminOptions::new());
        let configs = futures::executor::block_on(answer).ok().and_then(|mut a| a.pop()?.ok());
        let config = |key| configs.as_ref()?.get(key)?.value.clone();
        Ok(Some(TopicFacts {
            partitions: partitions.len() as i32,
            replicas,
            in_sync_min: config("min.insync.replicas").and_then(|v| v.parse().ok()),
            is_synced: config("flush.messages").as_deref() == Some("1"),
        }))
    }

    /// Makes a topic, with the cluster's number of replicas. Blocks.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(&str, String)],
    ) -> Result<()> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        for (key, value) in configs {
            topic = topic.set(key, value);
        }
        let doing = format!("creating topic '{name}'");
        let options = AdminOptions::new().operation_timeout(Some(ANSWER_MAX));
        let admin = self.admin()?;
        let answer = futures::executor::block_on(admin.create_topics([&topic], &options));
        for result in answer.map_err(|e| self.failed(&doing, &e))? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(self.failed(&doing, &KafkaError::AdminOp(code))),
            }
        }
        Ok(())
    }

    fn failed(&self, doing: &str, e: &KafkaError) -> Error {
        let code = e.rdkafka_error_code();
        let kind = match (e, code) {
            (KafkaError::ClientConfig(..), _) => Kind::Invalid,
            (_, Some(RDKafkaErrorCode::UnknownTopicOrPartition)) => Kind::NotFound,
            (_, Some(RDKafkaErrorCode::MessageSizeTooLarge)) => Kind::TooLarge,
            (_, Some(RDKafkaErrorCode::PolicyViolation | RDKafkaErrorCode::InvalidConfig)) => {
                Kind::Invalid
            }
            (
                _,
                Some(
                    RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::ClusterAuthorizationFailed
                    | RDKafkaErrorCode::GroupAuthorizationFailed
                    | RDKafkaErrorCode::SaslAuthenticationFailed
                    | RDKafkaErrorCode::Authentication,
                ),
            ) => Kind::Denied,
            _ => Kind::Unavailable,
        };
        let why = match (e, code) {
            // The value may be a password, and librdkafka quotes it in its reason.
            (KafkaError::ClientConfig(_, why, key, value), _) => match value.is_empty() {
                true => format!("{key}: {why}"),
                false => format!("{key}: {}", why.replace(value, "***")),
            },
            (_, Some(code)) => code.to_string(),
            _ => e.to_string(),
        };
        Error::new(kind, format!("Kafka at {}: {doing}: {why}", self.brokers))
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
    fn urls_name_brokers_and_properties() {
        let c = Cluster::parse("kafka://a:9092,b:9093?linger.ms=3&client.id=x").unwrap();
        assert_eq!(c.brokers(), "a:9092,b:9093");
        assert_eq!(c.config().get("linger.ms"), Some("3"));
        assert_eq!(c.config().get("client.id"), Some("x"));
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
