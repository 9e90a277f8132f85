//! Functions about a Postgres server that clients call and the library does not know. Most have
//! one answer here, whatever they are asked.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use crate::SERVER_VERSION;
use crate::settings;

/// Any number of arguments.
const MANY: usize = usize::MAX;

/// Name, two numbers of arguments, and the answer.
type Constant = (&'static str, usize, usize, ScalarValue);

fn constants() -> Vec<Constant> {
    let text = |t: &str| ScalarValue::Utf8(Some(t.into()));
    let (none, yes, no) = (
        ScalarValue::Utf8(None),
        ScalarValue::Boolean(Some(true)),
        ScalarValue::Boolean(Some(false)),
    );
    let version = format!("PostgreSQL {SERVER_VERSION}");
    vec![
        // SQLAlchemy refuses servers whose version() does not look like Postgres' own.
        ("version", 0, 0, text(&version)),
        ("pg_advisory_unlock_all", 0, 0, none.clone()),
        ("pg_advisory_unlock", 1, 2, no.clone()),
        ("pg_is_in_recovery", 0, 0, no.clone()),
        ("pg_function_is_visible", 1, 1, yes.clone()),
        ("pg_type_is_visible", 1, 1, yes.clone()),
        ("pg_operator_is_visible", 1, 1, yes.clone()),
        ("pg_collation_is_visible", 1, 1, yes.clone()),
        ("pg_opclass_is_visible", 1, 1, yes),
        ("pg_has_role", 2, 3, no),
        ("pg_get_userbyid", 1, 1, text("postgres")),
        ("pg_get_viewdef", 1, 2, none.clone()),
        ("pg_get_indexdef", 1, 3, none.clone()),
        ("json_build_object", MANY, MANY, none.clone()),
        ("pg_get_ruledef", 1, 2, none.clone()),
        ("pg_get_triggerdef", 1, 2, none.clone()),
        ("pg_get_serial_sequence", 2, 2, none.clone()),
        ("pg_get_functiondef", 1, 1, none.clone()),
        ("pg_get_function_result", 1, 1, none.clone()),
        ("pg_get_function_arguments", 1, 1, none.clone()),
        ("pg_get_function_identity_arguments", 1, 1, none.clone()),
        ("obj_description", 1, 2, none.clone()),
        ("shobj_description", 2, 2, none.clone()),
        ("col_description", 2, 2, none.clone()),
        ("pg_tablespace_location", 1, 1, text("")),
        ("pg_size_pretty", 1, 1, text("0 bytes")),
        ("pg_table_size", 1, 1, ScalarValue::Int64(Some(0))),
        ("pg_my_temp_schema", 0, 0, ScalarValue::Int32(Some(0))),
        ("to_regtype", 1, 1, ScalarValue::Int32(None)),
        ("txid_current", 0, 0, ScalarValue::Int64(Some(1))),
        ("inet_server_addr", 0, 0, none.clone()),
        ("inet_client_addr", 0, 0, none),
        ("current_user", 0, 0, text("postgres")),
        ("user", 0, 0, text("postgres")),
        ("current_role", 0, 0, text("postgres")),
    ]
}

pub fn register(ctx: &SessionContext) {
    for (name, least, most, answer) in constants() {
        let counts = [least, most].into_iter().map(|n| match n {
            0 => TypeSignature::Nullary,
            MANY => TypeSignature::VariadicAny,
            n => TypeSignature::Any(n),
        });
        let signature = Signature::one_of(counts.collect(), Volatility::Stable);
        let data_type = answer.data_type();
        let call = Call::Constant(answer);
        ctx.register_udf(ScalarUDF::from(Function { name, signature, data_type, call }));
    }
    let one_or_two = vec![TypeSignature::Any(1), TypeSignature::Any(2)];
    let signature = Signature::one_of(one_or_two, Volatility::Stable);
    let (name, data_type, call) = ("current_setting", DataType::Utf8, Call::Setting);
    ctx.register_udf(ScalarUDF::from(Function { name, signature, data_type, call }));
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Call {
    Constant(ScalarValue),
    /// The first argument is the name of a setting.
    Setting,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    signature: Signature,
    data_type: DataType,
    call: Call,
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let answer = match (&self.call, arguments.args.first()) {
            (Call::Constant(answer), _) => answer.clone(),
            (Call::Setting, Some(ColumnarValue::Scalar(name))) => {
                let name = name.to_string().to_lowercase();
                ScalarValue::Utf8(settings::usual(&name).map(str::to_string))
            }
            (Call::Setting, _) => ScalarValue::Utf8(None),
        };
        Ok(ColumnarValue::Scalar(answer))
    }
}
