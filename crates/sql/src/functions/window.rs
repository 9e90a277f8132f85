//! `window(ts, size[, slide[, offset]])` and `session_window(ts, gap)` as scalar functions. Only
//! tumbling windows are computed row by row here; sliding and session windows turn one row into
//! several or look at neighbours, so `time_windows.rs` expands them in the plan.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, ListArray, StructArray, TimestampMicrosecondArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{
    DataType, Field, Fields, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

pub const WINDOW: &str = "window";
pub const SESSION_WINDOW: &str = "session_window";
pub const BUCKETS: &str = "window_buckets";

/// What the function does with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// The tumbling window of each row.
    Window,
    /// All windows of each row, as a list: how a sliding window is expanded.
    Buckets,
    /// Never computed; the planner replaces it.
    Session,
    /// Start and end put together.
    Struct,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TimeWindow {
    form: Form,
    signature: Signature,
}

fn udf(form: Form) -> ScalarUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    ScalarUDF::from(TimeWindow { form, signature })
}

pub fn window() -> ScalarUDF {
    udf(Form::Window)
}

pub fn session_window() -> ScalarUDF {
    udf(Form::Session)
}

pub(crate) fn buckets() -> ScalarUDF {
    udf(Form::Buckets)
}

pub(crate) fn window_struct() -> ScalarUDF {
    udf(Form::Struct)
}

/// The type of a window over times of type `ts`.
pub fn window_fields(ts: &DataType) -> Fields {
    vec![Field::new("start", ts.clone(), true), Field::new("end", ts.clone(), true)].into()
}

/// Windows of one call that a row may be in: each is a row of its own.
const WINDOWS_MAX: i64 = 1_000;

/// Size, slide and offset of a call, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize {
    pub size_us: i64,
    pub slide_us: i64,
    pub offset_us: i64,
}

impl WindowSize {
    /// Of the arguments of a `window` call, the time first.
    pub fn of(args: &[Expr]) -> Result<WindowSize> {
        let durations: Vec<i64> = args.iter().skip(1).map(literal_us).collect::<Result<_>>()?;
        WindowSize::new(&durations)
    }

    fn new(durations: &[i64]) -> Result<WindowSize> {
        let Some(size_us) = durations.first().copied() else {
            return plan_err!("window() needs a size, as in window(ts, '1 minute')");
        };
        let slide_us = durations.get(1).copied().unwrap_or(size_us);
        let offset_us = durations.get(2).copied().unwrap_or(0);
        if size_us <= 0 || slide_us <= 0 {
            return plan_err!("size and slide of window() must be above zero");
        }
        if slide_us > size_us {
            return plan_err!("the slide of window() cannot be larger than its size");
        }
        if offset_us.unsigned_abs() >= slide_us.unsigned_abs() {
            return plan_err!("the offset of window() must be smaller than its slide");
        }
        let windows = (size_us - 1) / slide_us + 1;
        if windows > WINDOWS_MAX {
            return plan_err!(
                "window() gives {windows} windows for each row; {WINDOWS_MAX} is the limit"
            );
        }
        Ok(WindowSize { size_us, slide_us, offset_us })
    }

    pub fn tumbling(&self) -> bool {
        self.size_us == self.slide_us
    }

    /// As a graph has it: where windows begin is in the rows.
    pub fn window(&self) -> graph::Window {
        graph::Window::new(self.size_us, self.slide_us)
    }

    /// A call that gives for each time the tumbling window of one slide. The last sliding window
    /// that holds the time begins where it does.
    pub fn last_slide(&self, ts: Expr) -> Expr {
        let span = |us: i64| {
            let nanoseconds = us.saturating_mul(1_000);
            Expr::Literal(ScalarValue::new_interval_mdn(0, 0, nanoseconds), None)
        };
        let slide = span(self.slide_us);
        ScalarUDF::call(&window(), vec![ts, slide.clone(), slide, span(self.offset_us)])
    }

    /// Start of the last window that holds `t`; times before 1970 round down too.
    fn last_start(&self, t: i64) -> Option<i64> {
        let shifted = t.checked_sub(self.offset_us)?;
        t.checked_sub(shifted.rem_euclid(self.slide_us))
    }
}

/// A duration that stands in the query as a literal.
pub fn literal_us(e: &Expr) -> Result<i64> {
    match e {
        Expr::Literal(v, _) => micros(v),
        Expr::Cast(c) => literal_us(&c.expr),
        Expr::Alias(a) => literal_us(&a.expr),
        _ => plan_err!("the durations of window() must be literals, as in '1 minute'; got {e}"),
    }
}

fn micros(v: &ScalarValue) -> Result<i64> {
    match v {
        ScalarValue::DurationMicrosecond(Some(us)) => Ok(*us),
        ScalarValue::IntervalYearMonth(Some(_)) => {
            plan_err!("months differ in length; window() needs days or smaller units")
        }
        ScalarValue::IntervalMonthDayNano(Some(i)) if i.months != 0 => {
            plan_err!("months differ in length; window() needs days or smaller units")
        }
        ScalarValue::IntervalMonthDayNano(Some(i)) => {
            let days = i64::from(i.days).checked_mul(86_400_000_000);
            match days.and_then(|d| d.checked_add(i.nanoseconds / 1000)) {
                Some(us) => Ok(us),
                None => plan_err!("this duration is too long"),
            }
        }
        ScalarValue::Utf8(Some(text)) => {
            // An offset may be below zero.
            let (sign, span) = match text.trim_start().strip_prefix('-') {
                Some(span) => (-1, span),
                None => (1, text.as_str()),
            };
            match common::units::parse_duration_us(span) {
                Ok(us) => Ok(sign * us),
                Err(_) => plan_err!("'{text}' is not a duration"),
            }
        }
        _ => plan_err!("the durations of window() must be literals, as in '1 minute'"),
    }
}

impl TimeWindow {
    fn time_type(&self, arg: &DataType) -> Result<DataType> {
        match arg {
            DataType::Timestamp(_, tz) => {
                Ok(DataType::Timestamp(TimeUnit::Microsecond, tz.clone()))
            }
            DataType::Date32 | DataType::Utf8 | DataType::Null => {
                Ok(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
            }
            other => {
                let is = formats::types::sql_name(other);
                plan_err!("{}() needs a TIMESTAMP, got {is}", self.name())
            }
        }
    }

    fn session_args(&self, args: &[DataType]) -> Result<()> {
        match self.form {
            Form::Session if args.len() != 2 => {
                plan_err!("session_window() takes a time and a gap")
            }
            Form::Window | Form::Buckets if !(2..=4).contains(&args.len()) => {
                plan_err!("window() takes a time, a size, and perhaps a slide and an offset")
            }
            _ => Ok(()),
        }
    }
}

impl ScalarUDFImpl for TimeWindow {
    fn name(&self) -> &str {
        match self.form {
            Form::Window => WINDOW,
            Form::Buckets => BUCKETS,
            Form::Session => SESSION_WINDOW,
            Form::Struct => "window_struct",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> Result<Vec<DataType>> {
        self.session_args(args)?;
        let Some(first) = args.first() else { return plan_err!("{}() needs a time", self.name()) };
        let ts = self.time_type(first)?;
        if self.form == Form::Struct {
            return Ok(vec![ts.clone(), ts]);
        }
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        for arg in &args[1..] {
            if !matches!(arg, DataType::Interval(_) | DataType::Duration(_) | DataType::Utf8) {
                let is = formats::types::sql_name(arg);
                return plan_err!("{}() needs a duration, as in '1 minute'; got {is}", self.name());
            }
        }
        Ok(std::iter::once(ts).chain(args[1..].iter().map(|_| interval.clone())).collect())
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        let Some(first) = args.first() else { return plan_err!("{}() needs a time", self.name()) };
        let window = DataType::Struct(window_fields(&self.time_type(first)?));
        Ok(match self.form {
            Form::Buckets => DataType::List(Arc::new(Field::new_list_field(window, true))),
            _ => window,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let Some(first) = args.args.first() else { return exec_err!("no time given") };
        let times = first.clone().into_array(rows)?;
        let result: ArrayRef = match self.form {
            Form::Session => {
                return exec_err!("session_window() can only stand in GROUP BY");
            }
            Form::Struct => {
                let Some(second) = args.args.get(1) else { return exec_err!("no end given") };
                let end = second.clone().into_array(rows)?;
                let fields = window_fields(times.data_type());
                Arc::new(StructArray::try_new(fields, vec![times, end], None)?)
            }
            Form::Window => tumble(&times, sizes(&args.args)?)?,
            Form::Buckets => expand(&times, sizes(&args.args)?)?,
        };
        Ok(ColumnarValue::Array(result))
    }
}

fn sizes(args: &[ColumnarValue]) -> Result<WindowSize> {
    let durations: Vec<i64> = args
        .iter()
        .skip(1)
        .map(|a| match a {
            ColumnarValue::Scalar(s) => micros(s),
            ColumnarValue::Array(_) => {
                exec_err!("the durations of window() must be literals, as in '1 minute'")
            }
        })
        .collect::<Result<_>>()?;
    WindowSize::new(&durations)
}

fn with_zone(times: Vec<Option<i64>>, like: &DataType) -> ArrayRef {
    let array = TimestampMicrosecondArray::from(times);
    match like {
        DataType::Timestamp(_, Some(zone)) => Arc::new(array.with_timezone(zone.clone())),
        _ => Arc::new(array),
    }
}

/// Start and end of each window as a struct; rows without a time have none.
fn windows(starts: Vec<Option<i64>>, size: WindowSize, like: &DataType) -> Result<StructArray> {
    let ends = starts.iter().map(|s| s.and_then(|s| s.checked_add(size.size_us))).collect();
    let starts = with_zone(starts, like);
    let nulls = starts.nulls().cloned();
    let fields = window_fields(like);
    Ok(StructArray::try_new(fields, vec![starts, with_zone(ends, like)], nulls)?)
}

fn tumble(times: &ArrayRef, size: WindowSize) -> Result<ArrayRef> {
    if !size.tumbling() {
        return exec_err!("a sliding window can only stand in GROUP BY");
    }
    let ts = times.as_primitive::<TimestampMicrosecondType>();
    let starts = ts.iter().map(|t| t.and_then(|t| size.last_start(t))).collect();
    Ok(Arc::new(windows(starts, size, times.data_type())?))
}

fn expand(times: &ArrayRef, size: WindowSize) -> Result<ArrayRef> {
    let ts = times.as_primitive::<TimestampMicrosecondType>();
    let mut lengths = Vec::with_capacity(ts.len());
    let mut starts = vec![];
    for t in ts.iter() {
        let before = starts.len();
        let mut start = t.and_then(|t| size.last_start(t));
        while let (Some(s), Some(t)) = (start, t) {
            if s <= t.saturating_sub(size.size_us) {
                break;
            }
            starts.push(Some(s));
            start = s.checked_sub(size.slide_us);
        }
        lengths.push(starts.len() - before);
    }
    let values = windows(starts, size, times.data_type())?;
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(values), None)?))
}
