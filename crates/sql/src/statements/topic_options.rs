//! The options of `CREATE TOPIC … WITH (…)`.

use std::ops::Range;

use catalog::{Column, Format, Storage, Topic};
use common::{Error, Result, units};
use datafusion::arrow::datatypes::DataType;

use crate::statements::options::{Entry, OptionList};
use crate::tokens::Cursor;

/// The options of a topic.
pub const OPTIONS: [&str; 19] = [
    "format",
    "key",
    "partitions",
    "retention",
    "retention_bytes",
    "archive",
    "durability",
    "cleanup_policy",
    "segment_time",
    "segment_bytes",
    "max_message_bytes",
    "message_timestamp_type",
    "min_cleanable_dirty_ratio",
    "delete_retention",
    "min_compaction_lag",
    "max_compaction_lag",
    "message_timestamp_before_max",
    "message_timestamp_after_max",
    "kafka_configs",
];

const PARTITIONS_MAX: i32 = 1024;

pub(crate) fn read(
    cursor: &Cursor,
    mut options: OptionList,
    topic: &mut Topic,
    faults: &mut Vec<Error>,
) {
    let mut fault = |e: Error, span: Range<usize>| faults.push(cursor.error(e, span));
    let mut set = |name: &str, read: &mut dyn FnMut(&Entry) -> Result<()>| {
        if let Some(o) = options.take(name)
            && let Err(e) = read(&o)
        {
            fault(e, o.value_span.clone());
        }
    };
    // What PRIMARY KEY says is not said again.
    let is_table = topic.format.is_table();
    set("format", &mut |o| {
        if is_table {
            return Err(stands_already("format"));
        }
        topic.format = format(topic, &o.value)?;
        Ok(())
    });
    set("key", &mut |o| {
        if is_table {
            return Err(stands_already("key"));
        }
        topic.key = Some(key(topic, &o.value)?);
        Ok(())
    });
    set("partitions", &mut |o| {
        topic.partitions = partitions(&o.value)?;
        Ok(())
    });
    set("archive", &mut |o| {
        topic.archive = choice(&o.value, &[("true", true), ("false", false)])?;
        Ok(())
    });
    // Of a key's records the last is the row: the log need not have the others.
    topic.storage.compacts = topic.format.is_table();
    topic.storage.deletes = !topic.format.is_table();
    let is_key = |c: &&Column| topic.key.as_ref() == Some(&c.name);
    let keyed = topic.format == Format::Raw
        || topic.columns.iter().find(is_key).is_some_and(|c| !c.nullable);
    storage(&mut topic.storage, keyed, &mut set);
    if topic.format.is_table() {
        faults.extend(
            table_fault(topic, keyed).map(|e| cursor.error(e, cursor.text_start()..cursor.end())),
        );
    }
    options.refuse_rest(cursor, &OPTIONS, faults);
}

fn stands_already(option: &str) -> Error {
    Error::invalid(format!("the PRIMARY KEY says the {option} of a table already"))
        .hint("leave the option out, or write CREATE TOPIC")
}

/// What a topic that is a table must have.
fn table_fault(topic: &Topic, keyed: bool) -> Option<Error> {
    let format = topic.format.name();
    if !keyed {
        let e =
            Error::invalid(format!("a topic of format '{format}' needs a key that is NOT NULL"));
        let hint = format!("write (id BIGINT NOT NULL, …) WITH (format = '{format}', key = 'id')");
        return Some(e.hint(hint));
    }
    if topic.storage.deletes {
        let e = "a topic whose records replace one another keeps the last of each key";
        return Some(Error::invalid(e).hint("leave out cleanup_policy, or write 'compact'"));
    }
    None
}

type Set<'a> = dyn FnMut(&str, &mut dyn FnMut(&Entry) -> Result<()>) + 'a;

fn storage(storage: &mut Storage, keyed: bool, set: &mut Set<'_>) {
    set("retention", &mut |o| {
        unless(&o.value, "forever", &above_zero).map(|us| storage.retention_us = us)
    });
    set("retention_bytes", &mut |o| bytes(&o.value).map(|n| storage.retention_bytes = Some(n)));
    set("durability", &mut |o| {
        let choices = [("synced", false), ("page_cache", true)];
        choice(&o.value, &choices).map(|page_cache| storage.page_cache = page_cache)
    });
    set("cleanup_policy", &mut |o| {
        let choices = [
            ("delete", (true, false)),
            ("compact", (false, true)),
            ("compact,delete", (true, true)),
            ("delete,compact", (true, true)),
        ];
        (storage.deletes, storage.compacts) = choice(&o.value.replace(' ', ""), &choices)?;
        if storage.compacts && !keyed {
            return Err(Error::invalid("a compacted topic needs a key that is NOT NULL").hint(
                "write (id TEXT NOT NULL, …) WITH (key = 'id', cleanup_policy = 'compact')",
            ));
        }
        Ok(())
    });
    set("segment_time", &mut |o| above_zero(&o.value).map(|us| storage.segment_us = Some(us)));
    set("segment_bytes", &mut |o| bytes(&o.value).map(|n| storage.segment_bytes = Some(n)));
    set("max_message_bytes", &mut |o| bytes(&o.value).map(|n| storage.max_message_bytes = Some(n)));
    set("message_timestamp_type", &mut |o| {
        let choices = [("createtime", false), ("logappendtime", true)];
        choice(&o.value, &choices).map(|arrival| storage.log_append_time = arrival)
    });
    set("min_cleanable_dirty_ratio", &mut |o| {
        let ratio = o.value.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        storage.min_cleanable_dirty_ratio =
            ratio.ok_or_else(|| Error::invalid(format!("'{}' is not from 0 to 1", o.value)))?;
        Ok(())
    });
    set("delete_retention", &mut |o| {
        units::parse_duration_us(&o.value).map(|us| storage.delete_retention_us = us)
    });
    set("min_compaction_lag", &mut |o| {
        units::parse_duration_us(&o.value).map(|us| storage.min_compaction_lag_us = us)
    });
    let least_us = storage.min_compaction_lag_us;
    set("max_compaction_lag", &mut |o| {
        let us = unless(&o.value, "forever", &above_zero)?;
        if us.is_some_and(|us| us < least_us) {
            return Err(Error::invalid("max_compaction_lag is below min_compaction_lag"));
        }
        storage.max_compaction_lag_us = us;
        Ok(())
    });
    set("message_timestamp_before_max", &mut |o| {
        let us = unless(&o.value, "any", &units::parse_duration_us)?;
        storage.timestamp_before_max_us = us;
        Ok(())
    });
    set("message_timestamp_after_max", &mut |o| {
        let us = unless(&o.value, "any", &units::parse_duration_us)?;
        storage.timestamp_after_max_us = us;
        Ok(())
    });
    set("kafka_configs", &mut |o| {
        storage.kafka_configs = serde_json::from_str(&o.value).map_err(|e| {
            Error::invalid(format!("no configurations of Kafka: {e}"))
                .hint("write '{\"min.insync.replicas\": \"2\"}'")
        })?;
        Ok(())
    });
}

/// A time, or none for the word that means no limit.
fn unless(value: &str, word: &str, time: &dyn Fn(&str) -> Result<i64>) -> Result<Option<i64>> {
    if value.trim().eq_ignore_ascii_case(word) {
        return Ok(None);
    }
    time(value).map(Some).map_err(|e| match e.hint_text() {
        Some(_) => e.hint(format!("write '7 days', another number and unit, or '{word}'")),
        None => e,
    })
}

/// Raw values are taken as they are: one column holds them, and nothing in them can be a key.
fn format(topic: &Topic, name: &str) -> Result<Format> {
    match (name, topic.columns.as_slice()) {
        ("json", _) => Ok(Format::Json),
        ("upsert", _) => Ok(Format::Upsert),
        ("debezium", _) => Ok(Format::Debezium),
        ("raw", [one]) if one.data_type == DataType::Binary && one.nullable => Ok(Format::Raw),
        ("raw", _) => {
            Err(Error::invalid("a topic of format 'raw' has one column, which is BINARY")
                .hint("write CREATE TOPIC name (value BINARY) WITH (format = 'raw')"))
        }
        (other, _) => Err(Error::unsupported(format!("unknown format '{other}'"))
            .hint("'json', 'raw', 'upsert' and 'debezium' are the formats there are")),
    }
}

fn key(topic: &Topic, name: &str) -> Result<String> {
    if topic.format == Format::Raw {
        return Err(Error::invalid("a raw record has its own key")
            .hint("it is the column _key; leave the option out"));
    }
    match topic.columns.iter().find(|c| c.name == name) {
        Some(_) => Ok(name.to_string()),
        None => Err(Error::unknown("column", name, topic.columns.iter().map(|c| c.name.as_str()))),
    }
}

fn partitions(text: &str) -> Result<i32> {
    let number = text.parse().ok().filter(|n| (1..=PARTITIONS_MAX).contains(n));
    number.ok_or_else(|| {
        Error::invalid(format!("'{text}' is not a number of partitions"))
            .hint(format!("write a number from 1 to {PARTITIONS_MAX}"))
    })
}

fn above_zero(text: &str) -> Result<i64> {
    match units::parse_duration_us(text)? {
        us if us > 0 => Ok(us),
        _ => Err(Error::invalid("the time must be above zero")),
    }
}

fn bytes(text: &str) -> Result<u64> {
    match units::parse_bytes(text)? {
        0 => Err(Error::invalid("the size must be above zero")),
        n => Ok(n),
    }
}

fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T> {
    let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        Error::invalid(format!("'{text}' is none of {}", names.join(", ")))
    })
}
