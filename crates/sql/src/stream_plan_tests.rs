//! The same text as a stream and in batch: random rows in random batches, ends of epochs and
//! restarts at random, and at the end (and now and then on the way) the same rows as DataFusion
//! gives over the input without its late rows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::{Kind, Offset, Partition};
use datafusion::arrow::array::*;
use datafusion::arrow::compute::{concat_batches, filter_record_batch};
use datafusion::arrow::datatypes::*;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use graph::{Checkpoint, Delta, Graph, OutputKey};
use stream::{Job, LateRow, Sealed};

use super::{SourceInfo, plan};
use crate::{SessionOptions, batch_state};
use formats::hidden_fields;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }
    fn below(&mut self, n: u64) -> i64 {
        (self.next() % n) as i64
    }
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Where the hidden columns `_partition` and `_offset` are.
const PARTITION: usize = 6;
const OFFSET: usize = 7;

fn readings_schema() -> SchemaRef {
    let declared = vec![
        Field::new("sensor", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
        Field::new("d", DataType::Decimal128(10, 2), true),
        Field::new("f", DataType::Float64, true),
        Field::new("ok", DataType::Boolean, true),
        Field::new("at", utc(), true),
    ];
    Arc::new(Schema::new(declared.into_iter().chain(hidden_fields()).collect::<Vec<_>>()))
}

/// Rows of one partition whose times go forward with some disorder.
fn readings(random: &mut Random, partition: i32, rows: usize) -> RecordBatch {
    let mut r = |null: u64| !random.one_in(null);
    let valid: Vec<[bool; 6]> = (0..rows).map(|_| [r(9), r(7), r(7), r(7), r(7), r(23)]).collect();
    let opt = |on: bool, v: i64| on.then_some(v);
    let mut n = |below: u64| random.below(below);
    let mut columns: [Vec<i64>; 6] = Default::default();
    for i in 0..rows as i64 {
        columns[0].push(n(5));
        columns[1].push(n(20) - 8);
        columns[2].push(n(2_000) - 700);
        columns[3].push(n(1_000) - 300);
        columns[4].push(n(2));
        let disorder = if n(6) == 0 { n(200) } else { n(15) };
        columns[5].push((i * 3 - disorder) * 1_000_000);
    }
    let column = |c: usize| (0..rows).map(|i| opt(valid[i][c], columns[c][i])).collect::<Vec<_>>();
    RecordBatch::try_new(
        readings_schema(),
        vec![
            Arc::new(column(0).iter().map(|v| v.map(|v| format!("s{v}"))).collect::<StringArray>()),
            Arc::new(Int64Array::from(column(1))),
            Arc::new(
                column(2)
                    .into_iter()
                    .map(|v| v.map(i128::from))
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
            Arc::new(column(3).iter().map(|v| v.map(|v| v as f64 / 8.0)).collect::<Float64Array>()),
            Arc::new(column(4).iter().map(|v| v.map(|v| v == 1)).collect::<BooleanArray>()),
            Arc::new(TimestampMicrosecondArray::from(column(5)).with_timezone("UTC")),
            Arc::new(Int32Array::from(vec![partition; rows])),
            Arc::new(Int64Array::from_iter_values(0..rows as i64)),
            new_null_array(&DataType::Binary, rows),
            new_null_array(&formats::headers::data_type(), rows),
            Arc::new(TimestampMicrosecondArray::from(vec![0; rows]).with_timezone("UTC")),
        ],
    )
    .unwrap()
}

/// A topic `readings` with two partitions and one `alarms` with the same columns and one.
fn topics() -> [(&'static str, i32); 2] {
    [("readings", 2), ("alarms", 1)]
}

fn resolve(name: &str) -> Option<SourceInfo> {
    let (topic, partitions) = topics().into_iter().find(|(t, _)| *t == name)?;
    let watermark = graph::Watermark { column: "at".into(), delay_us: 30_000_000 };
    Some(SourceInfo { topic: topic.into(), partitions, watermark: Some(watermark) })
}

thread_local! {
    /// Costs more to make than a query here, so each test has one. (Tests don't share threads.)
    static CONTEXT: SessionContext = SessionContext::new_with_state(batch_state(
        Default::default(),
        SessionOptions { target_partitions: 1, batch_size: 8192 },
    ));
}

fn context(tables: &BTreeMap<&str, Vec<RecordBatch>>) -> SessionContext {
    let ctx = CONTEXT.with(|c| c.clone());
    for (name, batches) in tables {
        let table = MemTable::try_new(readings_schema(), vec![batches.clone()]).unwrap();
        ctx.deregister_table(*name).unwrap();
        ctx.register_table(*name, Arc::new(table)).unwrap();
    }
    ctx
}

async fn logical(ctx: &SessionContext, sql: &str) -> common::Result<LogicalPlan> {
    let text: Arc<str> = sql.into();
    let place = |span| common::Place { file: None, text: text.clone(), span };
    crate::plan(&ctx.state(), sql, &place).await
}

async fn graph(sql: &str) -> common::Result<Graph> {
    let ctx = context(&topics().map(|(t, _)| (t, vec![])).into());
    let logical = logical(&ctx, sql).await?;
    plan(&ctx.state(), &logical, &resolve)
}

/// A row as text; doubles with ten digits.
fn rows(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let cell = |column: &ArrayRef, row: usize| match column.as_primitive_opt::<Float64Type>() {
        Some(c) if c.is_valid(row) => format!("{:.7e}", c.value(row) + 0.0),
        _ => ArrayFormatter::try_new(column, &options).unwrap().value(row).to_string(),
    };
    let row = |i| batch.columns().iter().map(|c| cell(c, i)).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

/// A view as the engine keeps it.
#[derive(Default)]
struct View {
    rows: BTreeMap<String, i64>,
    late: BTreeSet<(String, i32, i64)>,
}

impl View {
    fn apply(&mut self, graph: &Graph, sealed: &Sealed) {
        let mut gone = BTreeSet::new();
        for change in &sealed.changes {
            for (i, row) in rows(&change.batch).into_iter().enumerate() {
                let weight = change.weight(i);
                if graph.output.key != OutputKey::Rows && weight < 0 {
                    gone.insert(row.clone());
                }
                assert!(weight < 0 || !gone.contains(&row), "a row both goes and comes: {row}");
                *self.rows.entry(row).or_default() += weight;
            }
            if graph.output.key == OutputKey::Append {
                assert!(change.weights.is_none(), "append-only output takes nothing back");
            }
        }
        self.rows.retain(|_, n| *n != 0);
        assert!(self.rows.values().all(|n| *n > 0), "a row was taken back that never came");
        if let OutputKey::Columns(key) = &graph.output.key {
            let cells = |row: &str| row.split('|').map(str::to_string).collect::<Vec<_>>();
            let of = |row: &String| key.iter().map(|k| cells(row)[*k].clone()).collect::<Vec<_>>();
            let keys: BTreeSet<_> = self.rows.keys().map(of).collect();
            let all = self.rows.values().sum::<i64>();
            assert_eq!(keys.len() as i64, all, "keys are unique: {:#?}", self.rows);
        }
    }
}

impl View {
    fn leave_out(&mut self, late: Vec<LateRow>) {
        for late in late {
            assert!(late.window_end_us <= late.watermark_us);
            let row = (late.topic, late.partition.0, late.offset.0);
            assert!(self.late.insert(row), "a late row is told once");
        }
    }
}

/// Batch over what was read so far, without the late rows.
async fn batch(
    sql: &str,
    read: &BTreeMap<&str, Vec<RecordBatch>>,
    late: &BTreeSet<(String, i32, i64)>,
) -> BTreeMap<String, i64> {
    let mut tables: BTreeMap<&str, Vec<RecordBatch>> = BTreeMap::new();
    for (name, batches) in read {
        let all = concat_batches(&readings_schema(), batches).unwrap();
        let p = all.column(PARTITION).as_primitive::<Int32Type>();
        let o = all.column(OFFSET).as_primitive::<Int64Type>();
        let kept = |i: usize| !late.contains(&(name.to_string(), p.value(i), o.value(i)));
        let keep = BooleanArray::from_iter((0..all.num_rows()).map(|i| Some(kept(i))));
        tables.insert(name, vec![filter_record_batch(&all, &keep).unwrap()]);
    }
    let ctx = context(&tables);
    let plan = logical(&ctx, sql).await.unwrap();
    let result = ctx.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
    let mut counted = BTreeMap::new();
    for row in result.iter().flat_map(rows) {
        *counted.entry(row).or_default() += 1;
    }
    counted
}

/// A job, its committed state, and a restart from it whenever asked.
struct Run {
    graph: Graph,
    job: Job,
    deltas: Vec<Delta>,
    view: View,
}

impl Run {
    fn new(graph: Graph) -> Self {
        Run { job: Job::new(&graph).unwrap(), graph, deltas: vec![], view: View::default() }
    }

    fn seal(&mut self, full: bool) -> Sealed {
        let sealed = self.job.seal(full).unwrap();
        self.view.apply(&self.graph, &sealed);
        if sealed.renumbered {
            self.deltas.clear();
        }
        for delta in &sealed.deltas {
            if delta.full {
                self.deltas.retain(|d| d.operator != delta.operator);
            }
            self.deltas.push(delta.clone());
        }
        sealed
    }

    /// As the first releases have saved it.
    fn number_by_position(&mut self) {
        let ids = self.graph.operator_ids();
        for delta in &mut self.deltas {
            let position = ids.iter().position(|id| *id == delta.operator);
            delta.operator = position.map_or(delta.operator, |p| p as u32);
        }
    }

    fn restart(&mut self, sealed: &Sealed) {
        let offsets = sealed.offsets.clone();
        let checkpoint = Checkpoint { offsets, ..Checkpoint::default() };
        let before = self.job.stats();
        self.job = restored(&self.graph, &checkpoint, &self.deltas).unwrap();
        for (a, b) in before.iter().zip(self.job.stats()) {
            assert_eq!((a.operator, a.groups), (b.operator, b.groups), "{} after restart", a.name);
        }
        assert_eq!(self.job.watermark(), sealed.watermark);
    }
}

fn restored(graph: &Graph, checkpoint: &Checkpoint, deltas: &[Delta]) -> common::Result<Job> {
    Job::restore(graph, checkpoint, &mut deltas.iter().cloned().map(Ok))
}

fn same(view: &BTreeMap<String, i64>, batch: &BTreeMap<String, i64>, when: &str) {
    let only = |a: &BTreeMap<String, i64>, b: &BTreeMap<String, i64>| {
        let rows = a.iter().filter(|(row, n)| b.get(*row) != Some(n));
        rows.map(|(row, n)| format!("\n  {n} x {row}")).take(6).collect::<String>()
    };
    let (ours, theirs) = (only(view, batch), only(batch, view));
    assert!(view == batch, "{when}\nonly in the stream:{ours}\nonly in batch:{theirs}");
}

/// Runs a query both ways. Gives how many rows were late and how many windows left the state.
async fn both_ways(sql: &str, seed: u64) -> (usize, usize) {
    let graph = graph(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut run = Run::new(graph.clone());
    let mut waiting = vec![];
    for (topic, partitions) in topics() {
        for p in 0..partitions {
            waiting.push((topic, p, readings(&mut random, p, 110), 0_usize));
        }
    }
    let mut read: BTreeMap<&str, Vec<RecordBatch>> = topics().map(|(t, _)| (t, vec![])).into();
    let used: BTreeSet<String> = graph.topics().keys().map(|t| t.to_string()).collect();
    while !waiting.is_empty() {
        let at = random.below(waiting.len() as u64) as usize;
        let (topic, p, rows, from) = &mut waiting[at];
        let n = (random.below(25) as usize).min(rows.num_rows() - *from);
        let some = rows.slice(*from, n);
        *from += n;
        read.get_mut(topic).unwrap().push(some.clone());
        if used.contains(*topic) {
            // Log batches of any size, also empty ones.
            let mut ends: Vec<usize> =
                (0..random.below(4)).map(|_| random.below(n as u64 + 1) as usize).collect();
            ends.push(n);
            ends.sort_unstable();
            let next = Offset(*from as i64);
            let late = run.job.push(topic, Partition(*p), &some, &ends, next).unwrap();
            run.view.leave_out(late);
        }
        if *from == rows.num_rows() {
            run.job.set_idle(topic, Partition(*p), true);
            waiting.remove(at);
        }
        if random.one_in(3) {
            let sealed = run.seal(random.one_in(4));
            if random.one_in(2) {
                if random.one_in(4) {
                    run.number_by_position();
                }
                run.restart(&sealed);
            }
            if random.one_in(12) {
                let expected = batch(sql, &read, &run.view.late).await;
                same(&run.view.rows, &expected, &format!("on the way, seed {seed}: {sql}"));
            }
        }
    }
    run.seal(false);
    let expected = batch(sql, &read, &run.view.late).await;
    same(&run.view.rows, &expected, &format!("at the end, seed {seed}: {sql}"));
    let groups: usize = run.job.stats().iter().map(|s| s.groups).sum();
    (run.view.late.len(), run.view.rows.len().saturating_sub(groups))
}

pub(super) async fn check(queries: &[&str]) {
    for sql in queries {
        for seed in 1..=2 {
            both_ways(sql, seed).await;
        }
    }
}

#[tokio::test]
async fn stateless() {
    check(&[
        "SELECT sensor, v * 2 AS double, at FROM readings WHERE v > 3 AND sensor <> 's1'",
        "SELECT x + 1 AS y FROM (SELECT v + 1 AS x, sensor FROM readings WHERE v < 9) WHERE x > 0",
        "SELECT sensor, v FROM readings UNION ALL SELECT sensor, v FROM alarms WHERE ok",
        "SELECT sensor FROM readings WHERE false",
    ])
    .await;
}

#[tokio::test]
async fn every_aggregate_over_rows_that_only_come() {
    let keys = ["", "sensor, ok"];
    for key in keys {
        let (select, group) = match key {
            "" => (String::new(), String::new()),
            key => (format!("{key}, "), format!(" GROUP BY {key}")),
        };
        for aggregates in AGGREGATES {
            check(&[&format!("SELECT {select}{aggregates} FROM readings{group}")]).await;
        }
    }
}

/// One family a line; `v`, `d`, `f`, `ok`, `sensor` are the columns.
pub(super) const AGGREGATES: [&str; 9] = [
    "count(*) AS n, count(v) AS nv, sum(v) AS s, sum(d) AS sd, sum(f) AS sf",
    "avg(v) AS a, avg(d) AS ad, avg(f) AS af",
    "min(v) AS a, max(v) AS b, min(d) AS c, max(f) AS e, min(at) AS g, max(at) AS h",
    "min(sensor) AS a, max(sensor) AS b, min(ok) AS c, max(ok) AS e, bool_and(ok) AS g, \
     bool_or(ok) AS h",
    "count(DISTINCT v) AS a, sum(DISTINCT v) AS b, count(DISTINCT sensor) AS c, \
     avg(DISTINCT f) AS e, sum(DISTINCT d) AS g",
    "count(*) FILTER (WHERE v > 3) AS a, sum(v) FILTER (WHERE ok) AS b, \
     min(f) FILTER (WHERE v < 0) AS c, count(DISTINCT v) FILTER (WHERE ok) AS e",
    "stddev(f) AS a, var_pop(v) AS b, median(v) AS c, bit_xor(v) AS e, mode(v) AS g, \
     corr(f, v) AS h",
    "string_agg(sensor, ',' ORDER BY sensor, v) AS a, array_agg(v ORDER BY v DESC, f) AS b, \
     first_value(v ORDER BY at, v, f) AS c, percentile_cont(0.5) WITHIN GROUP (ORDER BY f) AS g",
    // On its own: DataFusion orders it by another call's ORDER BY if there is one.
    "array_agg(DISTINCT v ORDER BY v) AS e",
];

/// Every change of an inner group takes a row from one outer group and gives it to another.
#[tokio::test]
async fn every_aggregate_over_rows_that_also_go() {
    let inner = "(SELECT sensor AS k, count(*) AS n, sum(v) AS v, sum(d) AS d, avg(f) AS f, \
                 max(ok) AS ok, max(at) AS at, max(sensor) AS sensor FROM readings \
                 GROUP BY sensor)";
    let by_pairs = "(SELECT sensor, v, count(*) AS n, max(d) AS d, min(f) AS f, max(ok) AS ok, \
                    max(at) AS at FROM readings GROUP BY sensor, v)";
    for aggregates in AGGREGATES {
        check(&[
            &format!("SELECT {aggregates} FROM {inner}"),
            &format!("SELECT n % 4 AS m, {aggregates} FROM {inner} GROUP BY n % 4"),
            &format!("SELECT n AS k, {aggregates} FROM {by_pairs} GROUP BY n"),
        ])
        .await;
    }
}

#[tokio::test]
async fn having_distinct_and_computed_keys() {
    check(&[
        "SELECT sensor, count(*) AS n FROM readings GROUP BY sensor HAVING sum(v) > 10",
        "SELECT DISTINCT sensor, v FROM readings",
        "SELECT DISTINCT n FROM (SELECT sensor, count(*) AS n FROM readings GROUP BY sensor)",
        "SELECT upper(sensor) AS u, v % 3 AS m, count(*) AS n FROM readings GROUP BY 1, 2",
        "SELECT sum(v + 1) AS a, sum((v + 1) * 2) AS b, max(v + 1) AS c FROM readings \
         GROUP BY sensor",
        "SELECT n, count(*) AS m FROM (SELECT sensor, count(*) AS n FROM readings \
         GROUP BY sensor UNION ALL SELECT sensor, count(*) FROM alarms GROUP BY sensor) \
         GROUP BY n",
        "SELECT count(*) AS n FROM readings WHERE false",
        "SELECT DISTINCT f FROM readings UNION SELECT f FROM alarms",
        "SELECT v, f FROM readings INTERSECT SELECT v, f FROM alarms",
    ])
    .await;
}

#[tokio::test]
async fn joins_of_topics() {
    for kind in ["", "LEFT ", "RIGHT ", "FULL "] {
        check(&[
            &format!(
                "SELECT r.v, r.f, a.d, a.ok FROM readings r {kind}JOIN alarms a \
                 ON r.sensor = a.sensor AND r.v = a.v"
            ),
            &format!(
                "SELECT r.sensor, count(*) AS n, sum(a.v) AS s, min(a.v) AS m, count(a.f) AS c \
                 FROM readings r {kind}JOIN alarms a ON r.v = a.v GROUP BY r.sensor"
            ),
            &format!(
                "SELECT r.sensor AS k, a.sensor AS k2, r.n, a.n AS n2 FROM (SELECT sensor, \
                 count(*) AS n FROM readings GROUP BY sensor) r {kind}JOIN (SELECT sensor, \
                 count(*) AS n FROM alarms GROUP BY sensor) a ON r.n % 7 = a.n % 7"
            ),
        ])
        .await;
    }
    check(&[
        "SELECT r.v, a.v AS w FROM readings r JOIN alarms a ON r.sensor = a.sensor AND r.f < a.f",
        "SELECT a.v, b.v AS w FROM readings a JOIN readings b ON a.v = b.v AND a.sensor = b.sensor",
        "SELECT r.v, a.d FROM readings r LEFT JOIN alarms a ON r.v = a.v AND a.ok",
        "SELECT v, f FROM readings r WHERE EXISTS (SELECT 1 FROM alarms a WHERE a.v = r.v)",
        "SELECT v, f FROM readings r WHERE NOT EXISTS (SELECT 1 FROM alarms a WHERE a.f = r.f)",
        "SELECT v, f FROM readings r WHERE v IN (SELECT v FROM alarms WHERE ok)",
    ])
    .await;
}

pub(super) const WINDOWED: &str = "(SELECT *, window(at, '1 minute') AS w FROM readings)";
const WINDOWED_ALARMS: &str = "(SELECT *, window(at, '1 minute') AS w FROM alarms)";

/// The queries, and that they did have late rows and did drop the state of windows.
pub(super) async fn check_windows(queries: &[String]) {
    let (mut late, mut dropped) = (0, 0);
    for sql in queries {
        for seed in 1..=2 {
            let (l, d) = both_ways(sql, seed).await;
            late += l;
            dropped += d;
        }
    }
    assert!(late > 20, "only {late} late rows");
    assert!(dropped > 20, "only {dropped} windows left the state");
}

#[tokio::test]
async fn tumbling_windows_with_late_rows() {
    let mut queries = vec![
        format!("SELECT sensor, w, avg(v) AS a, count(*) AS n FROM {WINDOWED} GROUP BY sensor, w"),
        format!(
            "SELECT w['start'] AS s, w['end'] AS e, sensor, max(f) AS m FROM {WINDOWED} \
             WHERE v > 0 GROUP BY sensor, w"
        ),
        format!("SELECT DISTINCT w, sensor FROM {WINDOWED}"),
        "SELECT sensor, window.start, window.end, avg(f) AS a FROM readings WHERE v > 0 \
         GROUP BY sensor, window(at, '1 minute')"
            .to_string(),
        "SELECT window(at, '1 minute', '1 minute', '20 seconds') AS w, max(v) AS m FROM readings \
         GROUP BY window(at, '1 minute', '1 minute', '20 seconds') HAVING max(v) > 5"
            .to_string(),
        format!("SELECT s, count(*) AS n FROM (SELECT w['end'] AS s FROM {WINDOWED}) GROUP BY s"),
        format!(
            "SELECT w, max(n) AS m FROM (SELECT w, sensor, count(*) AS n FROM {WINDOWED} \
             GROUP BY w, sensor) GROUP BY w"
        ),
        format!(
            "SELECT sensor, sum(n) AS m FROM (SELECT w, sensor, count(*) AS n FROM {WINDOWED} \
             GROUP BY w, sensor) GROUP BY sensor"
        ),
        format!(
            "SELECT w, count(*) AS n FROM (SELECT w FROM {WINDOWED} UNION ALL SELECT w FROM \
             {WINDOWED_ALARMS}) GROUP BY w"
        ),
        format!(
            "SELECT sensor, count(*) AS n FROM {WINDOWED} GROUP BY sensor, w UNION ALL \
             SELECT sensor, count(*) FROM readings GROUP BY sensor"
        ),
    ];
    for aggregates in AGGREGATES {
        queries.push(format!("SELECT w, sensor, {aggregates} FROM {WINDOWED} GROUP BY w, sensor"));
    }
    check_windows(&queries).await;
}

#[tokio::test]
async fn window_joins_with_late_rows() {
    let mut queries = vec![];
    for kind in ["", "LEFT ", "RIGHT ", "FULL "] {
        queries.push(format!(
            "SELECT r.w, r.sensor, r.v, a.v AS v2 FROM {WINDOWED} r {kind}JOIN {WINDOWED_ALARMS} a \
             ON r.w = a.w AND r.sensor = a.sensor"
        ));
        queries.push(format!(
            "SELECT r.w, count(*) AS n, sum(a.v) AS s, min(a.f) AS m FROM {WINDOWED} r {kind}JOIN \
             {WINDOWED_ALARMS} a ON r.w = a.w AND r.v = a.v GROUP BY r.w"
        ));
    }
    queries.push(format!(
        "SELECT r.w, r.sensor, n, m FROM (SELECT w, sensor, count(*) AS n FROM {WINDOWED} \
         GROUP BY w, sensor) r JOIN (SELECT w, sensor, sum(v) AS m FROM {WINDOWED_ALARMS} \
         GROUP BY w, sensor) a ON r.w = a.w AND r.sensor = a.sensor"
    ));
    // Twice the same topic: a row is late for both sides or for none.
    queries.push(format!(
        "SELECT a.w, count(*) AS n, max(b.v) AS m FROM {WINDOWED} a JOIN {WINDOWED} b \
         ON a.w = b.w AND a.sensor = b.sensor GROUP BY a.w"
    ));
    // Late for the minute is late for the view, though the five minutes are still open.
    queries.push(format!(
        "SELECT w.start AS s, count(*) AS n FROM {WINDOWED} GROUP BY w UNION ALL SELECT \
         window.start AS s, sum(v) AS n FROM readings GROUP BY window(at, '5 minutes')"
    ));
    // The other side has no window, so nothing of it ever closes.
    queries.push(format!(
        "SELECT r.w, count(*) AS n, count(a.v) AS m FROM {WINDOWED} r LEFT JOIN alarms a \
         ON r.v = a.v GROUP BY r.w"
    ));
    check_windows(&queries).await;
}

#[tokio::test]
async fn keys_of_the_output() {
    let columns = |c: &[usize]| OutputKey::Columns(c.to_vec());
    for (sql, key) in [
        ("SELECT sensor, v FROM readings", OutputKey::Append),
        ("SELECT count(*) AS n, sensor FROM readings GROUP BY sensor", columns(&[1])),
        ("SELECT count(*) AS n FROM readings", columns(&[])),
        ("SELECT count(*) AS n FROM readings GROUP BY sensor", OutputKey::Rows),
        ("SELECT DISTINCT v, sensor FROM readings", columns(&[0, 1])),
        (
            "SELECT r.k, a.k AS k2, r.n FROM (SELECT sensor k, count(*) n FROM readings GROUP BY \
             sensor) r JOIN (SELECT sensor k, count(*) n FROM alarms GROUP BY sensor) a \
             ON r.n = a.n",
            columns(&[0, 1]),
        ),
    ] {
        assert_eq!(graph(sql).await.unwrap().output.key, key, "{sql}");
    }
    let sql = format!("SELECT w['start'] AS s, count(*) AS n FROM {WINDOWED} GROUP BY w");
    assert_eq!(graph(&sql).await.unwrap().output.key, columns(&[0]));
}

#[tokio::test]
async fn refuses_with_the_reason_and_what_works() {
    for (sql, reason, instead) in [
        ("SELECT v FROM readings ORDER BY v", "no order", "order when you read"),
        ("SELECT v FROM readings LIMIT 3", "LIMIT", "limit when you read"),
        ("SELECT row_number() OVER () AS n FROM readings", "without an order", "ORDER BY"),
        ("SELECT sum(v) OVER (ROWS 1 PRECEDING) AS n FROM readings", "without an order", "ORDER"),
        ("SELECT now() AS t, v FROM readings", "'now()'", "_arrived"),
        ("SELECT random() AS t, v FROM readings", "'random()'", "event itself"),
        ("SELECT r.v FROM readings r, alarms a", "every other", "ON a.key = b.key"),
        ("SELECT v FROM readings OFFSET 3", "OFFSET without LIMIT", "limit when you read"),
        ("SELECT array_agg(v) AS a FROM readings", "'array_agg'", "array_agg(x ORDER BY y)"),
        (
            "SELECT v FROM readings r WHERE v NOT IN (SELECT v FROM alarms a WHERE a.f < r.f)",
            "depends on the row",
            "NOT EXISTS",
        ),
        ("SELECT 1 AS one", "reads no topic", "topic"),
        ("SELECT r.v, a.v FROM readings r JOIN alarms a ON r.v = a.v", "twice", "AS"),
    ] {
        let e = match graph(sql).await {
            Err(e) => e,
            Ok(_) => panic!("{sql} should be refused"),
        };
        assert!(matches!(e.kind(), Kind::Unsupported | Kind::Invalid), "{sql}: {e:?}");
        assert!(e.message().contains(reason), "{sql}: {e}");
        assert!(e.hint_text().unwrap_or("").contains(instead), "{sql}: {e}");
    }
}

#[tokio::test]
async fn what_is_late_does_not_depend_on_how_much_is_read_at_once() {
    let sql = "SELECT window(at, '10 seconds') AS w, count(*) AS n FROM readings \
               GROUP BY window(at, '10 seconds')";
    let graph = graph(sql).await.unwrap();
    let mut some = 0;
    for seed in 1..20 {
        let mut random = Random(seed);
        let rows = readings(&mut random, 0, 200);
        let mut ends = vec![];
        while ends.last() != Some(&200) {
            let last = ends.last().copied().unwrap_or(0);
            ends.push((last + 1 + random.below(9) as usize).min(200));
        }
        let read = |batches_at_once: usize| {
            let mut job = Job::new(&graph).unwrap();
            for p in 1..topics()[0].1 {
                job.set_idle("readings", Partition(p), true);
            }
            let mut late = vec![];
            let mut start = 0;
            for ends in ends.chunks(batches_at_once) {
                let last = ends[ends.len() - 1];
                let part = rows.slice(start, last - start);
                let ends: Vec<usize> = ends.iter().map(|e| e - start).collect();
                let next = Offset(last as i64);
                let found = job.push("readings", Partition(0), &part, &ends, next).unwrap();
                late.extend(found.into_iter().map(|l| (l.offset, l.watermark_us)));
                start = last;
            }
            late
        };
        let one_by_one = read(1);
        assert_eq!(read(ends.len()), one_by_one, "all at once, seed {seed}");
        assert_eq!(read(3), one_by_one, "three at once, seed {seed}");
        some += one_by_one.len();
    }
    assert!(some > 20, "the test has late rows: {some}");
}

#[tokio::test]
async fn overflow_of_a_sum_stops_the_job() {
    let graph = graph("SELECT sum(v) AS s FROM readings").await.unwrap();
    let mut job = Job::new(&graph).unwrap();
    let mut rows = readings(&mut Random(7), 0, 2).columns().to_vec();
    rows[1] = Arc::new(Int64Array::from(vec![i64::MAX, 1]));
    let rows = RecordBatch::try_new(readings_schema(), rows).unwrap();
    job.push("readings", Partition(0), &rows, &[2], Offset(2)).unwrap();
    let e = job.seal(false).unwrap_err();
    assert_eq!(e.kind(), Kind::Invalid);
    assert!(e.message().contains("overflow"), "{e}");
    assert!(job.seal(false).is_err(), "a failed job stays failed");
}

/// Planned twice it is the same; whatever changes what is kept changes it.
#[tokio::test]
async fn a_digest_tells_plans_apart() {
    let queries = [
        "SELECT sensor, v FROM readings",
        "SELECT sensor, v FROM readings WHERE v > 1",
        "SELECT sensor, v FROM readings WHERE v > 2",
        "SELECT sensor, v + 1 AS v FROM readings",
        "SELECT sensor, max(v) AS m FROM readings GROUP BY sensor",
        "SELECT sensor, min(v) AS m FROM readings GROUP BY sensor",
        "SELECT sensor, count(v) AS m FROM readings GROUP BY sensor",
        "SELECT sensor, count(DISTINCT v) AS m FROM readings GROUP BY sensor",
        "SELECT sensor, max(v) FILTER (WHERE v > 1) AS m FROM readings GROUP BY sensor",
        "SELECT sensor, sum(v) OVER (PARTITION BY sensor ORDER BY at) AS m FROM readings",
        "SELECT sensor, sum(v) OVER (PARTITION BY sensor ORDER BY at DESC) AS m FROM readings",
        "SELECT sensor, v FROM readings ORDER BY v LIMIT 3",
        "SELECT sensor, v FROM readings ORDER BY v LIMIT 4",
        "SELECT l.sensor FROM readings l JOIN readings r ON l.sensor = r.sensor",
        "SELECT l.sensor FROM readings l LEFT JOIN readings r ON l.sensor = r.sensor",
        "SELECT l.sensor FROM readings l JOIN readings r ON l.sensor = r.sensor AND l.v > r.v",
    ];
    let mut digests = std::collections::BTreeSet::new();
    for query in queries {
        let digest = graph(query).await.unwrap().digest();
        assert_eq!(digest, graph(query).await.unwrap().digest(), "{query}");
        assert!(digests.insert(digest), "{query}");
    }
}

/// State is saved under the sub-plan: what another branch is does not matter, what is read does.
#[tokio::test]
async fn operators_are_known_by_their_sub_plans() {
    let ids = async |query: &str| graph(query).await.unwrap().operator_ids();
    let join = |right: &str| {
        format!(
            "SELECT l.sensor, m, n FROM (SELECT sensor, max(v) AS m FROM readings GROUP BY sensor) l \
             JOIN (SELECT sensor, {right}(v) AS n FROM readings GROUP BY sensor) r \
             ON l.sensor = r.sensor"
        )
    };
    let (one, other, twice) =
        (ids(&join("min")).await, ids(&join("sum")).await, ids(&join("max")).await);
    let shared = one.iter().filter(|id| other.contains(id)).count();
    assert!(shared >= 2 && shared < one.len(), "{one:x?} {other:x?}");
    assert_ne!(one.last(), other.last(), "a join of other rows");
    let distinct: std::collections::BTreeSet<_> = twice.iter().collect();
    assert_eq!(distinct.len(), twice.len(), "what is there twice has two numbers: {twice:x?}");
    assert_eq!(twice, ids(&join("max")).await);
}

#[tokio::test]
async fn damaged_or_foreign_state_is_told() {
    let by_sensor =
        graph("SELECT sensor, max(v) AS m FROM readings GROUP BY sensor").await.unwrap();
    let mut run = Run::new(by_sensor);
    let rows = readings(&mut Random(3), 0, 40);
    run.job.push("readings", Partition(0), &rows, &[40], Offset(40)).unwrap();
    let sealed = run.seal(false);
    let offsets = sealed.offsets.clone();
    let good = Checkpoint { offsets, ..Checkpoint::default() };
    assert!(restored(&run.graph, &good, &run.deltas).is_ok());
    let other = graph("SELECT sensor FROM readings").await.unwrap();
    let halved = |mut d: Delta| {
        let state = d.batch.column(4).as_binary::<i32>();
        let cut = state.iter().map(|s| s.map(|s| &s[..s.len() / 2])).collect::<BinaryArray>();
        let mut columns = d.batch.columns().to_vec();
        columns[4] = Arc::new(cut);
        d.batch = RecordBatch::try_new(d.batch.schema(), columns).unwrap();
        d
    };
    let damaged = vec![halved(run.deltas[0].clone()), run.deltas[1].clone()];
    let behind = Checkpoint { offsets: BTreeMap::new(), ..Checkpoint::default() };
    for (what, result) in [
        ("another plan", restored(&other, &good, &run.deltas)),
        ("ends too early", restored(&run.graph, &good, &damaged)),
        ("offsets", restored(&run.graph, &behind, &run.deltas)),
    ] {
        let e = result.err().unwrap_or_else(|| panic!("{what}"));
        assert_eq!(e.kind(), Kind::Corrupt, "{e}");
        assert!(e.message().contains(what), "{e}");
        assert!(e.hint_text().is_some());
    }
}

#[tokio::test]
async fn explains_itself() {
    let sql = format!("SELECT sensor, w, avg(v) AS a FROM {WINDOWED} GROUP BY sensor, w");
    let rows = stream::explain(&graph(&sql).await.unwrap());
    let operators: Vec<&str> = rows.iter().map(|r| r.operator.as_str()).collect();
    assert_eq!(operators[0], "read topic 'readings'");
    assert!(operators[2].starts_with("aggregate avg("), "{operators:?}");
    assert!(rows[0].state.contains("at less 30 s"), "{}", rows[0].state);
    assert!(rows[2].bound.contains("windows still open"), "{}", rows[2].bound);
    assert_eq!(rows.last().unwrap().state, "one row for each sensor, w");
    let rows = stream::explain(&graph("SELECT median(v) AS m FROM readings").await.unwrap());
    let kept = "incremental; median(v): computed anew for each group that changed";
    assert_eq!(rows[1].kept, kept);
    assert_eq!(rows[1].state, "one row, with all arguments of median(v)");
}
