//! What is defined, as text: the files of a project and the statements that were typed into a
//! running platform.

use std::sync::Arc;

use catalog::Definition;
use catalog::store::CatalogFile;
use common::{Error, Result, SystemDisk};

use crate::stores::project::Project;

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

/// Typed statements without those that a file now has in the same words: the file takes them over.
pub fn taken_over(files: &[sql::Text], typed: &[String]) -> Vec<String> {
    let in_files = parse_all(files).unwrap_or_default();
    let is_in_file = |statement: &String| {
        let text = sql::Text { file: None, text: statement.as_str().into() };
        let typed = parse_all(&[text]).unwrap_or_default();
        !typed.is_empty() && typed.iter().all(|t| in_files.iter().any(|d| d.object == t.object))
    };
    typed.iter().filter(|s| !is_in_file(s)).cloned().collect()
}

/// Every definition of all texts; all faults at once.
pub fn parse_all(texts: &[sql::Text]) -> Result<Vec<Definition>, Vec<Error>> {
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
pub fn defines(statement: &str) -> Option<String> {
    let text = sql::Text { file: None, text: statement.into() };
    match sql::parse(&text).ok()?.into_iter().next()? {
        sql::Statement::Create { definition, .. } => Some(definition.object.name().to_string()),
        _ => None,
    }
}

pub fn first(faults: Vec<Error>) -> Error {
    let n = faults.len();
    match faults.into_iter().next() {
        Some(e) if n > 1 => e.context(format!("{n} faults, the first")),
        Some(e) => e,
        None => Error::internal("failed without a reason"),
    }
}
