//! Names and definitions: what exists, where it was written, what it depends on. The catalog file
//! is one JSON document with a checksum, replaced as a whole. No execution here.

pub mod definition;
pub mod storage;
pub mod store;

pub use definition::{
    Check, Column, Definition, Format, Object, Options, Origin, Sink, Source, Topic, View,
    Watermark,
};
pub use storage::Storage;
pub use store::{CatalogFile, Stored};
