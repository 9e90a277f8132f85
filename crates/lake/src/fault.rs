//! What a Delta error means to a user. The library wraps a full disk or a damaged log in several
//! layers; here the chain of causes decides.

use std::error::Error as StdError;
use std::io;

use common::{Error, Kind};
use deltalake_core::DeltaTableError;

use crate::place::TablePlace;

pub(crate) fn corrupt(place: &TablePlace, what: impl std::fmt::Display) -> Error {
    Error::corrupt(format!("the archive in '{place}' is damaged: {what}")).hint(
        "restore the folder from a backup, or move it away: \
         events that are still in the log are archived anew",
    )
}

/// An error of one table, named by its place.
pub(crate) fn error(place: &TablePlace, doing: &str, e: DeltaTableError) -> Error {
    let what = format!("cannot {doing} the archive in '{place}'");
    if let Some(io) = io_cause(&e) {
        let kind = io.kind();
        let text = io.to_string();
        if kind == io::ErrorKind::NotFound {
            return corrupt(place, format!("a file is missing ({text})")).caused_by(e);
        }
        return Error::io(what, io::Error::new(kind, text)).caused_by(e);
    }
    let text = e.to_string();
    // Where a layer keeps only the text of its cause.
    for (needle, code) in [("os error 28", 28), ("os error 30", 30), ("os error 13", 13)] {
        if text.contains(needle) {
            return Error::io(what, io::Error::from_raw_os_error(code)).caused_by(e);
        }
    }
    match &e {
        DeltaTableError::Transaction { .. } | DeltaTableError::VersionAlreadyExists(_) => {
            Error::conflict(format!("{what}: {text}"))
                .hint("another program writes to the same table")
                .caused_by(e)
        }
        DeltaTableError::SchemaMismatch { .. } => {
            Error::invalid(format!("{what}: {text}")).caused_by(e)
        }
        DeltaTableError::KernelError(_)
        | DeltaTableError::Kernel { .. }
        | DeltaTableError::InvalidJsonLog { .. }
        | DeltaTableError::InvalidStatsJson { .. }
        | DeltaTableError::InvalidVersion(_)
        | DeltaTableError::InvalidData { .. }
        | DeltaTableError::MetadataError(_)
        | DeltaTableError::NotATable(_)
        | DeltaTableError::NoSchema
        | DeltaTableError::Parquet { .. }
        | DeltaTableError::Arrow { .. }
        | DeltaTableError::ObjectStore { .. } => corrupt(place, text).caused_by(e),
        _ => Error::new(Kind::Internal, format!("{what}: {text}")).caused_by(e),
    }
}

fn io_cause<'a>(e: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    let mut cause = Some(e);
    let mut found = None;
    while let Some(e) = cause {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            found = Some(io);
        }
        cause = e.source();
    }
    found.filter(|io| io.raw_os_error().is_some())
}
