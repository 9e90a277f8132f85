//! What a Postgres client sends, in our spelling.

pub mod literals;
pub mod statement;
