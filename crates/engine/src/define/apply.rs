//! What is to run: the project's files and statements typed at run time. Everything is parsed,
//! ordered and planned first; only when nothing is wrong is it put into effect (`changes.rs`), and
//! only where a definition did change. A fault leaves the last good version running.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use catalog::store::Stored;
use catalog::{Definition, Object};
use common::{Error, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use sql::TopicChange;

use crate::access::secrets::{forget_secrets, outside_of, without_secrets};
use crate::define::changes::ApplyReport;
use crate::define::kind::Planned;
use crate::define::planned;
use crate::define::registry::unknown_view;
use crate::define::texts::{Texts, defines, first, parse_all, taken_over};
use crate::define::view::RunningView;
use crate::inner::Inner;
use crate::stores::meta::{Meta, TopicRecord};
use crate::stores::project::Dashboard;
use crate::topics::topic_log::is_empty;

/// Replaces the definitions that come from files. On any fault nothing changes.
pub async fn apply(inner: &Arc<Inner>, texts: &[sql::Text]) -> Result<ApplyReport, Vec<Error>> {
    let mut now = inner.texts.lock().await;
    inner.check_open().map_err(|e| vec![e])?;
    let typed = taken_over(texts, &now.typed);
    let wanted = Texts { files: texts.to_vec(), typed };
    match apply_texts(inner, &wanted, None).await {
        Ok(report) => {
            *now = wanted;
            crate::observe::problems::set_problems(inner, &[]);
            Ok(report)
        }
        Err(faults) => {
            crate::observe::problems::set_problems(inner, &faults);
            Err(faults)
        }
    }
}

/// Makes run what the catalog has, the last good version: for a start on files with faults.
/// Nothing happens when something runs already.
pub async fn apply_last_good(inner: &Arc<Inner>) -> Result<(), Vec<Error>> {
    let mut now = inner.texts.lock().await;
    if !inner.registry().definitions().is_empty() {
        return Ok(());
    }
    let stored = inner.catalog.load().map_err(|e| vec![e])?;
    let of_file = |s: Stored| s.file.map(|f| sql::Text::new(Some(&f), &s.statement));
    let files = stored.into_iter().filter_map(of_file).collect();
    let wanted = Texts { files, typed: now.typed.clone() };
    apply_texts(inner, &wanted, None).await?;
    *now = wanted;
    Ok(())
}

/// Reads the project's files and applies them, dashboards included.
pub async fn apply_project(inner: &Arc<Inner>) -> Result<ApplyReport, Vec<Error>> {
    let read = inner.project.sql_texts().map_err(|e| vec![e]);
    let boards = inner.project.dashboards();
    let texts = match (read, &boards) {
        (Ok(texts), Ok(_)) => texts,
        (Err(faults), _) => {
            crate::observe::problems::set_problems(inner, &faults);
            return Err(faults);
        }
        (Ok(_), Err(_)) => {
            let faults = boards.err().unwrap_or_default();
            crate::observe::problems::set_problems(inner, &faults);
            return Err(faults);
        }
    };
    let report = apply(inner, &texts).await?;
    if let Ok(boards) = boards {
        let faults = {
            let registry = inner.registry();
            unknown_in(&boards, &registry.names::<RunningView>().collect())
        };
        if let Ok(mut now) = inner.dashboards.write() {
            *now = boards;
        }
        if !faults.is_empty() {
            crate::observe::problems::set_problems(inner, &faults);
        }
    }
    Ok(report)
}

/// Adds statements typed at run time, all or none.
pub(crate) async fn create_typed(inner: &Arc<Inner>, statements: &[String]) -> Result<()> {
    let mut now = inner.texts.lock().await;
    inner.check_open()?;
    let mut wanted = now.clone();
    wanted.typed.extend_from_slice(statements);
    apply_texts(inner, &wanted, None).await.map_err(first)?;
    wanted.typed = wanted.typed.iter().map(|s| crate::access::secrets::stored_form(s)).collect();
    *now = wanted;
    Ok(())
}

/// Changes a topic that was made at run time.
pub async fn alter_topic(inner: &Arc<Inner>, name: &str, change: &TopicChange) -> Result<()> {
    let mut now = inner.texts.lock().await;
    inner.check_open()?;
    // Refuses what is no topic.
    inner.topic_writer(name)?;
    let at = typed_at(inner, &now, name)?;
    let mut wanted = now.clone();
    wanted.typed[at] = sql::altered(&now.typed[at], change)?;
    apply_texts(inner, &wanted, None).await.map_err(first)?;
    *now = wanted;
    Ok(())
}

/// Puts a statement in the place of the one that made `name` at run time. What it makes takes
/// over without a gap: a view's readers get the old rows until it has caught up.
pub(crate) async fn replace_typed(inner: &Arc<Inner>, name: &str, statement: &str) -> Result<()> {
    let mut now = inner.texts.lock().await;
    inner.check_open()?;
    let at = typed_at(inner, &now, name)?;
    let mut wanted = now.clone();
    wanted.typed[at] = statement.to_string();
    apply_texts(inner, &wanted, None).await.map_err(first)?;
    wanted.typed[at] = crate::access::secrets::stored_form(statement);
    *now = wanted;
    Ok(())
}

/// Where the statement is that made `name` at run time.
fn typed_at(inner: &Arc<Inner>, texts: &Texts, name: &str) -> Result<usize> {
    let is_it = |statement: &String| defines(statement).as_deref() == Some(name);
    texts.typed.iter().position(is_it).ok_or_else(|| {
        let definition = inner.registry().definition(name).cloned();
        let kind = definition.as_ref().map_or("object".to_string(), |d| d.object.kind().said());
        let file = definition.and_then(|d| d.origin.file).unwrap_or_default();
        Error::conflict(format!("{kind} '{name}' is defined in {file}"))
            .hint(format!("change it in {file} and apply that"))
    })
}

/// Also computes the view `rebuild` anew.
pub(crate) fn apply_texts<'a>(
    inner: &'a Arc<Inner>,
    wanted: &'a Texts,
    rebuild: Option<&'a str>,
) -> BoxFuture<'a, Result<ApplyReport, Vec<Error>>> {
    plan_and_apply(inner, wanted, rebuild).boxed()
}

async fn plan_and_apply(
    inner: &Arc<Inner>,
    wanted: &Texts,
    rebuild: Option<&str>,
) -> Result<ApplyReport, Vec<Error>> {
    let (platform, texts) = (inner.clone(), wanted.all());
    let plan = async move { Ok(plan_texts(&platform, &texts).await) };
    let planned = inner.compute.run(plan).await.map_err(|e| vec![e])??;
    let save = |definitions: &[&Definition]| save_catalog(inner, wanted, definitions);
    let report = crate::define::changes::put_into_effect(inner, planned, rebuild, &save)
        .await
        .map_err(|e| vec![e])?;
    if let Err(e) = forget_secrets(&inner.rules, &inner.catalog) {
        tracing::warn!("secrets that nothing names any more are still there: {e}");
    }
    Ok(report)
}

async fn plan_texts(
    inner: &Arc<Inner>,
    texts: &[sql::Text],
) -> Result<Vec<Box<dyn Planned>>, Vec<Error>> {
    let ordered = sql::order(parse_all(texts)?)?;
    check_topics_max(inner, &ordered).map_err(|e| vec![e])?;
    plan_all(inner, ordered).await
}

/// Those that are there already may stay, whatever the limit is now.
fn check_topics_max(inner: &Arc<Inner>, wanted: &[Definition]) -> Result<()> {
    let max = inner.project.config.topics_max as usize;
    let is_topic = |d: &&Definition| matches!(d.object, Object::Topic(_));
    let n = wanted.iter().filter(is_topic).count();
    if n <= max {
        return Ok(());
    }
    let stored = inner.catalog.load()?;
    let known: HashSet<&str> = stored.iter().map(|s| s.name.as_str()).collect();
    match wanted.iter().filter(is_topic).find(|d| !known.contains(d.object.name())) {
        None => Ok(()),
        Some(new) => Err(topics_full(new.object.name(), max).at(new.origin.whole())),
    }
}

async fn plan_all(
    inner: &Arc<Inner>,
    ordered: Vec<Definition>,
) -> Result<Vec<Box<dyn Planned>>, Vec<Error>> {
    let meta = Meta::new(&inner.kv).map_err(|e| vec![e])?;
    // With the columns that events have which are there already.
    let as_stored = |topic: &catalog::Topic| {
        let known = check_evolution(inner, &meta, topic)?;
        Ok(known.map_or_else(|| topic.clone(), |old| old.relaxed(topic)))
    };
    let outside = |definition: &Definition| outside_of(&inner.rules, definition);
    planned::plan_all(&inner.runtime, ordered, &outside, &as_stored).await
}

/// What is stored must stay readable under the new definition. Returns what is known of a
/// topic that holds events.
fn check_evolution(
    inner: &Arc<Inner>,
    meta: &Meta,
    topic: &catalog::Topic,
) -> Result<Option<TopicRecord>> {
    let known = meta.topic(&topic.name)?;
    // What came in before this was asked may stay.
    let archived_so = known.as_ref().is_some_and(|old| old.has_columns_of(topic));
    if topic.archive && !archived_so {
        lake::check_columns(&topic.schema())?;
    }
    let Some(old) = known else { return Ok(None) };
    let log = inner.log.topic(&topic.name).ok();
    let id = log.as_ref().map(|l| l.id().to_string());
    if old.log_id.is_some() && old.log_id != id {
        let name = &topic.name;
        return Err(Error::corrupt(format!("the log has lost topic '{name}' with its events"))
            .hint("restore the data folder from a backup, or move all of it away"));
    }
    match log {
        Some(log) if !is_empty(&log) => {
            old.check(topic)?;
            let mut next = TopicRecord::of(topic);
            next.succeed(&old);
            Ok(Some(next))
        }
        _ => Ok(None),
    }
}

fn save_catalog(inner: &Arc<Inner>, texts: &Texts, definitions: &[&Definition]) -> Result<()> {
    let before = inner.catalog.load()?;
    let mut stored = vec![];
    // Statements that define nothing by themselves any more are not kept.
    let whole: HashSet<&str> = texts.typed.iter().map(String::as_str).collect();
    let is_kept = |d: &&&Definition| {
        let statement = d.origin.statement();
        d.origin.is_of_project()
            || whole.contains(statement)
            || texts.typed.iter().any(|t| t.contains(statement))
    };
    for definition in definitions.iter().filter(is_kept) {
        let name = definition.object.name();
        let statement = without_secrets(&inner.rules, definition)?;
        let old = before.iter().find(|s| s.name == name);
        let version = match old {
            Some(old) if old.statement == statement => old.version,
            Some(old) => common::Version(old.version.0 + 1),
            None => common::Version(1),
        };
        stored.push(Stored {
            kind: definition.object.kind().name.to_string(),
            name: name.to_string(),
            statement,
            file: definition.origin.file.clone(),
            version,
        });
    }
    inner.catalog.save(&stored)
}

/// Views that dashboards show and that are not there: their other panels go on.
pub(crate) fn unknown_in(boards: &[Dashboard], views: &BTreeSet<&str>) -> Vec<Error> {
    let panels = boards.iter().flat_map(|b| b.panels.iter().map(move |p| (&b.name, p)));
    let shown = panels.filter_map(|(board, p)| Some((board, p.view.as_deref()?)));
    let unknown = shown.filter(|(_, view)| !views.contains(view));
    unknown
        .map(|(board, view)| {
            let e = Error::unknown("view", view, views.iter().copied());
            e.context(format!("dashboard '{board}'"))
        })
        .collect()
}

fn topics_full(name: &str, max: usize) -> Error {
    Error::conflict(format!("topic '{name}' can't be made: there may be {max} topics"))
        .hint("drop topics that nobody needs, or raise topics_max")
}

/// Computes a view anew from all events there are, in the archive and in the log, also one that
/// has stopped. Its readers see the old rows until the new ones have caught up.
pub async fn rebuild_view(inner: &Arc<Inner>, name: &str) -> Result<()> {
    let now = inner.texts.lock().await;
    inner.check_open()?;
    {
        let registry = inner.registry();
        if registry.get::<RunningView>(name).is_none() {
            return Err(unknown_view(name, registry.names::<RunningView>()));
        }
    }
    apply_texts(inner, &now, Some(name)).await.map(|_| ()).map_err(first)
}
