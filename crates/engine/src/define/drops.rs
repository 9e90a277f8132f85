//! DROP, and the removal of what is no longer defined. What is to be removed is noted first and
//! struck off last (see `meta.rs`), so that a removal cut short by a crash is finished at the next
//! start: a topic or view made anew under an old name never meets what is left of the old one.

use std::sync::Arc;

use catalog::kind::TOPIC;
use catalog::{Definition, Kind, Object};
use common::{Error, Result, fail_point};

use crate::define::kinds;
use crate::define::retired::remove_retired;
use crate::define::texts::{Texts, defines, first};
use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::stores::meta::Meta;

/// Removes an object that was typed at run time, or what is left of a topic that is no longer
/// in the project's files.
pub(crate) async fn drop_typed(inner: &Arc<Inner>, kind: &'static Kind, name: &str) -> Result<()> {
    let of_kind = kinds::of(kind)?;
    let outlives = of_kind.outlives_its_definition();
    let mut now = inner.texts.lock().await;
    inner.check_open()?;
    if outlives && is_left_over(inner, name) {
        Meta::new(&inner.kv)?.begin_drop(name)?;
        return of_kind.remove(inner, name).await;
    }
    check_drop(inner, kind, name)?;
    let defined = |s: &String| defines(s).as_deref() != Some(name);
    let typed = now.typed.iter().filter(|s| defined(s)).cloned().collect();
    let wanted = Texts { files: now.files.clone(), typed };
    let meta = Meta::new(&inner.kv)?;
    if outlives {
        meta.begin_drop(name)?;
    }
    fail_point("drop.begun");
    if let Err(faults) = crate::define::apply::apply_texts(inner, &wanted, None).await {
        meta.cancel_drop(name)?;
        return Err(first(faults));
    }
    *now = wanted;
    fail_point("drop.applied");
    match outlives {
        true => of_kind.remove(inner, name).await,
        false => Ok(()),
    }
}

/// A topic with events that nothing defines.
fn is_left_over(inner: &Arc<Inner>, name: &str) -> bool {
    inner.registry().definition(name).is_none() && inner.log.topic(name).is_ok()
}

fn check_drop(inner: &Arc<Inner>, kind: &Kind, name: &str) -> Result<()> {
    let registry = inner.registry();
    let definition = registry.definition(name).ok_or_else(|| {
        let all = registry.definitions().into_iter().map(|d| &d.object);
        let same_kind = all.filter(|o| o.kind() == kind).map(Object::name);
        Error::unknown(&kind.said(), name, same_kind)
    })?;
    let is = definition.object.kind();
    if is != kind {
        let e = Error::invalid(format!("'{name}' is a {}", is.said()));
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

/// Finishes the removals that a crash cut short.
pub(crate) async fn finish_removals(inner: &Arc<Inner>) -> Result<()> {
    let meta = Meta::new(&inner.kv)?;
    for name in meta.dropping()? {
        let typed = inner.texts.lock().await.typed.clone();
        match typed.iter().any(|s| defines(s).as_deref() == Some(&name)) {
            // It came no further than to be noted, and nobody was told that it was done.
            true => meta.cancel_drop(&name)?,
            false => kinds::of(&TOPIC)?.remove(inner, &name).await?,
        }
    }
    let inner = inner.clone();
    blocking(move || remove_retired(&inner)).await
}

fn in_use(kind: &Kind, name: &str, users: &[&Definition], one: &Definition) -> Error {
    let shown: Vec<String> =
        users.iter().map(|d| format!("{} '{}'", d.object.kind().said(), d.object.name())).collect();
    let e = Error::conflict(format!("{} '{name}' is used by {}", kind.said(), shown.join(", ")));
    e.hint(match &one.origin.file {
        Some(file) => format!("remove '{}' from {file} first", one.object.name()),
        None => format!("write DROP {} {} first", one.object.kind(), one.object.name()),
    })
}
