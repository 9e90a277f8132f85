//! What a request says in its address: path segments and query parameters, with errors as problem
//! details in place of the framework's plain text.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use common::{Error, Result};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// Path segments, decoded.
pub struct Segments<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Segments(value)),
            Err(e) => Err(Error::invalid(format!("the path does not decode: {e}")).into()),
        }
    }
}

/// Query parameters in the order given.
pub struct Parameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Parameters::parse(parts.uri.query().unwrap_or("")))
    }
}

impl Parameters {
    pub fn parse(query: &str) -> Parameters {
        Parameters(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Takes a parameter out; an empty one counts as not given.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(n, _)| n == name)?;
        Some(self.0.remove(at).1).filter(|v| !v.is_empty())
    }

    /// A whole number, at least 0.
    pub fn number(&mut self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        let bad = |_| Error::invalid(format!("{name}={text} is not a whole number"));
        text.parse().map(Some).map_err(bad)
    }

    /// `limit`, with default and bound.
    pub fn limit(&mut self, default: usize, max: usize) -> Result<usize> {
        match self.number("limit")? {
            None => Ok(default.min(max)),
            Some(0) => Err(Error::invalid("limit=0 asks for nothing").hint("leave it out")),
            Some(n) if n > max as u64 => {
                Err(Error::too_large(format!("limit={n} is more than {max}"))
                    .hint("read page by page: give 'next' of the answer as 'after'"))
            }
            Some(n) => Ok(n as usize),
        }
    }

    /// All that were not taken.
    pub fn rest(self) -> Vec<(String, String)> {
        self.0
    }

    /// Refuses what was not taken.
    pub fn finish(self, known: &[&str]) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(unknown(name, known)),
        }
    }
}

fn unknown(name: &str, known: &[&str]) -> Error {
    let e = Error::invalid(format!("unknown parameter '{name}'"));
    match common::nearest(name, known.iter().copied()) {
        Some(near) => e.hint(format!("did you mean '{near}'?")),
        None if known.is_empty() => e,
        None => e.hint(format!("known are: {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn takes_and_refuses() {
        let mut p = Parameters::parse("limit=5&w.start=2026-01-01T00%3A00%3A00Z&x=");
        assert_eq!(p.limit(100, 1_000).unwrap(), 5);
        assert_eq!(p.take("x"), None);
        assert_eq!(p.rest(), [("w.start".to_string(), "2026-01-01T00:00:00Z".to_string())]);
        assert!(Parameters::parse("limit=0").limit(1, 2).is_err());
        assert!(Parameters::parse("limit=three").limit(1, 2).is_err());
        assert_eq!(
            Parameters::parse("limit=9").limit(1, 2).unwrap_err().kind(),
            common::Kind::TooLarge
        );
        let e = Parameters::parse("limmit=9").finish(&["limit", "after"]).unwrap_err();
        assert!(e.to_string().contains("'limit'"), "{e}");
    }
}
