//! The operators of a pipeline, with how much goes through each and what it keeps.

use std::sync::Arc;

use common::{Error, Result};
use stream::OperatorStats;

use crate::define::infos::OperatorInfo;
use crate::define::registry::Registry;
use crate::flows::pipeline::Pipeline;
use crate::inner::Inner;

/// Of a view or a sink.
pub fn operators(inner: &Inner, name: &str) -> Result<Vec<OperatorInfo>> {
    let pipeline = {
        let registry = inner.registry();
        let known: Vec<&str> = pipelines(&registry).map(|(name, _)| name).collect();
        let found = pipelines(&registry).find(|(n, _)| *n == name).map(|(_, p)| p.clone());
        found.ok_or_else(|| Error::unknown("view or sink", name, known))?
    };
    let info = |of: OperatorStats| OperatorInfo {
        rows_per_second: inner.rate(&counter(name, of.operator)),
        operator: of.operator,
        name: of.name,
        inputs: of.inputs,
        rows_in: of.rows_in,
        rows_out: of.rows_out,
        groups: of.groups as u64,
        state_bytes: of.state_bytes as u64,
    };
    Ok(pipeline.shared.operators().into_iter().map(info).collect())
}

/// What each has taken in, for rates.
pub fn counters(registry: &Registry) -> Vec<(String, u64)> {
    let of = |(name, pipeline): (&str, &Arc<Pipeline>)| {
        let stats = pipeline.shared.operators().into_iter();
        stats.map(|s| (counter(name, s.operator), s.rows_in)).collect::<Vec<_>>()
    };
    pipelines(registry).flat_map(of).collect()
}

fn counter(pipeline: &str, operator: u32) -> String {
    format!("operator {operator} of {pipeline}")
}

fn pipelines(registry: &Registry) -> impl Iterator<Item = (&str, &Arc<Pipeline>)> {
    let entries = registry.objects.iter();
    entries.filter_map(|(name, entry)| Some((name.as_str(), entry.object.pipeline()?)))
}
