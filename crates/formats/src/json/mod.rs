//! JSON: bodies into records (`split.rs`), records into Arrow (`decode.rs` over `cursor.rs`), and
//! Arrow into JSON (`encode.rs`). Own parser instead of simd-json: values go from the text straight
//! into typed columns, every number stays exact, nothing is copied first, and reasons can be good.

mod cursor;
mod debezium;
mod decode;
mod encode;
mod split;

pub use debezium::{Changed, changed};
pub use decode::{Decoded, Decoder, check_value};
pub use encode::{Encoded, Shape, encode, encode_nulls, write_rows};
pub use split::{ContentKind, Record, Split, split};

pub(crate) use cursor::Cursor;
pub(crate) use decode::{Object, push_text_json};
pub(crate) use encode::write_string;
pub(crate) use split::too_large;
