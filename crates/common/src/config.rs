//! The configuration tree: each key is defined once, here, with its doc, default and unit.
//! Order: default < `watershed.toml` < environment (`WATERSHED_HTTP_PORT`) < flag. Unknown keys
//! and bad values stop the start, all of them listed at once with file, line and column.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Place, Result};
use crate::units::{parse_bytes, parse_duration_us};

/// A type that a configuration value can have.
trait Value: Sized {
    fn parse(text: &str) -> Result<Self>;
    fn show(&self) -> String;
}

/// A size in bytes, written `64 MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// A duration in microseconds, written `5 seconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationUs(pub i64);

impl DurationUs {
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0.max(0) as u64)
    }
}

impl Value for String {
    fn parse(text: &str) -> Result<Self> {
        Ok(text.to_string())
    }
    /// Without a password in a URL.
    fn show(&self) -> String {
        format!("\"{}\"", crate::secret::shown_url(self))
    }
}

impl Value for u16 {
    fn parse(text: &str) -> Result<Self> {
        text.parse().map_err(|_| Error::invalid(format!("'{text}' is not a number up to 65535")))
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    fn parse(text: &str) -> Result<Self> {
        text.parse().map_err(|_| Error::invalid(format!("'{text}' is not a whole number")))
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// Names, written `["one", "two"]` or, where there is no TOML, `one,two`.
impl Value for Vec<String> {
    fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        let bare = |name: &str| name.trim().trim_matches(['"', '\'']).to_string();
        Ok(inner.split(',').map(bare).filter(|name| !name.is_empty()).collect())
    }
    fn show(&self) -> String {
        let quoted: Vec<String> = self.iter().map(|name| format!("\"{name}\"")).collect();
        format!("[{}]", quoted.join(", "))
    }
}

impl Value for bool {
    fn parse(text: &str) -> Result<Self> {
        text.parse().map_err(|_| Error::invalid(format!("'{text}' is neither true nor false")))
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// What readers of a view that has stopped get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoppedViews {
    Error,
    Rows,
}

impl Value for StoppedViews {
    fn parse(text: &str) -> Result<Self> {
        match text {
            "error" => Ok(StoppedViews::Error),
            "rows" => Ok(StoppedViews::Rows),
            other => Err(Error::invalid(format!("'{other}' is neither error nor rows"))),
        }
    }
    fn show(&self) -> String {
        match self {
            StoppedViews::Error => "\"error\"".into(),
            StoppedViews::Rows => "\"rows\"".into(),
        }
    }
}

impl Value for Bytes {
    fn parse(text: &str) -> Result<Self> {
        parse_bytes(text).map(Bytes)
    }
    fn show(&self) -> String {
        match self.0 {
            n if n >= 1 << 20 && n % (1 << 20) == 0 => format!("\"{} MiB\"", n >> 20),
            n if n >= 1 << 10 && n % (1 << 10) == 0 => format!("\"{} KiB\"", n >> 10),
            n => n.to_string(),
        }
    }
}

impl Value for DurationUs {
    fn parse(text: &str) -> Result<Self> {
        parse_duration_us(text).map(DurationUs)
    }
    fn show(&self) -> String {
        match self.0 {
            n if n % 86_400_000_000 == 0 && n > 0 => format!("\"{} days\"", n / 86_400_000_000),
            n if n % 60_000_000 == 0 && n > 0 => format!("\"{} minutes\"", n / 60_000_000),
            n if n % 1_000_000 == 0 => format!("\"{} s\"", n / 1_000_000),
            n => format!("\"{} ms\"", n / 1_000),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(String),
    Environment(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(place) => f.write_str(place),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A key as `config show` prints it.
#[derive(Clone, Debug)]
pub struct Shown {
    pub key: &'static str,
    pub value: String,
    pub origin: Origin,
    pub doc: &'static str,
}

macro_rules! config {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:literal, $key:literal;)*) => {
        /// All settings of a process.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $field: $type,)*
            origins: BTreeMap<&'static str, Origin>,
        }

        impl Config {
            /// Every key, in the order of the reference page.
            pub const KEYS: &'static [&'static str] = &[$($key),*];

            fn defaults() -> Result<Self> {
                Ok(Self {
                    $($field: <$type as Value>::parse($default)?,)*
                    origins: BTreeMap::new(),
                })
            }

            /// Sets one key from text.
            pub fn set(&mut self, key: &str, text: &str, origin: Origin) -> Result<()> {
                match key {
                    $($key => {
                        self.$field = <$type as Value>::parse(text)
                            .map_err(|e| e.context(format!("'{key}'")))?;
                        self.origins.insert($key, origin);
                    })*
                    _ => return Err(Error::unknown("key", key, Self::KEYS.iter().copied())),
                }
                Ok(())
            }

            /// Every key with value, origin and doc.
            pub fn show(&self) -> Vec<Shown> {
                vec![$(Shown {
                    key: $key,
                    value: Value::show(&self.$field),
                    origin: self.origins.get($key).cloned().unwrap_or(Origin::Default),
                    doc: concat!($($doc),+).trim_ascii(),
                }),*]
            }
        }
    };
}

config! {
    /// The buffer: a folder in the project, or a real Kafka, `kafka://broker:9092`.
    log: String = "file:data/log", "log";
    /// Where topics are archived: a folder, `s3://bucket/path` or `hdfs://…` (not yet).
    lake: String = "file:data/lake", "lake";
    /// Where view rows and state live: a folder, `redis://…`, `cassandra://…` (not yet).
    views: String = "file:data/views", "views";
    /// Who runs SQL: `local`, or `sc://spark:15002` (not yet).
    engine: String = "local", "engine";
    /// Names and definitions: a file, or `postgres://…` (not yet).
    catalog: String = "file:data/catalog.json", "catalog";
    /// Folders, seen from the project's, in which statements typed at run time may read and write.
    /// Never in `data`, `sql`, `tests`, `dashboards` and `watershed.toml`. Definitions in the
    /// project's files may use all others, too.
    files_allowed: Vec<String> = ".", "files.allowed";
    /// Hosts (`host`, `host:port` or `*`) that statements typed at run time may reach although
    /// their addresses are not public; of Kafka clusters every broker must be listed. Definitions
    /// in the project's files may reach all.
    http_allowed: Vec<String> = "", "http.allowed";
    /// References (`env:NAME`, `secret:name` or `*`) that statements typed at run time may use in
    /// their options. Those of definitions in the project's files need no permission.
    secrets_allowed: Vec<String> = "", "secrets.allowed";
    /// Address the doors listen on. Only loopback until accounts exist.
    host: String = "127.0.0.1", "host";
    /// REST, console and ingest.
    http_port: u16 = "4680", "http.port";
    /// Largest request body, before and after decompression.
    http_body_bytes_max: Bytes = "64 MiB", "http.body_bytes_max";
    /// Largest single event.
    event_bytes_max: Bytes = "1 MiB", "http.event_bytes_max";
    /// Requests served at once; more get 503 with Retry-After. One whose body is still on its way
    /// does not count.
    http_requests_max: u32 = "256", "http.requests_max";
    /// HTTP connections at once; more are told to come back (503) and closed.
    http_connections_max: u32 = "4096", "http.connections_max";
    /// Within this time the head of a request must be there, from first byte to last.
    http_head_timeout: DurationUs = "10 s", "http.head_timeout";
    /// Largest head of a request; at least 8 KiB.
    http_head_bytes_max: Bytes = "64 KiB", "http.head_bytes_max";
    /// A connection on which nothing happens for so long is closed.
    http_idle_timeout: DurationUs = "1 minute", "http.idle_timeout";
    /// Request bodies may be slower than `http.body_rate_min` for this long.
    http_body_grace: DurationUs = "10 s", "http.body_grace";
    /// Bytes of a request body that must come each second on average, as they are sent; 0: none.
    http_body_rate_min: Bytes = "16 KiB", "http.body_rate_min";
    /// A client that takes nothing of its answer for so long is cut off; and one that needs so much
    /// longer for a large answer than `http.answer_rate_min` allows.
    http_write_timeout: DurationUs = "30 s", "http.write_timeout";
    /// Bytes of a large answer that must be taken each second on average; 0: none.
    http_answer_rate_min: Bytes = "16 KiB", "http.answer_rate_min";
    /// Memory for the answers that HTTP clients have not taken yet; more large ones get 503.
    http_answers_bytes_max: Bytes = "256 MiB", "http.answers_bytes_max";
    /// Postgres wire protocol; 0 switches it off.
    pg_port: u16 = "4681", "pg.port";
    /// Postgres connections at once; more are told so and closed.
    pg_connections_max: u32 = "1000", "pg.connections_max";
    /// Within this time a Postgres client must have said who it is.
    pg_startup_timeout: DurationUs = "10 s", "pg.startup_timeout";
    /// Within this time a message of a Postgres client must be there, from first byte to last.
    pg_message_timeout: DurationUs = "1 minute", "pg.message_timeout";
    /// Largest message of a Postgres client: a statement, or the values of one.
    pg_message_bytes_max: Bytes = "16 MiB", "pg.message_bytes_max";
    /// Memory for the messages of all Postgres clients together.
    pg_messages_bytes_max: Bytes = "128 MiB", "pg.messages_bytes_max";
    /// Kafka protocol; 0 switches it off.
    kafka_port: u16 = "4682", "kafka.port";
    /// Address of the Kafka door; empty: `host`. Others than loopback need TLS, and SASL or client
    /// certificates.
    kafka_host: String = "", "kafka.host";
    /// Open the Kafka door to others without that.
    kafka_insecure: bool = "false", "kafka.insecure";
    /// `host:port` that Kafka clients are told to connect to; empty: the one they came through.
    kafka_advertised: String = "", "kafka.advertised";
    /// SASL mechanisms: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER. With any of them every
    /// Kafka client must log in. PLAIN and OAUTHBEARER are for TLS and loopback only.
    kafka_sasl: Vec<String> = "", "kafka.sasl";
    /// After so long a client must log in again (connections.max.reauth.ms); 0: never.
    kafka_session_lifetime: DurationUs = "0 s", "kafka.session_lifetime";
    /// PEM file with the certificate of the Kafka door and those it is signed by; with it the door
    /// speaks TLS only. A changed file is used from then on.
    kafka_tls_certificate: String = "", "kafka.tls.certificate";
    /// PEM file with the certificate's private key.
    kafka_tls_key: String = "", "kafka.tls.key";
    /// PEM file with the authorities whose certificates every Kafka client must have one of.
    kafka_tls_client_ca: String = "", "kafka.tls.client_ca";
    /// JWKS file (RFC 7517) with the keys that tokens for OAUTHBEARER are signed with.
    kafka_oauth_jwks: String = "", "kafka.oauth.jwks";
    /// Who must have made a token (`iss`).
    kafka_oauth_issuer: String = "", "kafka.oauth.issuer";
    /// For whom a token must be (`aud`).
    kafka_oauth_audience: String = "", "kafka.oauth.audience";
    /// Signatures that are accepted (RFC 7518, section 3.1).
    kafka_oauth_algorithms: Vec<String> = "RS256", "kafka.oauth.algorithms";
    /// Claim of a token that is the name of the user.
    kafka_oauth_claim: String = "sub", "kafka.oauth.claim";
    /// Kafka connections at once; more are closed.
    kafka_connections_max: u32 = "4096", "kafka.connections_max";
    /// Largest request of a Kafka client.
    kafka_request_bytes_max: Bytes = "100 MiB", "kafka.request_bytes_max";
    /// Memory for the records that Kafka clients have not taken yet. When it is short, answers to
    /// Fetch get smaller, and wait.
    kafka_answers_bytes_max: Bytes = "256 MiB", "kafka.answers_bytes_max";
    /// A Kafka client that takes nothing of its answers for so long is cut off.
    kafka_write_timeout: DurationUs = "30 s", "kafka.write_timeout";
    /// A topic that a Kafka client asks for and that is not there is made, with format 'raw'.
    kafka_auto_create_topics: bool = "true", "kafka.auto_create_topics";
    /// Partitions of a topic made so.
    kafka_partitions: u32 = "1", "kafka.partitions";
    /// Topics there may be; more are refused.
    topics_max: u32 = "10000", "topics_max";
    /// Appends gathered for at most this long before one sync to disk.
    log_commit_interval: DurationUs = "2 ms", "log.commit_interval";
    /// A segment is closed at this size.
    log_segment_bytes_max: Bytes = "256 MiB", "log.segment_bytes_max";
    /// Memory for rows of recent record batches as columns: views and the archive then need not
    /// decode again what was checked on the way in; 0: none is kept.
    row_cache_bytes: Bytes = "64 MiB", "log.row_cache_bytes";
    /// How often retention by age and size is applied.
    log_retention_interval: DurationUs = "1 minute", "log.retention_interval";
    /// Shortest time between two commits of a pipeline.
    epoch_interval_min: DurationUs = "50 ms", "stream.epoch_interval_min";
    /// Memory that the state of all views together may take, and never more than half of
    /// memory.max; a view that passes it stops.
    state_bytes_max: Bytes = "4096 MiB", "stream.state_bytes_max";
    /// Longest time between two commits of a pipeline under load.
    epoch_interval_max: DurationUs = "1 s", "stream.epoch_interval_max";
    /// A caught-up partition without new events for this long does not hold back the watermark.
    idle_timeout: DurationUs = "5 s", "stream.idle_timeout";
    /// Events further in the future than this go to the dead letters.
    future_max: DurationUs = "5 minutes", "stream.future_max";
    /// Longest time until an event is in the archive.
    archive_interval: DurationUs = "1 minute", "lake.archive_interval";
    /// Archive at once when this much is waiting.
    archive_bytes: Bytes = "32 MiB", "lake.archive_bytes";
    /// Memory of the process; 0: 70 % of the machine's. When it is passed, the queries that run are
    /// ended, the newest first.
    memory_max: Bytes = "0", "memory.max";
    /// Memory for all queries together, and never more than half of memory.max.
    query_memory_max: Bytes = "2048 MiB", "query.memory_max";
    /// A query that runs longer is cancelled.
    query_timeout: DurationUs = "5 minutes", "query.timeout";
    /// What readers of a view that has stopped get: `error`, or `rows`, its last ones (REST says
    /// beside them why it stopped).
    query_stopped_views: StoppedViews = "error", "query.stopped_views";
    /// Rows that REST and the console return at most.
    query_rows_max: u32 = "100000", "query.rows_max";
    /// Bytes of the rows that an answer of REST has at most; the rest is omitted, and it says so.
    query_answer_bytes_max: Bytes = "64 MiB", "query.answer_bytes_max";
    /// How long dead letters are kept.
    dead_letters_retention: DurationUs = "30 days", "dead_letters.retention";
    /// Dead letters kept of one request; more refused records are only counted.
    dead_letters_request_rows_max: u32 = "10000", "dead_letters.request_rows_max";
    /// Of more dead letters the oldest are removed.
    dead_letters_rows_max: u32 = "1000000", "dead_letters.rows_max";
}

/// Keys that are a place and the name of a table, too.
const STAGES: [&str; 5] = ["log", "lake", "views", "engine", "catalog"];

impl Config {
    /// Defaults, then the file's text, then the environment, then flags. All faults at once.
    pub fn load(
        file: Option<(&str, &str)>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Self, Vec<Error>> {
        let mut config = Self::defaults().map_err(|e| vec![e])?;
        let mut faults = vec![];
        if let Some((name, text)) = file {
            config.read_file(name, text, &mut faults);
        }
        config.read_environment(environment, &mut faults);
        for (key, value) in flags {
            let origin = Origin::Flag(match key.strip_suffix(".port") {
                Some(door) => format!("--{door}-port"),
                None => format!("--set {key}"),
            });
            faults.extend(config.set(key, value, origin).err());
        }
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    /// Address of the Kafka door.
    pub fn kafka_host(&self) -> &str {
        if self.kafka_host.is_empty() { &self.host } else { &self.kafka_host }
    }

    fn read_file(&mut self, name: &str, text: &str, faults: &mut Vec<Error>) {
        let shared: Arc<str> = text.into();
        let place = |span| Place { file: Some(name.into()), text: shared.clone(), span };
        let table = match toml::de::DeTable::parse(text) {
            Ok(table) => table,
            Err(e) => {
                let error = Error::syntax(e.message().to_lowercase());
                let span = e.span().unwrap_or(0..0);
                let at = text.get(span.clone()).unwrap_or_default().trim_matches(['[', ']', ' ']);
                let error = match STAGES.contains(&at) && e.message().contains("duplicate") {
                    true => error.hint(format!(
                        "beside a table [{at}] its place is a key of the table: location = \"…\""
                    )),
                    false => error,
                };
                faults.push(error.at(place(span)));
                return;
            }
        };
        let mut pending = vec![(String::new(), table.get_ref())];
        while let Some((prefix, table)) = pending.pop() {
            for (name_in_table, value) in table {
                let key = format!("{prefix}{}", name_in_table.get_ref());
                let text = match value.get_ref() {
                    toml::de::DeValue::Table(inner) => {
                        pending.push((format!("{key}."), inner));
                        continue;
                    }
                    toml::de::DeValue::String(s) => s.to_string(),
                    _ => text[value.span()].to_string(),
                };
                // A table takes the name's place: [log] with location is log.
                let stage = key.strip_suffix(".location").filter(|k| STAGES.contains(k));
                let key = stage.map_or(key.clone(), str::to_string);
                let at = place(name_in_table.span());
                let line = at.line_column().0;
                let known = Self::KEYS.contains(&key.as_str());
                let span = if known { value.span() } else { name_in_table.span() };
                let set = self.set(&key, &text, Origin::File(format!("{name}:{line}")));
                faults.extend(set.err().map(|e| e.at(place(span))));
            }
        }
        faults.sort_by_key(|e| e.place().map(|p| p.span.start));
    }

    fn read_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
        faults: &mut Vec<Error>,
    ) {
        let by_name: BTreeMap<String, &str> = Self::KEYS
            .iter()
            .map(|k| (format!("WATERSHED_{}", k.replace('.', "_").to_uppercase()), *k))
            .collect();
        for (name, value) in environment {
            if let Some(key) = by_name.get(&name) {
                let set = self.set(key, &value, Origin::Environment(name.clone()));
                faults.extend(set.err().map(|e| e.context(format!("environment {name}"))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn later_origins_win_and_are_named() {
        let file = "log = \"file:elsewhere\"\n[http]\nport = 5000\nbody_bytes_max = \"1 MiB\"\n";
        let env = [("WATERSHED_HTTP_PORT".to_string(), "5001".to_string())];
        let config =
            Config::load(Some(("watershed.toml", file)), env, &[("pg.port", "0".into())]).unwrap();
        assert_eq!((config.http_port, config.pg_port), (5001, 0));
        assert_eq!(config.http_body_bytes_max, Bytes(1 << 20));
        let shown = |key| config.show().into_iter().find(|s| s.key == key).unwrap();
        assert_eq!(shown("log").origin.to_string(), "watershed.toml:1");
        assert_eq!(shown("http.port").origin.to_string(), "environment WATERSHED_HTTP_PORT");
        assert_eq!(shown("pg.port").origin.to_string(), "flag --pg-port");
        assert_eq!(shown("lake").origin.to_string(), "default");
    }

    #[test]
    fn names_come_as_toml_or_with_commas() {
        let file = "[kafka]\nsasl = [ \"PLAIN\", 'SCRAM-SHA-256' ]\n";
        let config = Config::load(Some(("w.toml", file)), [], &[]).unwrap();
        assert_eq!(config.kafka_sasl, ["PLAIN", "SCRAM-SHA-256"]);
        let config = Config::load(None, [], &[("kafka.sasl", "A, B".into())]).unwrap();
        assert_eq!(config.kafka_sasl, ["A", "B"]);
        let shown = config.show().into_iter().find(|s| s.key == "kafka.sasl").unwrap();
        assert_eq!(shown.value, "[\"A\", \"B\"]");
        assert!(Config::load(None, [], &[]).unwrap().kafka_sasl.is_empty());
    }

    #[test]
    fn a_stage_is_a_text_or_a_table() {
        let file = "[log]\nlocation = \"file:elsewhere\"\ncommit_interval = \"5 ms\"\n";
        let config = Config::load(Some(("w.toml", file)), [], &[]).unwrap();
        assert_eq!((config.log.as_str(), config.log_commit_interval.0), ("file:elsewhere", 5_000));
        let file = "lake = \"file:x\"\n\n[lake]\narchive_interval = \"5 s\"\n";
        let faults = Config::load(Some(("w.toml", file)), [], &[]).unwrap_err();
        let hint = faults[0].hint_text().unwrap_or_default();
        assert!(hint.contains("location"), "{} {hint}", faults[0]);
        assert!(Config::load(Some(("w.toml", "[http]\nlocation = 1\n")), [], &[]).is_err());
    }

    #[test]
    fn lists_all_faults_at_once() {
        let file = "logg = \"x\"\n[http]\nport = 700000\nspeed = 1\n";
        let faults = Config::load(Some(("watershed.toml", file)), [], &[]).unwrap_err();
        let texts: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "watershed.toml:1:1: unknown key 'logg' (did you mean 'log'?)",
                "watershed.toml:3:8: 'http.port': '700000' is not a number up to 65535",
                "watershed.toml:4:1: unknown key 'http.speed'",
            ]
        );
        let faults = Config::load(Some(("w.toml", "a = [\n")), [], &[]).unwrap_err();
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].kind(), crate::Kind::Syntax);
    }
}
