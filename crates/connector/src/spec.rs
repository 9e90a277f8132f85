//! How a connector describes itself: options and delivery promises as data. The checker, the
//! reference page, console forms and EXPLAIN all read this one description.

use std::fmt;

use common::units::{parse_bytes, parse_duration_us};
use common::{Error, Result};

/// What is promised about each row under `kill -9` at any moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Never doubled, may be missing.
    AtMostOnce,
    /// Never missing, may be doubled.
    AtLeastOnce,
    ExactlyOnce,
}

impl Delivery {
    pub const ALL: [Delivery; 3] =
        [Delivery::AtMostOnce, Delivery::AtLeastOnce, Delivery::ExactlyOnce];

    /// As written in `delivery = '…'`.
    pub fn name(self) -> &'static str {
        match self {
            Delivery::AtMostOnce => "at_most_once",
            Delivery::AtLeastOnce => "at_least_once",
            Delivery::ExactlyOnce => "exactly_once",
        }
    }

    pub fn parse(text: &str) -> Result<Delivery> {
        let text = text.trim().to_lowercase();
        Self::ALL
            .into_iter()
            .find(|d| d.name() == text)
            .ok_or_else(|| Error::unknown("delivery", &text, Self::ALL.map(Delivery::name)))
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which promises a connector keeps.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// The one in force when none is asked for comes first.
    pub kept: &'static [Delivery],
    /// A sentence for EXPLAIN: how it is kept.
    pub how: &'static str,
    /// A sentence for whoever asks for another one: why that can't be.
    pub why_not: &'static str,
}

/// What an option's text must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    Text,
    /// A whole number within the limits, both included.
    Number {
        min: u64,
        max: u64,
    },
    /// Number and unit, at least so many microseconds.
    Duration {
        min_us: i64,
    },
    Bytes,
    Bool,
    /// A file or folder, seen from the project's. Where it may be: `Outside`.
    Path,
    /// An address; its user and its query are secret.
    Url,
    /// Comma separated; `\,` is a comma within an item.
    List,
    OneOf(&'static [&'static str]),
}

impl OptionKind {
    /// Fails with what is wrong with the text.
    pub fn check(self, text: &str) -> Result<()> {
        match self {
            OptionKind::Text | OptionKind::Path | OptionKind::Url | OptionKind::List => Ok(()),
            OptionKind::Number { min, max } => match text.trim().parse::<u64>() {
                Ok(n) if (min..=max).contains(&n) => Ok(()),
                Ok(_) => Err(Error::invalid(format!("'{text}' is not between {min} and {max}"))),
                Err(_) => Err(Error::invalid(format!("'{text}' is not a whole number"))),
            },
            OptionKind::Duration { min_us } => match parse_duration_us(text)? {
                us if us < min_us => Err(Error::invalid(format!(
                    "'{text}' is shorter than the least, {} ms",
                    min_us / 1_000
                ))),
                _ => Ok(()),
            },
            OptionKind::Bytes => parse_bytes(text).map(|_| ()),
            OptionKind::Bool => match text.trim().to_lowercase().as_str() {
                "true" | "false" => Ok(()),
                _ => Err(Error::invalid(format!("'{text}' is neither true nor false"))),
            },
            OptionKind::OneOf(known) => match known.contains(&text) {
                true => Ok(()),
                false => Err(Error::unknown("value", text, known.iter().copied())),
            },
        }
    }

    /// For the reference: what to write.
    pub fn describe(self) -> String {
        match self {
            OptionKind::Text => "text".into(),
            OptionKind::Path => "a path, seen from the project folder".into(),
            OptionKind::Url => "a URL".into(),
            OptionKind::Number { max: u64::MAX, .. } => "a whole number".into(),
            OptionKind::Number { min, max } => format!("a whole number, {min} to {max}"),
            OptionKind::Duration { .. } => "a duration, as in '5 s'".into(),
            OptionKind::Bytes => "a size, as in '1 MiB'".into(),
            OptionKind::Bool => "true or false".into(),
            OptionKind::List => "a list, as in 'a, b'".into(),
            OptionKind::OneOf(known) => format!("one of: {}", known.join(", ")),
        }
    }
}

/// One option of a `WITH (…)` clause.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    pub name: &'static str,
    pub doc: &'static str,
    pub kind: OptionKind,
    pub default: Option<&'static str>,
    pub required: bool,
    /// Never shown, and never stored outside of `data/secrets`.
    pub secret: bool,
}

impl OptionSpec {
    pub const fn required(name: &'static str, kind: OptionKind, doc: &'static str) -> Self {
        Self { name, doc, kind, default: None, required: true, secret: false }
    }

    /// An option that may be left out and then has no value.
    pub const fn optional(name: &'static str, kind: OptionKind, doc: &'static str) -> Self {
        Self { name, doc, kind, default: None, required: false, secret: false }
    }

    pub const fn with_default(
        name: &'static str,
        kind: OptionKind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, doc, kind, default: Some(default), required: false, secret: false }
    }

    /// The same, with a value that is secret.
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

/// Which way the rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Source,
    Sink,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Source => "source",
            Role::Sink => "sink",
        }
    }
}

/// A connector as its users see it.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub name: &'static str,
    pub role: Role,
    pub doc: &'static str,
    /// Its own options; `common_options` come on top.
    pub options: &'static [OptionSpec],
    pub delivery: Promise,
}

impl Spec {
    /// What holds when `asked` is asked for (None: the connector's best), or why it can't.
    pub fn delivery(&self, asked: Option<&str>) -> Result<Delivery> {
        let best = self.delivery.kept.first().copied().unwrap_or(Delivery::AtMostOnce);
        let Some(asked) = asked.map(Delivery::parse).transpose()? else {
            return Ok(best);
        };
        if self.delivery.kept.contains(&asked) {
            return Ok(asked);
        }
        let kept: Vec<_> = self.delivery.kept.iter().map(|d| format!("'{d}'")).collect();
        let (role, name) = (self.role.name(), self.name);
        Err(Error::unsupported(format!(
            "delivery '{asked}' can't be kept by the {role} connector '{name}': {}",
            self.delivery.why_not
        ))
        .hint(format!("use delivery = {}", kept.join(" or "))))
    }

    /// All options, its own first.
    pub fn all_options(&self) -> impl Iterator<Item = &'static OptionSpec> {
        self.options.iter().chain(common_options(self.role))
    }
}

const RETRY_OPTIONS: [OptionSpec; 3] = [
    OptionSpec::optional(
        "retry_attempts_max",
        OptionKind::Number { min: 1, max: 1_000_000 },
        "How often something is tried before the connector stops with the error, until it is defined \
         anew or the platform starts again; without it it never stops.",
    ),
    OptionSpec::with_default(
        "retry_delay_max",
        OptionKind::Duration { min_us: 1_000 },
        "30 s",
        "Longest wait between two attempts.",
    ),
    OptionSpec::with_default(
        "retry_delay_min",
        OptionKind::Duration { min_us: 1_000 },
        "200 ms",
        "Wait after the first failure; it doubles with each further one, with some jitter.",
    ),
];

const SINK_OPTIONS: [OptionSpec; 4] = [
    OptionSpec::optional(
        "delivery",
        OptionKind::OneOf(&["at_most_once", "at_least_once", "exactly_once"]),
        "The promise about each row; the connector's best when left out.",
    ),
    RETRY_OPTIONS[0],
    RETRY_OPTIONS[1],
    RETRY_OPTIONS[2],
];

/// Options that every connector of that role has.
pub fn common_options(role: Role) -> &'static [OptionSpec] {
    match role {
        Role::Source => &RETRY_OPTIONS,
        Role::Sink => &SINK_OPTIONS,
    }
}
