//! What the log of a project promises, for `watershed doctor`.

use connectors::kafka::{Cluster, TopicFacts};

use crate::stores::project::Project;

/// What the log of a project promises, in a sentence each; false where something is in the way.
pub fn promises(project: &Project) -> Vec<(bool, String)> {
    let log = &project.config.log;
    if !log.starts_with(connectors::kafka::SCHEME) {
        return vec![
            (
                true,
                "an acknowledged record is synced to this machine's disk (in topics with \
                 durability = 'page_cache' it may be lost by a power cut within a second)"
                    .into(),
            ),
            (true, "imports, sources with positions, views and the lake are exactly once".into()),
        ];
    }
    let cluster = match Cluster::parse(log) {
        Ok(cluster) => cluster,
        Err(e) => return vec![(false, e.to_string())],
    };
    let mut says = vec![(
        true,
        format!(
            "imports, sources with positions, views and the lake are exactly once, by \
             transactions of Kafka at {}",
            cluster.brokers()
        ),
    )];
    let texts = project.sql_texts().unwrap_or_default();
    let definitions = crate::define::texts::parse_all(&texts).unwrap_or_default();
    for definition in definitions {
        let catalog::Object::Topic(topic) = definition.object else { continue };
        match cluster.topic(&topic.name) {
            Ok(facts) => says.push(promise(&topic.name, facts)),
            Err(e) => {
                says.push((false, e.to_string()));
                break;
            }
        }
    }
    says
}

fn promise(topic: &str, facts: Option<TopicFacts>) -> (bool, String) {
    let Some(TopicFacts { replicas, in_sync_min, is_synced, .. }) = facts else {
        let says = format!("topic '{topic}' is made with the cluster's defaults at the start");
        return (true, says);
    };
    let safe = in_sync_min.unwrap_or(1).min(replicas);
    let disk = match is_synced {
        true => "synced to disk",
        false => "in memory, not synced to disk (flush.messages is not 1)",
    };
    let machines = if safe == 1 { "one broker".into() } else { format!("{safe} brokers") };
    let says = format!(
        "topic '{topic}': an acknowledged record is on {machines} of {replicas} that have it, \
         {disk}"
    );
    (true, says)
}
