//! The `generator` source: rows made from a seed, for tests, benchmarks and first steps. Row `n`
//! depends on nothing but seed and `n`, so it goes on exactly after any row.

use std::fmt::Write;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, SchemaRef};
use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat};
use common::{Error, Result};
use connector::{
    Context, Delivery, OptionKind, OptionSpec, Promise, Role, Rows, Source, SourceBatch, Spec,
    Values,
};
use tokio::time::Instant;

pub const SPEC: Spec = Spec {
    name: "generator",
    role: Role::Source,
    doc: "Made-up rows for any topic, the same for the same seed.",
    options: &[
        OptionSpec::with_default(
            "batch_rows_max",
            OptionKind::Number { min: 1, max: 100_000 },
            "1000",
            "Rows handed over at once.",
        ),
        OptionSpec::with_default(
            "keys",
            OptionKind::Number { min: 1, max: u64::MAX },
            "10",
            "How many different values a text column has.",
        ),
        OptionSpec::optional(
            "rows",
            OptionKind::Number { min: 0, max: u64::MAX },
            "Ends after so many rows; endless when left out.",
        ),
        OptionSpec::with_default(
            "rows_per_second",
            OptionKind::Number { min: 0, max: 100_000_000 },
            "10",
            "Speed, and the step of event time; 0 is as fast as can be, a millisecond apart.",
        ),
        OptionSpec::with_default(
            "seed",
            OptionKind::Number { min: 0, max: u64::MAX },
            "0",
            "Another seed gives other rows.",
        ),
        OptionSpec::with_default(
            "start",
            OptionKind::Text,
            "2026-01-01T00:00:00Z",
            "Event time of the first row.",
        ),
    ],
    delivery: Promise {
        kept: &[Delivery::ExactlyOnce, Delivery::AtLeastOnce, Delivery::AtMostOnce],
        how: "a row depends on its number only, so it is made again in the same way",
        why_not: "it keeps every promise",
    },
};

/// Makes the source for the columns of its topic.
pub fn make(values: &Values, ctx: Context) -> Result<Box<dyn Source>> {
    let start = values.text("start")?;
    let start = DateTime::parse_from_rfc3339(start).map_err(|_| {
        Error::invalid(format!("option 'start': '{start}' is not a point in time"))
            .hint("write it as in '2026-01-01T00:00:00Z'")
    })?;
    let rows = values.get("rows").map(|_| values.number("rows")).transpose()?;
    let per_second = values.number("rows_per_second")?;
    Ok(Box::new(Generator {
        schema: ctx.schema,
        seed: values.number("seed")?,
        keys: values.number("keys")?,
        end: rows.unwrap_or(u64::MAX),
        per_second,
        batch_rows_max: values.number("batch_rows_max")?,
        start_us: start.timestamp_micros(),
        next: 0,
        paced_from: (Instant::now(), 0),
    }))
}

struct Generator {
    schema: SchemaRef,
    seed: u64,
    keys: u64,
    end: u64,
    per_second: u64,
    batch_rows_max: u64,
    start_us: i64,
    /// Number of the next row, from 0.
    next: u64,
    /// The row that was due at that instant.
    paced_from: (Instant, u64),
}

#[async_trait]
impl Source for Generator {
    async fn open(&mut self, position: Option<&str>) -> Result<()> {
        self.next = match position {
            None => 0,
            Some(p) => p.parse().map_err(|_| {
                Error::invalid(format!("'{}' is not a position of a generator", p.escape_debug()))
            })?,
        };
        self.paced_from = (Instant::now(), self.next);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        if self.next >= self.end {
            return Ok(None);
        }
        let to = self.wait_for_rows().await.min(self.end);
        let mut text = String::new();
        for n in self.next..to {
            self.write_row(n, &mut text);
        }
        self.next = to;
        let rows = Rows::Json(text.into());
        Ok(Some(SourceBatch { rows, position: Some(to.to_string()) }))
    }
}

impl Generator {
    /// Waits until at least one row is due; returns the end of those that are.
    async fn wait_for_rows(&self) -> u64 {
        let most = self.next.saturating_add(self.batch_rows_max);
        if self.per_second == 0 {
            return most;
        }
        let (since, first) = self.paced_from;
        let ahead = (self.next - first + 1) as f64 / self.per_second as f64;
        tokio::time::sleep_until(since + Duration::from_secs_f64(ahead)).await;
        let due = first + (since.elapsed().as_secs_f64() * self.per_second as f64) as u64;
        due.clamp(self.next + 1, most)
    }

    fn write_row(&self, n: u64, out: &mut String) {
        out.push('{');
        for (i, field) in self.schema.fields().iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let name = serde_json::Value::from(field.name().as_str());
            // Writing to a String can't fail.
            let _ = write!(out, "{comma}{name}:{}", self.cell(field, n, i as u64));
        }
        out.push_str("}\n");
    }

    fn cell(&self, field: &Field, n: u64, column: u64) -> serde_json::Value {
        let random = mix(mix(self.seed ^ mix(column)) ^ n);
        let us = match self.per_second {
            0 => n.saturating_mul(1_000),
            per_second => (n as u128 * 1_000_000 / u128::from(per_second)) as u64,
        };
        let at = self.start_us.saturating_add(i64::try_from(us).unwrap_or(i64::MAX));
        let at = DateTime::from_timestamp_micros(at).unwrap_or(DateTime::UNIX_EPOCH);
        match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                format!("{}-{}", field.name(), random % self.keys).into()
            }
            DataType::Timestamp(..) => at.to_rfc3339_opts(SecondsFormat::Micros, true).into(),
            DataType::Date32 | DataType::Date64 => at.date_naive().to_string().into(),
            DataType::Boolean => (random & 1 == 0).into(),
            DataType::Int8 | DataType::UInt8 => (random % 100).into(),
            t if t.is_integer() => (random % 1_000).into(),
            t if t.is_floating() => ((random % 100_000) as f64 / 1_000.0).into(),
            DataType::Decimal128(p, s) if *p > s.unsigned_abs() => (random % 10).into(),
            _ => serde_json::Value::Null,
        }
    }
}

/// The finaliser of splitmix64: neighbouring numbers give unrelated ones.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
#[path = "generator_tests.rs"]
mod tests;
