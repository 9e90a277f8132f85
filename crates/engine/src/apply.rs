//! What is to run: the project's files and statements typed at run time. Everything is parsed,
//! ordered and planned first; only when nothing is wrong is it put into effect (`changes.rs`), and
//! only where a definition did change. A fault leaves the last good version running.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use catalog::store::{CatalogFile, Stored};
use catalog::{Definition, Object};
use common::{Error, Result, SystemDisk, nearest};
use futures::FutureExt;
use futures::future::BoxFuture;
use log::{CleanupPolicy, TimestampType, TopicConfig, TopicDurability};
use serde::Serialize;
use sql::TopicChange;

use crate::meta::{Meta, TopicRecord};
use crate::planned::{Planned, plan_all};
use crate::platform::Platform;
use crate::project::{Dashboard, Project};

/// What is defined: the project's files, and statements typed into a running platform.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    pub files: Vec<sql::Text>,
    pub typed: Vec<String>,
}

impl Texts {
    pub fn load(file: &CatalogFile) -> Result<Texts> {
        let typed = file.load()?.into_iter().filter(|s| s.file.is_none()).map(|s| s.statement);
        Ok(Texts { files: vec![], typed: typed.collect() })
    }

    pub fn all(&self) -> Vec<sql::Text> {
        let typed = self.typed.iter().map(|s| sql::Text { file: None, text: s.as_str().into() });
        self.files.iter().cloned().chain(typed).collect()
    }
}

/// The CREATE statements that were typed at run time and are no part of the project's files, in the
/// order they can be run in. Also while a platform runs on the folder.
pub fn typed_statements(project: &Project) -> Result<Vec<String>> {
    let path = project.path(&project.config.catalog);
    if !path.exists() {
        return Ok(vec![]);
    }
    let files = project.sql_texts()?;
    let catalog = CatalogFile::open(Arc::new(SystemDisk), path)?;
    Ok(taken_over(&files, &Texts::load(&catalog)?.typed))
}

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

impl Platform {
    /// Replaces the definitions that come from files. On any fault nothing changes.
    pub async fn apply(&self, texts: &[sql::Text]) -> Result<ApplyReport, Vec<Error>> {
        let mut now = self.inner.texts.lock().await;
        self.check_open().map_err(|e| vec![e])?;
        let typed = taken_over(texts, &now.typed);
        let wanted = Texts { files: texts.to_vec(), typed };
        match self.apply_texts(&wanted, None).await {
            Ok(report) => {
                *now = wanted;
                self.set_problems(&[]);
                Ok(report)
            }
            Err(faults) => {
                self.set_problems(&faults);
                Err(faults)
            }
        }
    }

    /// Makes run what the catalog has, the last good version: for a start on files with faults.
    /// Nothing happens when something runs already.
    pub async fn apply_last_good(&self) -> Result<(), Vec<Error>> {
        let mut now = self.inner.texts.lock().await;
        if !self.inner.registry().definitions().is_empty() {
            return Ok(());
        }
        let stored = self.inner.catalog.load().map_err(|e| vec![e])?;
        let of_file = |s: Stored| s.file.map(|f| sql::Text::new(Some(&f), &s.statement));
        let files = stored.into_iter().filter_map(of_file).collect();
        let wanted = Texts { files, typed: now.typed.clone() };
        self.apply_texts(&wanted, None).await?;
        *now = wanted;
        Ok(())
    }

    /// Reads the project's files and applies them, dashboards included.
    pub async fn apply_project(&self) -> Result<ApplyReport, Vec<Error>> {
        let read = self.inner.project.sql_texts().map_err(|e| vec![e]);
        let boards = self.inner.project.dashboards();
        let texts = match (read, &boards) {
            (Ok(texts), Ok(_)) => texts,
            (Err(faults), _) => {
                self.set_problems(&faults);
                return Err(faults);
            }
            (Ok(_), Err(_)) => {
                let faults = boards.err().unwrap_or_default();
                self.set_problems(&faults);
                return Err(faults);
            }
        };
        let report = self.apply(&texts).await?;
        if let Ok(boards) = boards {
            let faults = {
                let registry = self.inner.registry();
                unknown_in(&boards, &registry.views.keys().map(String::as_str).collect())
            };
            if let Ok(mut now) = self.inner.dashboards.write() {
                *now = boards;
            }
            if !faults.is_empty() {
                self.set_problems(&faults);
            }
        }
        Ok(report)
    }

    /// Adds statements typed at run time, all or none.
    pub(crate) async fn create_typed(&self, statements: &[String]) -> Result<()> {
        let mut now = self.inner.texts.lock().await;
        self.check_open()?;
        let mut wanted = now.clone();
        wanted.typed.extend_from_slice(statements);
        self.apply_texts(&wanted, None).await.map_err(first)?;
        wanted.typed = wanted.typed.iter().map(|s| crate::secrets::stored_form(s)).collect();
        *now = wanted;
        Ok(())
    }

    /// Changes a topic that was made at run time.
    pub async fn alter_topic(&self, name: &str, change: &TopicChange) -> Result<()> {
        let mut now = self.inner.texts.lock().await;
        self.check_open()?;
        // Refuses what is no topic.
        self.inlet(name)?;
        let at = self.typed_at(&now, name)?;
        let mut wanted = now.clone();
        wanted.typed[at] = sql::altered(&now.typed[at], change)?;
        self.apply_texts(&wanted, None).await.map_err(first)?;
        *now = wanted;
        Ok(())
    }

    /// Puts a statement in the place of the one that made `name` at run time. What it makes takes
    /// over without a gap: a view's readers get the old rows until it has caught up.
    pub(crate) async fn replace_typed(&self, name: &str, statement: &str) -> Result<()> {
        let mut now = self.inner.texts.lock().await;
        self.check_open()?;
        let at = self.typed_at(&now, name)?;
        let mut wanted = now.clone();
        wanted.typed[at] = statement.to_string();
        self.apply_texts(&wanted, None).await.map_err(first)?;
        wanted.typed[at] = crate::secrets::stored_form(statement);
        *now = wanted;
        Ok(())
    }

    /// Where the statement is that made `name` at run time.
    fn typed_at(&self, texts: &Texts, name: &str) -> Result<usize> {
        let is_it = |statement: &String| defines(statement).as_deref() == Some(name);
        texts.typed.iter().position(is_it).ok_or_else(|| {
            let definition = self.inner.registry().definition(name).cloned();
            let kind = definition.as_ref().map_or("object", |d| d.object.kind()).to_lowercase();
            let file = definition.and_then(|d| d.origin.file).unwrap_or_default();
            Error::conflict(format!("{kind} '{name}' is defined in {file}"))
                .hint(format!("change it in {file} and apply that"))
        })
    }

    /// Also computes the view `rebuild` anew.
    pub(crate) fn apply_texts<'a>(
        &'a self,
        wanted: &'a Texts,
        rebuild: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ApplyReport, Vec<Error>>> {
        self.plan_and_apply(wanted, rebuild).boxed()
    }

    async fn plan_and_apply(
        &self,
        wanted: &Texts,
        rebuild: Option<&str>,
    ) -> Result<ApplyReport, Vec<Error>> {
        let (platform, texts) = (self.clone(), wanted.all());
        let plan = async move { Ok(platform.plan_texts(&texts).await) };
        let planned = self.inner.compute.run(plan).await.map_err(|e| vec![e])??;
        let save = |definitions: &[&Definition]| self.save_catalog(wanted, definitions);
        let report = self.put_into_effect(planned, rebuild, &save).await.map_err(|e| vec![e])?;
        if let Err(e) = self.inner.forget_secrets() {
            tracing::warn!("secrets that nothing names any more are still there: {e}");
        }
        Ok(report)
    }

    async fn plan_texts(&self, texts: &[sql::Text]) -> Result<Vec<Planned>, Vec<Error>> {
        let ordered = sql::order(parse_all(texts)?)?;
        self.check_topics_max(&ordered).map_err(|e| vec![e])?;
        self.plan_all(ordered).await
    }

    /// Those that are there already may stay, whatever the limit is now.
    fn check_topics_max(&self, wanted: &[Definition]) -> Result<()> {
        let max = self.inner.project.config.topics_max as usize;
        let is_topic = |d: &&Definition| matches!(d.object, Object::Topic(_));
        let n = wanted.iter().filter(is_topic).count();
        if n <= max {
            return Ok(());
        }
        let stored = self.inner.catalog.load()?;
        let known: HashSet<&str> = stored.iter().map(|s| s.name.as_str()).collect();
        match wanted.iter().filter(is_topic).find(|d| !known.contains(d.object.name())) {
            None => Ok(()),
            Some(new) => {
                Err(topics_full(new.object.name(), max)
                    .at(new.origin.place(new.origin.span.clone())))
            }
        }
    }

    async fn plan_all(&self, ordered: Vec<Definition>) -> Result<Vec<Planned>, Vec<Error>> {
        let meta = Meta::new(&self.inner.kv).map_err(|e| vec![e])?;
        // With the columns that events have which are there already.
        let as_stored = |topic: &catalog::Topic| {
            let known = self.check_evolution(&meta, topic)?;
            Ok(known.map_or_else(|| topic.clone(), |old| old.relaxed(topic)))
        };
        let outside = |definition: &Definition| self.inner.outside(definition);
        plan_all(&self.inner.runtime, ordered, &outside, &as_stored).await
    }

    /// What is stored must stay readable under the new definition. Returns what is known of a
    /// topic that holds events.
    fn check_evolution(&self, meta: &Meta, topic: &catalog::Topic) -> Result<Option<TopicRecord>> {
        let known = meta.topic(&topic.name)?;
        // What came in before this was asked may stay.
        let archived_so = known.as_ref().is_some_and(|old| old.has_columns_of(topic));
        if topic.archive && !archived_so {
            lake::check_columns(&topic.schema())?;
        }
        let Some(old) = known else { return Ok(None) };
        let log = self.inner.log.topic(&topic.name).ok();
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

    fn save_catalog(&self, texts: &Texts, definitions: &[&Definition]) -> Result<()> {
        let before = self.inner.catalog.load()?;
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
            let statement = self.inner.without_secrets(definition)?;
            let old = before.iter().find(|s| s.name == name);
            let version = match old {
                Some(old) if old.statement == statement => old.version,
                Some(old) => common::Version(old.version.0 + 1),
                None => common::Version(1),
            };
            stored.push(Stored {
                kind: definition.object.kind().to_string(),
                name: name.to_string(),
                statement,
                file: definition.origin.file.clone(),
                version,
            });
        }
        self.inner.catalog.save(&stored)
    }
}

pub(crate) fn is_empty(log: &log::Topic) -> bool {
    log.partitions().iter().all(|p| p.end_offset().0 == 0)
}

/// How the log is to keep a topic.
pub(crate) fn log_config(topic: &catalog::Topic) -> TopicConfig {
    let storage = &topic.storage;
    TopicConfig {
        partitions: topic.partitions as u32,
        retention_us: storage.retention_us,
        retention_bytes: storage.retention_bytes,
        segment_bytes_max: storage.segment_bytes,
        segment_us: storage.segment_us,
        cleanup_policy: match (storage.deletes, storage.compacts) {
            (true, true) => CleanupPolicy::CompactDelete,
            (false, true) => CleanupPolicy::Compact,
            _ => CleanupPolicy::Delete,
        },
        max_message_bytes: storage.max_message_bytes,
        message_timestamp_type: match storage.log_append_time {
            true => TimestampType::LogAppendTime,
            false => TimestampType::CreateTime,
        },
        min_cleanable_dirty_ratio: storage.min_cleanable_dirty_ratio,
        delete_retention_us: storage.delete_retention_us,
        min_compaction_lag_us: storage.min_compaction_lag_us,
        max_compaction_lag_us: storage.max_compaction_lag_us,
        timestamp_before_max_us: storage.timestamp_before_max_us,
        timestamp_after_max_us: storage.timestamp_after_max_us,
        durability: match storage.page_cache {
            true => TopicDurability::PageCache,
            false => TopicDurability::Synced,
        },
    }
}

/// Typed statements without those that a file now has in the same words: the file takes them over.
fn taken_over(files: &[sql::Text], typed: &[String]) -> Vec<String> {
    let in_files = parse_all(files).unwrap_or_default();
    let is_in_file = |statement: &String| {
        let text = sql::Text { file: None, text: statement.as_str().into() };
        let typed = parse_all(&[text]).unwrap_or_default();
        !typed.is_empty() && typed.iter().all(|t| in_files.iter().any(|d| d.object == t.object))
    };
    typed.iter().filter(|s| !is_in_file(s)).cloned().collect()
}

/// Every definition of all texts; all faults at once.
pub(crate) fn parse_all(texts: &[sql::Text]) -> Result<Vec<Definition>, Vec<Error>> {
    let mut definitions = vec![];
    let mut faults = vec![];
    for text in texts {
        match sql::parse(text) {
            Ok(statements) => {
                for statement in statements {
                    match statement {
                        sql::Statement::Create { definition, .. } => definitions.push(*definition),
                        other => faults.push(only_create(text, &other)),
                    }
                }
            }
            Err(e) => faults.extend(e),
        }
    }
    if faults.is_empty() { Ok(definitions) } else { Err(faults) }
}

fn only_create(text: &sql::Text, statement: &sql::Statement) -> Error {
    let is_user = matches!(
        statement,
        sql::Statement::CreateUser { .. }
            | sql::Statement::AlterUser { .. }
            | sql::Statement::DropUser { .. }
    );
    if is_user {
        // Without its place: the text has the password.
        let file = text.file.as_deref().unwrap_or("the text");
        return Error::invalid(format!("{file} has a statement about a user"))
            .hint("passwords do not belong into files; type it into: watershed sql");
    }
    let at = text.place(match statement {
        sql::Statement::Drop { span, .. } | sql::Statement::Describe { span, .. } => span.clone(),
        sql::Statement::Query { start, text } => *start..*start + text.trim_end().len(),
        _ => 0..text.text.trim_end().len(),
    });
    Error::invalid("only CREATE statements can stand in the project's files")
        .hint("run queries with: watershed sql \"SELECT …\"")
        .at(at)
}

/// The name a CREATE statement defines.
pub(crate) fn defines(statement: &str) -> Option<String> {
    let text = sql::Text { file: None, text: statement.into() };
    match sql::parse(&text).ok()?.into_iter().next()? {
        sql::Statement::Create { definition, .. } => Some(definition.object.name().to_string()),
        _ => None,
    }
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

pub(crate) fn first(faults: Vec<Error>) -> Error {
    let n = faults.len();
    match faults.into_iter().next() {
        Some(e) if n > 1 => e.context(format!("{n} faults, the first")),
        Some(e) => e,
        None => Error::internal("failed without a reason"),
    }
}

fn topics_full(name: &str, max: usize) -> Error {
    Error::conflict(format!("topic '{name}' can't be made: there may be {max} topics"))
        .hint("drop topics that nobody needs, or raise topics_max")
}

/// Error for a view that does not exist.
pub(crate) fn unknown_view<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    Error::unknown("view", name, known)
}

/// Error for a topic that does not exist.
pub(crate) fn unknown_topic<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.into_iter().collect();
    let e = Error::unknown("topic", name, known.iter().copied());
    match nearest(name, known.iter().copied()) {
        Some(_) => e,
        None => e.hint(
            "define it with CREATE TOPIC, or import a file: watershed import FILE --into TOPIC",
        ),
    }
}
