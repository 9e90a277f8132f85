//! Wrappers around any source or sink whose errors have no secrets: a server may answer with the
//! very header it was sent, and a driver may quote a URL with the password in it.

use arrow::array::{Int8Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use common::{Epoch, Result};

use crate::{Scrub, Sink, Source, SourceBatch};

/// A source or a sink, and what is not to be said.
pub struct Discreet<T: ?Sized> {
    scrub: Scrub,
    inner: Box<T>,
}

impl<T: ?Sized> Discreet<T> {
    pub fn new(inner: Box<T>, scrub: Scrub) -> Self {
        Self { scrub, inner }
    }
}

#[async_trait]
impl Source for Discreet<dyn Source> {
    async fn open(&mut self, position: Option<&str>) -> Result<()> {
        self.inner.open(position).await.map_err(|e| self.scrub.error(e))
    }

    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        self.inner.next().await.map_err(|e| self.scrub.error(e))
    }

    async fn committed(&mut self, position: &str) -> Result<()> {
        self.inner.committed(position).await.map_err(|e| self.scrub.error(e))
    }
}

#[async_trait]
impl Sink for Discreet<dyn Sink> {
    async fn open(&mut self, schema: SchemaRef) -> Result<Option<Epoch>> {
        self.inner.open(schema).await.map_err(|e| self.scrub.error(e))
    }

    async fn write(
        &mut self,
        epoch: Epoch,
        changes: &RecordBatch,
        weights: Option<&Int8Array>,
    ) -> Result<()> {
        self.inner.write(epoch, changes, weights).await.map_err(|e| self.scrub.error(e))
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<()> {
        self.inner.prepare(epoch).await.map_err(|e| self.scrub.error(e))
    }

    async fn commit(&mut self, epoch: Epoch) -> Result<()> {
        self.inner.commit(epoch).await.map_err(|e| self.scrub.error(e))
    }
}
