//! A text that must not be shown: it has no `Display`, and `Debug` says only what it is. Whoever
//! needs the text itself says so with `expose`, which is easy to look for.

use std::fmt;

/// A password or token.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A URL with stars for its user's password and for the values of its query; other texts as they
/// are.
pub fn shown_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_string() };
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let at = address.find('/').unwrap_or(address.len());
    let (authority, path) = address.split_at(at);
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => authority.to_string(),
    };
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, _)) => format!("{name}=***"),
        None => "***".to_string(),
    };
    let pairs: Vec<_> = query.split('&').filter(|p| !p.is_empty()).map(pair).collect();
    let mark = if pairs.is_empty() { "" } else { "?" };
    format!("{scheme}://{authority}{path}{mark}{}", pairs.join("&"))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_is_secret() {
        for (url, shown) in [
            (
                "kafka://a:1,b:2?sasl.password=x&linger.ms=3",
                "kafka://a:1,b:2?sasl.password=***&linger.ms=***",
            ),
            ("http://me:x@host/p", "http://***@host/p"),
            ("http://host", "http://host"),
            ("file:data/log", "file:data/log"),
        ] {
            assert_eq!(shown_url(url), shown);
        }
    }

    #[test]
    fn is_not_shown() {
        let secret = Secret::new("pencil");
        assert_eq!(format!("{secret:?}"), "Secret");
        assert_eq!(secret.expose(), "pencil");
    }
}
