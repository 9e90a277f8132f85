//! How far a pipeline is behind the logs that it reads.

use std::sync::Arc;

use crate::flows::pipeline::Spec;
use crate::inner::Inner;

/// Durable events that no committed epoch has, whatever the pipeline is doing: one that is
/// still starting is behind by all that came since it stopped.
pub fn lag(inner: &Inner, spec: &Spec) -> u64 {
    let stored = state::load_checkpoint(&inner.kv, &spec.id).ok().flatten();
    let stored = stored.filter(|c| c.fingerprint == spec.fingerprint).unwrap_or_default();
    let logs = spec.topics.keys().filter_map(|name| Some((name, inner.log.topic(name).ok()?)));
    let behind = |(name, log): (&String, Arc<log::Topic>)| -> u64 {
        let partitions = log.partitions();
        let behind = partitions.iter().map(|p| {
            let taken = stored.offsets.get(&(name.clone(), p.id())).map_or(0, |o| o.0);
            (p.high_watermark().0 - taken).max(0) as u64
        });
        behind.sum()
    };
    logs.map(behind).sum()
}
