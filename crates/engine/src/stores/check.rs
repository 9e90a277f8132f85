//! `watershed doctor --deep`: looks at all that a project has on disk and changes nothing. Each
//! store checks its own files (`log::check`, `kv::check`, `lake::Lake::check`); here they are put
//! together, and what one says of another: a catalog must be there if there are topics.

use std::path::Path;
use std::sync::Arc;

use catalog::store::CatalogFile;
use common::{Disk, Error, Result, SystemDisk};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::access::users::Users;
use crate::stores::blocking::blocking;
use crate::stores::lock::{self, SharedLocks};
use crate::stores::meta::Meta;
use crate::stores::project::Project;
use crate::topics::within_log::beyond_log;

/// What was found in one store: a sentence, or the error that is its fault.
#[derive(Debug)]
pub struct Finding {
    pub store: &'static str,
    pub says: Result<String>,
}

fn good(store: &'static str, says: String) -> Finding {
    Finding { store, says: Ok(says) }
}

fn bad(store: &'static str, e: Error) -> Finding {
    Finding { store, says: Err(e) }
}

/// Checks all stores of a stopped project. Of a running one only what its platform replaces as a
/// whole is looked at: the catalog and the lake.
pub fn deep(project: &Project) -> BoxFuture<'_, Result<Vec<Finding>>> {
    look_at_all(project).boxed()
}

async fn look_at_all(project: &Project) -> Result<Vec<Finding>> {
    let mut findings = vec![];
    // Held until the end: no platform starts meanwhile.
    let locks = match SharedLocks::take(project) {
        Ok(locks) => Some(locks),
        Err(e) => {
            findings.push(bad("running", e));
            None
        }
    };
    let is_stopped = locks.is_some();
    let of = project.clone();
    findings.extend(
        blocking(move || {
            let mut findings = missing_folders(&of);
            let mut topics = 0;
            if is_stopped {
                let checked = check_log(&of, &mut findings);
                topics = checked.topics;
                findings.extend(check_views(&of, &checked.ends));
            }
            findings.extend(check_catalog(&of, topics));
            Ok(findings)
        })
        .await?,
    );
    findings.extend(check_lake(project).await?);
    drop(locks);
    Ok(findings)
}

/// A platform that was once open has made them.
fn missing_folders(project: &Project) -> Vec<Finding> {
    let mut findings = vec![];
    if !lock::was_open(project) {
        return findings;
    }
    for (store, dir) in lock::folders(project) {
        if !dir.is_dir() {
            let text = format!("the {store} folder '{}' is missing", dir.display());
            let e = Error::corrupt(text).hint("restore it from a backup");
            findings.push(bad(store, e));
        }
    }
    findings
}

fn check_log(project: &Project, findings: &mut Vec<Finding>) -> log::Checked {
    let dir = project.log_dir();
    let mut checked = log::check(&SystemDisk, &dir);
    let faults = std::mem::take(&mut checked.faults);
    let says = format!(
        "'{}': {} topics, {} partitions, {} segments, {} batches of {} bytes were read{}",
        dir.display(),
        checked.topics,
        checked.partitions,
        checked.segments,
        checked.batches,
        checked.bytes,
        verdict(faults.len()),
    );
    findings.push(good("log", says));
    findings.extend(faults.into_iter().map(|e| bad("log", e)));
    checked
}

/// The end of a sentence.
fn verdict(faults: usize) -> String {
    match faults {
        0 => ", all is well".to_string(),
        1 => ", one fault".to_string(),
        n => format!(", {n} faults"),
    }
}

fn check_views(project: &Project, ends: &[log::PartitionEnd]) -> Vec<Finding> {
    let dir = project.path(&project.config.views);
    if !dir.is_dir() {
        return vec![good("views", "there is no keyed store yet".into())];
    }
    let name = format!("watershed-doctor-{}", uuid::Uuid::new_v4());
    let mut apart = vec![];
    let mut look = |kv: &Arc<kv::Kv>| {
        apart = not_of_one_moment(kv, ends)?;
        Ok(())
    };
    let finding = match kv::check(&dir, &std::env::temp_dir().join(name), &mut look) {
        Ok(checked) => {
            let (spaces, pairs) = (checked.keyspaces, checked.pairs);
            let dir = dir.display();
            let says =
                format!("'{dir}': {pairs} pairs in {spaces} keyspaces were read, all is well");
            good("views", says)
        }
        Err(e) => bad("views", e),
    };
    std::iter::once(finding).chain(apart.into_iter().map(|e| bad("views", e))).collect()
}

/// Views and sinks that have read more than the log has, as in a folder that was copied while its
/// platform ran.
fn not_of_one_moment(kv: &Arc<kv::Kv>, ends: &[log::PartitionEnd]) -> Result<Vec<Error>> {
    let mut faults = vec![];
    for (name, id, fingerprint) in Meta::new(kv)?.pipelines()? {
        let Some(checkpoint) = state::load_checkpoint(kv, &id)? else { continue };
        for ((topic, partition), next) in checkpoint.offsets {
            let log = ends.iter().find(|e| e.topic == topic && e.partition == partition);
            let log = log.filter(|e| next > e.end && fingerprint.contains(&e.topic_id));
            faults.extend(log.map(|e| beyond_log(&name, &topic, partition, next, e.end)));
        }
    }
    Ok(faults)
}

fn check_catalog(project: &Project, topics: usize) -> Vec<Finding> {
    let path = project.path(&project.config.catalog);
    let users = path.with_file_name("users.json");
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let mut findings = vec![match path.exists() {
        true => match parse_catalog(&disk, &path) {
            Ok(n) => good("catalog", format!("'{}': {n} definitions", path.display())),
            Err(e) => bad("catalog", e),
        },
        false if topics > 0 => {
            let text = format!("the catalog '{}' is missing", path.display());
            let hint = "restore it from a backup; what stands under 'sql/' is defined from there \
                        again at the next start";
            bad("catalog", Error::corrupt(text).hint(hint))
        }
        false => good("catalog", "nothing is defined yet".into()),
    }];
    if users.exists() {
        findings.push(match Users::open(disk, users.clone()) {
            Ok(all) => good("users", format!("'{}': {} users", users.display(), all.all().len())),
            Err(e) => bad("users", e),
        });
    }
    findings
}

fn parse_catalog(disk: &Arc<dyn Disk>, path: &Path) -> Result<usize> {
    let stored = CatalogFile::open(disk.clone(), path)?.load()?;
    for definition in &stored {
        sql::parse(&sql::Text { file: None, text: definition.statement.as_str().into() })
            .map_err(|mut e| e.swap_remove(0))
            .map_err(|e| e.context(format!("'{}', '{}'", path.display(), definition.name)))?;
    }
    Ok(stored.len())
}

async fn check_lake(project: &Project) -> Result<Vec<Finding>> {
    let checked = match lake::Lake::check(&project.config.lake, &project.dir).await {
        Ok(checked) => checked,
        Err(e) => return Ok(vec![bad("lake", e)]),
    };
    let (tables, files) = (checked.tables, checked.files);
    let dir = project.path(&project.config.lake);
    let says = format!(
        "'{}': {tables} tables with {files} data files were read{}",
        dir.display(),
        verdict(checked.faults.len())
    );
    let mut findings = vec![good("lake", says)];
    findings.extend(checked.faults.into_iter().map(|e| bad("lake", e)));
    Ok(findings)
}
