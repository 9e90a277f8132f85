//! `array[i]` with Spark's meaning: counted from 0, and an index outside of the array fails.

use datafusion::arrow::array::{Array, AsArray, UInt64Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ElementAt {
    signature: Signature,
}

impl Default for ElementAt {
    fn default() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ElementAt {
    fn name(&self) -> &str {
        "array_at"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(match args {
            [array, index] => format!("{}[{}]", array.schema_name(), index.schema_name()),
            _ => self.name().into(),
        })
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match args.first() {
            Some(DataType::List(item)) => Ok(item.data_type().clone()),
            _ => plan_err!("only an ARRAY has elements"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [array, index] = args.args.as_slice() else { return exec_err!("two values needed") };
        let array = array.clone().into_array(args.number_rows)?;
        let index = index.clone().into_array(args.number_rows)?;
        let (lists, index) = (array.as_list::<i32>(), index.as_primitive::<Int64Type>());
        let mut rows = Vec::with_capacity(lists.len());
        for row in 0..lists.len() {
            if lists.is_null(row) || index.is_null(row) {
                rows.push(None);
                continue;
            }
            let (at, length) = (index.value(row), lists.value_length(row));
            if at < 0 || at >= i64::from(length) {
                return exec_err!("index {at} is outside of an array with {length} elements");
            }
            let start = lists.value_offsets()[row];
            rows.push(Some(i64::from(start).unsigned_abs() + at.unsigned_abs()));
        }
        Ok(ColumnarValue::Array(take(lists.values(), &UInt64Array::from(rows), None)?))
    }
}
