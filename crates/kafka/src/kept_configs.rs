//! Configurations of topics that Kafka 4 knows and that mean nothing on one node, or are done
//! otherwise here: they are taken, checked as Kafka checks them, kept and told. The topic's option
//! `kafka_configs` has those that differ from the default.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;

use super::configs::{BOOLEAN, INT, LIST, LONG, STRING};
use super::errors::Fault;

pub struct Kept {
    pub name: &'static str,
    pub kind: i8,
    pub default: &'static str,
}

const fn kept(name: &'static str, kind: i8, default: &'static str) -> Kept {
    Kept { name, kind, default }
}

pub const KEPT: [Kept; 19] = [
    kept("compression.gzip.level", INT, "-1"),
    kept("compression.lz4.level", INT, "9"),
    kept("compression.type", STRING, "producer"),
    kept("compression.zstd.level", INT, "3"),
    kept("file.delete.delay.ms", LONG, "60000"),
    kept("flush.messages", LONG, "9223372036854775807"),
    kept("flush.ms", LONG, "9223372036854775807"),
    kept("follower.replication.throttled.replicas", LIST, ""),
    kept("index.interval.bytes", INT, "4096"),
    kept("leader.replication.throttled.replicas", LIST, ""),
    kept("local.retention.bytes", LONG, "-2"),
    kept("local.retention.ms", LONG, "-2"),
    kept("min.insync.replicas", INT, "1"),
    kept("preallocate", BOOLEAN, "false"),
    kept("remote.log.copy.disable", BOOLEAN, "false"),
    kept("remote.log.delete.on.disable", BOOLEAN, "false"),
    kept("segment.index.bytes", INT, "10485760"),
    kept("segment.jitter.ms", LONG, "0"),
    kept("unclean.leader.election.enable", BOOLEAN, "false"),
];

const COMPRESSIONS: [&str; 6] = ["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

pub fn find(name: &str) -> Option<&'static Kept> {
    KEPT.iter().find(|k| k.name == name)
}

impl Kept {
    /// Whether Kafka would take this value.
    pub fn check(&self, value: &str) -> Result<(), Fault> {
        let number = value.parse::<i64>().ok();
        let least = i64::from(self.default.starts_with('-')).wrapping_mul(-2);
        let is_good = match (self.name, self.kind) {
            ("compression.type", _) => COMPRESSIONS.contains(&value),
            ("min.insync.replicas", _) => number.is_some_and(|n| n >= 1),
            (_, BOOLEAN) => matches!(value, "true" | "false"),
            (_, INT) => number.is_some_and(|n| n >= least && i32::try_from(n).is_ok()),
            (_, LONG) => number.is_some_and(|n| n >= least),
            _ => true,
        };
        match is_good {
            true => Ok(()),
            false => {
                let why = format!("Invalid value {value} for configuration {}", self.name);
                Err(Fault::new(ResponseError::InvalidConfig, why))
            }
        }
    }
}

/// The option `kafka_configs` of a topic that has these values; none for the defaults.
pub fn option(values: &BTreeMap<String, String>) -> Option<String> {
    let is_default = |(name, value): &(&String, &String)| {
        find(name).is_some_and(|k| k.default == value.as_str())
    };
    let told: serde_json::Map<String, serde_json::Value> = values
        .iter()
        .filter(|pair| !is_default(pair))
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    (!told.is_empty()).then(|| serde_json::Value::Object(told).to_string())
}
