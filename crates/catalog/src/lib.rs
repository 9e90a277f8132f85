//! Names and definitions: what exists, where it was written, what it depends on. The catalog file
//! is one JSON document with a checksum, replaced as a whole. Who may log in stands in a file of
//! its own (`user.rs`, `scram.rs`). No execution here.

mod document;

pub mod definition;
pub mod kind;
pub mod literals;
pub mod scram;
pub mod storage;
pub mod store;
pub mod user;

pub use definition::{
    Check, Column, Definition, Format, Object, Options, Origin, Sink, Source, Topic, View,
    Watermark,
};
pub use kind::Kind;
pub use scram::{ScramMechanism, Verifier};
pub use storage::Storage;
pub use store::{CatalogFile, Stored};
pub use user::{User, UsersFile};
