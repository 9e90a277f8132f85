//! Small durable facts beside the catalog: which pipeline id a name has now, and what columns a
//! topic had when its stored events were taken in.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::Topic;
use common::{Epoch, Error, Result};
use kv::{Keyspace, Kv};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The keyspace `meta`.
pub struct Meta {
    kv: Arc<Kv>,
    keys: Keyspace,
}

#[derive(Clone, Serialize, Deserialize)]
struct PipelineRecord {
    version: u64,
    fingerprint: String,
    /// Epochs counted before this version: a view's readers must not take those of a new one for
    /// the sequel of the old one's.
    #[serde(default)]
    epochs: u64,
}

/// A pipeline that is to take the place of another.
pub struct NewPipeline {
    name: String,
    record: PipelineRecord,
    old: Option<PipelineRecord>,
}

/// The old one goes on while the new one is prepared: no reader shall find its next epoch among
/// the new ones.
const EPOCHS_APART: u64 = 1_000_000;

/// Under which id a pipeline keeps its state, and where its epochs begin.
pub struct PipelineId {
    pub id: String,
    pub first_epoch: Epoch,
}

/// What must not change under stored events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicRecord {
    pub name: String,
    /// Name and type.
    pub columns: Vec<(String, String)>,
    pub key: Option<String>,
    pub partitions: i32,
    pub format: String,
    /// Id of the topic in the log.
    #[serde(default)]
    pub log_id: Option<String>,
    /// Columns in which stored events may lack a value, whatever the definition says now.
    #[serde(default)]
    pub nullable: Vec<String>,
    /// What stored events have that lack a column, as JSON, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub defaults: BTreeMap<String, String>,
    /// Columns that there were once. The archive has their values, so none may come again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
}

impl TopicRecord {
    pub fn of(topic: &Topic) -> TopicRecord {
        let column = |c: &catalog::Column| (c.name.clone(), formats::types::sql_name(&c.data_type));
        TopicRecord {
            name: topic.name.clone(),
            columns: topic.columns.iter().map(column).collect(),
            key: topic.key.clone(),
            partitions: topic.partitions,
            format: topic.format.name().into(),
            log_id: None,
            nullable: topic.columns.iter().filter(|c| c.nullable).map(|c| c.name.clone()).collect(),
            defaults: topic.defaults().map(|(c, d)| (c.to_string(), d.to_string())).collect(),
            dropped: vec![],
        }
    }

    /// What of the topic before holds for its events on.
    pub fn succeed(&mut self, old: &TopicRecord) {
        let was = |name: &String| old.columns.iter().any(|(n, _)| n == name);
        let is = |name: &String| self.columns.iter().any(|(n, _)| n == name);
        let gone = old.columns.iter().map(|(n, _)| n).filter(|n| !is(n));
        self.dropped = old.dropped.iter().chain(gone).cloned().collect();
        // An event from before a column may have a NULL of its name.
        let new = self.columns.iter().map(|(n, _)| n).filter(|n| !was(n));
        self.nullable.extend(new.cloned());
        self.nullable.extend(old.nullable.clone());
    }

    /// The topic as its stored events have to be read: a column that was made NOT NULL later still
    /// has the NULLs of before.
    pub fn relaxed(&self, topic: &Topic) -> Topic {
        let mut topic = topic.clone();
        for column in &mut topic.columns {
            column.nullable |= self.nullable.contains(&column.name);
        }
        topic
    }

    pub fn has_columns_of(&self, topic: &Topic) -> bool {
        self.columns == TopicRecord::of(topic).columns
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
            let Some((_, is)) = next.columns.iter().find(|(n, _)| n == column) else { continue };
            if is != was && !is_wider(was, is) {
                return refuse(format!("column '{column}' can't change from {was} to {is}"));
            }
            if is != was && self.key.as_ref() == Some(column) {
                return refuse(format!("its key '{column}' can't become {is}"));
            }
            let default = |record: &TopicRecord| record.defaults.get(column).cloned();
            if default(self) != default(&next) {
                let was = default(self).unwrap_or_else(|| "NULL".into());
                return refuse(format!("the default of column '{column}' can't change from {was}"));
            }
        }
        for c in &new.columns {
            let known = self.columns.iter().any(|(n, _)| *n == c.name);
            if !known && !c.nullable && c.default.is_none() {
                return Err(Error::conflict(format!(
                    "topic '{name}' holds events, so the new column '{}' can't be NOT NULL",
                    c.name
                ))
                .hint("give it a DEFAULT, which the events have that are there already"));
            }
            if self.dropped.iter().any(|d| d.eq_ignore_ascii_case(&c.name)) {
                return refuse(format!("the dropped column '{}' can't come again", c.name));
            }
        }
        if self.partitions > next.partitions {
            let (was, is) = (self.partitions, next.partitions);
            return refuse(format!("it can't shrink from {was} to {is} partitions"));
        }
        if self.key != next.key {
            return refuse("its key can't change".into());
        }
        if self.format != next.format {
            let (was, is) = (&self.format, &next.format);
            return refuse(format!("its format can't change from '{was}' to '{is}'"));
        }
        // A key would go on in another partition, and the later of two records is not known there.
        if new.format.is_table() && self.partitions != next.partitions {
            let was = self.partitions;
            return refuse(format!(
                "and its records replace one another, it keeps {was} partitions"
            ));
        }
        Ok(())
    }
}

fn is_wider(was: &str, is: &str) -> bool {
    let types = (formats::types::parse(was), formats::types::parse(is));
    matches!(types, (Ok(was), Ok(is)) if formats::widen::widens(&was, &is))
}

impl Meta {
    pub fn new(kv: &Arc<Kv>) -> Result<Meta> {
        Ok(Meta { kv: kv.clone(), keys: kv.keyspace("meta")? })
    }

    /// The id under which a pipeline keeps its state. One with another fingerprint, or that is to
    /// begin anew, gets a new one, which is among `retired` until `commit_pipelines`: a crash
    /// before that leaves no waste.
    pub fn prepare_pipeline(
        &self,
        name: &str,
        fingerprint: &str,
        is_anew: bool,
    ) -> Result<(PipelineId, Option<NewPipeline>)> {
        let old = match self.get::<PipelineRecord>(&pipeline_key(name))? {
            Some(r) if r.fingerprint == fingerprint && !is_anew => {
                let id = PipelineId { id: id_of(name, &r), first_epoch: Epoch(r.epochs) };
                return Ok((id, None));
            }
            old => old,
        };
        let (version, epochs) = match &old {
            Some(old) => (old.version + 1, self.epochs(name, old)? + EPOCHS_APART),
            None => (1, 0),
        };
        let record = PipelineRecord { version, fingerprint: fingerprint.to_string(), epochs };
        self.put(&retired_key(name, &record), &())?;
        let id = PipelineId { id: id_of(name, &record), first_epoch: Epoch(epochs) };
        Ok((id, Some(NewPipeline { name: name.to_string(), record, old })))
    }

    /// New pipelines take the place of their predecessors, and `gone` are defined no longer. What
    /// the old ones kept is then among `retired`.
    pub fn commit_pipelines(&self, new: &[NewPipeline], gone: &[String]) -> Result<()> {
        let mut batch = self.kv.batch();
        for NewPipeline { name, record, old } in new {
            self.stage(&mut batch, &pipeline_key(name), record)?;
            batch.delete(&self.keys, retired_key(name, record).as_bytes());
            if let Some(old) = old {
                self.stage(&mut batch, &retired_key(name, old), &())?;
            }
        }
        for name in gone {
            let Some(old) = self.get::<PipelineRecord>(&pipeline_key(name))? else { continue };
            let epochs = self.epochs(name, &old)?;
            // The version goes on, so that a later view of this name never meets old state.
            let new = PipelineRecord { fingerprint: String::new(), epochs, ..old.clone() };
            self.stage(&mut batch, &pipeline_key(name), &new)?;
            self.stage(&mut batch, &retired_key(name, &old), &())?;
        }
        batch.commit_durable()
    }

    /// Names and ids of the pipelines that are defined, each with what its state belongs to.
    pub fn pipelines(&self) -> Result<Vec<(String, String, String)>> {
        let mut found = vec![];
        for name in self.names(&pipeline_key(""))? {
            let record = self.get::<PipelineRecord>(&pipeline_key(&name))?;
            if let Some(record) = record.filter(|r| !r.fingerprint.is_empty()) {
                found.push((name.clone(), id_of(&name, &record), record.fingerprint));
            }
        }
        Ok(found)
    }

    /// Ids whose state and rows are to be removed; `removed` ends the matter. Kept, so that a crash
    /// in between leaves neither half a state nor waste.
    pub fn retired(&self) -> Result<Vec<String>> {
        self.names(RETIRED)
    }

    pub fn removed(&self, id: &str) -> Result<()> {
        self.delete(&format!("{RETIRED}{id}"))
    }

    fn epochs(&self, name: &str, record: &PipelineRecord) -> Result<u64> {
        let last = state::load_checkpoint(&self.kv, &id_of(name, record))?;
        Ok(last.map_or(0, |c| c.epoch.0).max(record.epochs))
    }

    /// Topics whose removal was begun; `topic_dropped` ends it.
    pub fn dropping(&self) -> Result<Vec<String>> {
        self.names(DROPPING)
    }

    pub fn begin_drop(&self, topic: &str) -> Result<()> {
        self.put(&format!("{DROPPING}{topic}"), &())
    }

    pub fn cancel_drop(&self, topic: &str) -> Result<()> {
        self.delete(&format!("{DROPPING}{topic}"))
    }

    pub fn topic_dropped(&self, topic: &str) -> Result<()> {
        let mut batch = self.kv.batch();
        batch.delete(&self.keys, format!("topic\0{topic}").as_bytes());
        batch.delete(&self.keys, format!("{DROPPING}{topic}").as_bytes());
        batch.commit_durable()
    }

    pub fn topic(&self, name: &str) -> Result<Option<TopicRecord>> {
        self.get(&format!("topic\0{name}"))
    }

    /// Made once for a data folder (Kafka's `cluster.id`).
    pub fn cluster_id(&self) -> Result<String> {
        const KEY: &str = "cluster_id";
        if let Some(id) = self.get(KEY)? {
            return Ok(id);
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        self.put(KEY, &id)?;
        Ok(id)
    }

    pub fn put_topic(&self, record: &TopicRecord) -> Result<()> {
        self.put(&format!("topic\0{}", record.name), record)
    }

    /// What follows a prefix in the keys that have it.
    fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let mut names = vec![];
        for entry in self.keys.prefix(prefix.as_bytes())? {
            let name = entry?.0[prefix.len()..].to_vec();
            let name = String::from_utf8(name);
            names.push(name.map_err(|_| Error::corrupt("a key beside the catalog is damaged"))?);
        }
        Ok(names)
    }

    fn delete(&self, key: &str) -> Result<()> {
        let mut batch = self.kv.batch();
        batch.delete(&self.keys, key.as_bytes());
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
        let mut batch = self.kv.batch();
        self.stage(&mut batch, key, value)?;
        batch.commit_durable()
    }

    fn stage<T: Serialize>(&self, batch: &mut kv::Batch, key: &str, value: &T) -> Result<()> {
        let bytes = serde_json::to_vec(value)
            .map_err(|e| Error::internal(format!("encoding '{key}': {e}")))?;
        batch.put(&self.keys, key.as_bytes(), bytes);
        Ok(())
    }
}

const RETIRED: &str = "retired\0";
const DROPPING: &str = "dropping\0";

fn pipeline_key(name: &str) -> String {
    format!("pipeline\0{name}")
}

fn id_of(name: &str, record: &PipelineRecord) -> String {
    format!("{name}@{}", record.version)
}

fn retired_key(name: &str, record: &PipelineRecord) -> String {
    format!("{RETIRED}{}", id_of(name, record))
}
