//! Who asks, and what they may do. One place decides: `check`. Today everybody who got through a
//! door may do everything; roles will be asked here.

use std::fmt;
use std::sync::Arc;

use common::Result;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The program itself: files of the project, the clock, commands on the folder.
    System,
    /// Somebody whom a door did not ask for a name.
    Anonymous,
    /// A user of `CREATE USER`, or of a certificate or token.
    User(Arc<str>),
}

/// As Kafka names them in logs and access lists.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::System => f.write_str("System"),
            Principal::Anonymous => f.write_str("User:ANONYMOUS"),
            Principal::User(name) => write!(f, "User:{name}"),
        }
    }
}

/// What is to be done with an object, or with the platform where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Rows, events, offsets, definitions are looked at.
    Read,
    /// Events are sent.
    Write,
    /// Objects are made, changed and dropped.
    Define,
    /// Groups, backups, what is stored: an operator's work.
    Operate,
}

/// Refuses what the principal may not do with the object of this name.
pub fn check(_: &Principal, _: Action, _: Option<&str>) -> Result<()> {
    Ok(())
}
