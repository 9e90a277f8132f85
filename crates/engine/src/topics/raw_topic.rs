//! Topics that take any bytes, as Kafka clients make them.

use common::Result;

/// A topic that takes any bytes (`format = 'raw'`).
pub struct RawTopic {
    pub name: String,
    pub partitions: u32,
    /// Further options of CREATE TOPIC.
    pub options: Vec<(String, String)>,
}

impl RawTopic {
    /// Whether such a topic can be made; not whether there is one of its name.
    pub fn check(&self) -> Result<()> {
        let text = sql::Text { file: None, text: self.statement().into() };
        sql::parse(&text).map(|_| ()).map_err(crate::define::texts::first)
    }

    pub fn statement(&self) -> String {
        let quote = |value: &str| value.replace('\'', "''");
        let options = self.options.iter().map(|(k, v)| format!(", {k} = '{}'", quote(v)));
        format!(
            "CREATE TOPIC {} (value BINARY) WITH (format = 'raw', partitions = {}{})",
            quoted(&self.name),
            self.partitions,
            options.collect::<String>()
        )
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
