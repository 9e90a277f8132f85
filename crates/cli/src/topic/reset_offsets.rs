//! `watershed topic reset-offsets` (and `watershed group reset-offsets`): where a consumer group
//! goes on, with the flags of `kafka-consumer-groups --reset-offsets`.

use clap::Args;
use common::Error;
use serde_json::{Value, json};

use super::objects_table;
use crate::client::{Target, segment};
use crate::{Outcome, terminal};

const EXAMPLES: &str = "Examples:
  watershed topic reset-offsets billing --to earliest --topic orders --dry-run
  watershed topic reset-offsets billing --to 2026-01-01T00:00:00Z
  watershed topic reset-offsets billing --shift-by -100 --topic orders:0,1";

/// Set the offsets of a consumer group that has no members.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Name of the group.
    group: String,
    #[command(flatten)]
    to: To,
    /// A topic, or some of its partitions as in topic:0,1 (may be given several times). Without:
    /// all that the group committed.
    #[arg(long = "topic", value_name = "TOPIC[:PARTITIONS]")]
    topics: Vec<String>,
    /// Only show what would change.
    #[arg(long)]
    dry_run: bool,
    /// The answer as JSON, for scripts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Where to: one of these.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct To {
    /// earliest, latest, current, an offset, a shift (+5, -5), or a time.
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    to: Option<String>,
    /// To the oldest records.
    #[arg(long)]
    to_earliest: bool,
    /// To the end.
    #[arg(long)]
    to_latest: bool,
    /// To where it is now: what is outside of the log is brought back into it.
    #[arg(long)]
    to_current: bool,
    /// To this offset.
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<u64>,
    /// To the first record of this time or later: 2026-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    to_datetime: Option<String>,
    /// So many records on, or back: -100.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    shift_by: Option<i64>,
}

impl To {
    fn text(&self) -> String {
        let named = [
            (self.to_earliest, "earliest"),
            (self.to_latest, "latest"),
            (self.to_current, "current"),
        ];
        let named = named.iter().find(|(given, _)| *given).map(|(_, text)| text.to_string());
        named
            .or_else(|| self.to_offset.map(|offset| offset.to_string()))
            .or_else(|| self.to_datetime.clone())
            .or_else(|| self.shift_by.map(|by| format!("{by:+}")))
            .or_else(|| self.to.clone())
            .unwrap_or_default()
    }
}

pub fn run(a: &Arguments) -> Outcome {
    let platform = a.target.connect()?;
    let body = json!({ "to": a.to.text(), "topics": a.topics, "dry_run": a.dry_run });
    let path = format!("/api/groups/{}/offsets", segment(&a.group));
    let plan: Value = platform.post_json(&path, &body)?;
    if a.json {
        terminal::say(&plan.to_string());
        return Ok(0);
    }
    let partitions = plan["partitions"].as_array().cloned().unwrap_or_default();
    if partitions.is_empty() {
        let what = format!("group '{}' has committed no offsets", a.group);
        return Err(Error::not_found(what).hint("name the topics with --topic").into());
    }
    let members = [
        ("topic", "TEXT"),
        ("partition", "INT"),
        ("current_offset", "BIGINT"),
        ("new_offset", "BIGINT"),
        ("lag", "BIGINT"),
    ];
    terminal::say(&objects_table(&partitions, &members));
    let clamped = partitions.iter().filter(|p| p["clamped"] == true).count();
    if clamped > 0 {
        terminal::complain(&format!(
            "{clamped} of these would have been outside of the log and go to its start or end"
        ));
    }
    if plan["executed"] != true {
        let state = plan["state"].as_str().unwrap_or_default();
        terminal::complain(&match state {
            "Empty" | "Dead" => "nothing was changed (--dry-run)".to_string(),
            state => format!(
                "nothing was changed (--dry-run); group '{}' is {state}: stop its consumers before",
                a.group
            ),
        });
    }
    Ok(0)
}
