//! `GROUP BY`.

use arrow::datatypes::{DataType, Schema};
use common::Result;
use datafusion_physical_expr::aggregate::LoweredAggregate;

use super::key::{Key, keys};
use super::{Expr, list};
use crate::error;

/// `GROUP BY`: gives the keys, then a column for each call. Without keys: always one row.
#[derive(Clone, Debug)]
pub struct Aggregate {
    pub keys: Vec<Key>,
    pub calls: Vec<Call>,
}

/// An aggregate function with its arguments, as DataFusion would run it.
#[derive(Clone, Debug)]
pub struct Call {
    pub lowered: LoweredAggregate,
    pub args: Vec<Arg>,
    pub order_by: Vec<Arg>,
    /// As the user wrote it, for `EXPLAIN`.
    pub text: String,
}

#[derive(Clone, Debug)]
pub struct Arg {
    pub expr: Expr,
    pub data_type: DataType,
}

impl Call {
    /// `input` is the schema that the arguments read.
    pub fn new(lowered: LoweredAggregate, input: &Schema, text: String) -> Result<Self> {
        let arg = |expr: Expr| {
            let data_type = expr.data_type(input).map_err(error::datafusion)?;
            Ok(Arg { expr, data_type })
        };
        let args = lowered.aggregate.expressions().into_iter().map(arg).collect::<Result<_>>()?;
        let order_by = lowered.order_bys.iter().map(|s| arg(s.expr.clone()));
        let order_by = order_by.collect::<Result<_>>()?;
        Ok(Self { lowered, args, order_by, text })
    }

    /// Of the function.
    pub fn name(&self) -> &str {
        self.lowered.aggregate.fun().name()
    }

    fn digest(&self) -> String {
        let args = self.args.iter().chain(&self.order_by);
        let args = list(args.map(|a| format!("{} {}", a.expr, a.data_type)));
        let filter = list(&self.lowered.filter);
        let distinct = self.lowered.aggregate.is_distinct();
        format!("{} distinct {distinct} {args} {filter}", self.name())
    }
}

impl Aggregate {
    pub(super) fn digest(&self) -> String {
        format!("aggregate {} {}", keys(&self.keys), list(self.calls.iter().map(Call::digest)))
    }
}
