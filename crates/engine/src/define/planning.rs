//! Plans views and sinks against definitions alone: topics are schemas, views are their plans, so
//! a view on a view becomes one graph over topics. Used by `apply` and by `watershed test`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use catalog::{Definition, Topic};
use common::{Error, Result};
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider,
};
use datafusion::datasource::ViewTable;
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use graph::{Graph, NodeKind};
use sql::stream_plan::SourceInfo;

use crate::flows::view_store::ROW_FORMAT;

/// A query ready to run as a stream.
pub struct PlannedQuery {
    /// Over topics only.
    pub plan: LogicalPlan,
    pub graph: Graph,
    pub topics: BTreeMap<String, Topic>,
    /// Equal when stored state can be used on.
    pub fingerprint: String,
}

/// When the rows of a query are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// As soon as they change.
    OnChange,
    /// Once, when their window closes.
    OnClose,
}

impl Emit {
    pub fn of(options: &catalog::Options) -> Emit {
        match options.get("emit").map(String::as_str) {
            Some("on_close") => Emit::OnClose,
            _ => Emit::OnChange,
        }
    }
}

/// A topic's constraints by name.
pub type Checks = Vec<(String, Arc<dyn PhysicalExpr>)>;

/// Definitions with faults. What reads one of them is wrong only because of it, so it is passed
/// over: a user sees the cause alone.
#[derive(Default)]
pub struct Wrong {
    names: BTreeSet<String>,
}

impl Wrong {
    pub fn add(&mut self, name: String) {
        self.names.insert(name);
    }

    /// Does it read one of them, and so belong to them?
    pub fn reads(&mut self, definition: &Definition) -> bool {
        let wrong = definition.depends_on.iter().any(|(on, _)| self.names.contains(on));
        if wrong {
            self.add(definition.object.name().to_string());
        }
        wrong
    }
}

/// A growing set of names to plan against.
pub struct Planning {
    state: SessionState,
    schema: Arc<MemorySchemaProvider>,
    topics: BTreeMap<String, Topic>,
    fingerprints: BTreeMap<String, String>,
}

impl Planning {
    pub fn new(runtime: &Arc<RuntimeEnv>) -> Result<Planning> {
        let state = sql::batch_state(runtime.clone(), sql::SessionOptions::default());
        let schema = Arc::new(MemorySchemaProvider::new());
        let catalog = MemoryCatalogProvider::new();
        let options = &state.config_options().catalog;
        catalog.register_schema(&options.default_schema, schema.clone()).map_err(internal)?;
        state.catalog_list().register_catalog(options.default_catalog.clone(), Arc::new(catalog));
        Ok(Planning { state, schema, topics: BTreeMap::new(), fingerprints: BTreeMap::new() })
    }

    /// Makes a topic known; returns its checks.
    pub fn add_topic(
        &mut self,
        definition: &Definition,
        topic: &Topic,
    ) -> Result<Checks, Vec<Error>> {
        let faults = sql::check_faults(&self.state, definition);
        if !faults.is_empty() {
            return Err(faults);
        }
        let exprs = sql::check_exprs(&self.state, topic).map_err(|e| vec![e])?;
        let checks = topic.checks.iter().map(|c| c.name.clone()).zip(exprs).collect();
        self.add_table(topic).map_err(|e| vec![e])?;
        Ok(checks)
    }

    fn add_table(&mut self, topic: &Topic) -> Result<()> {
        let table = sql::latest_rows(topic, Arc::new(sql::TopicTable::new(topic.clone())))?;
        self.schema.register_table(topic.name.clone(), table).map_err(internal)?;
        self.topics.insert(topic.name.clone(), topic.clone());
        Ok(())
    }

    pub fn is_topic(&self, name: &str) -> bool {
        self.topics.contains_key(name)
    }

    /// Makes a view known to later ones.
    pub fn add_view(&mut self, name: &str, query: &PlannedQuery) -> Result<()> {
        let table = Arc::new(ViewTable::new(query.plan.clone(), None));
        self.schema.register_table(name.to_string(), table).map_err(internal)?;
        self.fingerprints.insert(name.to_string(), format!("({})", query.fingerprint));
        Ok(())
    }

    /// Plans a query of a definition as a stream.
    pub async fn query(
        &self,
        definition: &Definition,
        text: &str,
        emit: Emit,
    ) -> Result<PlannedQuery> {
        let origin = &definition.origin;
        let start = definition.query_start;
        let place =
            |span: std::ops::Range<usize>| origin.place(start + span.start..start + span.end);
        let plan = sql::plan_view(&self.state, text, &place).await?;
        let plan = match emit {
            Emit::OnChange => plan,
            Emit::OnClose => sql::on_close(plan),
        };
        let whole = || place(0..text.trim_end().len());
        let resolve = |name: &str| {
            self.topics.get(name).map(|t| SourceInfo {
                topic: t.name.clone(),
                partitions: t.partitions,
                watermark: t
                    .watermark
                    .as_ref()
                    .map(|w| graph::Watermark { column: w.column.clone(), delay_us: w.delay_us }),
            })
        };
        let graph = sql::stream_plan::plan(&self.state, &plan, &resolve)
            .and_then(|graph| crate::define::dry_run::check(&graph).map(|()| graph))
            .map_err(|e| if e.place().is_some() { e } else { e.at(whole()) })?;
        let mut topics = BTreeMap::new();
        for node in &graph.nodes {
            if let NodeKind::Source(source) = &node.kind
                && let Some(topic) = self.topics.get(&source.topic)
            {
                topics.insert(topic.name.clone(), topic.clone());
            }
        }
        let views = definition.depends_on.iter().filter_map(|(n, _)| self.fingerprints.get(n));
        let mut depends: Vec<String> = views.cloned().collect();
        // Of a topic only what is read: a column added beside it changes nothing here.
        for (name, columns) in graph.topics() {
            depends.extend(topics.get(name).map(|t| topic_print(t, &columns)));
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let fingerprint = format!(
            "{ROW_FORMAT} state-{} plan-{}\n{}\n{}",
            stream::STATE_FORMAT,
            graph.digest(),
            words.join(" "),
            depends.join("\n")
        );
        Ok(PlannedQuery { plan, graph, topics, fingerprint })
    }
}

/// What of a topic decides whether stored state can be used on.
fn topic_print(topic: &Topic, columns: &[&str]) -> String {
    let time = topic.watermark.as_ref().map(|w| w.column.as_str());
    let read = |name: &str| time == Some(name) || columns.contains(&name);
    let declared = topic.columns.iter().filter(|c| read(&c.name));
    let declared = declared.map(|c| {
        let default = c.default.as_ref().map(|d| format!(" DEFAULT {d}")).unwrap_or_default();
        format!("{} {}{default}", c.name, formats::types::sql_name(&c.data_type))
    });
    let declared: Vec<String> = declared.collect();
    format!("{}({}) {} {:?}", topic.name, declared.join(", "), topic.partitions, topic.watermark)
}

fn internal(e: impl std::fmt::Display) -> Error {
    Error::internal(format!("planning: {e}"))
}

impl PlannedQuery {
    /// Its fingerprint with the topics' logs: state belongs to the very topics it was made from,
    /// not to later ones of their names.
    pub fn with_logs(&self, log: &log::Log) -> Result<String> {
        let mut fingerprint = self.fingerprint.clone();
        for name in self.topics.keys() {
            fingerprint.push_str(&format!("\n{name} {}", log.topic(name)?.id()));
        }
        Ok(fingerprint)
    }
}
