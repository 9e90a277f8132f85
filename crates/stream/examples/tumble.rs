//! How fast one thread aggregates: rows of (at, key, value) in batches of 8,192, by key and by
//! minute (or by key alone), count, sum, min, max and avg, with an epoch every 64 batches.
//! `cargo run --release -p watershed-stream --example tumble [million rows]`

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Instant;

use arrow::array::*;
use arrow::datatypes::*;
use common::{Offset, Partition};
use datafusion::common::DFSchema;
use datafusion::functions_aggregate::expr_fn::{avg, count, max, min, sum};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::physical_expr::expressions::Column;
use datafusion::prelude::{cast, col};
use graph::*;
use stream::*;

const BATCH: usize = 8192;
const MINUTE: i64 = 60_000_000;

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let window =
        Fields::from(vec![Field::new("start", time.clone(), true), Field::new("end", time, true)]);
    Arc::new(Schema::new(vec![
        Field::new("w", DataType::Struct(window), true),
        Field::new("key", DataType::Int64, true),
        Field::new("value", DataType::Int64, true),
    ]))
}

fn graph(windowed: bool) -> Graph {
    let schema = schema();
    let logical = DFSchema::try_from(schema.as_ref().clone()).unwrap();
    let props = ExecutionProps::new();
    let value = || col("value");
    let calls = [
        count(value()),
        sum(value()),
        min(value()),
        max(value()),
        avg(cast(value(), DataType::Float64)),
    ];
    let calls = calls.map(|call| {
        let planning = Default::default();
        let lowered =
            LoweredAggregateBuilder::new(&call, &logical, &schema, &props, &planning).build();
        Call::new(lowered.unwrap(), &schema, call.to_string()).unwrap()
    });
    let key = |i: usize, window| Key {
        expr: Arc::new(Column::new(schema.field(i).name(), i)),
        data_type: schema.field(i).data_type().clone(),
        window,
        text: schema.field(i).name().clone(),
    };
    let window = Window::Tumbling { size_us: MINUTE };
    let minute = KeyWindow { part: WindowPart::Whole, window, closes: true };
    let mut keys = vec![key(1, None)];
    if windowed {
        keys.insert(0, key(0, Some(minute)));
    }
    let mut fields: Vec<Field> =
        keys.iter().map(|k| Field::new(&k.text, k.data_type.clone(), true)).collect();
    for call in &calls {
        fields.push(call.lowered.aggregate.field().as_ref().clone().with_nullable(true));
    }
    let result = Arc::new(Schema::new(fields));
    let source = Source {
        topic: "t".into(),
        schema: schema.clone(),
        width: 3,
        partitions: 1,
        watermark: None,
        late: vec![],
    };
    let key = OutputKey::Columns((0..keys.len()).collect());
    let aggregate = Aggregate { keys, calls: calls.into() };
    let node = |kind, inputs, schema| Node { kind, inputs, schema, append_only: true };
    Graph {
        nodes: vec![
            node(NodeKind::Source(source), vec![], schema),
            node(NodeKind::Aggregate(aggregate), vec![0], result.clone()),
        ],
        output: Output { schema: result, key },
    }
}

/// Event time goes on by a minute for each 512 Ki rows.
fn batch(n: usize, keys: i64) -> RecordBatch {
    let rows = (n * BATCH) as i64..((n + 1) * BATCH) as i64;
    let start: TimestampMicrosecondArray =
        rows.clone().map(|i| Some(i / (1 << 19) * MINUTE)).collect();
    let end: TimestampMicrosecondArray = start.unary(|s| s + MINUTE);
    let DataType::Struct(fields) = schema().field(0).data_type().clone() else { unreachable!() };
    let key = |i: i64| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64) >> 20).rem_euclid(keys);
    let window = StructArray::new(fields, vec![Arc::new(start), Arc::new(end)], None);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(window),
        Arc::new(Int64Array::from_iter_values(rows.clone().map(key))),
        Arc::new(Int64Array::from_iter_values(rows.map(|i| i % 1000))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn main() {
    let millions: usize = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(10);
    let batches = millions * 1_000_000 / BATCH;
    for (windowed, keys) in [(true, 1_000), (true, 200_000), (false, 1_000), (false, 200_000)] {
        let input: Vec<RecordBatch> = (0..batches).map(|n| batch(n, keys)).collect();
        let mut job = Job::new(&graph(windowed)).unwrap();
        let (begin, mut changed) = (Instant::now(), 0);
        for (n, rows) in input.iter().enumerate() {
            job.push("t", Partition(0), rows, &[BATCH], Offset((n * BATCH) as i64)).unwrap();
            if n % 64 == 63 || n + 1 == input.len() {
                let sealed = job.seal(false).unwrap();
                changed += sealed.changes.iter().map(|c| c.batch.num_rows()).sum::<usize>();
            }
        }
        let rate = (batches * BATCH) as f64 / begin.elapsed().as_secs_f64() / 1e6;
        let by = if windowed { "minute and key" } else { "key" };
        println!("by {by:15} {keys:7} keys: {rate:6.1} M rows/s, {changed} changes");
    }
}
