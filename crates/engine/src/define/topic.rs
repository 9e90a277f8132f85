//! A topic as a kind of definition: what it stands for, and how it is made ready beside what runs.

use std::sync::Arc;

use catalog::{Definition, Object, Topic};
use common::Result;
use log::TopicConfig;

use crate::define::decide::Part;
use crate::define::planning::Checks;
use crate::define::prepared::{Prepared, Undo};
use crate::define::registry::TopicEntry;
use crate::inner::Inner;
use crate::stores::meta::{Meta, TopicRecord};
use crate::topics::ingest::TopicWriter;
use crate::topics::topic_log::{is_empty, log_config};
use crate::topics::validation;

pub fn part(topic: &Topic) -> Part {
    Part {
        kind: "TOPIC",
        name: topic.name.clone(),
        print: format!("{topic:?}"),
        connection: 0,
        topics: vec![],
        partitions: topic.partitions,
    }
}

pub fn prepare(
    inner: &Arc<Inner>,
    definition: Definition,
    checks: Checks,
    to: &mut Prepared,
) -> Result<()> {
    let Object::Topic(topic) = definition.object.clone() else { return Ok(()) };
    let external = &inner.external;
    if let Some(kafka) = external {
        kafka.create(&topic.name, &log_config(&topic))?;
    }
    let log = open_log(inner, &topic.name, log_config(&topic), &mut to.undo)?;
    let meta = Meta::new(&inner.kv)?;
    let mut record = TopicRecord::of(&topic);
    let known = meta.topic(&topic.name)?;
    if let Some(old) = known.as_ref().filter(|_| !is_empty(&log)) {
        record.succeed(old);
    }
    record.log_id = Some(log.id().to_string());
    if known.as_ref() != Some(&record) {
        to.undo.push(Undo::Record(topic.name.clone(), known));
        meta.put_topic(&record)?;
    }
    let (name, part) = (topic.name.clone(), part(&topic));
    let reader = inner.env.readers.topic(&topic.name)?;
    let writer = Arc::new(TopicWriter::new(topic, log, reader, checks, external.clone()));
    validation::catch_up(&writer, &inner.ingest)?;
    to.topics.insert(name, TopicEntry { definition, part, writer });
    Ok(())
}

/// The topic's log, made when it is not there.
fn open_log(
    inner: &Arc<Inner>,
    name: &str,
    config: TopicConfig,
    undo: &mut Vec<Undo>,
) -> Result<Arc<log::Topic>> {
    let Ok(log) = inner.log.topic(name) else {
        let log = inner.log.create_topic(name, config)?;
        undo.push(Undo::NewLog(name.to_string()));
        return Ok(log);
    };
    if config.partitions < log.config().partitions && is_empty(&log) {
        // Nothing is in it: made anew it is the same again.
        inner.log.drop_topic(name)?;
        return inner.log.create_topic(name, config);
    }
    if log.config() != config {
        undo.push(Undo::AlteredLog(name.to_string(), log.config()));
        inner.log.alter(name, config)?;
    }
    Ok(log)
}

pub fn take_back(inner: &Inner, step: Undo) -> Result<()> {
    match step {
        Undo::NewLog(name) => {
            if let Ok(log) = inner.log.topic(&name) {
                inner.env.readers.forget(log.id())?;
            }
            inner.log.drop_topic(&name)
        }
        Undo::AlteredLog(name, config) => inner.log.alter(&name, config).map(|_| ()),
        Undo::Record(_, Some(old)) => Meta::new(&inner.kv)?.put_topic(&old),
        Undo::Record(name, None) => Meta::new(&inner.kv)?.topic_dropped(&name),
    }
}
