//! A user's project folder: `watershed.toml`, `sql/`, `dashboards/`, `tests/`. Reading only; what
//! it means is decided in `apply.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::error::Place;
use common::{Config, Error, Result};
use connectors::kafka;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the copy of an external log is.
const COPY_DIR: &str = "data/log";

/// A project folder with its settings.
#[derive(Clone, Debug)]
pub struct Project {
    pub dir: PathBuf,
    pub config: Config,
}

/// A page of charts, from `dashboards/<name>.toml`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dashboard {
    #[serde(default)]
    pub name: String,
    pub title: String,
    #[serde(default, rename(deserialize = "panel"), alias = "panels")]
    pub panels: Vec<Panel>,
}

/// A chart or table of a dashboard.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Panel {
    pub title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    #[serde(default = "line")]
    #[schemars(extend("enum" = CHARTS))]
    pub chart: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    /// Rows of the view that belong to this panel: column = value.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<std::collections::BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default = "yes")]
    pub live: bool,
}

/// Kinds of charts.
const CHARTS: [&str; 4] = ["line", "bar", "number", "table"];

impl Dashboard {
    /// What is wrong beyond its grammar.
    fn faults(&self, path: &Path, shown: &str) -> Vec<Error> {
        let text: Arc<str> = fs::read_to_string(path).unwrap_or_default().into();
        let at = |e: Error, word: &str| {
            let start = text.find(&format!("\"{word}\"")).unwrap_or_default();
            let span = start..(start + word.len() + 2).min(text.len());
            e.at(Place { file: Some(shown.into()), text: text.clone(), span })
        };
        let mut faults = vec![];
        for panel in &self.panels {
            if !CHARTS.contains(&panel.chart.as_str()) {
                faults.push(at(Error::unknown("chart", &panel.chart, CHARTS), &panel.chart));
            }
            if panel.view.is_some() == panel.query.is_some() {
                let e = Error::invalid(format!("panel '{}' has no single source", panel.title))
                    .hint("give it a view or a query");
                faults.push(at(e, &panel.title));
            }
        }
        faults
    }
}

fn line() -> String {
    "line".into()
}

fn yes() -> bool {
    true
}

impl Project {
    /// Reads `watershed.toml` (it may be missing), the environment and the flags; all faults at
    /// once.
    pub fn load(dir: &Path, flags: &[(&str, String)]) -> Result<Project, Vec<Error>> {
        if !dir.is_dir() {
            let e = Error::not_found(format!("there is no folder '{}'", dir.display()))
                .hint("make a project with: watershed new DIR");
            return Err(vec![e]);
        }
        let path = dir.join("watershed.toml");
        let text = match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(vec![Error::io(format!("reading '{}'", path.display()), e)]),
        };
        let file = text.as_deref().map(|t| ("watershed.toml", t));
        let config = Config::load(file, std::env::vars(), flags)?;
        let project = Project { dir: dir.to_path_buf(), config };
        let unsupported = project.unsupported_stages();
        if unsupported.is_empty() { Ok(project) } else { Err(unsupported) }
    }

    fn unsupported_stages(&self) -> Vec<Error> {
        let c = &self.config;
        let mut faults = vec![];
        for (key, value) in
            [("log", &c.log), ("lake", &c.lake), ("views", &c.views), ("catalog", &c.catalog)]
        {
            if key == "log" && value.starts_with(kafka::SCHEME) {
                faults.extend(kafka::Cluster::parse(value).err());
            } else if !value.starts_with("file:") {
                let e = Error::unsupported(format!("{key} = \"{value}\" is not supported yet"));
                faults.push(e.hint(format!("use {key} = \"file:data/{key}\"")));
            }
        }
        if c.engine != "local" {
            let e = Error::unsupported(format!("engine = \"{}\" is not supported yet", c.engine));
            faults.push(e.hint("use engine = \"local\""));
        }
        if !is_loopback(&c.host) {
            let e = Error::denied(format!("host = \"{}\" would open the doors to others", c.host));
            faults.push(e.hint("only loopback is allowed until accounts and TLS exist"));
        }
        faults.extend(self.kafka_door_open_to_all());
        faults
    }

    /// The Kafka door has logins and TLS of its own, so it may listen elsewhere, with both.
    fn kafka_door_open_to_all(&self) -> Option<Error> {
        let c = &self.config;
        let host = c.kafka_host();
        let is_tls = !c.kafka_tls_certificate.is_empty();
        let knows_clients = !c.kafka_sasl.is_empty() || !c.kafka_tls_client_ca.is_empty();
        if c.kafka_insecure || is_loopback(host) || (is_tls && knows_clients) {
            return None;
        }
        let e = Error::denied(format!("kafka.host = \"{host}\" would open the door to everybody"));
        Some(e.hint(
            "set kafka.tls.certificate, kafka.tls.key and kafka.sasl, or kafka.insecure = true",
        ))
    }

    /// Whether the log is a copy of one in another system.
    pub fn has_external_log(&self) -> bool {
        self.config.log.starts_with(kafka::SCHEME)
    }

    /// The log's folder, or that of its copy.
    pub fn log_dir(&self) -> PathBuf {
        self.path(if self.has_external_log() { COPY_DIR } else { &self.config.log })
    }

    /// The folder behind a `file:` setting.
    pub fn path(&self, setting: &str) -> PathBuf {
        self.dir.join(setting.strip_prefix("file:").unwrap_or(setting))
    }

    /// Name shown to people: the folder's.
    pub fn name(&self) -> String {
        let full = self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone());
        full.file_name().map_or_else(|| "project".into(), |n| n.to_string_lossy().into_owned())
    }

    /// All `sql/**/*.sql` files, by name.
    pub fn sql_texts(&self) -> Result<Vec<sql::Text>> {
        let mut texts = vec![];
        for path in files(&self.dir.join("sql"), "sql")? {
            let bytes = fs::read(&path)
                .map_err(|e| Error::io(format!("reading '{}'", path.display()), e))?;
            let file = self.relative(&path);
            let text = String::from_utf8(bytes).map_err(|e| {
                let at = e.utf8_error().valid_up_to();
                Error::invalid(format!("'{file}' is not UTF-8 text at byte {at}"))
                    .hint("save the file as UTF-8")
            })?;
            texts.push(sql::Text { file: Some(file), text: text.into() });
        }
        Ok(texts)
    }

    /// All `dashboards/*.toml` files, by name.
    pub fn dashboards(&self) -> Result<Vec<Dashboard>, Vec<Error>> {
        let mut dashboards = vec![];
        let mut faults = vec![];
        for path in files(&self.dir.join("dashboards"), "toml").map_err(|e| vec![e])? {
            match read_toml::<Dashboard>(&path, &self.relative(&path)) {
                Ok(mut d) => {
                    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned());
                    d.name = stem.unwrap_or_default();
                    faults.extend(d.faults(&path, &self.relative(&path)));
                    dashboards.push(d);
                }
                Err(e) => faults.push(e),
            }
        }
        if faults.is_empty() { Ok(dashboards) } else { Err(faults) }
    }

    /// A path as the user knows it.
    pub fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.dir).unwrap_or(path).to_string_lossy().into_owned()
    }
}

/// Files below `dir` with an extension, sorted by path; none when the folder is missing.
pub(crate) fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = vec![];
    let mut pending = vec![dir.to_path_buf()];
    while let Some(dir) = pending.pop() {
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io(format!("reading '{}'", dir.display()), e)),
        };
        for entry in entries {
            let path = entry.map_err(|e| Error::io("reading a folder", e))?.path();
            let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
            if hidden {
                continue;
            } else if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a TOML file into a type, with the place of a fault.
pub(crate) fn read_toml<T: serde::de::DeserializeOwned>(path: &Path, shown: &str) -> Result<T> {
    let text = fs::read_to_string(path).map_err(|e| Error::io(format!("reading '{shown}'"), e))?;
    toml::from_str(&text).map_err(|e| {
        let span = e.span().unwrap_or(0..0);
        let text: Arc<str> = text.as_str().into();
        Error::syntax(e.message().to_lowercase()).at(Place { file: Some(shown.into()), text, span })
    })
}

fn is_loopback(host: &str) -> bool {
    ["127.0.0.1", "::1", "localhost"].contains(&host)
}
