//! Secrets of connectors: `${env:NAME}` and `${secret:name}` in the values of options. A definition
//! keeps the reference; what it stands for is looked up when the connector is made, is held as
//! `Secret`, and is stars in whatever the connector says of itself. Secrets that were written out
//! are moved here before a definition is stored.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use catalog::Options;
use catalog::literals::option_literals;
use common::{Error, Result, Secret};

use crate::{OptionKind, OptionSpec, Outside, Role, Spec};

/// In place of what is not shown.
pub const STARS: &str = "***";
/// Shorter ones would turn every second word of an error into stars.
const SCRUBBED_MIN: usize = 4;

/// The folder of secrets: one file each, readable by its owner only.
#[derive(Clone, Debug)]
pub struct Secrets {
    dir: PathBuf,
}

/// A part of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Env(&'a str),
    Secret(&'a str),
}

fn parts(text: &str) -> Result<Vec<Part<'_>>> {
    let mut found = vec![];
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        found.push(Part::Text(before));
        let reference = behind.split_once('}').and_then(|(inside, behind)| {
            rest = behind;
            let (kind, name) = inside.split_once(':')?;
            match kind {
                "env" => Some(Part::Env(name)),
                "secret" => Some(Part::Secret(name)),
                _ => None,
            }
        });
        found.push(reference.ok_or_else(|| {
            Error::invalid("what stands behind '${' is no reference")
                .hint("write ${env:NAME} or ${secret:name}")
        })?);
    }
    found.push(Part::Text(rest));
    Ok(found)
}

/// Whether a value has references.
pub(crate) fn has_references(text: &str) -> bool {
    text.contains("${")
}

/// Fails when a reference is not well formed.
pub(crate) fn check_references(text: &str) -> Result<()> {
    for part in parts(text)? {
        if let Part::Secret(name) = part {
            check_name(name)?;
        }
    }
    Ok(())
}

/// A name is a file's name, too.
fn check_name(name: &str) -> Result<()> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"._-%".contains(&b);
    if name.is_empty() || name.starts_with('.') || name.len() > 200 || !name.bytes().all(fine) {
        return Err(Error::invalid(format!("'{name}' can't be the name of a secret"))
            .hint("names have letters, digits, '_', '-' and '.', and do not begin with '.'"));
    }
    Ok(())
}

impl Secrets {
    pub fn new(dir: impl Into<PathBuf>) -> Secrets {
        Secrets { dir: dir.into() }
    }

    /// What a value stands for, and the secrets in it.
    ///
    /// # Errors
    /// A missing secret or variable, by its name; one that the definition may not use.
    pub(crate) fn resolve(
        outside: &Outside,
        kind: OptionKind,
        text: &str,
    ) -> Result<(String, Vec<Secret>)> {
        let parts = parts(text)?;
        // The whole value is a list by itself; within another item a comma is just a comma.
        let is_whole = parts.iter().all(|p| matches!(p, Part::Text("")) || p.is_reference());
        let mut value = String::new();
        let mut secrets = vec![];
        for part in parts {
            let secret = match part {
                Part::Text(text) => {
                    value.push_str(text);
                    continue;
                }
                Part::Env(name) => {
                    outside.reference("env", name)?;
                    env(name)?
                }
                Part::Secret(name) => {
                    outside.reference("secret", name)?;
                    outside.secrets().get(name)?
                }
            };
            match kind == OptionKind::List && !is_whole {
                true => value.push_str(&secret.expose().replace(',', "\\,")),
                false => value.push_str(secret.expose()),
            }
            secrets.push(secret);
        }
        Ok((value, secrets))
    }

    /// The content of a secret's file, without the line end that editors leave.
    fn get(&self, name: &str) -> Result<Secret> {
        check_name(name)?;
        let path = self.dir.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => {
                tighten(&path, 0o600)?;
                Ok(Secret::new(text.trim_end_matches(['\n', '\r'])))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                Err(Error::invalid(format!("there is no secret '{name}'"))
                    .hint(format!("write it into the file data/secrets/{name}")))
            }
            Err(e) => Err(Error::io(format!("reading the secret '{name}'"), e)),
        }
    }

    /// Keeps a secret; durable when the call returns.
    pub fn put(&self, name: &str, secret: &Secret) -> Result<()> {
        check_name(name)?;
        self.write(name, secret).map_err(|e| Error::io(format!("writing the secret '{name}'"), e))
    }

    fn write(&self, name: &str, secret: &Secret) -> std::io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let (path, temporary) = (self.dir.join(name), self.dir.join(format!(".{name}.new")));
        let _ = fs::remove_file(&temporary);
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(secret.expose().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        fs::File::open(&self.dir)?.sync_all()
    }

    /// Removes those that were put here for definitions and that no statement names any more.
    pub fn keep_named(&self, statements: &[&str]) -> Result<()> {
        let reading = |e| Error::io("reading the folder of secrets", e);
        let entries = match fs::read_dir(&self.dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(reading)?,
        };
        for entry in entries {
            let name = entry.map_err(reading)?.file_name().to_string_lossy().into_owned();
            let is_ours = ["sink.", "source."].iter().any(|role| name.starts_with(role));
            let reference = format!("${{secret:{name}}}");
            if is_ours && !statements.iter().any(|s| s.contains(&reference)) {
                fs::remove_file(self.dir.join(&name))
                    .map_err(|e| Error::io(format!("removing the secret '{name}'"), e))?;
            }
        }
        Ok(())
    }
}

impl Part<'_> {
    fn is_reference(&self) -> bool {
        !matches!(self, Part::Text(_))
    }
}

fn env(name: &str) -> Result<Secret> {
    std::env::var(name).map(Secret::new).map_err(|_| {
        Error::invalid(format!("there is no environment variable '{name}'"))
            .hint(format!("start watershed with {name} set, or keep it as ${{secret:…}}"))
    })
}

/// Takes rights from others that a file or folder of ours should not give them.
pub fn tighten(path: &Path, mode: u32) -> Result<()> {
    let doing = || format!("reading the rights of '{}'", path.display());
    let now = fs::metadata(path).map_err(|e| Error::io(doing(), e))?.permissions().mode() & 0o777;
    if now & !mode == 0 {
        return Ok(());
    }
    let shown = path.display();
    match fs::set_permissions(path, fs::Permissions::from_mode(now & mode)) {
        Ok(()) => tracing::warn!("'{shown}' was open to others (mode {now:o}) and is closed now"),
        Err(e) => tracing::warn!("'{shown}' is open to others (mode {now:o}): {e}"),
    }
    Ok(())
}

impl OptionSpec {
    /// The value with what is secret in it replaced; the same value when nothing is. References
    /// are not secret.
    fn replace_secrets(&self, value: &str, with: &mut dyn FnMut(&str) -> String) -> String {
        let is_secret = self.secret || (self.kind == OptionKind::Url && url_has_secrets(value));
        match is_secret {
            false => value.to_string(),
            true if self.kind == OptionKind::List && has_references(value) => {
                let items = value.replace("\\,", "\u{0}");
                let item = |item: &str| match has_references(item) || item.trim().is_empty() {
                    true => item.replace('\u{0}', "\\,"),
                    false => format!(" {}", with(item.replace('\u{0}', ",").trim())),
                };
                items.split(',').map(item).collect::<Vec<_>>().join(",").trim().to_string()
            }
            true if has_references(value) || value.is_empty() => value.to_string(),
            true => with(value),
        }
    }
}

/// A user's name and password, or a query, which may have a key.
fn url_has_secrets(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or("");
    rest.contains('?') || authority.contains('@')
}

/// A definition's statement with stars for what is secret in its options.
pub fn masked(spec: Option<&Spec>, statement: &str) -> String {
    rewritten(spec, statement, &mut |_, _| STARS.to_string())
}

/// What the names begin with of the secrets of one definition.
pub(crate) fn own_secrets(role: Role, name: &str) -> String {
    let plain = |b: u8| match b.is_ascii_alphanumeric() || b"_-".contains(&b) {
        true => char::from(b).to_string(),
        false => format!("%{b:02X}"),
    };
    let name: String = name.bytes().map(plain).collect();
    format!("{}.{name}.", role.name())
}

/// The statement as it is stored: with references in place of secrets, and those secrets.
pub fn moved_out(spec: &Spec, name: &str, statement: &str) -> (String, Vec<(String, Secret)>) {
    let mut moved: Vec<(String, Secret)> = vec![];
    let own = own_secrets(spec.role, name);
    let statement = rewritten(Some(spec), statement, &mut |option, secret| {
        let base = format!("{own}{option}");
        let of_option = moved.iter().filter(|(n, _)| n.starts_with(&base)).count();
        let key = match of_option {
            0 => base,
            n => format!("{base}.{}", n + 1),
        };
        moved.push((key.clone(), Secret::new(secret)));
        format!("${{secret:{key}}}")
    });
    (statement, moved)
}

fn rewritten(
    spec: Option<&Spec>,
    statement: &str,
    with: &mut dyn FnMut(&str, &str) -> String,
) -> String {
    let mut out = statement.to_string();
    let mut changes = vec![];
    for literal in option_literals(statement) {
        let Some(option) = literal.option.clone() else { continue };
        let value = literal.value(statement);
        let known = spec.and_then(|s| s.all_options().find(|o| o.name == option));
        let new = match known {
            Some(o) => o.replace_secrets(&value, &mut |secret| with(&option, secret)),
            None => value.clone(),
        };
        if new != value {
            changes.push((literal.span, new.replace('\'', "''")));
        }
    }
    for (span, new) in changes.into_iter().rev() {
        out.replace_range(span, &new);
    }
    out
}

/// Options as they tell one pipeline from another: a new token is no new target.
pub fn without_secrets(spec: &Spec, options: &Options) -> Options {
    let value = |name: &str, value: &str| {
        let known = spec.all_options().find(|o| o.name == name);
        let hide = known.is_some_and(|o| {
            let url = || has_references(value) || url_has_secrets(value);
            o.secret || (o.kind == OptionKind::Url && url())
        });
        if hide { STARS.to_string() } else { value.to_string() }
    };
    options.iter().map(|(n, v)| (n.clone(), value(n, v))).collect()
}

/// What must not stand in the errors of a connector.
#[derive(Clone, Debug, Default)]
pub struct Scrub(Vec<Secret>);

impl Scrub {
    /// The value of a secret option with all parts of it that could stand alone.
    pub(crate) fn add(&mut self, value: &str) {
        let items = value.replace("\\,", "\u{0}");
        let items = items.split(',').map(|i| i.replace('\u{0}', ",").trim().to_string());
        let mut all: Vec<String> = vec![value.to_string()];
        for item in items {
            let content = item.split_once(':').map_or("", |(_, content)| content).trim();
            all.extend(content.split_whitespace().map(str::to_string));
            all.extend([content.to_string(), item]);
        }
        all.retain(|s| s.len() >= SCRUBBED_MIN);
        self.0.extend(all.into_iter().map(Secret::new));
        // A part must not break the whole before that is looked for.
        self.0.sort_by_key(|s| std::cmp::Reverse(s.expose().len()));
    }

    pub(crate) fn add_url(&mut self, url: &str) {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let user = rest.split(['/', '?']).next().and_then(|a| a.rsplit_once('@')).map(|(u, _)| u);
        let query = rest.split_once('?').map(|(_, query)| query);
        let pairs = query.into_iter().flat_map(|q| q.split('&'));
        let values = pairs.filter_map(|p| p.split_once('=')).map(|(_, value)| value);
        let password = user.and_then(|u| u.split_once(':')).map(|(_, password)| password);
        for part in user.into_iter().chain(query).chain(values).chain(password) {
            self.add(part);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The error with stars for every secret.
    pub fn error(&self, e: Error) -> Error {
        let clean = |text: &str| {
            let mut text = text.to_string();
            for secret in &self.0 {
                text = text.replace(secret.expose(), STARS);
            }
            text
        };
        e.map_text(clean)
    }
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
