//! The same seed gives the same rows, however they are cut, paced and resumed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use arrow::datatypes::{Schema, TimeUnit};
use catalog::Options;
use common::SystemClock;
use connector::conformance::{Expected, check_source, read_all};

use super::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("sensor", DataType::Utf8, false),
        Field::new("value", DataType::Float64, true),
        Field::new("n", DataType::Int64, true),
        Field::new("on", DataType::Boolean, true),
        Field::new("price", DataType::Decimal128(10, 2), true),
        Field::new("day", DataType::Date32, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]))
}

fn source(pairs: &[(&str, &str)]) -> Result<Box<dyn Source>> {
    let options: Options =
        pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
    let (clock, health) = (Arc::new(SystemClock), Arc::default());
    let (name, outside) = ("made_up".into(), connector::Outside::of_folder("."));
    crate::source("generator", &options, Context { name, outside, schema: schema(), clock, health })
}

async fn lines(pairs: &[(&str, &str)], position: Option<&str>) -> Vec<String> {
    let mut source = source(pairs).unwrap();
    source.open(position).await.unwrap();
    read_all(source.as_mut(), 1_000).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn conforms() {
    let bounded = Expected { schema: schema(), batches: 20, bounded: true, resumes: true };
    let fast = [("rows", "95"), ("rows_per_second", "0"), ("batch_rows_max", "10")];
    check_source(|| source(&fast), &bounded).await.unwrap();
    let paced = [("rows", "12"), ("rows_per_second", "100")];
    check_source(|| source(&paced), &bounded).await.unwrap();
    let endless = Expected { bounded: false, ..bounded };
    check_source(|| source(&[("seed", "7")]), &endless).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rows_depend_on_the_seed_and_the_number_only() {
    let all = lines(&[("rows", "50"), ("seed", "3")], None).await;
    let fast = lines(&[("rows", "50"), ("seed", "3"), ("batch_rows_max", "7")], None).await;
    assert_eq!((all.len(), &all), (50, &fast));
    assert_eq!(lines(&[("rows", "50"), ("seed", "3")], Some("48")).await, all[48..]);
    assert_ne!(lines(&[("rows", "50"), ("seed", "4")], None).await, all);
    assert!(all[0].ends_with("\"day\":\"2026-01-01\",\"at\":\"2026-01-01T00:00:00.000000Z\"}"));
    assert!(all[25].ends_with("\"at\":\"2026-01-01T00:00:02.500000Z\"}"), "{}", all[25]);
    let row: serde_json::Value = serde_json::from_str(&all[9]).unwrap();
    assert!(row["sensor"].as_str().unwrap().starts_with("sensor-") && row["n"].is_u64());
    assert!(row["on"].is_boolean() && row["value"].is_f64() && row["price"].is_number());
}

#[tokio::test(start_paused = true)]
async fn keeps_its_pace_and_its_bound() {
    let mut source = source(&[("rows_per_second", "100"), ("rows", "250")]).unwrap();
    source.open(None).await.unwrap();
    let start = Instant::now();
    assert_eq!(read_all(source.as_mut(), 1_000).await.unwrap().len(), 250);
    let took = start.elapsed().as_millis();
    assert!((2_400..2_700).contains(&took), "{took} ms");
    let ended = lines(&[("rows", "0")], None).await;
    assert!(ended.is_empty());
}

#[tokio::test]
async fn mistakes_are_named() {
    assert_eq!(
        source(&[("start", "yesterday")]).err().unwrap().to_string(),
        "option 'start': 'yesterday' is not a point in time (write it as in \
         '2026-01-01T00:00:00Z')"
    );
    let mut good = source(&[]).unwrap();
    let refused = good.open(Some("-1")).await.unwrap_err().to_string();
    assert_eq!(refused, "'made_up': '-1' is not a position of a generator");
}
