//! `try_add(a, b)` and its kin: the operation, but NULL where it would fail. The syntax tree says
//! `try_arithmetic(a + b)`; the analyzer makes the operation inside a tolerant one.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::analyzer::arithmetic::Checked;

pub(crate) const NAME: &str = "try_arithmetic";

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TryArithmetic {
    signature: Signature,
}

impl Default for TryArithmetic {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

/// What `try_arithmetic(e)` becomes; an operation that cannot fail stays as it is.
pub(crate) fn tolerant(e: Expr) -> Expr {
    let Expr::ScalarFunction(f) = &e else { return e };
    match f.func.inner().downcast_ref::<Checked>() {
        Some(checked) => ScalarUDF::from(checked.tolerant()).call(f.args.clone()),
        None => e,
    }
}

impl ScalarUDFImpl for TryArithmetic {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match args {
            [t] => Ok(t.clone()),
            _ => plan_err!("{NAME}() takes 1 argument, got {}", args.len()),
        }
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{NAME}() has no meaning outside of a query")
    }
}
