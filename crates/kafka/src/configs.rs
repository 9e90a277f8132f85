//! A topic's configuration under Kafka's names: DescribeConfigs, IncrementalAlterConfigs and
//! AlterConfigs. What is changed becomes options of the topic's CREATE statement; some
//! configurations have one value here and say so.

use std::collections::BTreeMap;

use common::{Error, Kind, Result};
use engine::TopicChange;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response as altered;
use kafka_protocol::messages::describe_configs_response as described;
use kafka_protocol::messages::incremental_alter_configs_response as incremental;
use kafka_protocol::messages::{
    AlterConfigsResponse, DescribeConfigsResponse, IncrementalAlterConfigsResponse,
};
use log::{CleanupPolicy, TimestampType, TopicConfig, TopicDurability};

use super::connection::{Answer, Request};
use super::errors::Fault;
use super::kept_configs;
use super::reader::Reader;
use super::{NODE_ID, broker_configs, text};
use crate::App;

/// Kinds of resources (KIP-133).
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
/// Where a value comes from (KIP-226).
const DYNAMIC_TOPIC: i8 = 1;
const STATIC_BROKER: i8 = 4;
const DYNAMIC_BROKER_LOGGER: i8 = 6;
const DEFAULT: i8 = 5;
/// What is to be done with a value (KIP-339).
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;
/// Types of values (KIP-569).
pub const BOOLEAN: i8 = 1;
pub const STRING: i8 = 2;
pub const INT: i8 = 3;
pub const LONG: i8 = 5;
pub const DOUBLE: i8 = 6;
pub const LIST: i8 = 7;

/// An option of CREATE TOPIC and its new value; none: its default.
pub type Change = (String, Option<String>);

/// A configuration that is an option of CREATE TOPIC.
struct Config {
    name: &'static str,
    option: &'static str,
    kind: i8,
    unit: Unit,
    show: fn(&TopicConfig) -> String,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Plain,
    Bytes,
    Milliseconds,
}

const fn config(
    name: &'static str,
    option: &'static str,
    kind: i8,
    unit: Unit,
    show: fn(&TopicConfig) -> String,
) -> Config {
    Config { name, option, kind, unit, show }
}

const CONFIGS: [Config; 14] = [
    config("cleanup.policy", "cleanup_policy", LIST, Unit::Plain, |c| {
        match c.cleanup_policy {
            CleanupPolicy::Delete => "delete",
            CleanupPolicy::Compact => "compact",
            CleanupPolicy::CompactDelete => "compact,delete",
        }
        .into()
    }),
    config("delete.retention.ms", "delete_retention", LONG, Unit::Milliseconds, |c| {
        ms(Some(c.delete_retention_us))
    }),
    config("durability", "durability", STRING, Unit::Plain, |c| {
        match c.durability {
            TopicDurability::Synced => "synced",
            TopicDurability::PageCache => "page_cache",
        }
        .into()
    }),
    config("max.compaction.lag.ms", "max_compaction_lag", LONG, Unit::Milliseconds, |c| {
        ms(c.max_compaction_lag_us)
    }),
    config("max.message.bytes", "max_message_bytes", INT, Unit::Bytes, |c| {
        c.max_message_bytes.unwrap_or(log::LogConfig::default().message_bytes_max).to_string()
    }),
    config(
        "message.timestamp.after.max.ms",
        "message_timestamp_after_max",
        LONG,
        Unit::Milliseconds,
        |c| ms(c.timestamp_after_max_us),
    ),
    config(
        "message.timestamp.before.max.ms",
        "message_timestamp_before_max",
        LONG,
        Unit::Milliseconds,
        |c| ms(c.timestamp_before_max_us),
    ),
    config("message.timestamp.type", "message_timestamp_type", STRING, Unit::Plain, |c| {
        match c.message_timestamp_type {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        }
        .into()
    }),
    config("min.cleanable.dirty.ratio", "min_cleanable_dirty_ratio", DOUBLE, Unit::Plain, |c| {
        c.min_cleanable_dirty_ratio.to_string()
    }),
    config("min.compaction.lag.ms", "min_compaction_lag", LONG, Unit::Milliseconds, |c| {
        ms(Some(c.min_compaction_lag_us))
    }),
    config("retention.bytes", "retention_bytes", LONG, Unit::Bytes, |c| {
        c.retention_bytes.map_or("-1".into(), |n| n.to_string())
    }),
    config("retention.ms", "retention", LONG, Unit::Milliseconds, |c| match c.retention_us {
        None => "-1".into(),
        us => ms(us),
    }),
    config("segment.bytes", "segment_bytes", INT, Unit::Bytes, |c| {
        c.segment_bytes_max.unwrap_or(log::LogConfig::default().segment_bytes_max).to_string()
    }),
    config("segment.ms", "segment_time", LONG, Unit::Milliseconds, |c| ms(c.segment_us)),
];

/// Configurations with one value.
const FIXED: [(&str, i8, &str); 1] = [("remote.storage.enable", BOOLEAN, "false")];

/// The option that has `kept_configs`.
const KEPT_OPTION: &str = "kafka_configs";

/// Kafka's number for no limit.
const UNLIMITED: &str = "9223372036854775807";

fn ms(us: Option<i64>) -> String {
    us.map_or(i64::MAX, |us| us / 1_000).to_string()
}

/// What configurations mean as options of CREATE TOPIC.
#[derive(Default)]
pub struct Changes {
    pub options: Vec<Change>,
    /// All that are kept, if any of them is changed.
    kept: Option<BTreeMap<String, String>>,
}

impl Changes {
    /// Of a new topic.
    pub fn of(configs: &[(String, Option<String>)]) -> std::result::Result<Changes, Fault> {
        let mut changes = Changes::default();
        for (name, value) in configs {
            changes.set(name, value.as_deref().unwrap_or_default(), &BTreeMap::new())?;
        }
        Ok(changes)
    }

    /// All options, those of the kept configurations as one.
    pub fn options(self) -> Vec<Change> {
        let kept = self.kept.map(|kept| (KEPT_OPTION.to_string(), kept_configs::option(&kept)));
        self.options.into_iter().chain(kept).collect()
    }

    /// `kept` is what the topic has.
    fn set(
        &mut self,
        name: &str,
        value: &str,
        kept: &BTreeMap<String, String>,
    ) -> std::result::Result<(), Fault> {
        match kept_configs::find(name) {
            Some(config) => {
                config.check(value.trim())?;
                let kept = self.kept.get_or_insert_with(|| kept.clone());
                kept.insert(name.into(), value.trim().into());
            }
            None => self.options.extend(option(name, value)?),
        }
        Ok(())
    }

    fn reset(&mut self, name: &str, kept: &BTreeMap<String, String>) {
        self.kept.get_or_insert_with(|| kept.clone()).remove(name);
    }
}

/// What a configuration means as an option of CREATE TOPIC; nothing if it has that value anyway.
fn option(name: &str, value: &str) -> std::result::Result<Option<Change>, Fault> {
    let refuse = |why: String| Err(Fault::new(ResponseError::InvalidConfig, why));
    if let Some((_, _, fixed)) = FIXED.iter().find(|(fixed, ..)| *fixed == name) {
        return match *fixed == value {
            true => Ok(None),
            false => refuse(format!("{name} is always {fixed}")),
        };
    }
    if name == "archive" {
        return Ok(Some((name.into(), Some(value.into()))));
    }
    let Some(config) = CONFIGS.iter().find(|c| c.name == name) else {
        return refuse(format!("no topic has a configuration {name}"));
    };
    let set = |value: Option<String>| Ok(Some((config.option.to_string(), value)));
    match (name, value.trim()) {
        ("retention.ms", "-1") => set(Some("forever".into())),
        ("retention.bytes", "-1") => set(None),
        ("segment.ms" | "max.compaction.lag.ms", UNLIMITED) => set(None),
        (_, UNLIMITED) if name.starts_with("message.timestamp.") => set(Some("any".into())),
        (_, value) if config.unit == Unit::Plain => set(Some(value.into())),
        (_, value) => match value.parse::<u64>() {
            Ok(n) if config.unit == Unit::Milliseconds => set(Some(format!("{n} ms"))),
            Ok(n) => set(Some(n.to_string())),
            Err(_) => refuse(format!("{name} = {value} is no number")),
        },
    }
}

pub fn describe(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    let resources = body.array(|r| {
        let (kind, name) = (r.i8()?, r.string()?);
        let keys = r.nullable_array(Reader::string)?;
        r.tags()?;
        Ok((kind, name, keys))
    })?;
    let app = app.clone();
    Ok(Box::pin(async move {
        let results = resources.into_iter().map(|(kind, name, keys)| {
            let result = described::DescribeConfigsResult::default()
                .with_error_message(None)
                .with_resource_type(kind)
                .with_resource_name(text(&*name));
            let wanted = |name: &str| keys.as_ref().is_none_or(|k| k.iter().any(|k| k == name));
            match configs_of(&app, kind, &name) {
                Ok(configs) => result.with_configs(
                    configs
                        .into_iter()
                        .filter(|c| wanted(c.name))
                        .map(|c| c.described(version))
                        .collect(),
                ),
                Err(fault) => result.with_error_code(fault.code).with_error_message(fault.message),
            }
        });
        let out = DescribeConfigsResponse::default().with_results(results.collect());
        request.encode(&out).map(Some)
    }))
}

fn read_only(values: Vec<(&'static str, i8, String)>, source: i8) -> Vec<Value> {
    let one = |(name, kind, value)| Value { name, value, kind, source, read_only: true };
    values.into_iter().map(one).collect()
}

/// A configuration with its value.
struct Value {
    name: &'static str,
    value: String,
    kind: i8,
    source: i8,
    read_only: bool,
}

impl Value {
    fn described(self, version: i16) -> described::DescribeConfigsResourceResult {
        let out = described::DescribeConfigsResourceResult::default()
            .with_name(text(self.name))
            .with_value(Some(text(self.value)))
            .with_read_only(self.read_only)
            .with_config_source(self.source);
        if version >= 3 { out.with_config_type(self.kind) } else { out }
    }
}

fn configs_of(app: &App, kind: i8, name: &str) -> std::result::Result<Vec<Value>, Fault> {
    match kind {
        TOPIC => {
            let config = app.session.topic_log(name)?.config();
            let default =
                TopicConfig { retention_us: Some(604_800_000_000), ..TopicConfig::default() };
            let shown = |c: &Config| {
                let value = (c.show)(&config);
                let source = if value == (c.show)(&default) { DEFAULT } else { DYNAMIC_TOPIC };
                Value { name: c.name, value, kind: c.kind, source, read_only: false }
            };
            let fixed = |(name, kind, value): &(&'static str, i8, &str)| Value {
                name,
                value: (*value).into(),
                kind: *kind,
                source: DEFAULT,
                read_only: true,
            };
            let is_archived = app.session.is_archived(name)?;
            let archive = Value {
                name: "archive",
                value: is_archived.to_string(),
                kind: BOOLEAN,
                source: if is_archived { DEFAULT } else { DYNAMIC_TOPIC },
                read_only: false,
            };
            let kept = app.session.kafka_configs(name)?;
            let told = |k: &kept_configs::Kept| {
                let value = kept.get(k.name).map_or(k.default, String::as_str);
                let source = if value == k.default { DEFAULT } else { DYNAMIC_TOPIC };
                let (name, kind, value) = (k.name, k.kind, value.to_string());
                Value { name, value, kind, source, read_only: false }
            };
            let values = CONFIGS.iter().map(shown).chain(FIXED.iter().map(fixed));
            let values = values.chain(kept_configs::KEPT.iter().map(told));
            Ok(values.chain([archive]).collect())
        }
        BROKER if name.is_empty() || name == NODE_ID.to_string() => {
            Ok(read_only(broker_configs::of_broker(app), STATIC_BROKER))
        }
        BROKER_LOGGER if name == NODE_ID.to_string() => {
            Ok(read_only(vec![("root", STRING, "INFO".into())], DYNAMIC_BROKER_LOGGER))
        }
        CLIENT_METRICS => Ok(vec![]),
        GROUP => Ok(read_only(broker_configs::of_group(), DEFAULT)),
        _ => {
            let why = format!("there is no resource '{name}' of type {kind}");
            Err(Fault::new(ResponseError::InvalidRequest, why))
        }
    }
}

type Wanted = (i8, String, Vec<(String, i8, Option<String>)>);

pub fn alter_incrementally(app: &App, mut request: Request) -> Result<Answer> {
    let (resources, validate_only) = wanted(&mut request.body, true)?;
    let app = app.clone();
    Ok(Box::pin(async move {
        let mut responses = vec![];
        for (kind, name, configs) in resources {
            let outcome = alter(&app, kind, &name, configs, false, validate_only).await;
            let out = incremental::AlterConfigsResourceResponse::default()
                .with_error_message(None)
                .with_resource_type(kind)
                .with_resource_name(text(name));
            responses.push(match outcome {
                Ok(()) => out,
                Err(f) => out.with_error_code(f.code).with_error_message(f.message),
            });
        }
        let out = IncrementalAlterConfigsResponse::default().with_responses(responses);
        request.encode(&out).map(Some)
    }))
}

pub fn alter_all(app: &App, mut request: Request) -> Result<Answer> {
    let (resources, validate_only) = wanted(&mut request.body, false)?;
    let app = app.clone();
    Ok(Box::pin(async move {
        let mut responses = vec![];
        for (kind, name, configs) in resources {
            let outcome = alter(&app, kind, &name, configs, true, validate_only).await;
            let out = altered::AlterConfigsResourceResponse::default()
                .with_error_message(None)
                .with_resource_type(kind)
                .with_resource_name(text(name));
            responses.push(match outcome {
                Ok(()) => out,
                Err(f) => out.with_error_code(f.code).with_error_message(f.message),
            });
        }
        request.encode(&AlterConfigsResponse::default().with_responses(responses)).map(Some)
    }))
}

fn wanted(body: &mut Reader, has_operation: bool) -> Result<(Vec<Wanted>, bool)> {
    let resources = body.array(|r| {
        let (kind, name) = (r.i8()?, r.string()?);
        let configs = r.array(|r| {
            let name = r.string()?;
            let operation = if has_operation { r.i8()? } else { SET };
            let value = r.nullable_string()?;
            r.tags()?;
            Ok((name, operation, value))
        })?;
        r.tags()?;
        Ok((kind, name, configs))
    })?;
    Ok((resources, body.bool()?))
}

/// With `all` what is not named gets its default.
async fn alter(
    app: &App,
    kind: i8,
    name: &str,
    configs: Vec<(String, i8, Option<String>)>,
    all: bool,
    validate_only: bool,
) -> std::result::Result<(), Fault> {
    if kind != TOPIC {
        let why = "only configurations of topics can be altered; others stand in watershed.toml";
        return Err(Fault::new(ResponseError::InvalidRequest, why));
    }
    let now = app.session.topic_log(name)?.config();
    let mut kept = app.session.kafka_configs(name)?;
    let mut changes = Changes::default();
    if all {
        let unnamed = CONFIGS.iter().filter(|c| configs.iter().all(|(n, ..)| n != c.name));
        changes.options.extend(unnamed.map(|c| (c.option.to_string(), None)));
        kept.clear();
        changes.kept = Some(BTreeMap::new());
    }
    for (config, operation, value) in configs {
        change(&mut changes, &now, &kept, &config, operation, value)?;
    }
    let changes = changes.options();
    if validate_only || changes.is_empty() {
        return Ok(());
    }
    let change = TopicChange::Options(changes);
    app.session.alter_topic(name, &change).await.map_err(refused)
}

fn change(
    changes: &mut Changes,
    now: &TopicConfig,
    kept: &BTreeMap<String, String>,
    name: &str,
    operation: i8,
    value: Option<String>,
) -> std::result::Result<(), Fault> {
    let value = value.unwrap_or_default();
    let listed = |list: &str| list.split(',').map(str::to_string).collect::<Vec<_>>();
    match (operation, CONFIGS.iter().find(|c| c.name == name)) {
        (SET, _) => changes.set(name, &value, kept),
        (DELETE, Some(config)) => {
            changes.options.push((config.option.into(), None));
            Ok(())
        }
        (DELETE, None) if name == "archive" => {
            changes.options.push((name.into(), None));
            Ok(())
        }
        (DELETE, None) if kept_configs::find(name).is_some() => {
            changes.reset(name, kept);
            Ok(())
        }
        (APPEND | SUBTRACT, Some(config)) if config.kind == LIST => {
            let mut items = listed(&(config.show)(now));
            items.retain(|item| !listed(&value).contains(item));
            if operation == APPEND {
                items.extend(listed(&value));
            }
            changes.set(name, &items.join(","), kept)
        }
        _ => {
            let why = format!("{name} cannot be changed in this way");
            Err(Fault::new(ResponseError::InvalidConfig, why))
        }
    }
}

/// Why a topic is not changed.
pub fn refused(e: Error) -> Fault {
    let code = match e.kind() {
        Kind::NotFound => ResponseError::UnknownTopicOrPartition,
        // A file of the project defines it.
        Kind::Conflict => ResponseError::PolicyViolation,
        _ => ResponseError::InvalidConfig,
    };
    Fault::of(code, &e)
}
