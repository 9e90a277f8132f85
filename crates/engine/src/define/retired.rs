//! State of pipelines that nobody runs any more.

use common::{Result, fail_point};

use crate::flows::outbox::Outbox;
use crate::flows::view_store::ViewStore;
use crate::inner::Inner;
use crate::stores::meta::Meta;

/// Removes state, rows and waiting changes of pipelines that are not defined and do not serve.
pub(crate) fn remove_retired(inner: &Inner) -> Result<()> {
    let meta = Meta::new(&inner.kv)?;
    // Asked first: one that ceases to serve meanwhile is removed the next time.
    let serving: Vec<String> = {
        let registry = inner.registry();
        let pipelines = registry.serving.values().filter_map(|e| e.object.pipeline());
        pipelines.map(|p| p.spec.id.clone()).collect()
    };
    for id in meta.retired()?.into_iter().filter(|id| !serving.contains(id)) {
        let mut batch = inner.kv.batch();
        state::remove(&mut batch, &id)?;
        batch.commit_durable()?;
        fail_point("retire.state");
        ViewStore::remove(&inner.kv, &id)?;
        Outbox::remove_all(&inner.kv, &id)?;
        meta.removed(&id)?;
    }
    Ok(())
}
