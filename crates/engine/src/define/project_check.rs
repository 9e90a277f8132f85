//! `watershed check`: whether a project's folder compiles. Every statement is planned, dashboards
//! and tests are read; no data is touched and nothing runs, so it can stand in a commit hook or CI.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use catalog::{Definition, Object};
use common::{Error, Result};
use connector::Outside;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;

use crate::access::secrets::{outside_of, rules};
use crate::define::apply::unknown_in;
use crate::define::planned::plan_all;
use crate::define::texts::{Texts, parse_all, typed_statements};
use crate::stores::project::Project;
use crate::testing::project_test;

/// What is in a folder that compiles, by kind.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    pub definitions: BTreeMap<String, usize>,
    pub dashboards: usize,
    /// Files with tests; they are read, not run.
    pub tests: usize,
}

/// All faults of a folder, or what is in it. What was defined at run time counts as there.
pub fn run(project: &Project) -> BoxFuture<'_, Result<Checked, Vec<Error>>> {
    check(project).boxed()
}

async fn check(project: &Project) -> Result<Checked, Vec<Error>> {
    let (definitions, mut faults) = match plan(project).await {
        Ok(definitions) => (definitions, vec![]),
        Err(faults) => (vec![], faults),
    };
    let dashboards = match project.dashboards() {
        Ok(dashboards) => dashboards,
        Err(e) => {
            faults.extend(e);
            vec![]
        }
    };
    if faults.is_empty() {
        let is_view = |d: &&Definition| matches!(d.object, Object::View(_));
        let views: BTreeSet<&str> =
            definitions.iter().filter(is_view).map(|d| d.object.name()).collect();
        faults.extend(unknown_in(&dashboards, &views));
    }
    let tests = match project_test::files_of(project) {
        Ok(tests) => tests,
        Err(e) => {
            faults.extend(e);
            0
        }
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut by_kind = BTreeMap::new();
    for definition in &definitions {
        *by_kind.entry(definition.object.kind().said()).or_default() += 1;
    }
    Ok(Checked { definitions: by_kind, dashboards: dashboards.len(), tests })
}

async fn plan(project: &Project) -> Result<Vec<Definition>, Vec<Error>> {
    let one = |e: Error| vec![e];
    let files = project.sql_texts().map_err(one)?;
    let typed = typed_statements(project).map_err(one)?;
    let ordered = sql::order(parse_all(&Texts { files, typed }.all())?)?;
    let rules = Arc::new(rules(project));
    let outside = |d: &Definition| -> Outside { outside_of(&rules, d) };
    let as_written = |topic: &catalog::Topic| {
        if topic.archive {
            lake::check_columns(&topic.schema())?;
        }
        Ok(topic.clone())
    };
    let runtime = Arc::new(RuntimeEnv::default());
    let planned = plan_all(&runtime, ordered, &outside, &as_written).await?;
    Ok(planned.iter().map(|p| p.definition().clone()).collect())
}
