//! Users: who may log in. They stand in a file of their own beside the catalog, which only its
//! owner may read; of passwords there are SCRAM verifiers only. The bytes are described in
//! `docs/formats/users.md`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use common::{Disk, Error, Result, Version};
use serde::{Deserialize, Serialize};

use crate::document::{Document, Shape};
use crate::scram::{ScramMechanism, Verifier};

/// Longest name of a user, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Longest password, in bytes: it is hashed at each login with PLAIN.
const PASSWORD_BYTES_MAX: usize = 1_024;

const SHAPE: Shape = Shape {
    what: "user file",
    version_member: "watershed_users",
    version: 1,
    list_member: "users",
    without: "nobody can log in then until CREATE USER is typed again",
    is_private: true,
};

/// A user as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    /// Counted up with every change.
    pub version: Version,
    #[serde(rename = "SCRAM-SHA-256", default, skip_serializing_if = "Option::is_none")]
    sha_256: Option<Verifier>,
    #[serde(rename = "SCRAM-SHA-512", default, skip_serializing_if = "Option::is_none")]
    sha_512: Option<Verifier>,
}

impl User {
    /// Without a password: cannot log in.
    ///
    /// # Errors
    /// A name that is empty, too long or has control characters.
    pub fn new(name: &str) -> Result<User> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(Error::invalid("this cannot be the name of a user").hint(format!(
                "names have 1 to {NAME_BYTES_MAX} bytes and no control characters"
            )));
        }
        Ok(User { name: name.into(), version: Version(0), sha_256: None, sha_512: None })
    }

    /// Gives it a password, for all mechanisms.
    ///
    /// # Errors
    /// A password that is empty or too long, or that clients would not all send with the same
    /// bytes: some normalize it (SASLprep, RFC 4013), some do not.
    pub fn set_password(&mut self, password: &str) -> Result<()> {
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
            let e = format!("a password has 1 to {PASSWORD_BYTES_MAX} bytes");
            return Err(Error::invalid(e));
        }
        if stringprep::saslprep(password).ok().as_deref() != Some(password) {
            return Err(Error::invalid(
                "the password has characters that clients send differently",
            )
            .hint("leave out control characters, unusual blanks and combined letters"));
        }
        for mechanism in ScramMechanism::ALL {
            *self.slot(mechanism) = Some(Verifier::new(mechanism, password)?);
        }
        Ok(())
    }

    pub fn verifier(&self, mechanism: ScramMechanism) -> Option<&Verifier> {
        match mechanism {
            ScramMechanism::Sha256 => self.sha_256.as_ref(),
            ScramMechanism::Sha512 => self.sha_512.as_ref(),
        }
    }

    /// Sets or takes away the verifier of one mechanism.
    pub fn set_verifier(&mut self, mechanism: ScramMechanism, verifier: Option<Verifier>) {
        *self.slot(mechanism) = verifier;
    }

    /// Mechanisms it can log in with.
    pub fn mechanisms(&self) -> impl Iterator<Item = ScramMechanism> {
        ScramMechanism::ALL.into_iter().filter(|m| self.verifier(*m).is_some())
    }

    fn slot(&mut self, mechanism: ScramMechanism) -> &mut Option<Verifier> {
        match mechanism {
            ScramMechanism::Sha256 => &mut self.sha_256,
            ScramMechanism::Sha512 => &mut self.sha_512,
        }
    }
}

/// The file that holds all users.
pub struct UsersFile(Document);

impl UsersFile {
    /// Creates the folder, not the file.
    pub fn open(disk: Arc<dyn Disk>, path: impl Into<PathBuf>) -> Result<Self> {
        Document::open(disk, path.into(), &SHAPE).map(Self)
    }

    /// All users by name; none if there is no file yet.
    pub fn load(&self) -> Result<BTreeMap<String, User>> {
        let users: Vec<User> = self.0.load()?;
        Ok(users.into_iter().map(|u| (u.name.clone(), u)).collect())
    }

    /// Replaces all users. After an error the old ones are still there.
    pub fn save(&self, users: &BTreeMap<String, User>) -> Result<()> {
        self.0.save(&users.values().collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use common::{Kind, SystemDisk};

    /// Version 1 as released; never edit, add a new one beside it.
    const GOLDEN_1: &str = include_str!("../tests/golden/users-1.json");

    fn file(dir: &std::path::Path) -> UsersFile {
        UsersFile::open(Arc::new(SystemDisk), dir.join("users.json")).unwrap()
    }

    #[test]
    fn what_is_saved_is_loaded_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(file(dir.path()).load().unwrap().is_empty());
        let mut alice = User::new("alice").unwrap();
        alice.set_password("schön").unwrap();
        let users = BTreeMap::from([("alice".to_string(), alice)]);
        file(dir.path()).save(&users).unwrap();
        file(dir.path()).save(&users).unwrap();
        assert_eq!(file(dir.path()).load().unwrap(), users);
        let path = dir.path().join("users.json");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("schön"));
    }

    #[test]
    fn the_first_version_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("users.json"), GOLDEN_1).unwrap();
        let users = file(dir.path()).load().unwrap();
        let user = &users["user"];
        assert_eq!(user.version, Version(3));
        assert_eq!(user.mechanisms().collect::<Vec<_>>(), [ScramMechanism::Sha256]);
        let verifier = user.verifier(ScramMechanism::Sha256).unwrap();
        assert!(verifier.is_of(ScramMechanism::Sha256, "pencil"));
        file(dir.path()).save(&users).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("users.json")).unwrap(), GOLDEN_1);
        let damaged = GOLDEN_1.replace("user\"", "root\"");
        std::fs::write(dir.path().join("users.json"), damaged).unwrap();
        assert_eq!(file(dir.path()).load().unwrap_err().kind(), Kind::Corrupt);
    }

    #[test]
    fn names_and_passwords_that_cannot_be() {
        for name in ["", "a\nb", &"x".repeat(257)] {
            assert!(User::new(name).is_err(), "{name}");
        }
        let mut user = User::new("a b,c=d").unwrap();
        for password in ["", "a\u{7}", "ﬁsh", "a\u{a0}b", &"x".repeat(1025)] {
            let e = user.set_password(password).unwrap_err().to_string();
            assert!(password.is_empty() || !e.contains(password), "{e}");
            assert_eq!(user.mechanisms().count(), 0);
        }
        user.set_password("pässword 1").unwrap();
        assert_eq!(user.mechanisms().count(), 2);
    }
}
