//! Runs one statement, of any kind, for every door.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use common::{Error, Place, Result};
use datafusion::dataframe::DataFrame;
use futures::StreamExt;

use crate::platform::Platform;

/// What a statement gives.
#[derive(Debug)]
pub enum Outcome {
    Rows {
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        /// There were more rows than asked for.
        omitted: bool,
    },
    Message(String),
}

impl Platform {
    /// Runs one statement and gathers at most `limit` rows.
    pub async fn execute(&self, query: &str, limit: Option<usize>) -> Result<Outcome> {
        let text = sql::Text { file: None, text: query.into() };
        let mut statements = sql::parse(&text).map_err(|faults| {
            faults.into_iter().next().unwrap_or_else(|| Error::syntax("nothing to run"))
        })?;
        if statements.len() > 1 {
            return Err(Error::invalid(format!("{} statements at once", statements.len()))
                .hint("send them one by one"));
        }
        let Some(statement) = statements.pop() else {
            return Err(Error::syntax("nothing to run").hint("for instance: SHOW TABLES"));
        };
        match statement {
            sql::Statement::Create { definition, if_not_exists, .. } => {
                let (kind, name) = (definition.object.kind(), definition.object.name());
                self.create(kind, name, definition.origin.statement(), if_not_exists).await
            }
            sql::Statement::Drop { kind, name, if_exists, .. } => {
                self.drop_object(kind.name(), &name, if_exists).await
            }
            sql::Statement::Show(show) => self.show(&show),
            sql::Statement::Describe { name, .. } => self.describe(&name),
            sql::Statement::Explain { what, analyze } => {
                self.explain_statement(&text, &what, analyze).await
            }
            sql::Statement::Query { text: query, start } => {
                let place = |span: std::ops::Range<usize>| Place {
                    file: None,
                    text: text.text.clone(),
                    span: start + span.start..start + span.end,
                };
                self.select(&query, &place, limit).await
            }
        }
    }

    async fn create(
        &self,
        kind: &str,
        name: &str,
        statement: &str,
        if_not_exists: bool,
    ) -> Result<Outcome> {
        let existing = self.inner.registry().definition(name).map(|d| d.object.kind());
        let shown = kind.to_lowercase();
        match existing {
            Some(_) if if_not_exists => {
                return Ok(Outcome::Message(format!("{shown} '{name}' exists already")));
            }
            Some(is) => {
                return Err(Error::already_exists(format!(
                    "{} '{name}' exists already",
                    is.to_lowercase()
                ))
                .hint(format!("choose another name, or DROP {is} {name} first")));
            }
            None => {}
        }
        self.create_typed(statement).await?;
        Ok(Outcome::Message(format!("created {shown} '{name}'")))
    }

    async fn drop_object(&self, kind: &str, name: &str, if_exists: bool) -> Result<Outcome> {
        let shown = kind.to_lowercase();
        if if_exists && self.inner.registry().definition(name).is_none() {
            return Ok(Outcome::Message(format!("there is no {shown} '{name}'")));
        }
        self.drop_typed(kind, name).await?;
        Ok(Outcome::Message(format!("dropped {shown} '{name}'")))
    }

    async fn select(
        &self,
        query: &str,
        place: &(dyn Fn(std::ops::Range<usize>) -> Place + Send + Sync),
        limit: Option<usize>,
    ) -> Result<Outcome> {
        let state = self.session()?;
        let plan = sql::plan(&state, query, place).await?;
        let whole = || place(0..query.trim_end().len());
        let run = async {
            let frame = DataFrame::new(state, plan);
            let mut stream = frame.execute_stream().await?;
            let schema = stream.schema();
            let mut batches = vec![];
            let (mut n, mut omitted) = (0, false);
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                let room = limit.map_or(usize::MAX, |l| l - n);
                if batch.num_rows() > room {
                    batches.push(batch.slice(0, room));
                    omitted = true;
                    break;
                }
                n += batch.num_rows();
                batches.push(batch);
            }
            Ok::<_, datafusion::error::DataFusionError>(Outcome::Rows { schema, batches, omitted })
        };
        let most: Duration = self.inner.project.config.query_timeout.to_std();
        match tokio::time::timeout(most, run).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(e)) => Err(sql::error(e, place)),
            Err(_) => Err(Error::cancelled(format!("the query took longer than {most:?}"))
                .hint("raise query.timeout, or ask for less")
                .at(whole())),
        }
    }
}
