//! What runs and how well, shaped as `GET /api/status` and `/api/objects` show it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use catalog::{Definition, Object};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::define::infos::{Ports, Status};
use crate::define::kind::Kind;
use crate::define::kinds::KINDS;
use crate::inner::Inner;

/// An object of any kind: where it stands in the flow of events, and what its kind says of it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ObjectInfo {
    pub kind: String,
    pub name: String,
    /// What it reads, and for a source the topic that it writes into.
    pub depends_on: Vec<String>,
    /// What its events go into next.
    pub feeds: Vec<String>,
    /// Where it is defined; nothing when it was typed in at run time.
    pub file: Option<String>,
    /// The statement that made it, without its secrets.
    pub statement: String,
    /// As the list of its kind has it.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub info: Value,
}

/// Every object, kind by kind.
pub fn objects(inner: &Arc<Inner>, only: Option<&catalog::Kind>) -> Vec<ObjectInfo> {
    let mut objects = vec![];
    let flow = flow(&inner.registry().definitions());
    let is_asked = |kind: &&dyn Kind| only.is_none_or(|only| kind.words() == only);
    for kind in KINDS.into_iter().filter(is_asked) {
        let infos = kind.list(inner);
        let registry = inner.registry();
        for info in infos {
            let name = info["name"].as_str().unwrap_or_default();
            let Some(definition) = registry.definition(name) else { continue };
            let spec = connectors::spec_of(&definition.object);
            objects.push(ObjectInfo {
                kind: kind.words().said(),
                name: name.to_string(),
                feeds: flow.get(name).cloned().unwrap_or_default(),
                depends_on: definition.depends_on.iter().map(|(n, _)| n.clone()).collect(),
                file: definition.origin.file.clone(),
                statement: connector::masked(spec, definition.origin.statement()).to_string(),
                info,
            });
        }
    }
    objects
}

/// What each object feeds, in the order of definitions.
fn flow(definitions: &[&Definition]) -> BTreeMap<String, Vec<String>> {
    let mut flow: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for definition in definitions {
        let name = definition.object.name();
        for (other, _) in &definition.depends_on {
            // A source needs the topic that it fills; all others are filled by what they need.
            let (from, to) = match &definition.object {
                Object::Source(_) => (name, other.as_str()),
                _ => (other.as_str(), name),
            };
            flow.entry(from.to_string()).or_default().push(to.to_string());
        }
    }
    flow
}

/// Takes samples of all counters until the platform closes.
pub async fn run(inner: Arc<Inner>) {
    let mut closing = inner.closing.subscribe();
    loop {
        tokio::select! {
            _ = closing.wait_for(|c| *c) => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => sample_rates(&inner),
        }
    }
}

fn sample_rates(inner: &Inner) {
    let counters: Vec<_> = {
        let registry = inner.registry();
        let of_kinds = KINDS.into_iter().flat_map(|kind| kind.counters(&registry));
        of_kinds.chain(crate::observe::operators::counters(&registry)).collect()
    };
    inner.rates.lock().unwrap_or_else(PoisonError::into_inner).sample(counters);
}

fn ports(inner: &Arc<Inner>) -> Ports {
    let project = &inner.project;
    let is_open = |port: &u16| *port != 0;
    // With a log elsewhere its clients talk to that.
    let kafka = Some(project.config.kafka_port).filter(|_| !project.has_external_log());
    Ports { pg: Some(project.config.pg_port).filter(is_open), kafka: kafka.filter(is_open) }
}

pub fn status(inner: &Arc<Inner>) -> Status {
    let mut status = Status {
        version: env!("CARGO_PKG_VERSION"),
        project: inner.project.name(),
        uptime_s: inner.started.elapsed().as_secs(),
        ready: crate::observe::problems::ready(inner).is_ok(),
        events_per_second: inner.rate("events"),
        ports: ports(inner),
        dead_letters: inner.dead_letters.total(),
        problems: crate::observe::problems::problems(inner),
        memory_bytes: crate::stores::memory::resident_bytes(),
        ..Status::default()
    };
    for kind in KINDS {
        kind.status(inner, &mut status);
    }
    status
}
