//! Plans all definitions in order, each against those before it, and gathers every fault. It needs
//! no data, so a folder can be checked where nothing runs.

use std::sync::Arc;

use catalog::Definition;
use common::Error;
use connector::Outside;
use datafusion::execution::runtime_env::RuntimeEnv;

use crate::define::kind::{AsStored, Planned};
use crate::define::kinds;
use crate::define::planning::{Planning, Wrong};

/// Plans what is ordered by what it reads. `outside` tells what a definition may reach, `as_stored`
/// which columns a topic has together with those of its events.
pub(crate) async fn plan_all(
    runtime: &Arc<RuntimeEnv>,
    ordered: Vec<Definition>,
    outside: &(dyn Fn(&Definition) -> Outside + Send + Sync),
    as_stored: AsStored<'_>,
) -> Result<Vec<Box<dyn Planned>>, Vec<Error>> {
    let one = |e: Error| vec![e];
    let mut planning = Planning::new(runtime).map_err(one)?;
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
        let kind = kinds::of(definition.object.kind()).map_err(one)?;
        match kind.plan(&mut planning, definition, as_stored).await {
            Ok(p) => planned.push(p),
            Err(e) => {
                faults.extend(e);
                wrong.add(name);
            }
        }
    }
    if faults.is_empty() { Ok(planned) } else { Err(faults) }
}
