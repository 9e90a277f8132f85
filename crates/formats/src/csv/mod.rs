//! Delimited text: `sniff.rs` finds delimiter, header and types of an unknown file, `reader.rs`
//! turns bytes into batches as they come, `record.rs` knows where a record ends (RFC 4180 quotes,
//! or runs of blanks), `write.rs` writes batches.

mod reader;
mod record;
mod sniff;
mod write;

pub use reader::{Header, Options, Position, Reader, Rows, header_line};
pub use record::Delimiter;
pub use sniff::{Sniffed, sniff};
pub use write::write_rows;
