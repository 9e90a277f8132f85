//! A source as a kind of definition.

use std::sync::Arc;

use catalog::{Definition, Object, Source};
use common::{Error, Result};

use crate::access::secrets::{connection, outside_of};
use crate::define::decide::Part;
use crate::define::prepared::{NewSource, Prepared};
use crate::flows::sources::SourceRunner;
use crate::inner::Inner;

pub fn part(source: &Source, connection: u64) -> Part {
    Part {
        kind: "SOURCE",
        name: source.name.clone(),
        print: format!("{source:?}"),
        connection,
        topics: vec![source.into.clone()],
        partitions: 0,
    }
}

pub fn prepare(inner: &Arc<Inner>, definition: Definition, to: &mut Prepared) -> Result<()> {
    let Object::Source(source) = definition.object.clone() else { return Ok(()) };
    let running = || inner.registry().topics.get(&source.into).map(|t| t.writer.clone());
    let writer = to.topics.get(&source.into).map(|new| new.writer.clone()).or_else(running);
    let Some(writer) = writer else {
        return Err(Error::internal(format!("source '{}' has no topic", source.name)));
    };
    let part = part(&source, connection(&inner.rules, &definition)?.digest());
    let outside = outside_of(&inner.rules, &definition);
    let (ingest, producers) = (&inner.ingest, &inner.producers);
    let made = SourceRunner::make(&source, outside, writer, ingest, producers)?;
    to.sources.insert(source.name.clone(), NewSource { definition, part, made });
    Ok(())
}
