//! `watershed topic delete-records`: the oldest records of partitions go, as with
//! `kafka-delete-records`.

use clap::Args;
use common::Error;
use serde_json::{Value, json};

use super::objects_table;
use crate::client::{Target, segment};
use crate::{Outcome, terminal};

const EXAMPLES: &str = "Examples:
  watershed topic delete-records readings --partition 0 --before 1000
  watershed topic delete-records readings --before latest";

/// Delete the oldest records of a topic. They cannot be brought back.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Name of the topic.
    topic: String,
    /// The first offset to be kept, or latest to keep none.
    #[arg(long, value_name = "OFFSET")]
    before: String,
    /// Of this partition (may be given several times). Without, all; then only with latest.
    #[arg(long = "partition", value_name = "PARTITION")]
    partitions: Vec<i32>,
    /// The answer as JSON, for scripts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub fn run(a: &Arguments) -> Outcome {
    let offset: i64 = match a.before.as_str() {
        "latest" => -1,
        text => text.parse().ok().filter(|n| *n >= 0).ok_or_else(|| {
            Error::invalid(format!("'{text}' is no offset"))
                .hint("write the first offset to be kept, or latest to keep none")
        })?,
    };
    let platform = a.target.connect()?;
    let path = format!("/api/topics/{}", segment(&a.topic));
    let mut partitions = a.partitions.clone();
    if partitions.is_empty() {
        if offset >= 0 {
            let e = Error::invalid("an offset is one of a partition");
            return Err(e.hint("name it with --partition").into());
        }
        let all: Vec<Value> = platform.get(&format!("{path}/partitions"))?;
        let number = |p: &Value| p["partition"].as_i64().and_then(|n| i32::try_from(n).ok());
        partitions.extend(all.iter().filter_map(number));
    }
    let one = |partition: &i32| json!({ "partition": partition, "offset": offset });
    let body = json!({ "partitions": partitions.iter().map(one).collect::<Vec<_>>() });
    let deleted: Value = platform.post_json(&format!("{path}/delete-records"), &body)?;
    if a.json {
        terminal::say(&deleted.to_string());
        return Ok(0);
    }
    let deleted = deleted.as_array().cloned().unwrap_or_default();
    terminal::say(&objects_table(&deleted, &[("partition", "INT"), ("low_watermark", "BIGINT")]));
    Ok(0)
}
