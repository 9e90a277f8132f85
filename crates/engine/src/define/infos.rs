//! What REST and `/api/status` tell of objects, as plain data. Each kind fills its own.

use common::ProblemDetails;
use log::CleanupPolicy;
use schemars::JsonSchema;
use serde::Serialize;

use crate::define::facts::ColumnInfo;

#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Status {
    pub version: &'static str,
    pub project: String,
    pub uptime_s: u64,
    pub ready: bool,
    pub events_per_second: Option<f64>,
    pub events_total: u64,
    pub topics: usize,
    pub views: Vec<ViewInfo>,
    pub sources: Vec<SourceInfo>,
    pub sinks: Vec<SinkInfo>,
    pub archive: Vec<ArchiveInfo>,
    pub dead_letters: u64,
    pub problems: Vec<ProblemDetails>,
    pub ports: Ports,
    pub memory_bytes: Option<u64>,
    pub disk_bytes: u64,
}

/// Where the other doors listen, if they do.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Ports {
    pub pg: Option<u16>,
    pub kafka: Option<u16>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Topic")]
pub struct TopicInfo {
    pub name: String,
    pub format: String,
    pub partitions: i32,
    pub columns: Vec<ColumnInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<WatermarkInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<u64>,
    /// Kafka's `cleanup.policy`: delete, compact, or both.
    #[schemars(with = "String", extend("enum" = ["delete", "compact", "compact,delete"]))]
    pub cleanup_policy: CleanupPolicy,
    pub records: u64,
    pub bytes: u64,
    pub events_per_second: Option<f64>,
    pub bytes_per_second: Option<f64>,
    /// When the newest event in the log arrived.
    pub last_arrived: Option<String>,
    pub file: Option<String>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Watermark")]
pub struct WatermarkInfo {
    pub column: String,
    pub delay_us: i64,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Archive")]
pub struct ArchiveInfo {
    pub topic: String,
    pub archived_offset_sum: i64,
    pub lag_events: u64,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Source")]
pub struct SourceInfo {
    pub name: String,
    pub connector: String,
    pub into: String,
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ProblemDetails>,
    pub events_per_second: Option<f64>,
    pub events_total: u64,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "View")]
pub struct ViewInfo {
    pub name: String,
    /// What does not change while a view runs is not in the status, which is sent each second.
    #[serde(flatten)]
    pub text: Option<ViewText>,
    pub key: Vec<String>,
    pub state: String,
    /// It is made anew, and readers get the rows of before until it has caught up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub serves_previous: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ProblemDetails>,
    pub epoch: u64,
    pub rows: u64,
    pub lag_events: u64,
    pub freshness_ms: Option<i64>,
    pub events_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<String>,
    #[serde(skip)]
    pub watermark_us: Option<i64>,
    pub state_bytes: u64,
    pub depends_on: Vec<String>,
    pub file: Option<String>,
}

/// How a view is defined.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ViewText {
    pub sql: String,
    pub columns: Vec<ColumnInfo>,
}

/// An operator of what keeps a view up to date, or fills a sink.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Operator")]
pub struct OperatorInfo {
    pub operator: u32,
    /// What it does, as `EXPLAIN` has it.
    pub name: String,
    /// The operators that it reads.
    pub inputs: Vec<u32>,
    /// Since the start.
    pub rows_in: u64,
    pub rows_out: u64,
    pub rows_per_second: Option<f64>,
    /// Keys, windows or partitions that it keeps something for.
    pub groups: u64,
    pub state_bytes: u64,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Sink")]
pub struct SinkInfo {
    pub name: String,
    pub connector: String,
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ProblemDetails>,
    pub rows_total: u64,
    pub delivery: String,
    pub lag_events: u64,
    pub waiting_epochs: u64,
}
