//! Puts planned definitions into effect. All that can fail is prepared beside what runs: logs, new
//! pipelines, connectors, the catalog's text. Only then the registry is swapped under its lock, the
//! old is stopped, and last its state is removed. A fault before the swap is undone, and what ran
//! has not noticed.

use std::sync::Arc;

use catalog::Definition;
use common::{Result, fail_point};
use serde::Serialize;

use crate::define::decide::{Change, Part, decide};
use crate::define::kind::Planned;
use crate::define::kinds::{self, KINDS};
use crate::define::prepared::Prepared;
use crate::define::registry::{Entry, Registry};
use crate::define::retired::remove_retired;
use crate::define::topic;
use crate::flows::pipeline::Pipeline;
use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::stores::meta::Meta;

/// What an `apply` did, by name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ApplyReport {
    pub created: Vec<String>,
    pub changed: Vec<String>,
    pub dropped: Vec<String>,
    pub kept: Vec<String>,
    /// Topics that nothing defines any more; their events stay until DROP TOPIC.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_over: Vec<String>,
}

/// Makes the planned definitions run in place of those that do; `save` writes the catalog.
pub(crate) async fn put_into_effect(
    inner: &Arc<Inner>,
    planned: Vec<Box<dyn Planned>>,
    rebuild: Option<&str>,
    save: &(dyn Fn(&[&Definition]) -> Result<()> + Send + Sync),
) -> Result<ApplyReport> {
    let retired = inner.clone();
    // What an earlier attempt left must not be taken for a new pipeline's state.
    blocking(move || remove_retired(&retired)).await?;
    let wanted = planned.iter().map(|p| p.part(inner)).collect::<Result<Vec<Part>>>()?;
    let running = inner.registry().parts();
    let (decided, ended) = decide(&running, &wanted, rebuild);
    let mut report = report_of(&wanted, &decided, &ended);
    let definitions: Vec<Definition> = planned.iter().map(|p| p.definition().clone()).collect();
    let mut prepared = Prepared::default();
    let ready = match prepare_all(inner, planned, &decided, &mut prepared).await {
        Ok(()) => make_durable(inner, &prepared, &ended, &definitions, save),
        Err(e) => Err(e),
    };
    if let Err(e) = ready {
        take_back(inner, prepared).await;
        return Err(e);
    }
    fail_point("apply.prepared");
    let replacing: Vec<Arc<Pipeline>> = {
        let registry = inner.registry();
        let views = prepared.new.iter().filter(|e| registry.readable(e.name()).is_some());
        views.filter_map(|e| e.object.pipeline().cloned()).collect()
    };
    crate::define::replaced::wait_shortly(&replacing).await;
    let old = swap(inner, prepared, &ended).await;
    remove(inner, old, &ended).await;
    let stays = |p: &&&Part| kinds::of(p.kind).is_ok_and(|kind| kind.outlives_its_definition());
    report.left_over = ended.iter().filter(stays).map(|p| p.name.clone()).collect();
    if !inner.registry().serving.is_empty() {
        tokio::spawn(crate::define::replaced::end_replaced(inner.clone()));
    }
    Ok(report)
}

/// By name, what is to be done.
fn report_of(wanted: &[Part], decided: &[Change], ended: &[&Part]) -> ApplyReport {
    let mut report = ApplyReport::default();
    // One that is of another kind now has changed.
    let had_name = |part: &Part| ended.iter().any(|e| e.name == part.name);
    for (part, change) in wanted.iter().zip(decided) {
        let list = match change {
            Change::Keep => &mut report.kept,
            Change::Make if !had_name(part) => &mut report.created,
            _ => &mut report.changed,
        };
        list.push(part.name.clone());
    }
    let is_again = |part: &&&Part| wanted.iter().any(|w| w.name == part.name);
    report.dropped = ended.iter().filter(|p| !is_again(p)).map(|p| p.name.clone()).collect();
    report
}

async fn prepare_all(
    inner: &Arc<Inner>,
    planned: Vec<Box<dyn Planned>>,
    decided: &[Change],
    to: &mut Prepared,
) -> Result<()> {
    for (planned, change) in planned.into_iter().zip(decided) {
        match change {
            Change::Keep => to.kept.push(planned.definition().clone()),
            _ => {
                let origin = planned.definition().origin.clone();
                let done = planned.prepare(inner, *change, to).await;
                done.map_err(|e| match e.place() {
                    None => e.at(origin.whole()),
                    Some(_) => e,
                })?;
            }
        }
        fail_point("apply.one");
    }
    Ok(())
}

/// The last that can fail: what a restart will find.
fn make_durable(
    inner: &Arc<Inner>,
    prepared: &Prepared,
    ended: &[&Part],
    definitions: &[Definition],
    save: &(dyn Fn(&[&Definition]) -> Result<()> + Send + Sync),
) -> Result<()> {
    let all: Vec<&Definition> = definitions.iter().collect();
    save(&all)?;
    let retired: Vec<String> = {
        let registry = inner.registry();
        let has_pipeline =
            |name: &str| registry.objects.get(name).is_some_and(|e| e.object.pipeline().is_some());
        // A pipeline of the same name, of another kind, retires it by itself.
        let is_over = |name: &&String| has_pipeline(name) && !prepared.has_pipeline(name);
        ended.iter().map(|p| &p.name).filter(is_over).cloned().collect()
    };
    let meta = Meta::new(&inner.kv)?;
    meta.commit_pipelines(&prepared.pipelines, &retired).inspect_err(|_| {
        // What is running is what a restart should find.
        let registry = inner.registry();
        if let Err(e) = save(&registry.definitions()) {
            tracing::error!("the catalog names definitions that do not run: {e}");
        }
    })
}

async fn take_back(inner: &Arc<Inner>, prepared: Prepared) {
    let Prepared { new, undo, .. } = prepared;
    let inner = inner.clone();
    let taken = blocking(move || {
        drop(new);
        let mut first = Ok(());
        for step in undo.into_iter().rev() {
            first = first.and(topic::take_back(&inner, step));
        }
        first.and(remove_retired(&inner))
    });
    if let Err(e) = taken.await {
        tracing::error!("what was prepared for new definitions could not be taken back: {e}");
    }
}

/// Takes the old out and puts the new in, under one lock. Then, kind by kind, the old stops and the
/// new starts: neither of them reads or delivers what the other does.
async fn swap(inner: &Arc<Inner>, prepared: Prepared, ended: &[&Part]) -> Vec<Entry> {
    let new: Vec<String> = prepared.new.iter().map(|e| e.name().to_string()).collect();
    let mut old = inner.registry_mut().swap(prepared, ended);
    for kind in KINDS {
        for entry in old.iter_mut().filter(|e| e.part.kind == kind.words()) {
            entry.object.stop().await;
        }
        let mut registry = inner.registry_mut();
        for name in &new {
            if let Some(entry) = registry.objects.get_mut(name)
                && entry.part.kind == kind.words()
            {
                kind.start(inner, entry);
            }
        }
    }
    old
}

/// Ends what was replaced and removes what it kept. A failure leaves waste for the next start.
async fn remove(inner: &Arc<Inner>, old: Vec<Entry>, ended: &[&Part]) {
    let mut removed = Ok(());
    for part in ended {
        if let Ok(kind) = kinds::of(part.kind)
            && !kind.outlives_its_definition()
        {
            removed = removed.and(kind.remove(inner, &part.name).await);
        }
    }
    let inner = inner.clone();
    let retired = blocking(move || {
        drop(old);
        remove_retired(&inner)
    });
    if let Err(e) = removed.and(retired.await) {
        tracing::warn!("state of definitions that were replaced is still on disk: {e}");
    }
}

impl Registry {
    /// The new take the places of the old, which are given back as far as they have ended.
    fn swap(&mut self, prepared: Prepared, ended: &[&Part]) -> Vec<Entry> {
        let mut old = vec![];
        for definition in prepared.kept {
            // The same thing runs on, under a definition that stands elsewhere or reads otherwise.
            if let Some(entry) = self.objects.get_mut(definition.object.name()) {
                entry.definition = definition;
            }
        }
        for part in ended {
            old.extend(self.objects.remove(&part.name));
            old.extend(self.serving.remove(&part.name));
        }
        for entry in prepared.new {
            let kind = kinds::of(entry.part.kind);
            let before = self.objects.insert(entry.name().to_string(), entry);
            old.extend(before.and_then(|before| match kind {
                Ok(kind) => kind.replaced(self, before),
                Err(_) => Some(before),
            }));
        }
        old
    }
}
