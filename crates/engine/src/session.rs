//! What one principal may do: all that a door may call. Each call is checked here, and done by the
//! room it belongs to.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arrow::datatypes::DataType;
use bytes::Bytes;
use catalog::Kind;
use common::{Epoch, Error, Offset, Partition, ProblemDetails, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use formats::BodyKind;
use futures::future::BoxFuture;
use sql::TopicChange;

use crate::access::principal::{Action, Principal};
use crate::access::users::Users;
use crate::define::changes::ApplyReport;
use crate::define::infos::{OperatorInfo, Status, TopicInfo, ViewInfo};
use crate::define::{apply, drops, topic, view};
use crate::flows::subscription::Subscription;
use crate::groups::consumer_groups::{GroupDetail, GroupInfo};
use crate::groups::reset_offsets::{ResetOffsets, ResetPlan, ResetRefused};
use crate::groups::{consumer_groups, reset_offsets};
use crate::inner::Inner;
use crate::observe::status::ObjectInfo;
use crate::observe::{metrics, operators, problems, status};
use crate::query::caller::Caller;
use crate::query::outcome::{Answer, Outcome, Rows};
use crate::query::run::Prepared;
use crate::query::view_page::{ViewPage, ViewQuery};
use crate::query::{names, run, show, view_pages};
use crate::stores::backup;
use crate::stores::backup::{BackupBy, BackupInfo};
use crate::stores::blocking::blocking;
use crate::stores::project::{Dashboard, Project};
use crate::topics::browse::{RecordPage, RecordQuery};
use crate::topics::dead_letters::{Chosen, DeadLetterPage, DeadLetterQuery};
use crate::topics::ingest::{Ingested, Origin, TopicWriter};
use crate::topics::partitions::{DeletedRecords, PartitionInfo};
use crate::topics::produce::ProducerRecord;
use crate::topics::raw_topic::RawTopic;
use crate::topics::read::Event;
use crate::topics::resend::{Resend, Resent};
use crate::topics::{archive, browse, partitions, produce, read, resend, retention, take_in};

/// A platform as one principal sees it; cheap to clone.
#[derive(Clone)]
pub struct Session {
    caller: Caller,
}

impl Session {
    pub(crate) fn new(inner: Arc<Inner>, principal: Principal) -> Session {
        Session { caller: Caller { inner, principal } }
    }

    /// The same platform as another one sees it.
    pub fn as_user(&self, principal: Principal) -> Session {
        Session::new(self.caller.inner.clone(), principal)
    }

    fn may(&self, action: Action, object: Option<&str>) -> Result<()> {
        self.caller.may(action, object)
    }
}

// What it is and how it does.
impl Session {
    pub fn project(&self) -> &Project {
        &self.caller.inner.project
    }

    /// Why requests would fail now, if they would: the platform is stopping, nobody has looked at
    /// the definitions yet, or (after the start) a view has not yet taken in what was there. A view
    /// that has stopped says so to its own readers.
    pub fn ready(&self) -> Result<()> {
        problems::ready(&self.caller.inner)
    }

    pub fn problems(&self) -> Vec<ProblemDetails> {
        problems::problems(&self.caller.inner)
    }

    /// Faults of the project's files; the last good version goes on running beside them.
    pub fn set_problems(&self, problems: &[Error]) {
        problems::set_problems(&self.caller.inner, problems)
    }

    pub fn status(&self) -> Status {
        status::status(&self.caller.inner)
    }

    /// Every object there is, of one kind or of any.
    pub async fn objects(&self, kind: Option<&'static Kind>) -> Result<Vec<ObjectInfo>> {
        let inner = self.caller.inner.clone();
        // Some of it is read from logs and stores.
        blocking(move || Ok(status::objects(&inner, kind))).await
    }

    /// All figures of the engine.
    pub async fn metrics(&self) -> Result<String> {
        metrics::metrics(&self.caller.inner).await
    }

    pub fn definitions_running(&self) -> usize {
        self.caller.inner.registry().definitions().len()
    }

    pub fn dashboards(&self) -> Vec<Dashboard> {
        let boards = &self.caller.inner.dashboards;
        boards.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who may log in.
    pub fn users(&self) -> &Arc<Users> {
        &self.caller.inner.users
    }

    /// A name of this data folder that no other has.
    pub fn cluster_id(&self) -> &str {
        &self.caller.inner.coordination.cluster_id
    }

    /// The platform's clock, µs since 1970.
    pub fn now_us(&self) -> i64 {
        self.caller.inner.clock.now_us()
    }
}

// Definitions.
impl Session {
    /// Replaces the definitions that come from files. On any fault nothing changes.
    pub async fn apply(&self, texts: &[sql::Text]) -> Result<ApplyReport, Vec<Error>> {
        self.may(Action::Define, None).map_err(|e| vec![e])?;
        apply::apply(&self.caller.inner, texts).await
    }

    /// Reads the project's files and applies them, dashboards included.
    pub async fn apply_project(&self) -> Result<ApplyReport, Vec<Error>> {
        self.may(Action::Define, None).map_err(|e| vec![e])?;
        apply::apply_project(&self.caller.inner).await
    }

    /// Makes run what the catalog has, the last good version: for a start on files with faults.
    /// Nothing happens when something runs already.
    pub async fn apply_last_good(&self) -> Result<(), Vec<Error>> {
        self.may(Action::Define, None).map_err(|e| vec![e])?;
        apply::apply_last_good(&self.caller.inner).await
    }

    /// Makes a topic that takes any bytes.
    pub async fn create_raw_topic(&self, topic: &RawTopic) -> Result<()> {
        self.execute(&topic.statement()).await.map(|_| ())
    }

    /// Makes several of them, all or none.
    pub async fn create_raw_topics(&self, topics: &[&RawTopic]) -> Result<()> {
        self.may(Action::Define, None)?;
        let statements: Vec<_> = topics.iter().map(|t| t.statement()).collect();
        apply::create_typed(&self.caller.inner, &statements).await
    }

    /// Changes a topic that was made at run time.
    pub async fn alter_topic(&self, name: &str, change: &TopicChange) -> Result<()> {
        self.may(Action::Define, Some(name))?;
        apply::alter_topic(&self.caller.inner, name, change).await
    }

    /// DROP TOPIC.
    pub async fn drop_topic(&self, name: &str) -> Result<()> {
        self.may(Action::Define, Some(name))?;
        drops::drop_typed(&self.caller.inner, &catalog::kind::TOPIC, name).await
    }

    /// Computes a view anew from all events there are, in the archive and in the log, also one that
    /// has stopped. Its readers see the old rows until the new ones have caught up.
    pub async fn rebuild_view(&self, name: &str) -> Result<()> {
        self.may(Action::Operate, Some(name))?;
        apply::rebuild_view(&self.caller.inner, name).await
    }

    /// How many more topics may be made.
    pub fn topics_room(&self) -> usize {
        let max = self.caller.inner.project.config.topics_max as usize;
        max.saturating_sub(self.caller.inner.registry().names::<Arc<TopicWriter>>().count())
    }
}

// Topics and their events.
impl Session {
    pub fn topics(&self) -> Vec<TopicInfo> {
        topic::topics(&self.caller.inner)
    }

    pub fn topic(&self, name: &str) -> Result<TopicInfo> {
        self.may(Action::Read, Some(name))?;
        topic::topic(&self.caller.inner, name)
    }

    /// Partitions of a topic.
    pub fn partitions(&self, topic: &str) -> Result<Vec<Partition>> {
        self.may(Action::Read, Some(topic))?;
        let writer = self.caller.inner.topic_writer(topic)?;
        Ok(writer.log.partitions().iter().map(|p| p.id()).collect())
    }

    /// The partitions of a topic, in order. Error: `NotFound` for an unknown topic.
    pub async fn partition_list(&self, topic: &str) -> Result<Vec<PartitionInfo>> {
        self.may(Action::Read, Some(topic))?;
        partitions::partition_list(&self.caller.inner, topic).await
    }

    /// Whether what comes to a topic is kept in the lake, too.
    pub fn is_archived(&self, topic: &str) -> Result<bool> {
        self.may(Action::Read, Some(topic))?;
        Ok(self.caller.inner.topic_writer(topic)?.topic.archive)
    }

    /// Configurations of Kafka that are kept for its clients.
    pub fn kafka_configs(&self, topic: &str) -> Result<BTreeMap<String, String>> {
        self.may(Action::Read, Some(topic))?;
        Ok(self.caller.inner.topic_writer(topic)?.topic.storage.kafka_configs.clone())
    }

    /// A topic's log, for doors whose clients send record batches. What they append is checked
    /// before anybody reads it.
    pub fn topic_log(&self, topic: &str) -> Result<Arc<log::Topic>> {
        self.may(Action::Read, Some(topic))?;
        self.caller.inner.check_open()?;
        Ok(self.caller.inner.topic_writer(topic)?.log.clone())
    }

    /// The same for a client that appends.
    pub fn topic_log_to_write(&self, topic: &str) -> Result<Arc<log::Topic>> {
        self.may(Action::Write, Some(topic))?;
        self.caller.inner.check_open()?;
        Ok(self.caller.inner.topic_writer(topic)?.log.clone())
    }

    /// The logs of all topics.
    pub fn topic_logs(&self) -> Vec<Arc<log::Topic>> {
        let registry = self.caller.inner.registry();
        registry.all::<Arc<TopicWriter>>().map(|(_, w)| w.log.clone()).collect()
    }

    /// Changes whenever more of a log can be read.
    pub fn log_commits(&self) -> tokio::sync::watch::Receiver<u64> {
        self.caller.inner.log.commits().subscribe()
    }

    /// Takes in a body; returns once all of it is durable, in the log or in the dead letters.
    pub async fn ingest(&self, topic: &str, body: Bytes, kind: BodyKind) -> Result<Ingested> {
        self.may(Action::Write, Some(topic))?;
        take_in::ingest(&self.caller.inner, topic, body, kind).await
    }

    /// Takes in batch `sequence` (from 1) of an import, once however often it is sent.
    pub async fn ingest_import(
        &self,
        topic: &str,
        import: &str,
        sequence: u64,
        body: Bytes,
        kind: BodyKind,
        origin: Option<Origin>,
    ) -> Result<Ingested> {
        self.may(Action::Write, Some(topic))?;
        take_in::ingest_import(&self.caller.inner, topic, import, sequence, body, kind, origin)
            .await
    }

    /// Appends records; returns once they are durable, and what does not fit the topic is with the
    /// dead letters (its line is the record's number, from 1). Errors: `NotFound` for an unknown
    /// topic or partition, `Invalid` for a record without a key in a compacted topic.
    pub async fn produce(&self, topic: &str, records: Vec<ProducerRecord>) -> Result<Ingested> {
        self.may(Action::Write, Some(topic))?;
        produce::produce(&self.caller.inner, topic, records).await
    }

    /// Events from given offsets on (the start where none is given), by partition.
    pub async fn read_topic(
        &self,
        topic: &str,
        from: BTreeMap<Partition, Offset>,
        limit: usize,
    ) -> Result<Vec<Event>> {
        self.may(Action::Read, Some(topic))?;
        read::read_topic(&self.caller.inner, topic, from, limit).await
    }

    /// The last events over all partitions, newest first.
    pub async fn tail_topic(&self, topic: &str, n: usize) -> Result<Vec<Event>> {
        self.may(Action::Read, Some(topic))?;
        read::tail_topic(&self.caller.inner, topic, n).await
    }

    /// Reads records. Errors: `NotFound` for an unknown topic or partition, `Invalid` for a place
    /// that makes no sense here, `Corrupt` for a damaged segment.
    pub async fn records(&self, topic: &str, query: RecordQuery) -> Result<RecordPage> {
        self.may(Action::Read, Some(topic))?;
        browse::records(&self.caller.inner, topic, query).await
    }

    /// Deletes the records of partitions below the given offsets; None stands for all that are
    /// durable. Everything is checked before the first is deleted. Errors: `NotFound` for an
    /// unknown topic, partition or offset, `Conflict` when records are not archived yet,
    /// `Unsupported` for a copy of an external log.
    pub async fn delete_records(
        &self,
        topic: &str,
        before: BTreeMap<Partition, Option<Offset>>,
    ) -> Result<Vec<DeletedRecords>> {
        self.may(Action::Operate, Some(topic))?;
        partitions::delete_records(&self.caller.inner, topic, before).await
    }

    pub async fn dead_letters(&self, query: DeadLetterQuery) -> Result<DeadLetterPage> {
        self.may(Action::Read, None)?;
        let store = self.caller.inner.dead_letters.clone();
        blocking(move || store.page(&query)).await
    }

    /// Sends letters again, oldest first; what is accepted or refused anew is marked as sent.
    pub async fn resend(&self, wanted: Resend) -> Result<Resent> {
        self.may(Action::Write, None)?;
        resend::resend(&self.caller.inner, wanted).await
    }

    /// Removes letters; how many.
    pub async fn delete_dead_letters(&self, chosen: Chosen) -> Result<u64> {
        self.may(Action::Operate, None)?;
        resend::delete_dead_letters(&self.caller.inner, chosen).await
    }
}

// Views.
impl Session {
    /// All views, with their texts.
    pub fn views(&self) -> Vec<ViewInfo> {
        view::views(&self.caller.inner)
    }

    /// A page of rows: in the order asked for and then by all columns, or by their keys.
    pub async fn view_rows(&self, view: &str, query: ViewQuery) -> Result<ViewPage> {
        self.may(Action::Read, Some(view))?;
        view_pages::view_rows(&self.caller.inner, view, query).await
    }

    /// A page of the rows whose first key column equals `key`; an error when there are none.
    pub async fn view_key(&self, view: &str, key: &str, query: ViewQuery) -> Result<ViewPage> {
        self.may(Action::Read, Some(view))?;
        view_pages::view_key(&self.caller.inner, view, key, query).await
    }

    /// Live changes of a view, after an epoch when it is still known.
    pub fn subscribe(&self, view: &str, after: Option<Epoch>) -> Result<Subscription> {
        self.may(Action::Read, Some(view))?;
        view_pages::subscribe(&self.caller.inner, view, after)
    }

    /// The operators that keep a view up to date or fill a sink, with their figures.
    pub fn operators(&self, name: &str) -> Result<Vec<OperatorInfo>> {
        self.may(Action::Read, Some(name))?;
        operators::operators(&self.caller.inner, name)
    }

    /// How a view is kept up to date.
    pub async fn explain(&self, name: &str) -> Result<Outcome> {
        self.may(Action::Read, Some(name))?;
        show::explain(&self.caller.inner, name).await
    }
}

// SQL.
impl Session {
    /// A session for queries: all tables, Spark's semantics.
    pub fn session(&self) -> Result<SessionState> {
        names::session(&self.caller)
    }

    /// Runs one statement and gathers its rows, however many.
    pub fn execute<'a>(&'a self, query: &'a str) -> BoxFuture<'a, Result<Outcome>> {
        run::execute(&self.caller, query)
    }

    /// Runs one statement. A query may run for `timeout`, and never longer than `query.timeout`;
    /// what changes something is finished even when nobody waits for it.
    pub fn start<'a>(
        &'a self,
        query: &'a str,
        timeout: Option<Duration>,
    ) -> BoxFuture<'a, Result<Answer>> {
        run::start(&self.caller, query, timeout)
    }

    /// Plans one statement. `given` are the types of parameters that the client knows.
    pub fn prepare<'a>(
        &'a self,
        query: &'a str,
        given: &'a [Option<DataType>],
    ) -> BoxFuture<'a, Result<Prepared>> {
        run::prepare(&self.caller, query, given)
    }

    /// Runs a prepared statement with a value for each parameter; texts are read as the type that
    /// the parameter has. It is planned anew: what it reads may have been made anew, too.
    pub fn start_prepared<'a>(
        &'a self,
        prepared: &'a Prepared,
        values: Vec<ScalarValue>,
        timeout: Option<Duration>,
    ) -> BoxFuture<'a, Result<Answer>> {
        run::start_prepared(&self.caller, prepared, values, timeout)
    }

    /// Runs a plan that another session made, as a query of that session.
    pub fn start_plan(
        &self,
        state: SessionState,
        plan: LogicalPlan,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Rows>> {
        Box::pin(async move {
            self.may(Action::Read, None)?;
            run::start_plan(&self.caller.inner, state, plan, timeout).await
        })
    }
}

// Groups and transactions.
impl Session {
    /// The coordinator of Kafka's consumer groups.
    pub fn groups(&self) -> &Arc<log::groups::GroupCoordinator> {
        &self.caller.inner.coordination.groups
    }

    /// The coordinator of Kafka's transactions.
    pub fn transactions(&self) -> &Arc<log::transactions::TransactionCoordinator> {
        &self.caller.inner.coordination.transactions
    }

    /// All consumer groups, by name.
    pub async fn group_list(&self) -> Result<Vec<GroupInfo>> {
        consumer_groups::group_list(&self.caller.inner).await
    }

    /// A group. Error: `NotFound` when there is none of this name.
    pub async fn group(&self, group_id: &str) -> Result<GroupDetail> {
        self.may(Action::Read, Some(group_id))?;
        consumer_groups::group(&self.caller.inner, group_id).await
    }

    /// Removes a group with its offsets. Errors: `NotFound`, and `Conflict` while it has members.
    pub async fn delete_group(&self, group_id: &str) -> Result<()> {
        self.may(Action::Operate, Some(group_id))?;
        consumer_groups::delete_group(&self.caller.inner, group_id).await
    }

    /// Resets offsets of a group. A group that is not there is made, if topics are named. Errors:
    /// `NotFound` for an unknown group, topic or partition, `Invalid` for a shift of a partition
    /// without an offset, `Conflict` (with the plan) while the group has members.
    pub async fn reset_offsets(
        &self,
        group_id: &str,
        reset: ResetOffsets,
    ) -> Result<ResetPlan, ResetRefused> {
        self.may(Action::Operate, Some(group_id))?;
        reset_offsets::reset_offsets(&self.caller.inner, group_id, reset).await
    }
}

// The operator.
impl Session {
    /// Copies the project with all its data into the folder `to`, which must be missing or empty.
    pub async fn backup(&self, to: &str, by: BackupBy) -> Result<BackupInfo> {
        self.may(Action::Operate, None)?;
        backup::backup(&self.caller.inner, to, by).await
    }

    /// Archives everything that is durable now, without waiting for the next turn.
    pub async fn archive_now(&self) -> Result<()> {
        self.may(Action::Operate, None)?;
        archive::archive_now(&self.caller.inner).await
    }

    /// Applies retention to the log and the dead letters, without waiting for the next turn.
    pub async fn retention_now(&self) -> Result<()> {
        self.may(Action::Operate, None)?;
        retention::retention_now(&self.caller.inner).await
    }
}
