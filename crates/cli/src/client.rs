//! HTTP to a running platform. Every failure comes back as problem details, also that nobody
//! answers at all.

use std::time::Duration;

use clap::Args;
use common::{Config, Error};
use reqwest::blocking::{Client, RequestBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::render::Faults;

/// Which platform to talk to.
#[derive(Args, Clone)]
pub struct Target {
    /// Address of the running platform.
    ///
    /// Without it the one of the project in this folder, by its settings: http://127.0.0.1:4680.
    #[arg(long, env = "WATERSHED_URL")]
    url: Option<String>,
}

/// A connection to a platform.
pub struct Platform {
    client: Client,
    base: String,
}

impl Target {
    /// The address as given, or as the settings of the project in this folder have it.
    pub fn url(&self) -> String {
        if let Some(url) = &self.url {
            return url.clone();
        }
        let text = std::fs::read_to_string("watershed.toml").ok();
        let file = text.as_deref().map(|t| ("watershed.toml", t));
        // Faults of the settings are said by those who need all of them.
        let config = Config::load(file, std::env::vars(), &[]).ok();
        let port = config.as_ref().map(|c| c.http_port).filter(|port| *port != 0);
        let host = config.map(|c| c.host).unwrap_or_else(|| "127.0.0.1".into());
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        format!("http://{host}:{}", port.unwrap_or(4680))
    }

    pub fn connect(&self) -> Result<Platform, Faults> {
        let url = self.url();
        let base = url.trim_end_matches('/').to_string();
        let parsed = url::Url::parse(&base).ok();
        if !parsed.is_some_and(|u| ["http", "https"].contains(&u.scheme()) && u.has_host()) {
            return Err(Error::invalid(format!("'{url}' is not an address"))
                .hint("write it as in http://127.0.0.1:4680")
                .into());
        }
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(None)
            .no_proxy()
            .user_agent(concat!("watershed/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Error::internal(format!("making an HTTP client: {e}")))?;
        Ok(Platform { client, base })
    }
}

impl Platform {
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Faults> {
        self.send(self.client.get(format!("{}{path}", self.base)))
    }

    pub fn text(&self, path: &str) -> Result<String, Faults> {
        self.answer(self.client.get(format!("{}{path}", self.base)))
    }

    /// Runs one statement.
    pub fn sql<T: DeserializeOwned>(&self, query: &str) -> Result<T, Faults> {
        let body = serde_json::json!({ "query": query });
        self.send(self.client.post(format!("{}/api/sql", self.base)).json(&body))
    }

    /// Sends a body with headers.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<T, Faults> {
        let mut request = self.client.post(format!("{}{path}", self.base)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request)
    }

    /// Sends a JSON document.
    pub fn post_json<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Faults> {
        self.send(self.client.post(format!("{}{path}", self.base)).json(body))
    }

    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Faults> {
        self.send(self.client.delete(format!("{}{path}", self.base)))
    }

    fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Faults> {
        let text = self.answer(request)?;
        serde_json::from_str(&text).map_err(|e| {
            Error::invalid(format!("the answer of {} does not parse: {e}", self.base))
                .hint("is that a Watershed of this version?")
                .into()
        })
    }

    fn answer(&self, request: RequestBuilder) -> Result<String, Faults> {
        let response = request.send().map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        let text = response.text().map_err(|e| self.unreachable(&e))?;
        if status.is_success() {
            return Ok(text);
        }
        match serde_json::from_str::<Value>(&text) {
            Ok(problem) if problem["detail"].is_string() => Err(Faults::from_problem(problem)),
            _ => Err(Error::internal(format!("{} answered {status}", self.base)).into()),
        }
    }

    fn unreachable(&self, e: &reqwest::Error) -> Faults {
        let error = if e.is_connect() {
            Error::unavailable(format!("no Watershed answers at {}", self.base))
                .hint("start one with 'watershed dev', or name another with --url")
        } else {
            Error::unavailable(format!("the connection to {} broke: {e}", self.base))
        };
        error.into()
    }
}

/// A path segment, encoded.
pub fn segment(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A query string of what is given, with its question mark.
pub fn query(pairs: &[(&str, Option<String>)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    match query.finish() {
        text if text.is_empty() => text,
        text => format!("?{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(segment("a b/ü"), "a%20b%2F%C3%BC");
        assert_eq!(query(&[("limit", Some("5".into())), ("after", None)]), "?limit=5");
        assert_eq!(query(&[("after", None)]), "");
        for bad in ["", "127.0.0.1:4680", "file:///x", "nonsense"] {
            assert!(Target { url: Some(bad.into()) }.connect().is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_answers() {
        let target = Target { url: Some("http://127.0.0.1:1".into()) };
        let fault = target.connect().and_then(|p| p.text("/health")).err();
        assert_eq!(fault.map(|f| f.exit_code()), Some(common::Kind::Unavailable.exit_code()));
    }
}
