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

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_not_shown() {
        let secret = Secret::new("pencil");
        assert_eq!(format!("{secret:?}"), "Secret");
        assert_eq!(secret.expose(), "pencil");
    }
}
