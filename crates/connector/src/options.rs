//! Checks the options of a `WITH (…)` clause against a `Spec` and reads them by type. All faults
//! are found at once, and each knows its option, so that it can be underlined in the user's text.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use catalog::{Options, Origin};
use common::units::{parse_bytes, parse_duration_us};
use common::{Error, Result, Secret};

use crate::secrets::{check_references, has_references};
use crate::{OptionKind, Outside, Scrub, Secrets, Spec};

/// Something wrong with an option.
#[derive(Debug)]
pub struct Fault {
    /// None when an option is missing.
    pub option: Option<String>,
    pub error: Error,
}

/// The faults as errors that point at the option in the statement, where that can be found.
pub fn place_faults(faults: Vec<Fault>, origin: &Origin) -> Vec<Error> {
    let place = |fault: Fault| {
        let span = fault.option.and_then(|o| find_word(origin.statement(), &o));
        let span = match span {
            Some((start, end)) => origin.span.start + start..origin.span.start + end,
            None => origin.span.clone(),
        };
        fault.error.at(origin.place(span))
    };
    faults.into_iter().map(place).collect()
}

/// First place outside of texts where the word stands before an equals sign, in any case.
fn find_word(text: &str, word: &str) -> Option<(usize, usize)> {
    let lower = without_texts(text).to_ascii_lowercase();
    let in_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    lower.match_indices(&word.to_ascii_lowercase()).map(|(i, m)| (i, i + m.len())).find(
        |(start, end)| {
            let before = lower[..*start].chars().next_back();
            let after = lower[*end..].trim_start_matches('"').trim_start();
            !before.is_some_and(in_name) && after.starts_with('=')
        },
    )
}

/// The same with blanks for what stands in single quotes, byte for byte.
fn without_texts(sql: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(sql.len());
    for c in sql.chars() {
        inside ^= c == '\'';
        match inside {
            true => out.extend(std::iter::repeat_n(' ', c.len_utf8())),
            false => out.push(c),
        }
    }
    out
}

/// Everything wrong with the options: unknown names, missing ones, bad values.
pub fn faults(spec: &Spec, options: &Options) -> Vec<Fault> {
    let (role, connector) = (spec.role.name(), spec.name);
    let mut faults = vec![];
    for (name, text) in options.iter().filter(|(name, _)| *name != "connector") {
        let result = match spec.all_options().find(|o| o.name == name) {
            // What it stands for is known, and checked, when the connector is made.
            Some(_) if has_references(text) => {
                check_references(text).map_err(|e| e.context(format!("option '{name}'")))
            }
            Some(o) => o.kind.check(text).map_err(|e| e.context(format!("option '{name}'"))),
            None => Err(Error::unknown("option", name, spec.all_options().map(|o| o.name))),
        };
        if let Err(e) = result {
            let error = e.context(format!("{role} connector '{connector}'"));
            faults.push(Fault { option: Some(name.clone()), error });
        }
    }
    for o in spec.all_options().filter(|o| o.required && !options.contains_key(o.name)) {
        let what = format!("{role} connector '{connector}' needs the option '{}'", o.name);
        faults.push(Fault { option: None, error: Error::invalid(what).hint(o.doc) });
    }
    if let Some(asked) = options.get("delivery")
        && !faults.iter().any(|f| f.option.as_deref() == Some("delivery"))
        && let Err(error) = spec.delivery(Some(asked))
    {
        faults.push(Fault { option: Some("delivery".into()), error });
    }
    faults
}

/// Checked options with their defaults filled in and their references resolved.
#[derive(Clone, Debug)]
pub struct Values {
    connector: &'static str,
    by_name: BTreeMap<&'static str, Option<Secret>>,
    /// What of them must not be said.
    scrub: Scrub,
}

/// Of what a connector made of these would do.
impl Hash for Values {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.connector.hash(state);
        for (name, value) in &self.by_name {
            (name, value.as_ref().map(Secret::expose)).hash(state);
        }
    }
}

impl Values {
    /// Fails with the first fault; who wants all of them calls `faults` before.
    pub fn new(spec: &Spec, options: &Options, outside: &Outside) -> Result<Values> {
        if let Some(fault) = faults(spec, options).into_iter().next() {
            return Err(fault.error);
        }
        let mut values =
            Values { connector: spec.name, by_name: BTreeMap::new(), scrub: Scrub::default() };
        for o in spec.all_options() {
            let Some(text) = options.get(o.name).map(String::as_str).or(o.default) else {
                values.by_name.insert(o.name, None);
                continue;
            };
            let context = |e: Error| {
                let (role, connector) = (spec.role.name(), spec.name);
                e.context(format!("{role} connector '{connector}': option '{}'", o.name))
            };
            let (text, secrets) = Secrets::resolve(outside, o.kind, text).map_err(context)?;
            secrets.iter().for_each(|s| values.scrub.add(s.expose()));
            match o.kind {
                _ if o.secret => values.scrub.add(&text),
                OptionKind::Url => values.scrub.add_url(&text),
                _ => {}
            }
            if !secrets.is_empty() {
                let checked = o.kind.check(&text);
                checked.map_err(|e| context(values.scrub.error(e)))?;
            }
            values.by_name.insert(o.name, Some(Secret::new(text)));
        }
        Ok(values)
    }

    /// What must not stand in the connector's errors.
    pub fn scrub(&self) -> &Scrub {
        &self.scrub
    }

    /// The text of an option; None when it was left out and has no default.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).and_then(|text| text.as_ref()).map(Secret::expose)
    }

    pub fn text(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| {
            Error::internal(format!("'{}' reads '{name}', which has no value", self.connector))
        })
    }

    pub fn number(&self, name: &str) -> Result<u64> {
        let text = self.text(name)?;
        text.trim().parse().map_err(|_| Error::invalid(format!("'{text}' is not a whole number")))
    }

    pub fn duration(&self, name: &str) -> Result<Duration> {
        let us = parse_duration_us(self.text(name)?)?;
        Ok(Duration::from_micros(us.unsigned_abs()))
    }

    pub fn bytes(&self, name: &str) -> Result<u64> {
        parse_bytes(self.text(name)?)
    }

    pub fn bool(&self, name: &str) -> Result<bool> {
        Ok(self.text(name)?.trim().eq_ignore_ascii_case("true"))
    }

    /// Items without surrounding blanks; empty ones are left out.
    pub fn list(&self, name: &str) -> Vec<String> {
        let mut items = vec![String::new()];
        let mut chars = self.get(name).unwrap_or("").chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                ',' => items.push(String::new()),
                '\\' if chars.peek() == Some(&',') => {
                    chars.next();
                    items.last_mut().into_iter().for_each(|i| i.push(','));
                }
                c => items.last_mut().into_iter().for_each(|i| i.push(c)),
            }
        }
        items.iter().map(|i| i.trim().to_string()).filter(|i| !i.is_empty()).collect()
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
