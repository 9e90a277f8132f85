//! What definitions may reach and what of them is secret, as the platform sees it: the rules of the
//! project, the secrets that are moved out of statements before they are stored, and what tells
//! one connection of a sink or source from another. See `connector::Outside` and `Secrets`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use catalog::store::CatalogFile;
use catalog::{Definition, Object};
use common::{Error, Result};
use connector::{Outside, Role, Rules, Secrets, Values};

use crate::stores::project::Project;

/// The rules by the project's settings and stores.
pub(crate) fn rules(project: &Project) -> Rules {
    let config = &project.config;
    let dir = |name: &str| project.dir.join(name);
    let catalog = project.path(&config.catalog);
    let users = catalog.with_file_name("users.json");
    let mut own = vec![dir("data"), dir("sql"), dir("watershed.toml"), catalog, users];
    own.extend([&config.views, &config.lake].map(|store| project.path(store)));
    own.push(project.log_dir());
    Rules {
        project_dir: project.dir.clone(),
        secrets: Secrets::new(dir("data/secrets")),
        files_allowed: config.files_allowed.clone(),
        http_allowed: config.http_allowed.clone(),
        secrets_allowed: config.secrets_allowed.clone(),
        own,
        of_owner: vec![dir("dashboards"), dir("tests"), dir(".git")],
    }
}

/// A typed statement as it is kept: with references in place of secrets.
pub(crate) fn stored_form(statement: &str) -> String {
    let text = sql::Text { file: None, text: statement.into() };
    let Ok(statements) = sql::parse(&text) else { return statement.to_string() };
    match statements.first() {
        Some(sql::Statement::Create { definition, .. }) => {
            match connectors::spec_of(&definition.object) {
                Some(spec) => connector::moved_out(spec, definition.object.name(), statement).0,
                None => statement.to_string(),
            }
        }
        _ => statement.to_string(),
    }
}

/// What a definition may reach by these rules.
pub(crate) fn outside_of(rules: &Arc<Rules>, definition: &Definition) -> Outside {
    let outside = Outside::new(rules.clone(), definition.origin.is_of_project());
    match &definition.object {
        Object::Source(s) => outside.of(Role::Source, &s.name),
        Object::Sink(s) => outside.of(Role::Sink, &s.name),
        _ => outside,
    }
}

/// How a source or sink is connected.
pub(crate) struct Connection {
    values: Values,
    is_trusted: bool,
}

impl Connection {
    /// Of what its connector would do; two of one are the same. Only within this process.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.is_trusted, &self.values).hash(&mut hasher);
        hasher.finish()
    }
}

/// The options of a source or sink, with what their references stand for now.
pub(crate) fn connection(rules: &Arc<Rules>, definition: &Definition) -> Result<Connection> {
    let outside = outside_of(rules, definition);
    let values = match &definition.object {
        Object::Source(s) => connectors::values(Role::Source, &s.connector, &s.options, &outside),
        Object::Sink(s) => connectors::values(Role::Sink, &s.connector, &s.options, &outside),
        other => Err(Error::internal(format!("a {} has no connector", other.kind()))),
    };
    let place = || definition.origin.whole();
    let values = values.map_err(|e| e.at(place()))?;
    Ok(Connection { values, is_trusted: outside.is_trusted() })
}

/// The statement for the catalog. The secrets that stood in it are kept by themselves.
pub(crate) fn without_secrets(rules: &Rules, definition: &Definition) -> Result<String> {
    let statement = definition.origin.statement();
    let Some(spec) = connectors::spec_of(&definition.object) else {
        return Ok(statement.to_string());
    };
    let name = definition.object.name();
    let (statement, secrets) = connector::moved_out(spec, name, statement);
    for (name, secret) in secrets {
        rules.secrets.put(&name, &secret)?;
    }
    Ok(statement)
}

/// Removes secrets that were moved out of statements that are no more.
pub(crate) fn forget_secrets(rules: &Rules, catalog: &CatalogFile) -> Result<()> {
    let stored = catalog.load()?;
    let statements: Vec<&str> = stored.iter().map(|s| s.statement.as_str()).collect();
    rules.secrets.keep_named(&statements)
}
