//! Users and their changes: CREATE, ALTER and DROP USER, and the same through Kafka's admin
//! requests (KIP-554). A change is on disk before anybody sees it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use catalog::{User, UsersFile};
use common::{Disk, Error, Result, Secret};

use crate::query::outcome::Outcome;
use crate::stores::blocking::blocking;

/// Most users: all of them are in memory, and the file is written as a whole.
const USERS_MAX: usize = 10_000;

type ByName = BTreeMap<String, User>;

/// All users.
pub struct Users {
    file: Arc<UsersFile>,
    /// What logins are checked against.
    now: Arc<RwLock<Arc<ByName>>>,
    /// One change at a time.
    turn: Arc<Mutex<()>>,
}

impl Users {
    pub(crate) fn open(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Users> {
        let file = UsersFile::open(disk, path)?;
        let now = Arc::new(file.load()?);
        Ok(Users { file: Arc::new(file), now: Arc::new(RwLock::new(now)), turn: Arc::default() })
    }

    pub fn get(&self, name: &str) -> Option<User> {
        self.snapshot().get(name).cloned()
    }

    /// All, by name.
    pub fn all(&self) -> Vec<User> {
        self.snapshot().values().cloned().collect()
    }

    fn snapshot(&self) -> Arc<ByName> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes users: all that `change` does, or nothing when it fails or cannot be written.
    ///
    /// # Errors
    /// Those of `change`, too many users, or a disk that refuses.
    pub async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Changes) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (file, now, turn) = (self.file.clone(), self.now.clone(), self.turn.clone());
        blocking(move || {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            let old = now.read().unwrap_or_else(PoisonError::into_inner).clone();
            let mut changes = Changes { users: ByName::clone(&old), changed: false };
            let result = change(&mut changes)?;
            if changes.users.len() > USERS_MAX {
                return Err(Error::too_large(format!("more than {USERS_MAX} users")));
            }
            if changes.changed {
                file.save(&changes.users)?;
                *now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(changes.users);
            }
            Ok(result)
        })
        .await
    }

    pub(crate) async fn create(
        &self,
        name: &str,
        password: &Secret,
        if_not_exists: bool,
    ) -> Result<Outcome> {
        let (name, password) = (name.to_string(), password.clone());
        self.change(move |users| {
            if users.get(&name).is_some() {
                let said = format!("user '{name}' exists already");
                return match if_not_exists {
                    true => Ok(Outcome::Message(said)),
                    false => Err(Error::already_exists(said)
                        .hint(format!("ALTER USER {name} PASSWORD '…' gives another password"))),
                };
            }
            let mut user = User::new(&name)?;
            user.set_password(password.expose())?;
            users.put(user);
            Ok(Outcome::Message(format!("created user '{name}'")))
        })
        .await
    }

    pub(crate) async fn alter(&self, name: &str, password: &Secret) -> Result<Outcome> {
        let (name, password) = (name.to_string(), password.clone());
        self.change(move |users| {
            let mut user = users.get(&name).cloned().ok_or_else(|| users.unknown(&name))?;
            user.set_password(password.expose())?;
            users.put(user);
            Ok(Outcome::Message(format!("altered user '{name}'")))
        })
        .await
    }

    pub(crate) async fn remove(&self, name: &str, if_exists: bool) -> Result<Outcome> {
        let name = name.to_string();
        self.change(move |users| match (users.remove(&name), if_exists) {
            (true, _) => Ok(Outcome::Message(format!("dropped user '{name}'"))),
            (false, true) => Ok(Outcome::Message(format!("there is no user '{name}'"))),
            (false, false) => Err(users.unknown(&name)),
        })
        .await
    }
}

/// Users as they shall be.
pub struct Changes {
    users: ByName,
    changed: bool,
}

impl Changes {
    pub fn get(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// Puts a user in place of the one with its name; counts its version up.
    pub fn put(&mut self, mut user: User) {
        user.version.0 += 1;
        self.changed = true;
        self.users.insert(user.name.clone(), user);
    }

    /// Whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let was_there = self.users.remove(name).is_some();
        self.changed |= was_there;
        was_there
    }

    fn unknown(&self, name: &str) -> Error {
        Error::unknown("user", name, self.users.keys().map(String::as_str))
    }
}
