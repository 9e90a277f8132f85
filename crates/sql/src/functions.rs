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

use std::sync::Arc;

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

use crate::analyzer::micros::{Epoch, InMicros, Now, ToTimestamp};
use crate::passes::rewrite::DATE_PARTS;
use crate::passes::spark_names;
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

/// DataFusion's that mean something else on Spark, or name things of DataFusion.
const NOT_FROM_DATAFUSION: [&str; 12] = [
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

/// The names users may call, sorted, for SHOW FUNCTIONS and "did you mean".
pub fn names() -> Vec<String> {
    let scalars = scalars();
    let (aggregates, windows) = (aggregates(), windows());
    let all = scalars.iter().flat_map(|f| with_aliases(f.name(), f.aliases()));
    let all = all.chain(aggregates.iter().flat_map(|f| with_aliases(f.name(), f.aliases())));
    let all = all.chain(windows.iter().flat_map(|f| with_aliases(f.name(), f.aliases())));
    let mut names: Vec<String> =
        all.filter(|n| !n.starts_with("__") && n != try_arithmetic::NAME).collect();
    names.extend(["tumble", "hop"].map(String::from));
    names.extend(spark_names::names().map(String::from));
    names.extend(DATE_PARTS.iter().map(|(name, _)| name.to_string()));
    names.sort();
    names.dedup();
    names
}

fn with_aliases(name: &str, aliases: &[String]) -> Vec<String> {
    std::iter::once(name.to_string()).chain(aliases.iter().cloned()).collect()
}
