//! What is kept of a password: SCRAM verifiers (RFC 5802, section 3; RFC 7677 for SHA-256). Who has
//! one can check a login and cannot log in with it. Read next: `user.rs`.

use std::fmt;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{Error, Result};
use ring::rand::SecureRandom;
use ring::{digest, hmac, pbkdf2};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;

/// Fewer iterations are refused (RFC 7677, section 4; Kafka's own least).
pub const ITERATIONS_MIN: u32 = 4_096;
/// More are refused: a client has to do them at each login (Kafka's own limit).
pub const ITERATIONS_MAX: u32 = 16_384;
/// Of verifiers made here.
pub const ITERATIONS: u32 = ITERATIONS_MIN;
const SALT_BYTES: usize = 24;

/// A hash function of SCRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScramMechanism {
    Sha256,
    Sha512,
}

impl ScramMechanism {
    pub const ALL: [ScramMechanism; 2] = [ScramMechanism::Sha256, ScramMechanism::Sha512];

    /// As registered with IANA.
    pub fn name(self) -> &'static str {
        match self {
            ScramMechanism::Sha256 => "SCRAM-SHA-256",
            ScramMechanism::Sha512 => "SCRAM-SHA-512",
        }
    }

    pub fn from_name(name: &str) -> Option<ScramMechanism> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }

    /// `HMAC(key, text)`.
    pub fn hmac(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hmac_algorithm(), key), text).as_ref().to_vec()
    }

    /// `H(text)`.
    pub fn hash(self, text: &[u8]) -> Vec<u8> {
        digest::digest(self.digest(), text).as_ref().to_vec()
    }

    /// `Hi(password, salt, iterations)`: takes as long as the number of iterations asks for.
    pub fn salted_password(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        let algorithm = match self {
            ScramMechanism::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            ScramMechanism::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let mut salted = vec![0; self.bytes()];
        let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(algorithm, iterations, salt, password, &mut salted);
        salted
    }

    /// Length of a hash.
    pub fn bytes(self) -> usize {
        self.digest().output_len()
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            ScramMechanism::Sha256 => &digest::SHA256,
            ScramMechanism::Sha512 => &digest::SHA512,
        }
    }

    fn hmac_algorithm(self) -> hmac::Algorithm {
        match self {
            ScramMechanism::Sha256 => hmac::HMAC_SHA256,
            ScramMechanism::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// Salt, iterations, `StoredKey` and `ServerKey`. It has no text form but the stored one, so that
/// it gets into no log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verifier {
    pub iterations: u32,
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub salt: Vec<u8>,
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    stored_key: Vec<u8>,
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    server_key: Vec<u8>,
}

impl Verifier {
    /// Of a password, with a salt of its own.
    pub fn new(mechanism: ScramMechanism, password: &str) -> Result<Verifier> {
        let salt = random::<SALT_BYTES>()?;
        let salted = mechanism.salted_password(password.as_bytes(), &salt, ITERATIONS);
        Verifier::from_salted(mechanism, salt.to_vec(), ITERATIONS, &salted)
    }

    /// Of a password that a client has salted (KIP-554).
    ///
    /// # Errors
    /// Too few or too many iterations, or a salted password of another hash.
    pub fn from_salted(
        mechanism: ScramMechanism,
        salt: Vec<u8>,
        iterations: u32,
        salted_password: &[u8],
    ) -> Result<Verifier> {
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(Error::invalid(format!(
                "{iterations} iterations; {ITERATIONS_MIN} to {ITERATIONS_MAX} are taken"
            )));
        }
        if salt.is_empty() || salted_password.len() != mechanism.bytes() {
            let name = mechanism.name();
            return Err(Error::invalid(format!("salt or salted password do not fit {name}")));
        }
        let client_key = mechanism.hmac(salted_password, b"Client Key");
        Ok(Verifier {
            iterations,
            salt,
            stored_key: mechanism.hash(&client_key),
            server_key: mechanism.hmac(salted_password, b"Server Key"),
        })
    }

    /// One that no password fits, for a login with a name that is not there: it must look as that
    /// of one that is. The salt is always the same for a name.
    pub fn mock(mechanism: ScramMechanism, name: &str, secret: &[u8]) -> Verifier {
        let mut salt = mechanism.hmac(secret, name.as_bytes());
        salt.truncate(SALT_BYTES);
        // No key has such a hash, as far as anybody knows.
        let stored_key = vec![0; mechanism.bytes()];
        Verifier { iterations: ITERATIONS, salt, stored_key, server_key: secret.to_vec() }
    }

    /// Whether it was made of this password. Takes as long as a login does.
    pub fn is_of(&self, mechanism: ScramMechanism, password: &str) -> bool {
        let password = password.as_bytes();
        let salted = mechanism.salted_password(password, &self.salt, self.iterations);
        let client_key = mechanism.hmac(&salted, b"Client Key");
        self.fits(mechanism, &client_key)
    }

    /// Checks a `ClientProof` over `AuthMessage`; gives the `ServerSignature` when it is right.
    pub fn check(
        &self,
        mechanism: ScramMechanism,
        auth_message: &[u8],
        proof: &[u8],
    ) -> Option<Vec<u8>> {
        let signature = mechanism.hmac(&self.stored_key, auth_message);
        if proof.len() != signature.len() {
            return None;
        }
        let client_key: Vec<u8> = signature.iter().zip(proof).map(|(s, p)| s ^ p).collect();
        let is_right = self.fits(mechanism, &client_key);
        is_right.then(|| mechanism.hmac(&self.server_key, auth_message))
    }

    /// In a time that says nothing of how much is equal.
    fn fits(&self, mechanism: ScramMechanism, client_key: &[u8]) -> bool {
        mechanism.hash(client_key).ct_eq(&self.stored_key).into()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({} iterations)", self.iterations)
    }
}

/// Bytes nobody can guess.
///
/// # Errors
/// The system has none to give.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::internal("the system gives no random bytes"))?;
    Ok(bytes)
}

fn encode<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(|_| serde::de::Error::custom("a key is not base64"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The exchange of RFC 7677, section 3.
    const AUTH_MESSAGE: &str = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
        r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
        c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn of_rfc_7677() -> Verifier {
        let mechanism = ScramMechanism::Sha256;
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = mechanism.salted_password(b"pencil", &salt, 4096);
        Verifier::from_salted(mechanism, salt, 4096, &salted).unwrap()
    }

    #[test]
    fn the_exchange_of_rfc_7677() {
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let mechanism = ScramMechanism::Sha256;
        let signature = of_rfc_7677().check(mechanism, AUTH_MESSAGE.as_bytes(), &proof).unwrap();
        assert_eq!(STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        for bit in 0..proof.len() * 8 {
            let mut wrong = proof.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let checked = of_rfc_7677().check(mechanism, AUTH_MESSAGE.as_bytes(), &wrong);
            assert_eq!(checked, None, "bit {bit}");
        }
        let cut = of_rfc_7677().check(mechanism, AUTH_MESSAGE.as_bytes(), &proof[1..]);
        assert_eq!(cut, None);
    }

    #[test]
    fn a_password_is_recognized_and_not_kept() {
        for mechanism in ScramMechanism::ALL {
            let verifier = Verifier::new(mechanism, "pencil").unwrap();
            assert!(verifier.is_of(mechanism, "pencil"));
            assert!(!verifier.is_of(mechanism, "Pencil"));
            assert!(!verifier.is_of(mechanism, ""));
            let again = Verifier::new(mechanism, "pencil").unwrap();
            assert_ne!(verifier.salt, again.salt);
            let text = serde_json::to_string(&verifier).unwrap();
            assert!(!text.contains("pencil"), "{text}");
            assert_eq!(format!("{verifier:?}"), "Verifier(4096 iterations)");
            assert!(serde_json::from_str::<Verifier>(&text).unwrap() == verifier);
        }
    }

    #[test]
    fn what_others_salted_is_checked() {
        let mechanism = ScramMechanism::Sha512;
        let made = |iterations, salt: &[u8], bytes| {
            Verifier::from_salted(mechanism, salt.to_vec(), iterations, &vec![1; bytes]).is_ok()
        };
        assert!(made(4096, b"salt", 64));
        assert!(made(16_384, b"salt", 64));
        assert!(!made(4095, b"salt", 64));
        assert!(!made(16_385, b"salt", 64));
        assert!(!made(4096, b"", 64));
        assert!(!made(4096, b"salt", 32));
    }

    #[test]
    fn an_unknown_name_looks_as_a_known_one() {
        let mechanism = ScramMechanism::Sha256;
        let mock = |name| Verifier::mock(mechanism, name, b"secret");
        assert_eq!(mock("a").salt, mock("a").salt);
        assert_ne!(mock("a").salt, mock("b").salt);
        assert_eq!(mock("a").salt.len(), Verifier::new(mechanism, "x").unwrap().salt.len());
        assert!(!mock("a").is_of(mechanism, ""));
    }
}
