//! A running graph: a state machine that is told what came and asked at the end of an epoch what
//! changed. No I/O, no clock, no threads: the engine reads the log, calls this, and commits what
//! `seal` gives in one atomic write. `restore` makes the same job from what was committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{RecordBatch, RecordBatchOptions};
use common::{Error, Kind, Offset, Partition, Result};

use crate::change::{Change, consolidate};
use crate::late::{self, LateRows};
use crate::operator::{Operator, Out};
use crate::operators::{Place, spec, title};
use crate::rows::as_type;
use crate::snapshot::damaged;
use crate::source::select;
use crate::watermark::{self, TopicTime};
use graph::error;
use graph::{Graph, Node, NodeKind, OutputKey, Source};
use graph::{POSITIONS, TIME_OPERATOR};

/// What one epoch may give. More is an error that fewer rows may mend.
const OUTPUT_BYTES_MAX: usize = 512 << 20;

/// A row left out because all its windows had closed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LateRow {
    pub topic: String,
    pub partition: Partition,
    pub offset: Offset,
    /// Its number among the rows it was pushed with.
    pub row: usize,
    /// In force when the row came.
    pub watermark_us: i64,
    pub window_end_us: i64,
}

/// What an operator has done since the job began or was restored, and what it keeps now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorStats {
    pub operator: u32,
    /// What it reads.
    pub inputs: Vec<u32>,
    pub name: String,
    pub rows_in: u64,
    pub rows_out: u64,
    pub groups: usize,
    pub state_bytes: usize,
}

/// One epoch of a job, to be made true in one write.
#[derive(Clone, Debug)]
pub struct Sealed {
    pub deltas: Vec<graph::Delta>,
    /// Of the output: no row both comes and goes; rows that go stand before rows that come.
    pub changes: Vec<Change>,
    /// To be read next.
    pub offsets: BTreeMap<(String, Partition), Offset>,
    pub watermarks: BTreeMap<(String, Partition), i64>,
    /// The least of all topics with a watermark.
    pub watermark: Option<i64>,
    /// Rows taken in this epoch.
    pub rows_in: u64,
    pub state_bytes: usize,
    /// The deltas are all there is to keep: what is stored under other numbers goes.
    pub renumbered: bool,
}

struct Running {
    /// None for sources.
    operator: Option<Box<dyn Operator>>,
    /// (node, port) of those that read this one.
    readers: Vec<(usize, usize)>,
    /// Topics it comes from.
    topics: Vec<String>,
    rows_in: u64,
    rows_out: u64,
}

pub struct Job {
    graph: Graph,
    /// Under which the nodes save.
    ids: Vec<u32>,
    /// It was restored from deltas that have positions for numbers.
    by_position: bool,
    nodes: Vec<Running>,
    topics: BTreeMap<String, TopicTime>,
    output: Vec<Change>,
    output_bytes: usize,
    rows_in: u64,
    /// After an error the state is not to be trusted.
    failed: bool,
    hurry: Arc<AtomicBool>,
}

impl Job {
    /// A job that has read nothing yet.
    pub fn new(graph: &Graph) -> Result<Job> {
        let mut nodes: Vec<Running> = vec![];
        for (i, node) in graph.nodes.iter().enumerate() {
            let mut topics = vec![];
            for (port, input) in node.inputs.iter().enumerate() {
                let Some(input) = nodes.get_mut(*input) else {
                    return Err(Error::internal("a graph is not in topological order"));
                };
                input.readers.push((i, port));
                topics.extend(input.topics.iter().cloned());
            }
            if let NodeKind::Source(source) = &node.kind {
                topics.push(source.topic.clone());
            }
            let operator = spec(&node.kind).create(&Place::of(graph, node))?;
            nodes.push(Running { operator, readers: vec![], topics, rows_in: 0, rows_out: 0 });
        }
        let mut topics: BTreeMap<String, TopicTime> = BTreeMap::new();
        for source in graph.sources() {
            let time = topics
                .entry(source.topic.clone())
                .or_insert_with(|| TopicTime::new(None, source.partitions));
            if source.watermark.is_some() {
                time.spec = source.watermark.clone();
            }
        }
        Ok(Job {
            graph: graph.clone(),
            ids: graph.operator_ids(),
            by_position: false,
            nodes,
            topics,
            output: vec![],
            output_bytes: 0,
            rows_in: 0,
            failed: false,
            hurry: Arc::default(),
        })
    }

    /// The job that gave these deltas, which are taken up one after the other as they are read.
    /// They have to be in the order of their epochs; deltas before a full one of the same operator
    /// may be left out. Offsets and watermarks are among
    /// them; those of the checkpoint have to agree.
    pub fn restore(
        graph: &Graph,
        checkpoint: &graph::Checkpoint,
        deltas: &mut dyn Iterator<Item = Result<graph::Delta>>,
    ) -> Result<Job> {
        let mut job = Job::new(graph)?;
        let of_epoch =
            |e: Error| e.context(format!("restoring state of epoch {}", checkpoint.epoch));
        for delta in deltas {
            job.take_up(graph, delta?).map_err(of_epoch)?;
        }
        job.topics.values_mut().for_each(|t| t.changed = false);
        if job.offsets() != checkpoint.offsets {
            return Err(of_epoch(damaged("its offsets are not those of the checkpoint")));
        }
        Ok(job)
    }

    fn take_up(&mut self, graph: &Graph, delta: graph::Delta) -> Result<()> {
        if delta.operator == TIME_OPERATOR {
            return watermark::load(&mut self.topics, &delta.batch);
        }
        let is_position = delta.operator < POSITIONS;
        self.by_position |= is_position;
        let at = match is_position {
            true => Some(delta.operator as usize),
            false => self.ids.iter().position(|id| *id == delta.operator),
        };
        let node = at.and_then(|at| Some((at, self.nodes.get_mut(at)?)));
        let Some((at, node)) = node.filter(|(_, n)| n.operator.is_some()) else {
            return Err(damaged("it is of another plan"));
        };
        if delta.full {
            let of = &graph.nodes[at];
            node.operator = spec(&of.kind).create(&Place::of(graph, of))?;
        }
        match &mut node.operator {
            Some(operator) => operator.restore(&delta.batch),
            None => Ok(()),
        }
    }

    /// Decoded rows of a topic, each column of `Graph::topics` among them; `ends` are the rows
    /// after each batch of the log, `next` is the offset after them. There may be no rows, to
    /// move the offset on. Gives the rows that were late and are left out.
    pub fn push(
        &mut self,
        topic: &str,
        partition: Partition,
        batch: &RecordBatch,
        ends: &[usize],
        next: Offset,
    ) -> Result<Vec<LateRow>> {
        self.check()?;
        if ends.last().copied().unwrap_or(0) != batch.num_rows() || !ends.is_sorted() {
            return Err(Error::internal("the ends of log batches do not fit their rows"));
        }
        let done = self.take(topic, partition, batch, ends, next);
        self.failed = done.is_err();
        done
    }

    /// Once `hurry` is true, what is being computed ends with `Cancelled` and is to be thrown away.
    pub fn set_hurry(&mut self, hurry: Arc<AtomicBool>) {
        self.hurry = hurry;
    }

    fn check(&self) -> Result<()> {
        match self.failed {
            true => Err(Error::internal("the job failed before").hint("restore it")),
            false => Ok(()),
        }
    }

    fn take(
        &mut self,
        topic: &str,
        partition: Partition,
        batch: &RecordBatch,
        ends: &[usize],
        next: Offset,
    ) -> Result<Vec<LateRow>> {
        let sources = self.sources(topic);
        let late = self.late_rows(topic, partition, &sources, batch, ends)?;
        self.rows_in += batch.num_rows() as u64;
        let rows = if late.is_empty() { batch.clone() } else { late::without(batch, &late)? };
        if rows.num_rows() > 0 {
            for (node, source) in &sources {
                let columns = select(source, source.width, &rows)?;
                self.nodes[*node].rows_in += batch.num_rows() as u64;
                self.route(*node, vec![Change::insert(columns)])?;
            }
        }
        if let Some(time) = self.topics.get_mut(topic) {
            time.observe(partition, batch, next)?;
        }
        Ok(late)
    }

    fn sources(&self, topic: &str) -> Vec<(usize, Source)> {
        let of_topic = |(i, n): (usize, &Node)| match &n.kind {
            NodeKind::Source(s) if s.topic == topic => Some((i, s.clone())),
            _ => None,
        };
        self.graph.nodes.iter().enumerate().filter_map(of_topic).collect()
    }

    /// Evaluates what the graph asks of each row of a topic alone, and changes nothing: an error is
    /// the fault of one of these rows.
    pub fn probe(&self, topic: &str, batch: &RecordBatch) -> Result<()> {
        let mut waiting = vec![];
        for (node, source) in self.sources(topic) {
            for rule in &source.late {
                late::probe(rule, &select(&source, source.schema.fields().len(), batch)?)?;
            }
            waiting.push((node, Change::insert(select(&source, source.width, batch)?)));
        }
        let mut out = Out::new(&self.hurry);
        while let Some((node, change)) = waiting.pop() {
            for (reader, port) in &self.nodes[node].readers {
                if let Some(operator) = &self.nodes[*reader].operator {
                    out.check()?;
                    operator.probe(*port, &change, &mut out)?;
                    waiting.extend(out.take().0.into_iter().map(|c| (*reader, c)));
                }
            }
        }
        Ok(())
    }

    fn late_rows(
        &self,
        topic: &str,
        partition: Partition,
        sources: &[(usize, Source)],
        batch: &RecordBatch,
        ends: &[usize],
    ) -> Result<Vec<LateRow>> {
        let Some(time) = self.topics.get(topic) else {
            return Err(Error::internal(format!("the graph does not read topic '{topic}'")));
        };
        if sources.iter().all(|(_, s)| s.late.is_empty()) {
            return Ok(vec![]);
        }
        let marks = time.marks(partition, batch, ends)?;
        if marks.last().is_none() {
            return Ok(vec![]);
        }
        let mut late = LateRows::new();
        for (_, source) in sources.iter().filter(|(_, s)| !s.late.is_empty()) {
            let columns = select(source, source.schema.fields().len(), batch)?;
            late::find(source, &columns, &marks, &mut late)?;
        }
        let row = |(row, end): (usize, i64)| {
            Ok(LateRow {
                topic: topic.to_string(),
                partition,
                offset: late::offset(batch, row)?,
                row,
                watermark_us: marks.at(row).unwrap_or(end),
                window_end_us: end,
            })
        };
        late.into_iter().map(row).collect()
    }

    /// Caught up and quiet, or not: an idle partition does not hold the watermark back.
    pub fn set_idle(&mut self, topic: &str, partition: Partition, idle: bool) {
        if let Some(time) = self.topics.get_mut(topic) {
            time.set_idle(partition, idle);
        }
    }

    /// Moves a partition's watermark on as if an event of that time had been seen.
    pub fn advance_watermark(&mut self, topic: &str, partition: Partition, event_us: i64) {
        if let Some(time) = self.topics.get_mut(topic) {
            time.raise(partition, event_us);
        }
    }

    /// Hands on what a node gave, each change as far as it goes before the next.
    fn route(&mut self, from: usize, changes: Vec<Change>) -> Result<()> {
        for change in changes {
            let rows = change.batch.num_rows() as u64;
            self.nodes[from].rows_out += rows;
            if from + 1 == self.nodes.len() {
                self.give(change)?;
                continue;
            }
            for (reader, port) in self.nodes[from].readers.clone() {
                self.nodes[reader].rows_in += rows;
                self.push_to(reader, port, change.clone())?;
            }
        }
        Ok(())
    }

    fn push_to(&mut self, node: usize, port: usize, change: Change) -> Result<()> {
        let hurry = self.hurry.clone();
        let mut next = Some(change);
        while let Some(change) = next {
            let mut out = Out::new(&hurry);
            out.check()?;
            if let Some(operator) = &mut self.nodes[node].operator {
                let done = operator.push(port, change, &mut out);
                done.map_err(|e| fault(e, &self.graph.nodes[node]))?;
            }
            let (changes, rest) = out.take();
            self.route(node, changes)?;
            next = rest;
        }
        Ok(())
    }

    fn give(&mut self, change: Change) -> Result<()> {
        let columns = change.batch.columns().iter();
        let bytes = columns.map(|c| c.to_data().get_slice_memory_size().unwrap_or(0));
        self.output_bytes += bytes.sum::<usize>();
        if self.output_bytes > OUTPUT_BYTES_MAX {
            let mib = OUTPUT_BYTES_MAX >> 20;
            return Err(Error::too_large(format!("the rows of one epoch are more than {mib} MiB")));
        }
        self.output.push(change);
        Ok(())
    }

    /// Ends the epoch: what changed since the last one. `full` asks for all state instead of
    /// what changed, to take the place of all deltas before.
    pub fn seal(&mut self, full: bool) -> Result<Sealed> {
        self.check()?;
        let sealed = self.end_epoch(full);
        self.failed = sealed.is_err();
        sealed
    }

    fn end_epoch(&mut self, full: bool) -> Result<Sealed> {
        let renumbered = std::mem::take(&mut self.by_position);
        let full = full || renumbered;
        let hurry = self.hurry.clone();
        for node in 0..self.nodes.len() {
            let mut out = Out::new(&hurry).at(self.watermark_of(node));
            if let Some(operator) = &mut self.nodes[node].operator {
                let done = operator.flush(&mut out);
                done.map_err(|e| fault(e, &self.graph.nodes[node]))?;
            }
            self.route(node, out.take().0)?;
        }
        let mut deltas = vec![];
        for node in 0..self.nodes.len() {
            let watermark = self.watermark_of(node);
            let Some(operator) = &mut self.nodes[node].operator else { continue };
            if let Some(watermark) = watermark {
                operator.close(watermark);
            }
            let pieces = operator.delta(full)?.into_iter().enumerate();
            let operator = self.ids[node];
            // The first takes the place of all before, the others follow it.
            deltas.extend(pieces.map(|(i, batch)| {
                let full = full && i == 0;
                graph::Delta { operator, batch, full }
            }));
        }
        if full || self.topics.values().any(|t| t.changed) {
            let batch = watermark::save(&self.topics)?;
            deltas.push(graph::Delta { operator: TIME_OPERATOR, batch, full: true });
            self.topics.values_mut().for_each(|t| t.changed = false);
        }
        let changes = self.changes()?;
        Ok(Sealed {
            deltas,
            changes,
            offsets: self.per_partition(|p| p.next),
            watermarks: self.per_partition(|p| p.watermark),
            watermark: self.watermark(),
            rows_in: std::mem::take(&mut self.rows_in),
            state_bytes: self.state_bytes(),
            renumbered,
        })
    }

    fn changes(&mut self) -> Result<Vec<Change>> {
        let output = std::mem::take(&mut self.output);
        self.output_bytes = 0;
        let schema = &self.graph.output.schema;
        let mut changes = Vec::with_capacity(output.len());
        for change in output {
            let columns = change.batch.columns().iter().zip(schema.fields());
            let columns = columns.map(|(c, f)| as_type(c, f.data_type())).collect::<Result<_>>()?;
            let options = RecordBatchOptions::new().with_row_count(Some(change.batch.num_rows()));
            let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options)
                .map_err(error::arrow)?;
            changes.push(Change { batch, weights: change.weights });
        }
        match self.graph.output.key {
            OutputKey::Append => Ok(changes),
            _ => consolidate(schema, changes),
        }
    }

    /// The least watermark of the topics a node comes from; none if one has none.
    fn watermark_of(&self, node: usize) -> Option<i64> {
        let topics = self.nodes[node].topics.iter();
        topics.map(|t| self.topics.get(t).and_then(|t| t.watermark)).min().flatten()
    }

    /// The least of all topics with a watermark.
    pub fn watermark(&self) -> Option<i64> {
        let topics = self.topics.values().filter(|t| t.spec.is_some());
        topics.map(|t| t.watermark).min().flatten()
    }

    /// What to read next from each partition that was read.
    pub fn offsets(&self) -> BTreeMap<(String, Partition), Offset> {
        self.per_partition(|p| p.next)
    }

    fn per_partition<T>(
        &self,
        value: impl Fn(&watermark::PartitionTime) -> Option<T>,
    ) -> BTreeMap<(String, Partition), T> {
        let topics = self.topics.iter();
        topics
            .flat_map(|(name, t)| t.partitions.iter().map(move |(p, s)| (name, p, s)))
            .filter_map(|(name, p, s)| Some(((name.clone(), *p), value(s)?)))
            .collect()
    }

    fn state_bytes(&self) -> usize {
        self.nodes.iter().filter_map(|n| Some(n.operator.as_ref()?.size().bytes)).sum()
    }

    pub fn stats(&self) -> Vec<OperatorStats> {
        let stats = self.nodes.iter().zip(&self.graph.nodes).zip(&self.ids);
        stats
            .map(|((running, node), id)| {
                let size = running.operator.as_ref().map(|o| o.size()).unwrap_or_default();
                OperatorStats {
                    operator: *id,
                    inputs: node.inputs.iter().map(|at| self.ids[*at]).collect(),
                    name: title(node),
                    rows_in: running.rows_in,
                    rows_out: running.rows_out,
                    groups: size.groups,
                    state_bytes: size.bytes,
                }
            })
            .collect()
    }
}

/// A fault of ours says in which operator it is; one of the user's data is plain without.
fn fault(e: Error, node: &Node) -> Error {
    match e.kind() {
        Kind::Internal => e.context(title(node)),
        _ => e,
    }
}
