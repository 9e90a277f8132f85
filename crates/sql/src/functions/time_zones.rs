//! Times of one zone as those of another: `to_utc_timestamp`, `from_utc_timestamp` and `AT TIME
//! ZONE`. Where clocks are put back a time is there twice and the earlier one is meant; where they
//! are put forward one that is not there is as much later as the clocks jump (Spark, java.time).

use std::sync::Arc;

use chrono::{DateTime, Duration, MappedLocalTime, NaiveDateTime, Offset, TimeZone};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{Array, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

pub const AT_TIME_ZONE: &str = "at_time_zone";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    ToUtc,
    FromUtc,
    /// What TIMESTAMP and TIMESTAMP_NTZ become of each other.
    At,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct InZone {
    form: Form,
    signature: Signature,
}

pub fn functions() -> [ScalarUDF; 3] {
    [Form::ToUtc, Form::FromUtc, Form::At].map(|form| {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::from(InZone { form, signature })
    })
}

fn local() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

impl ScalarUDFImpl for InZone {
    fn name(&self) -> &str {
        match self.form {
            Form::ToUtc => "to_utc_timestamp",
            Form::FromUtc => "from_utc_timestamp",
            Form::At => AT_TIME_ZONE,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> Result<Vec<DataType>> {
        let [time, zone] = args else {
            return plan_err!("{}() takes a time and the name of a zone", self.name());
        };
        if !matches!(zone, DataType::Utf8 | DataType::Null) {
            return plan_err!("{}() takes the name of a zone as TEXT", self.name());
        }
        let time = match time {
            DataType::Timestamp(_, None) if self.form == Form::At => local(),
            DataType::Timestamp(..) | DataType::Utf8 | DataType::Date32 | DataType::Null => {
                formats::types::timestamp()
            }
            other => {
                let is = formats::types::sql_name(other);
                return plan_err!("{}() takes a TIMESTAMP, got {is}", self.name());
            }
        };
        Ok(vec![time, DataType::Utf8])
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        let zoned = matches!(args.first(), Some(DataType::Timestamp(_, Some(_))));
        Ok(if self.form == Form::At && zoned { local() } else { formats::types::timestamp() })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let result = args.return_field.data_type().clone();
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let [times, zones] = columns.as_slice() else { return exec_err!("two values needed") };
        let to_utc = match self.form {
            Form::ToUtc => true,
            Form::FromUtc => false,
            Form::At => result != local(),
        };
        let (times, zones) =
            (times.as_primitive::<TimestampMicrosecondType>(), zones.as_string::<i32>());
        let mut last: Option<(&str, Tz)> = None;
        let mut values = Vec::with_capacity(times.len());
        for row in 0..times.len() {
            if times.is_null(row) || zones.is_null(row) {
                values.push(None);
                continue;
            }
            let name = zones.value(row);
            let zone = match last {
                Some((known, zone)) if known == name => zone,
                _ => zone_of(name)?,
            };
            last = Some((name, zone));
            let us = times.value(row);
            let Some(time) = DateTime::from_timestamp_micros(us) else {
                return exec_err!("a time is out of range in {}()", self.name());
            };
            let time = time.naive_utc();
            let shift = if to_utc { -ahead(zone, time) } else { offset(zone, time) };
            values.push(us.checked_add(shift.num_microseconds().unwrap_or(0)));
        }
        let values = TimestampMicrosecondArray::from(values).with_data_type(result);
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

fn zone_of(name: &str) -> Result<Tz> {
    let named = name.trim();
    let upper = named.to_uppercase();
    let plain = match upper.as_str() {
        "Z" | "UTC" | "GMT" => "+00:00",
        _ => {
            let offset = upper.strip_prefix("UTC").or_else(|| upper.strip_prefix("GMT"));
            match offset.filter(|o| o.starts_with(['+', '-'])) {
                Some(offset) => return zone_of(&padded(offset)),
                None => named,
            }
        }
    };
    plain.parse().map_err(|_| {
        exec_datafusion_err!(
            "'{name}' is no time zone; write it like 'Europe/Berlin', 'UTC' or '+02:00'"
        )
    })
}

/// `+1` and `+1:30` with two digits of hours.
fn padded(offset: &str) -> String {
    let (sign, rest) = offset.split_at(1);
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "00"));
    format!("{sign}{hours:0>2}:{minutes:0>2}")
}

/// How much the zone's clocks are ahead at a time of UTC.
fn offset(zone: Tz, utc: NaiveDateTime) -> Duration {
    let seconds = zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
    Duration::seconds(i64::from(seconds))
}

/// How much the clocks are ahead that show this time.
fn ahead(zone: Tz, clock: NaiveDateTime) -> Duration {
    let of = |o: <Tz as TimeZone>::Offset| i64::from(o.fix().local_minus_utc());
    let seconds = match zone.offset_from_local_datetime(&clock) {
        MappedLocalTime::Single(one) => of(one),
        MappedLocalTime::Ambiguous(one, other) => of(one).max(of(other)),
        // The clocks never showed it: as they were before they jumped.
        MappedLocalTime::None => return offset(zone, clock - Duration::days(1)),
    };
    Duration::seconds(seconds)
}
