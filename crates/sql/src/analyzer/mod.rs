//! Rules over the plan that give it Spark's types and meaning.

pub mod ansi;
pub mod arithmetic;
pub mod counted_sets;
pub mod decimals;
pub mod distinct_on;
pub mod float_keys;
pub mod int_literals;
pub mod intervals;
pub mod micros;
pub mod time_windows;
pub mod view_rules;
