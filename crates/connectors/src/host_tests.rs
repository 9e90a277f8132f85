//! The machine that runs the tests is the machine that is read.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use catalog::Options;
use common::SystemClock;
use connector::conformance::{Expected, check_source};

use super::*;

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect()
}

fn ctx(schema: SchemaRef) -> Context {
    let clock = Arc::new(SystemClock);
    let (outside, health) = (connector::Outside::of_folder("."), Arc::default());
    Context { name: "this_machine".into(), outside, schema, clock, health }
}

fn source(pairs: &[(&str, &str)], schema: SchemaRef) -> Result<Box<dyn Source>> {
    crate::source("host", &options(pairs), ctx(schema))
}

async fn next(source: &mut dyn Source) -> RecordBatch {
    match source.next().await.unwrap().unwrap().rows {
        Rows::Arrow(batch) => batch,
        Rows::Json(_) => unreachable!(),
    }
}

#[tokio::test]
async fn conforms() {
    let expected = Expected { schema: schema(), batches: 3, bounded: false, resumes: false };
    check_source(|| source(&[("interval", "200 ms")], schema()), &expected).await.unwrap();
}

#[tokio::test]
async fn reads_plausible_values() {
    let mut source = source(&[("interval", "300 ms"), ("loopback", "true")], schema()).unwrap();
    let before = SystemClock.now_us();
    source.open(None).await.unwrap();
    let mut sensors: BTreeMap<String, (String, String, f64)> = BTreeMap::new();
    for _ in 0..2 {
        let batch = next(source.as_mut()).await;
        let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let (sensor, kind, unit) = (text("sensor"), text("kind"), text("unit"));
        let values = batch.column_by_name("value").unwrap().as_primitive::<Float64Type>();
        let at = batch.column_by_name("at").unwrap().as_primitive::<TimestampMicrosecondType>();
        sensors.clear();
        for i in 0..batch.num_rows() {
            let (kind, unit) = (kind.value(i).to_string(), unit.value(i).to_string());
            assert!(at.value(i) >= before && at.value(i) <= SystemClock.now_us());
            assert!(KINDS.contains(&kind.as_str()), "{kind}");
            let seen = sensors.insert(sensor.value(i).into(), (kind, unit, values.value(i)));
            assert!(seen.is_none(), "{} is there twice", sensor.value(i));
        }
        assert_eq!(text("host").value(0), host_name());
    }
    let cores = std::thread::available_parallelism().unwrap().get();
    let cpu = sensors.keys().filter(|s| s.starts_with("cpu.")).count();
    assert!(cpu > cores.min(1) && sensors.contains_key("cpu.total"), "{sensors:?}");
    for name in ["load.1", "load.5", "load.15", "memory.used", "memory.used_bytes"] {
        assert!(sensors.contains_key(name), "{name} is missing in {sensors:?}");
    }
    assert!(sensors["memory.used_bytes"].2 > 1e6);
    assert!(sensors.values().all(|(_, unit, v)| unit != "%" || (0.0..=100.0).contains(v)));
}

#[tokio::test]
async fn gives_what_the_topic_has_and_what_was_asked_for() {
    let narrow = Arc::new(Schema::new(vec![
        Field::new("sensor", DataType::Utf8, false),
        Field::new("celsius", DataType::Float64, true),
        Field::new("value", DataType::Float64, true),
    ]));
    let mut source = source(&[("interval", "200 ms"), ("kinds", "load")], narrow).unwrap();
    source.open(None).await.unwrap();
    let batch = next(source.as_mut()).await;
    let names: Vec<_> = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!((names.join(" ").as_str(), batch.num_rows()), ("sensor value", 3));
}

#[test]
fn mistakes_are_named() {
    let other = Arc::new(Schema::new(vec![Field::new("title", DataType::Utf8, true)]));
    assert_eq!(
        source(&[], other).err().unwrap().to_string(),
        "the topic has none of the columns that the source offers (the source offers: host, \
         sensor, kind, value, unit, at)"
    );
    assert_eq!(
        source(&[("kinds", "cpu, memmory")], schema()).err().unwrap().to_string(),
        "option 'kinds': unknown kind 'memmory' (did you mean 'memory'?)"
    );
    assert_eq!(
        source(&[("interval", "1 ms")], schema()).err().unwrap().to_string(),
        "source connector 'host': option 'interval': '1 ms' is shorter than the least, 200 ms"
    );
}

#[tokio::test]
async fn is_cheap() {
    let settings = Settings { kinds: KINDS.map(Into::into).into(), loopback: false };
    let mut sampler = Sampler::new(settings).unwrap();
    let start = Instant::now();
    for _ in 0..10 {
        sampler.read();
    }
    // Some machines have slow temperature chips; the goal is a few per cent of one core.
    assert!(start.elapsed() < Duration::from_millis(1_000), "{:?} for 10", start.elapsed());
}
