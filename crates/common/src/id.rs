//! Numbers that must not be mixed up are types of their own.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The one after this.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// Position of a record in a partition, counted from 0.
    Offset(i64)
}
id! {
    /// Number of a commit of a pipeline, counted from 1; 0 means nothing was committed yet.
    Epoch(u64)
}
id! {
    /// Partition of a topic, counted from 0.
    Partition(i32)
}
id! {
    /// Version of a definition, counted from 1.
    Version(u64)
}
