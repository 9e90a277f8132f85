//! What a bearer token is worth: a JWT (RFC 7519) signed with one of the configured keys, of the
//! configured issuer, for the configured audience, not expired. Only configured algorithms count,
//! never what a token says of itself; symmetric keys and `none` cannot be configured.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Config, Error, Result, Secret};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::super::security::watched::{Watched, read};

const JWKS: &str = "kafka.oauth.jwks";
const ALGORITHMS: &str = "kafka.oauth.algorithms";
/// Clocks of issuers may be ahead by so much: for "not before" only.
const LEEWAY_SECONDS: u64 = 30;
/// Longest name of a user in a token, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Algorithms that can be configured: signatures with a public key.
const KNOWN: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// Who a token is of, and how long.
#[derive(Debug, PartialEq)]
pub struct Bearer {
    pub name: String,
    pub expires_in: Duration,
}

struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

/// Keys and rules.
pub struct Tokens {
    path: PathBuf,
    watched: Watched,
    keys: RwLock<Arc<Vec<Key>>>,
    algorithms: Vec<Algorithm>,
    issuer: String,
    audience: String,
    claim: String,
}

impl Tokens {
    pub fn open(config: &Config, dir: &Path) -> Result<Tokens> {
        let text = |key: &str, value: &String| match value.is_empty() {
            true => Err(Error::invalid(format!("'{key}' is missing"))
                .hint("OAUTHBEARER needs kafka.oauth.jwks, .issuer and .audience")),
            false => Ok(value.clone()),
        };
        let path = dir.join(text(JWKS, &config.kafka_oauth_jwks)?);
        let one = |name: &String| {
            let known = KNOWN.contains(&name.as_str()).then(|| name.parse::<Algorithm>().ok());
            let unknown =
                || Error::unknown("value", name, KNOWN).context(format!("'{ALGORITHMS}'"));
            known.flatten().ok_or_else(unknown)
        };
        let algorithms: Vec<_> =
            config.kafka_oauth_algorithms.iter().map(one).collect::<Result<_>>()?;
        if algorithms.is_empty() {
            return Err(Error::invalid(format!("'{ALGORITHMS}' is empty")));
        }
        Ok(Tokens {
            watched: Watched::new(vec![path.clone()]),
            keys: RwLock::new(Arc::new(load(&path)?)),
            path,
            algorithms,
            issuer: text("kafka.oauth.issuer", &config.kafka_oauth_issuer)?,
            audience: text("kafka.oauth.audience", &config.kafka_oauth_audience)?,
            claim: text("kafka.oauth.claim", &config.kafka_oauth_claim)?,
        })
    }

    /// Reads the keys again when the file changed.
    pub fn look(&self) {
        if !self.watched.changed() {
            return;
        }
        match load(&self.path) {
            Ok(keys) => {
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                tracing::info!("the keys for tokens were read again");
            }
            Err(e) => tracing::warn!("the keys for tokens stay as they were: {e}"),
        }
    }

    /// None of a token that is not accepted; why is said to nobody.
    pub fn check(&self, token: &Secret) -> Option<Bearer> {
        let header = decode_header(token.expose()).ok()?;
        let algorithm = *self.algorithms.iter().find(|a| **a == header.alg)?;
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let fits = |key: &&Key| {
            (header.kid.is_none() || key.id == header.kid)
                && key.algorithm.is_none_or(|a| a == algorithm)
        };
        let claims = keys.iter().filter(fits).find_map(|key| {
            decode::<Map<String, Value>>(token.expose(), &key.key, &validation).ok()
        })?;
        self.bearer(&claims.claims)
    }

    fn bearer(&self, claims: &Map<String, Value>) -> Option<Bearer> {
        let name = claims.get(&self.claim)?.as_str()?.to_string();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return None;
        }
        let expires = claims.get("exp")?.as_f64().filter(|e| e.is_finite())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
        // A lifetime beyond all measure is one of a year.
        let left = (expires - now).min(365.0 * 86_400.0);
        (left > 0.0).then(|| Bearer { name, expires_in: Duration::from_secs_f64(left) })
    }
}

fn load(path: &Path) -> Result<Vec<Key>> {
    let bad = |why: String| {
        Error::invalid(format!("'{JWKS}': '{}': {why}", path.display()))
            .hint("write a JSON Web Key Set (RFC 7517) with public keys")
    };
    let set: JwkSet = serde_json::from_slice(&read(JWKS, path)?).map_err(|e| bad(e.to_string()))?;
    let keys: Vec<Key> = set.keys.iter().filter_map(key).collect();
    match keys.is_empty() {
        true => Err(bad("it has no key that signatures can be checked with".into())),
        false => Ok(keys),
    }
}

/// None of a key that is not for signatures, or not public.
fn key(jwk: &Jwk) -> Option<Key> {
    let is_for_signatures =
        matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let is_public = !matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
    if !(is_for_signatures && is_public) {
        return None;
    }
    let algorithm = match jwk.common.key_algorithm {
        Some(algorithm) => Some(Algorithm::try_from(algorithm).ok()?),
        None => None,
    };
    let id = jwk.common.key_id.clone();
    Some(Key { id, algorithm, key: DecodingKey::from_jwk(jwk).ok()? })
}
