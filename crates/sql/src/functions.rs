//! The functions a query may call, in one place: DataFusion's, Spark's over them where a name is
//! in both, then our own. What DataFusion gives in nanoseconds comes back in microseconds.

pub(crate) mod bounded;
pub(crate) mod counted;
mod date_format;
pub mod element_at;
pub mod exact_sums;
mod json_path;
mod json_rows;
mod regexp_extract;
pub(crate) mod registers;
mod round;
pub(crate) mod significant;
mod split;
pub(crate) mod text_of;
mod time_pattern;
pub(crate) mod time_zones;
pub(crate) mod try_arithmetic;
pub mod window;

#[cfg(test)]
mod reference_tests;

use std::sync::Arc;

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

use crate::analyzer::micros::{Epoch, InMicros, Now, ToTimestamp};
use crate::passes::rewrite::DATE_PARTS;
use crate::passes::{aggregate_names, spark_names};
use date_format::DateFormat;
use json_path::GetJsonObject;
use json_rows::{FromJson, ToJson};
use regexp_extract::{RegexpExtract, RegexpExtractAll};
use registers::Register;
use round::Round;
use significant::Significant;
use split::Split;
use time_pattern::ByPattern;
use try_arithmetic::TryArithmetic;

/// Spark's own that are left out: their DataFusion namesake already does what Spark does, or
/// they are no functions for users.
const NOT_FROM_SPARK: [&str; 8] = [
    "date_trunc",
    "like",
    "ilike",
    "spark_cast",
    "shuffle",
    "json_tuple",
    "to_utc_timestamp",
    "from_utc_timestamp",
];

/// DataFusion's that mean something else on Spark, name things of DataFusion, or (`array_add` and
/// its kin) fail on every array whose elements have the name that Delta gives them.
const NOT_FROM_DATAFUSION: [&str; 15] = [
    "array_add",
    "array_normalize",
    "array_subtract",
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "from_unixtime",
    "version",
    "arrow_metadata",
    "to_char",
    "to_local_time",
    "with_metadata",
    "to_timestamp",
    "now",
];

/// Times from these come in nanoseconds or seconds.
const TIMES: [&str; 6] = [
    "date_bin",
    "date_trunc",
    "to_timestamp_seconds",
    "to_timestamp_millis",
    "to_timestamp_micros",
    "to_timestamp_nanos",
];

pub fn scalars() -> Vec<Arc<ScalarUDF>> {
    let ours = [
        window::window(),
        window::session_window(),
        ScalarUDF::from(Now::default()),
        Epoch::seconds(),
        Epoch::millis(),
        Epoch::micros(),
        ScalarUDF::from(Round::default()),
        ScalarUDF::from(Split::default()),
        ScalarUDF::from(DateFormat::default()),
        ScalarUDF::from(RegexpExtract::default()),
        ScalarUDF::from(RegexpExtractAll::default()),
        ScalarUDF::from(TryArithmetic::default()),
        ScalarUDF::from(GetJsonObject::default()),
        ScalarUDF::from(FromJson::default()),
        ScalarUDF::from(ToJson::default()),
        ScalarUDF::from(Register::default()),
        ScalarUDF::from(Significant::default()),
    ];
    let theirs = SessionStateDefaults::default_scalar_functions();
    let to_date = theirs.iter().find(|f| f.name() == "to_date").cloned();
    let by_pattern = ByPattern::timestamps(ScalarUDF::from(ToTimestamp::default()));
    let by_pattern = by_pattern.into_iter().chain(to_date.into_iter().flat_map(ByPattern::dates));
    let theirs =
        theirs.into_iter().filter(|f| !NOT_FROM_DATAFUSION.contains(&f.name())).map(
            |f| match TIMES.contains(&f.name()) {
                true => Arc::new(ScalarUDF::from(InMicros::new(f))),
                false => f,
            },
        );
    let spark = datafusion_spark::all_default_scalar_functions().into_iter();
    theirs
        .chain(spark.filter(|f| !NOT_FROM_SPARK.contains(&f.name())))
        .map(bounded::bounded)
        .chain(ours.into_iter().chain(time_zones::functions()).chain(by_pattern).map(Arc::new))
        .collect()
}

/// Spark's `avg` makes doubles of decimals, and its sets have the order in which values came.
pub fn aggregates() -> Vec<Arc<AggregateUDF>> {
    let spark = datafusion_spark::all_default_aggregate_functions().into_iter();
    SessionStateDefaults::default_aggregate_functions()
        .into_iter()
        .chain(spark.filter(|f| !["avg", "collect_set"].contains(&f.name())))
        .filter(|f| !NOT_FROM_DATAFUSION.contains(&f.name()))
        .chain([Arc::new(exact_sums::sum()), Arc::new(exact_sums::avg())])
        .chain(counted::functions().map(Arc::new))
        .collect()
}

pub fn windows() -> Vec<Arc<WindowUDF>> {
    SessionStateDefaults::default_window_functions()
}

/// What a name that can be called is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FunctionKind {
    Scalar,
    Aggregate,
    Window,
}

impl FunctionKind {
    pub fn name(self) -> &'static str {
        match self {
            FunctionKind::Scalar => "scalar",
            FunctionKind::Aggregate => "aggregate",
            FunctionKind::Window => "window",
        }
    }
}

/// Names of plans and of DataFusion's own, which nobody is told of.
const NOT_SHOWN: [&str; 12] = [
    "arrow_cast",
    "arrow_field",
    "arrow_try_cast",
    "arrow_typeof",
    "cast_to_type",
    "file_row_index",
    "get_field",
    "input_file_name",
    "try_cast_to_type",
    "union_extract",
    "union_tag",
    try_arithmetic::NAME,
];

/// The names users may call, sorted; a name that is several kinds of function comes with each.
pub fn functions() -> Vec<(String, FunctionKind)> {
    use FunctionKind::{Aggregate, Scalar, Window};
    let (scalars, aggregates, windows) = (scalars(), aggregates(), windows());
    let mut all: Vec<(String, FunctionKind)> = vec![];
    let mut add = |name: &str, aliases: &[String], kind| {
        all.push((name.to_string(), kind));
        all.extend(aliases.iter().map(|alias| (alias.clone(), kind)));
    };
    scalars.iter().for_each(|f| add(f.name(), f.aliases(), Scalar));
    aggregates.iter().for_each(|f| add(f.name(), f.aliases(), Aggregate));
    windows.iter().for_each(|f| add(f.name(), f.aliases(), Window));
    for (name, meant) in spark_names::names() {
        let mut kinds: Vec<_> = all.iter().filter(|(n, _)| *n == meant).map(|(_, k)| *k).collect();
        // `unnest` is no function of a registry.
        if kinds.is_empty() {
            kinds.push(Scalar);
        }
        all.extend(kinds.into_iter().map(|kind| (name.to_string(), kind)));
    }
    all.extend(aggregate_names::NAMES.map(|name| (name.to_string(), Aggregate)));
    let scalar = spark_names::meant().chain(DATE_PARTS.iter().map(|(name, _)| *name));
    all.extend(scalar.chain(["tumble", "hop"]).map(|name| (name.to_string(), Scalar)));
    all.retain(|(name, _)| !name.starts_with("__") && !NOT_SHOWN.contains(&name.as_str()));
    all.sort();
    all.dedup();
    all
}

/// The names alone, for "did you mean".
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = functions().into_iter().map(|(name, _)| name).collect();
    names.dedup();
    names
}
