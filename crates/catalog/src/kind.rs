//! Kinds of objects: the words that SQL, the doors and messages have for them. What an object of a
//! kind does stands in `engine` (`define/<kind>.rs`), how it is written in `sql`
//! (`statements/create_<kind>.rs`).

use std::fmt;

/// A kind of object, by its words.
#[derive(PartialEq, Eq)]
pub struct Kind {
    /// As in `CREATE …`.
    pub name: &'static str,
    /// What users may say for it, and what it is called where one word has to do: in metrics, in
    /// paths. The last word of `name`.
    pub short: &'static str,
    /// It can be selected from.
    pub is_table: bool,
}

pub static TOPIC: Kind = Kind { name: "TOPIC", short: "TOPIC", is_table: true };
pub static SOURCE: Kind = Kind { name: "SOURCE", short: "SOURCE", is_table: false };
pub static VIEW: Kind = Kind { name: "MATERIALIZED VIEW", short: "VIEW", is_table: true };
pub static SINK: Kind = Kind { name: "SINK", short: "SINK", is_table: false };

/// All kinds, in the order in which events pass them.
pub static KINDS: [&Kind; 4] = [&TOPIC, &SOURCE, &VIEW, &SINK];

impl Kind {
    /// The one that is written so, in any case.
    pub fn named(name: &str) -> Option<&'static Kind> {
        let is =
            |k: &&&Kind| k.name.eq_ignore_ascii_case(name) || k.short.eq_ignore_ascii_case(name);
        KINDS.iter().find(is).copied()
    }

    /// Within a sentence.
    pub fn said(&self) -> String {
        self.name.to_lowercase()
    }
}

/// As in `CREATE …`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_words_of_its_own() {
        for kind in KINDS {
            assert_eq!(Kind::named(&kind.said()), Some(kind));
            assert_eq!(Kind::named(kind.short), Some(kind));
            assert!(kind.name.ends_with(kind.short));
        }
        assert_eq!(Kind::named("table"), None);
    }
}
