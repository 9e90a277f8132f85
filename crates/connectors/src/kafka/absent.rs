//! Stands in the place of the driver where it was left out: nothing can be opened, so nothing has a
//! value.

use std::convert::Infallible;

use common::{Error, Partition, Result};

use super::{Cluster, Committed, Event, Ranges, Record, TopicFacts};

fn absent<T>() -> Result<T> {
    Err(Error::unsupported("this program was built without the driver for Kafka")
        .hint("build it with: cargo build --features kafka (watershed version lists the drivers)"))
}

impl Cluster {
    pub fn topic(&self, _: &str) -> Result<Option<TopicFacts>> {
        absent()
    }

    pub fn create_topic(&self, _: &str, _: i32, _: &[(&str, String)]) -> Result<()> {
        absent()
    }
}

#[derive(Clone)]
pub struct Producer(Infallible);

impl Producer {
    pub fn open(_: &Cluster) -> Result<Producer> {
        absent()
    }

    pub fn request<'a>(&'a self, _: &'a str) -> Request<'a> {
        match self.0 {}
    }
}

pub struct Request<'a>(&'a Infallible);

impl Request<'_> {
    pub async fn push(&self, _: Option<Partition>, _: Record<'_>) -> Result<()> {
        match *self.0 {}
    }

    pub async fn finish(self) -> Result<Ranges> {
        match *self.0 {}
    }
}

pub struct TransactionalProducer(Infallible);

impl TransactionalProducer {
    pub fn open(_: &Cluster, _: &str) -> Result<TransactionalProducer> {
        absent()
    }

    pub fn committed(&self, _: &str) -> Result<Option<Committed>> {
        match self.0 {}
    }

    pub fn begin(&self) -> Result<()> {
        match self.0 {}
    }

    pub fn request<'a>(&'a self, _: &'a str) -> Request<'a> {
        match self.0 {}
    }

    pub fn commit(&self, _: &str, _: u64, _: &str) -> Result<()> {
        match self.0 {}
    }

    pub fn abort(&self) -> Result<()> {
        match self.0 {}
    }
}

pub struct Follower(Infallible);

impl Follower {
    pub fn start(
        _: &Cluster,
        _: impl FnMut(Event<'_>) -> Result<()> + Send + 'static,
    ) -> Result<Follower> {
        absent()
    }

    pub fn follow(&self, _: &str, _: Partition) {
        match self.0 {}
    }

    pub fn forget(&self, _: &str) {
        match self.0 {}
    }

    pub fn stop(&self) {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn says_what_is_missing() {
        let cluster = Cluster::parse("kafka://a:9092").unwrap();
        let e = Producer::open(&cluster).err().unwrap();
        assert!(e.message().contains("without the driver for Kafka"), "{e}");
        assert!(cluster.topic("t").is_err());
    }
}
