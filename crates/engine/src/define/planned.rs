//! Plans all definitions in order, each against those before it, and gathers every fault. It needs
//! no data, so a folder can be checked where nothing runs.

use std::sync::Arc;

use catalog::{Definition, Object, Topic};
use common::{Error, Result};
use connector::Outside;
use datafusion::execution::runtime_env::RuntimeEnv;

use crate::define::planning::{Checks, PlannedQuery, Planning, Wrong};

/// A definition that can run.
pub(crate) enum Planned {
    Topic { definition: Definition, checks: Checks },
    Source(Definition),
    View { definition: Definition, query: PlannedQuery },
    Sink { definition: Definition, query: PlannedQuery },
}

impl Planned {
    pub(crate) fn definition(&self) -> &Definition {
        match self {
            Planned::Topic { definition, .. }
            | Planned::Source(definition)
            | Planned::View { definition, .. }
            | Planned::Sink { definition, .. } => definition,
        }
    }
}

/// Plans what is ordered by what it reads. `outside` tells what a definition may reach, `as_stored`
/// which columns a topic has together with those of its events.
pub(crate) async fn plan_all(
    runtime: &Arc<RuntimeEnv>,
    ordered: Vec<Definition>,
    outside: &(dyn Fn(&Definition) -> Outside + Send + Sync),
    as_stored: &(dyn Fn(&Topic) -> Result<Topic> + Send + Sync),
) -> Result<Vec<Planned>, Vec<Error>> {
    let mut planning = Planning::new(runtime).map_err(|e| vec![e])?;
    let mut planned = vec![];
    let mut faults = vec![];
    let mut wrong = Wrong::default();
    for definition in ordered {
        if let Err(e) = connectors::check_definition(&definition, &outside(&definition)) {
            faults.extend(e);
            continue;
        }
        if wrong.reads(&definition) {
            continue;
        }
        let name = definition.object.name().to_string();
        match plan_one(&mut planning, definition, as_stored).await {
            Ok(p) => planned.push(p),
            Err(e) => {
                faults.extend(e);
                wrong.add(name);
            }
        }
    }
    if faults.is_empty() { Ok(planned) } else { Err(faults) }
}

async fn plan_one(
    planning: &mut Planning,
    definition: Definition,
    as_stored: &(dyn Fn(&Topic) -> Result<Topic> + Send + Sync),
) -> Result<Planned, Vec<Error>> {
    let one = |e: Error| vec![e];
    let place = definition.origin.place(definition.origin.span.clone());
    match &definition.object {
        Object::Topic(topic) => {
            let topic = as_stored(topic).map_err(|e| one(e.at(place)))?;
            let checks = planning.add_topic(&definition, &topic)?;
            Ok(Planned::Topic { definition, checks })
        }
        Object::Source(source) => {
            if !planning.is_topic(&source.into) {
                let e = Error::invalid(format!("'{}' is not a topic", source.into))
                    .hint("a source writes INTO a topic");
                return Err(one(e.at(place)));
            }
            Ok(Planned::Source(definition))
        }
        Object::View(view) => {
            let query = planning.query(&definition, &view.query).await.map_err(one)?;
            planning.add_view(&view.name, &query).map_err(one)?;
            Ok(Planned::View { definition, query })
        }
        Object::Sink(sink) => {
            let query = planning.query(&definition, &sink.query).await.map_err(one)?;
            Ok(Planned::Sink { definition, query })
        }
    }
}
