//! What librdkafka is asked about a cluster itself: topics, and how its errors are told.

use common::{Error, Kind, Result};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{ANSWER_MAX, Cluster, TopicFacts};

impl Cluster {
    pub(super) fn config(&self) -> ClientConfig {
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

    pub(super) fn failed(&self, doing: &str, e: &KafkaError) -> Error {
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
