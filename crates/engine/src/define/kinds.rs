//! The list of kinds.

use common::{Error, Result};

use crate::define::kind::Kind;
use crate::define::{sink, source, topic, view};

/// In the order in which events pass them; the old stops and the new starts kind by kind.
pub static KINDS: [&dyn Kind; 4] = [&topic::Topics, &source::Sources, &view::Views, &sink::Sinks];

/// What is done with objects of this kind.
pub fn of(words: &catalog::Kind) -> Result<&'static dyn Kind> {
    let found = KINDS.iter().find(|kind| kind.words() == words);
    found.copied().ok_or_else(|| Error::internal(format!("no file of the engine is for {words}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once_and_in_order() {
        let listed: Vec<_> = KINDS.iter().map(|k| k.words()).collect();
        assert_eq!(listed, catalog::kind::KINDS);
    }
}
