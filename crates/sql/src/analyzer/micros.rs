//! Times are TIMESTAMP in microseconds and UTC everywhere. These functions hold that where
//! DataFusion's own give nanoseconds: a wrapper that casts the result, `to_timestamp` and `now`.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, Int64Array};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type, TimeUnit};
use datafusion::arrow::util::display::FormatOptions;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

fn to_micros(t: &DataType) -> DataType {
    match t {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        other => other.clone(),
    }
}

fn strict() -> CastOptions<'static> {
    CastOptions { safe: false, format_options: FormatOptions::default() }
}

/// A function whose time result is cast to microseconds.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct InMicros {
    inner: Arc<ScalarUDF>,
}

impl InMicros {
    pub fn new(inner: Arc<ScalarUDF>) -> Self {
        Self { inner }
    }
}

impl ScalarUDFImpl for InMicros {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, args: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(args)
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        Ok(to_micros(&self.inner.return_type(args)?))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = self.inner.return_field_from_args(args)?;
        let data_type = to_micros(field.data_type());
        Ok(Arc::new(field.as_ref().clone().with_data_type(data_type)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let result = args.return_field.data_type().clone();
        // The implementation, not the function around it, which would insist on its own type.
        self.inner.inner().invoke_with_args(args)?.cast_to(&result, Some(&strict()))
    }
}

/// `to_timestamp(text | date | number of seconds)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ToTimestamp {
    signature: Signature,
}

impl Default for ToTimestamp {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ToTimestamp {
    fn name(&self) -> &str {
        "to_timestamp"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> Result<Vec<DataType>> {
        let [arg] = args else {
            return plan_err!("to_timestamp() takes a value, or a text and a pattern");
        };
        Ok(vec![match arg {
            t if t.is_integer() || t.is_numeric() => DataType::Float64,
            DataType::Utf8 | DataType::Date32 | DataType::Timestamp(..) => arg.clone(),
            DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
            other => {
                let is = formats::types::sql_name(other);
                return plan_err!("to_timestamp() cannot read {is}");
            }
        }])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(formats::types::timestamp())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(arg) = args.args.first() else { return exec_err!("to_timestamp needs a value") };
        let target = formats::types::timestamp();
        if arg.data_type() != DataType::Float64 {
            return arg.cast_to(&target, Some(&strict()));
        }
        let seconds = arg.clone().into_array(args.number_rows)?;
        let million = datafusion::arrow::array::Float64Array::new_scalar(1e6);
        let micros = datafusion::arrow::compute::kernels::numeric::mul(&seconds, &million)?;
        let micros = cast_with_options(&micros, &DataType::Int64, &strict())?;
        Ok(ColumnarValue::Array(cast_with_options(&micros, &target, &strict())?))
    }
}

/// The time at which the query began. No view can have it: it is not the same on every run.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Now {
    signature: Signature,
    aliases: Vec<String>,
}

impl Default for Now {
    fn default() -> Self {
        let signature = Signature::nullary(Volatility::Stable);
        Self { signature, aliases: vec!["current_timestamp".into()] }
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        "now"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(formats::types::timestamp())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new("now", formats::types::timestamp(), false)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("now() has no value outside of a query")
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let _ = args;
        // Sessions that mark the start of a query give one time to all its calls.
        let start = info.query_execution_start_time().unwrap_or_else(chrono::Utc::now);
        let value =
            ScalarValue::TimestampMicrosecond(Some(start.timestamp_micros()), Some("UTC".into()));
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(value, None)))
    }
}

/// `unix_seconds`, `unix_millis`, `unix_micros`: whole units since 1970, rounded down, so that
/// times before 1970 do not come out one too late.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Epoch {
    name: &'static str,
    micros: i64,
    signature: Signature,
}

impl Epoch {
    pub fn seconds() -> ScalarUDF {
        Self::of("unix_seconds", 1_000_000)
    }

    pub fn millis() -> ScalarUDF {
        Self::of("unix_millis", 1_000)
    }

    pub fn micros() -> ScalarUDF {
        Self::of("unix_micros", 1)
    }

    fn of(name: &'static str, micros: i64) -> ScalarUDF {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::from(Self { name, micros, signature })
    }
}

impl ScalarUDFImpl for Epoch {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> Result<Vec<DataType>> {
        match args {
            [DataType::Timestamp(..)] => Ok(args.to_vec()),
            [DataType::Date32 | DataType::Null] => Ok(vec![formats::types::timestamp()]),
            [other] => {
                let is = formats::types::sql_name(other);
                plan_err!("{}() needs a TIMESTAMP, got {is}", self.name)
            }
            others => plan_err!("{}() takes 1 argument, got {}", self.name, others.len()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(arg) = args.args.first() else { return exec_err!("{} needs a time", self.name) };
        let times = arg.clone().into_array(args.number_rows)?;
        let micros = cast_with_options(&times, &to_micros(times.data_type()), &strict())?;
        let micros = cast_with_options(&micros, &DataType::Int64, &strict())?;
        let micros = micros.as_primitive::<Int64Type>();
        let whole: Int64Array = micros.unary(|v| v.div_euclid(self.micros));
        Ok(ColumnarValue::Array(Arc::new(whole)))
    }
}

/// Seconds since 1970 with their fraction: what a cast of a time to a number starts from.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct EpochSeconds {
    signature: Signature,
}

impl Default for EpochSeconds {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for EpochSeconds {
    fn name(&self) -> &str {
        "epoch_seconds"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(arg) = args.args.first() else { return exec_err!("epoch_seconds needs a time") };
        let times = arg.clone().into_array(args.number_rows)?;
        let micros = cast_with_options(&times, &to_micros(times.data_type()), &strict())?;
        let micros = cast_with_options(&micros, &DataType::Int64, &strict())?;
        let micros = cast_with_options(&micros, &DataType::Float64, &strict())?;
        let million = datafusion::arrow::array::Float64Array::new_scalar(1e6);
        let seconds = datafusion::arrow::compute::kernels::numeric::div(&micros, &million)?;
        Ok(ColumnarValue::Array(seconds))
    }
}
