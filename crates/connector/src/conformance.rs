//! One suite for all connectors: what every spec, source and sink must hold, whatever is behind
//! it. A driver's test gives a way to make the connector and, for sinks, a way to look at the
//! target; the suite crashes it at every point of an epoch and counts the rows.

mod sink;
mod source;

use common::{Error, Result};

pub use sink::{Bench, Seen, check_sink, sample, sample_schema};
pub use source::{Expected, check_source, read_all};

use crate::Spec;

/// The description itself: names, docs and defaults.
pub fn check_spec(spec: &Spec) -> Result<()> {
    let name = spec.name;
    let fine = |n: &str| {
        !n.is_empty()
            && n.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    ensure(fine(name), || format!("'{name}' is not a lower-case name"))?;
    ensure(spec.doc.ends_with('.'), || format!("the doc of '{name}' is not a sentence"))?;
    ensure(!spec.delivery.kept.is_empty(), || format!("'{name}' keeps no promise"))?;
    let own: Vec<_> = spec.options.iter().map(|o| o.name).collect();
    ensure(own.is_sorted(), || format!("the options of '{name}' are not in alphabetical order"))?;
    let mut names: Vec<_> = spec.all_options().map(|o| o.name).collect();
    names.sort_unstable();
    ensure(names.windows(2).all(|w| w[0] != w[1]), || format!("'{name}' has an option twice"))?;
    for o in spec.all_options() {
        let at = format!("option '{}' of '{name}'", o.name);
        ensure(fine(o.name), || format!("{at} has no lower-case name"))?;
        ensure(!o.doc.is_empty(), || format!("{at} has no doc"))?;
        ensure(!(o.required && o.default.is_some()), || {
            format!("{at} is required with a default")
        })?;
        if let Some(default) = o.default {
            o.kind.check(default).map_err(|e| e.context(format!("the default of {at}")))?;
        }
    }
    Ok(())
}

pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::internal(what())) }
}
