//! DROP, and the removal of what is no longer defined. What is to be removed is noted first and
//! struck off last (see `meta.rs`), so that a removal cut short by a crash is finished at the next
//! start: a topic or view made anew under an old name never meets what is left of the old one.

use std::sync::Arc;

use catalog::{Definition, Object};
use common::{Error, Result, fail_point};

use crate::define::retired::remove_retired;
use crate::define::texts::{Texts, defines, first};
use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::stores::meta::Meta;

/// Removes an object that was typed at run time, or what is left of a topic that is no longer
/// in the project's files.
pub(crate) async fn drop_typed(inner: &Arc<Inner>, kind: &str, name: &str) -> Result<()> {
    let mut now = inner.texts.lock().await;
    inner.check_open()?;
    if kind == "TOPIC" && is_left_over(inner, name) {
        Meta::new(&inner.kv)?.begin_drop(name)?;
        return remove_topic(inner, name).await;
    }
    check_drop(inner, kind, name)?;
    let defined = |s: &String| defines(s).as_deref() != Some(name);
    let typed = now.typed.iter().filter(|s| defined(s)).cloned().collect();
    let wanted = Texts { files: now.files.clone(), typed };
    let meta = Meta::new(&inner.kv)?;
    if kind == "TOPIC" {
        meta.begin_drop(name)?;
    }
    fail_point("drop.begun");
    if let Err(faults) = crate::define::apply::apply_texts(inner, &wanted, None).await {
        meta.cancel_drop(name)?;
        return Err(first(faults));
    }
    *now = wanted;
    fail_point("drop.applied");
    match kind {
        "TOPIC" => remove_topic(inner, name).await,
        _ => Ok(()),
    }
}

/// A topic with events that nothing defines.
fn is_left_over(inner: &Arc<Inner>, name: &str) -> bool {
    inner.registry().definition(name).is_none() && inner.log.topic(name).is_ok()
}

fn check_drop(inner: &Arc<Inner>, kind: &str, name: &str) -> Result<()> {
    let registry = inner.registry();
    let definition = registry.definition(name).ok_or_else(|| {
        let all = registry.definitions().into_iter().map(|d| &d.object);
        let same_kind = all.filter(|o| o.kind() == kind).map(Object::name);
        Error::unknown(&kind.to_lowercase(), name, same_kind)
    })?;
    let is = definition.object.kind();
    if is != kind {
        let e = Error::invalid(format!("'{name}' is a {}", is.to_lowercase()));
        return Err(e.hint(format!("write: DROP {is} {name}")));
    }
    if let Some(file) = &definition.origin.file {
        return Err(Error::conflict(format!("'{name}' is defined in {file}"))
            .hint("remove it there; it is dropped when the file is saved"));
    }
    let uses = |d: &&Definition| d.depends_on.iter().any(|(n, _)| n == name);
    let users: Vec<&Definition> = registry.definitions().into_iter().filter(uses).collect();
    match users.first() {
        None => Ok(()),
        Some(one) => Err(in_use(kind, name, &users, one)),
    }
}

/// Removes a topic's events, archive and records. Its name is free afterwards.
async fn remove_topic(inner: &Arc<Inner>, name: &str) -> Result<()> {
    let _archiving = inner.archive.turn().await;
    remove_all_of(inner, name).await
}

/// Finishes the removals that a crash cut short.
pub(crate) async fn finish_removals(inner: &Arc<Inner>) -> Result<()> {
    let meta = Meta::new(&inner.kv)?;
    for name in meta.dropping()? {
        let typed = inner.texts.lock().await.typed.clone();
        match typed.iter().any(|s| defines(s).as_deref() == Some(&name)) {
            // It came no further than to be noted, and nobody was told that it was done.
            true => meta.cancel_drop(&name)?,
            false => remove_topic(inner, &name).await?,
        }
    }
    let inner = inner.clone();
    blocking(move || remove_retired(&inner)).await
}

fn in_use(kind: &str, name: &str, users: &[&Definition], one: &Definition) -> Error {
    let shown: Vec<String> = users
        .iter()
        .map(|d| format!("{} '{}'", d.object.kind().to_lowercase(), d.object.name()))
        .collect();
    let e = Error::conflict(format!(
        "{} '{name}' is used by {}",
        kind.to_lowercase(),
        shown.join(", ")
    ));
    e.hint(match &one.origin.file {
        Some(file) => format!("remove '{}' from {file} first", one.object.name()),
        None => format!("write DROP {} {} first", one.object.kind(), one.object.name()),
    })
}

async fn remove_all_of(inner: &Arc<Inner>, name: &str) -> Result<()> {
    if let Some(kafka) = &inner.external {
        kafka.forget(name);
    }
    if let Ok(log) = inner.log.topic(name) {
        // Its id never comes again: what a crash leaves of this is waste, not harm.
        inner.env.readers.forget(log.id())?;
        inner.log.drop_topic(name)?;
    }
    inner.coordination.groups.topic_dropped(name)?;
    fail_point("drop.log");
    inner.lake.drop_table(name).await?;
    fail_point("drop.lake");
    inner.archive.forget(name);
    inner.producers.forget(&crate::topics::once::import_producer(name, ""))?;
    Meta::new(&inner.kv)?.topic_dropped(name)
}
