//! Small durable facts beside the catalog: which pipeline id a name has now, and what columns a
//! topic had when its stored events were taken in.

use std::sync::Arc;

use catalog::Topic;
use common::{Error, Result};
use kv::{Keyspace, Kv};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The keyspace `meta`.
pub struct Meta {
    kv: Arc<Kv>,
    keys: Keyspace,
}

#[derive(Serialize, Deserialize)]
struct PipelineRecord {
    version: u64,
    fingerprint: String,
}

/// What must not change under stored events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TopicRecord {
    pub name: String,
    /// Name and type.
    pub columns: Vec<(String, String)>,
    pub key: Option<String>,
    pub partitions: i32,
    pub format: String,
}

impl TopicRecord {
    pub fn of(topic: &Topic) -> TopicRecord {
        let column = |c: &catalog::Column| (c.name.clone(), formats::types::sql_name(&c.data_type));
        TopicRecord {
            name: topic.name.clone(),
            columns: topic.columns.iter().map(column).collect(),
            key: topic.key.clone(),
            partitions: topic.partitions,
            format: topic.format.clone(),
        }
    }

    /// Whether events stored under `self` can be read as `new`.
    pub fn check(&self, new: &Topic) -> Result<()> {
        let next = TopicRecord::of(new);
        let name = &self.name;
        let refuse = |what: String| {
            Err(Error::conflict(format!("topic '{name}' holds events, so {what}"))
                .hint("make a new topic, or DROP TOPIC first: its events are lost then"))
        };
        for (column, was) in &self.columns {
            match next.columns.iter().find(|(n, _)| n == column) {
                None => return refuse(format!("column '{column}' can't be removed")),
                Some((_, is)) if is != was => {
                    return refuse(format!("column '{column}' can't change from {was} to {is}"));
                }
                Some(_) => {}
            }
        }
        for c in &new.columns {
            let known = self.columns.iter().any(|(n, _)| *n == c.name);
            if !known && !c.nullable {
                return refuse(format!("the new column '{}' can't be NOT NULL", c.name));
            }
        }
        if self.partitions != next.partitions {
            let (was, is) = (self.partitions, next.partitions);
            return refuse(format!("it can't change from {was} to {is} partitions"));
        }
        if self.key != next.key {
            return refuse("its key can't change".into());
        }
        Ok(())
    }
}

impl Meta {
    pub fn new(kv: &Arc<Kv>) -> Result<Meta> {
        Ok(Meta { kv: kv.clone(), keys: kv.keyspace("meta")? })
    }

    /// The id under which a pipeline keeps its state; a changed fingerprint gets a new one, and
    /// what the old one kept is removed first.
    pub fn pipeline_id(
        &self,
        name: &str,
        fingerprint: &str,
        remove: impl FnOnce(&str) -> Result<()>,
    ) -> Result<String> {
        let key = format!("pipeline\0{name}");
        let version = match self.get::<PipelineRecord>(&key)? {
            Some(r) if r.fingerprint == fingerprint => return Ok(format!("{name}@{}", r.version)),
            Some(r) => {
                remove(&format!("{name}@{}", r.version))?;
                r.version + 1
            }
            None => 1,
        };
        self.put(&key, &PipelineRecord { version, fingerprint: fingerprint.to_string() })?;
        Ok(format!("{name}@{version}"))
    }

    pub fn remove_pipeline(&self, name: &str) -> Result<()> {
        // The version goes on, so that a later view of this name never meets old state.
        let key = format!("pipeline\0{name}");
        match self.get::<PipelineRecord>(&key)? {
            Some(r) => {
                self.put(&key, &PipelineRecord { version: r.version, fingerprint: String::new() })
            }
            None => Ok(()),
        }
    }

    pub fn topic(&self, name: &str) -> Result<Option<TopicRecord>> {
        self.get(&format!("topic\0{name}"))
    }

    pub fn put_topic(&self, record: &TopicRecord) -> Result<()> {
        self.put(&format!("topic\0{}", record.name), record)
    }

    pub fn remove_topic(&self, name: &str) -> Result<()> {
        let mut batch = self.kv.batch();
        batch.delete(&self.keys, format!("topic\0{name}").as_bytes());
        batch.commit_durable()
    }

    fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        match self.keys.get(key.as_bytes())? {
            Some(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| Error::corrupt(format!("the record '{key}' does not decode: {e}"))),
            None => Ok(None),
        }
    }

    fn put<T: Serialize>(&self, key: &str, value: &T) -> Result<()> {
        let bytes = serde_json::to_vec(value)
            .map_err(|e| Error::internal(format!("encoding '{key}': {e}")))?;
        let mut batch = self.kv.batch();
        batch.put(&self.keys, key.as_bytes(), bytes);
        batch.commit_durable()
    }
}
