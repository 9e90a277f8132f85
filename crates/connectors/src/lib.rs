//! The outside systems, one file each, and the two lists that name them. The only crate that may
//! use a driver. What a connector is stands in the crate `connector`; a new one is a file here
//! and one line in a list below.

mod changes;
pub mod file;
pub mod generator;
pub mod host;
pub mod http;
pub mod kafka;

use catalog::{Definition, Object, Options};
use common::{Error, Result};
use connector::{
    Backoff, Context, Delivery, Discreet, Fault, OptionKind, Outside, RetrySink, RetrySource, Role,
    Sink, Source, Spec, Values, faults, place_faults,
};

/// A source connector: what it says of itself and how it is made.
pub struct SourceEntry {
    pub spec: &'static Spec,
    pub make: fn(&Values, Context) -> Result<Box<dyn Source>>,
}

/// A sink connector: what it says of itself and how it is made.
pub struct SinkEntry {
    pub spec: &'static Spec,
    pub make: fn(&Values, Context) -> Result<Box<dyn Sink>>,
}

const SOURCES: &[SourceEntry] = &[
    SourceEntry { spec: &generator::SPEC, make: generator::make },
    SourceEntry { spec: &host::SPEC, make: host::make },
];

const SINKS: &[SinkEntry] = &[
    SinkEntry { spec: &file::SPEC, make: file::make },
    SinkEntry { spec: &http::SPEC, make: http::make },
    SinkEntry { spec: &kafka::SPEC, make: kafka::make },
];

/// The drivers that are built in. Connectors without one need none.
pub fn drivers() -> Vec<&'static str> {
    let all = [("kafka", cfg!(feature = "kafka"))];
    all.into_iter().filter(|(_, is_in)| *is_in).map(|(name, _)| name).collect()
}

/// All source connectors by name.
pub fn sources() -> &'static [SourceEntry] {
    SOURCES
}

/// All sink connectors by name.
pub fn sinks() -> &'static [SinkEntry] {
    SINKS
}

/// Everything wrong with the options of a source.
pub fn check_source(connector: &str, options: &Options) -> Result<(), Vec<Error>> {
    in_one_list(source_faults(connector, options))
}

/// Everything wrong with the options of a sink, its promise included.
pub fn check_sink(connector: &str, options: &Options) -> Result<(), Vec<Error>> {
    in_one_list(sink_faults(connector, options))
}

/// The same for a definition, with errors that point into its text; also what it may not reach.
/// Topics and views pass.
pub fn check_definition(definition: &Definition, outside: &Outside) -> Result<(), Vec<Error>> {
    let (mut faults, options) = match &definition.object {
        Object::Source(s) => (source_faults(&s.connector, &s.options), &s.options),
        Object::Sink(s) => (sink_faults(&s.connector, &s.options), &s.options),
        _ => return Ok(()),
    };
    if faults.is_empty()
        && let Some(spec) = spec_of(&definition.object)
        && let Err(fault) = check_reach(spec, options, outside)
    {
        faults.push(fault);
    }
    let errors = place_faults(faults, &definition.origin);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The options of a source or sink as its connector will get them.
pub fn values(role: Role, connector: &str, options: &Options, outside: &Outside) -> Result<Values> {
    Values::new(spec(role, connector)?, options, outside)
}

/// Makes a source that tries again by itself. `open` it next.
pub fn source(connector: &str, options: &Options, ctx: Context) -> Result<Box<dyn Source>> {
    let entry = find_source(connector)?;
    let values = Values::new(entry.spec, options, &ctx.outside)?;
    let (health, name) = (ctx.health.clone(), ctx.name.clone());
    let inner = (entry.make)(&values, ctx).map_err(|e| values.scrub().error(e))?;
    let inner = Box::new(Discreet::new(inner, values.scrub().clone()));
    Ok(Box::new(RetrySource::new(inner, Backoff::new(&values)?, health, &name)))
}

/// Makes a sink that tries again by itself. `open` it next.
pub fn sink(connector: &str, options: &Options, ctx: Context) -> Result<Box<dyn Sink>> {
    let entry = find_sink(connector)?;
    let values = Values::new(entry.spec, options, &ctx.outside)?;
    let (health, name) = (ctx.health.clone(), ctx.name.clone());
    let inner = (entry.make)(&values, ctx).map_err(|e| values.scrub().error(e))?;
    let inner = Box::new(Discreet::new(inner, values.scrub().clone()));
    Ok(Box::new(RetrySink::new(inner, Backoff::new(&values)?, health, &name)))
}

/// Paths and addresses that are written out; those behind references are checked when the
/// connector is made.
fn check_reach(spec: &Spec, options: &Options, outside: &Outside) -> Result<(), Fault> {
    let given = spec.all_options().filter_map(|o| Some((o, options.get(o.name)?)));
    for (o, text) in given.filter(|(_, text)| !text.contains("${")) {
        let checked = match o.kind {
            OptionKind::Path => outside.path(text).map(|_| ()),
            OptionKind::Url if text.starts_with(kafka::SCHEME) => {
                kafka::Cluster::parse(text).and_then(|c| c.check_reach(outside))
            }
            OptionKind::Url => http::check_reach(text, outside).map(|_| ()),
            _ => Ok(()),
        };
        checked.map_err(|e| {
            let (role, connector) = (spec.role.name(), spec.name);
            let error = e.context(format!("{role} connector '{connector}': option '{}'", o.name));
            Fault { option: Some(o.name.into()), error }
        })?;
    }
    Ok(())
}

/// The description of the connector of a source or sink, if there is such a connector.
pub fn spec_of(object: &Object) -> Option<&'static Spec> {
    match object {
        Object::Source(s) => spec(Role::Source, &s.connector).ok(),
        Object::Sink(s) => spec(Role::Sink, &s.connector).ok(),
        _ => None,
    }
}

/// What holds for each row of a sink when `asked` is asked for (None: the connector's best), or
/// the reason why it can't.
pub fn delivery(connector: &str, asked: Option<&str>) -> Result<Delivery> {
    find_sink(connector)?.spec.delivery(asked)
}

/// The description of a connector.
pub fn spec(role: Role, connector: &str) -> Result<&'static Spec> {
    match role {
        Role::Source => find_source(connector).map(|e| e.spec),
        Role::Sink => find_sink(connector).map(|e| e.spec),
    }
}

fn find_source(name: &str) -> Result<&'static SourceEntry> {
    SOURCES.iter().find(|e| e.spec.name == name).ok_or_else(|| unknown(Role::Source, name))
}

fn find_sink(name: &str) -> Result<&'static SinkEntry> {
    SINKS.iter().find(|e| e.spec.name == name).ok_or_else(|| unknown(Role::Sink, name))
}

fn unknown(role: Role, name: &str) -> Error {
    let sources: Vec<_> = SOURCES.iter().map(|e| e.spec.name).collect();
    let sinks: Vec<_> = SINKS.iter().map(|e| e.spec.name).collect();
    let (known, others, other) = match role {
        Role::Source => (sources, sinks, "sink"),
        Role::Sink => (sinks, sources, "source"),
    };
    if others.contains(&name) {
        return Error::not_found(format!("the connector '{name}' is a {other} only"))
            .hint(format!("known {} connectors are: {}", role.name(), known.join(", ")));
    }
    Error::unknown(&format!("{} connector", role.name()), name, known)
}

fn source_faults(connector: &str, options: &Options) -> Vec<Fault> {
    match find_source(connector) {
        Ok(entry) => faults(entry.spec, options),
        Err(e) => vec![Fault { option: Some("connector".into()), error: e }],
    }
}

fn sink_faults(connector: &str, options: &Options) -> Vec<Fault> {
    match find_sink(connector) {
        Ok(entry) => faults(entry.spec, options),
        Err(e) => vec![Fault { option: Some("connector".into()), error: e }],
    }
}

fn in_one_list(faults: Vec<Fault>) -> Result<(), Vec<Error>> {
    let errors: Vec<Error> = faults.into_iter().map(|f| f.error).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

#[cfg(test)]
mod tests;
