//! `round(x [, places])`: half away from zero. A decimal keeps the digits asked for, and gets one
//! more before the point, as on Spark; other numbers are rounded by `datafusion-spark`.

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::analyzer::decimals::{self, Fault};

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Round {
    inner: Arc<ScalarUDF>,
}

impl Default for Round {
    fn default() -> Self {
        Self { inner: datafusion_spark::function::math::round() }
    }
}

/// How many places behind the point; they have to be known when the query is planned.
fn places(value: Option<&ScalarValue>) -> Option<i32> {
    match value?.cast_to(&DataType::Int32).ok()? {
        ScalarValue::Int32(places) => places,
        _ => None,
    }
}

impl ScalarUDFImpl for Round {
    fn name(&self) -> &str {
        "round"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        self.inner.return_type(args)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let places = match args.scalar_arguments {
            [_] => Some(0),
            [_, second] => places(*second),
            _ => None,
        };
        let result = match (types.first(), places) {
            (Some(DataType::Decimal128(p, s)), Some(places)) => {
                let (precision, scale) = decimals::rounded((*p, *s), places);
                DataType::Decimal128(precision, scale)
            }
            _ => self.inner.return_type(&types)?,
        };
        Ok(Arc::new(Field::new(self.name(), result, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(value) = args.args.first() else { return exec_err!("round needs a value") };
        let DataType::Decimal128(precision, scale) = *args.return_field.data_type() else {
            return self.inner.invoke_with_args(args);
        };
        let places = match args.args.get(1) {
            None => Some(0),
            Some(ColumnarValue::Scalar(n)) => places(Some(n)),
            Some(_) => return exec_err!("round() needs a fixed number of places for a DECIMAL"),
        };
        let Some(places) = places else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_new_null(
                args.return_field.data_type(),
            )?));
        };
        let values = value.clone().into_array(args.number_rows)?;
        let values = values.as_primitive::<Decimal128Type>();
        let rounded = decimals::round(values, places, (precision, scale)).map_err(|f| {
            DataFusionError::Execution(match f {
                Fault::Overflow(why) => format!("overflow in round(): {why}"),
                Fault::DivisionByZero => "division by zero in round()".into(),
            })
        });
        Ok(ColumnarValue::Array(rounded?))
    }
}
