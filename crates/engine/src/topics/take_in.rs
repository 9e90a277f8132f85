//! Bodies that come through a door: checked, and in the log once the answer is given.

use std::sync::Arc;

use bytes::Bytes;
use common::Result;
use formats::BodyKind;

use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::topics::ingest::{Ingested, Origin};
use crate::topics::once::import_producer;

/// Takes in a body; returns once all of it is durable, in the log or in the dead letters.
pub async fn ingest(
    inner: &Arc<Inner>,
    topic: &str,
    body: Bytes,
    kind: BodyKind,
) -> Result<Ingested> {
    inner.check_open()?;
    let writer = inner.topic_writer(topic)?;
    let ctx = inner.ingest.clone();
    let (writer2, ctx2) = (writer.clone(), ctx.clone());
    let checked = blocking(move || writer2.check_body(&ctx2, &body, kind, None, None)).await?;
    writer.append(&ctx, checked, None).await
}

/// Takes in batch `sequence` (from 1) of an import, once however often it is sent.
pub async fn ingest_import(
    inner: &Arc<Inner>,
    topic: &str,
    import: &str,
    sequence: u64,
    body: Bytes,
    kind: BodyKind,
    origin: Option<Origin>,
) -> Result<Ingested> {
    inner.check_open()?;
    let writer = inner.topic_writer(topic)?;
    let ctx = inner.ingest.clone();
    let producer = import_producer(topic, import);
    let (writer2, ctx2) = (writer.clone(), ctx.clone());
    let check =
        move |mark: &str| writer2.check_body(&ctx2, &body, kind, Some(mark), origin.as_ref());
    inner.producers.append(&writer, &ctx, &producer, sequence, None, check).await
}
