//! What a connector may reach: files and addresses. A definition in the project's files is the
//! owner's and may reach all but the project's own stores; one that came through a door only what
//! the keys `files.allowed`, `http.allowed` and `secrets.allowed` list, and public addresses. Paths
//! are resolved before they are checked, names are checked by the addresses behind them
//! (`is_public`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use common::{Error, Result};

use crate::secrets::own_secrets;
use crate::{Role, Secrets};

/// The rules of a project.
#[derive(Debug)]
pub struct Rules {
    pub project_dir: PathBuf,
    pub secrets: Secrets,
    /// Folders, seen from the project folder.
    pub files_allowed: Vec<String>,
    /// `host`, `host:port` or `*`.
    pub http_allowed: Vec<String>,
    /// `env:NAME`, `secret:name` or `*`.
    pub secrets_allowed: Vec<String>,
    /// Stores and settings: no connector touches them.
    pub own: Vec<PathBuf>,
    /// What is for the owner's definitions only.
    pub of_owner: Vec<PathBuf>,
}

/// The rules as they hold for one definition.
#[derive(Clone, Debug)]
pub struct Outside {
    rules: Arc<Rules>,
    is_trusted: bool,
    /// What the names of the secrets begin with that were moved out of its own statement.
    own_secrets: Option<String>,
}

/// Which addresses a name may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    All,
    Public,
}

impl Outside {
    /// For a definition; `is_trusted` if it stands in the project's files.
    pub fn new(rules: Arc<Rules>, is_trusted: bool) -> Outside {
        Outside { rules, is_trusted, own_secrets: None }
    }

    /// The same for the definition of a source or sink with this name.
    pub fn of(self, role: Role, name: &str) -> Outside {
        Outside { own_secrets: Some(own_secrets(role, name)), ..self }
    }

    /// For a definition of a project without stores.
    pub fn of_folder(dir: impl Into<PathBuf>) -> Outside {
        let project_dir = dir.into();
        let secrets = Secrets::new(project_dir.join("data/secrets"));
        let (files_allowed, http_allowed, secrets_allowed) = Default::default();
        let (own, of_owner) = (vec![], vec![]);
        let rules = Rules {
            project_dir,
            secrets,
            files_allowed,
            http_allowed,
            secrets_allowed,
            own,
            of_owner,
        };
        Outside::new(Arc::new(rules), true)
    }

    pub fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    pub fn secrets(&self) -> &Secrets {
        &self.rules.secrets
    }

    /// Whether the definition may use what `env:NAME` or `secret:name` stands for: who types
    /// statements could send it anywhere.
    ///
    /// # Errors
    /// One that is neither its own nor listed; the hint names the key.
    pub(crate) fn reference(&self, kind: &str, name: &str) -> Result<()> {
        let is_own = kind == "secret"
            && self.own_secrets.as_ref().is_some_and(|own| name.starts_with(own.as_str()));
        let entry = format!("{kind}:{name}");
        let is_listed = || self.rules.secrets_allowed.iter().any(|e| e == "*" || *e == entry);
        if self.is_trusted || is_own || is_listed() {
            return Ok(());
        }
        let what = "a statement typed at run time may not use";
        Err(Error::denied(format!("{what} ${{{entry}}}")).hint(format!(
            "list '{entry}' in secrets.allowed (watershed.toml), write the secret itself (it is \
             kept apart from the statement), or define this in a file under 'sql'"
        )))
    }

    /// A path option, seen from the project folder, with all links and dots resolved.
    ///
    /// # Errors
    /// A path that the definition may not use; the hint names the key.
    pub fn path(&self, text: &str) -> Result<PathBuf> {
        let rules = &self.rules;
        let path = resolved(&rules.project_dir.join(text))?;
        let within = |folders: &[PathBuf]| {
            folders.iter().any(|f| resolved(f).is_ok_and(|f| path.starts_with(f)))
        };
        if within(&rules.own) {
            return Err(Error::denied(format!("'{text}' is in a place of the project's own"))
                .hint("choose a folder beside 'data', 'sql' and 'watershed.toml'"));
        }
        if self.is_trusted {
            return Ok(path);
        }
        let allowed: Vec<PathBuf> =
            rules.files_allowed.iter().map(|f| rules.project_dir.join(f)).collect();
        if within(&rules.of_owner) || !within(&allowed) {
            let what = "a statement typed at run time may not use the path";
            return Err(Error::denied(format!("{what} '{text}'")).hint(
                "list its folder in files.allowed (watershed.toml), or define this in a file \
                 under 'sql'",
            ));
        }
        Ok(path)
    }

    /// Whether the host may be asked, and which addresses its name may stand for.
    ///
    /// # Errors
    /// An address that is not public and not listed; the hint names the key.
    pub fn host(&self, host: &str, port: u16) -> Result<Reach> {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_lowercase();
        if self.is_trusted || self.is_listed(&host, port) {
            return Ok(Reach::All);
        }
        let is_local = host == "localhost" || host.ends_with(".localhost");
        match host.parse::<IpAddr>() {
            Ok(ip) if !is_public(ip) => Err(not_public(&host, port)),
            _ if is_local => Err(not_public(&host, port)),
            _ => Ok(Reach::Public),
        }
    }

    /// Whether `http.allowed` names the host, or the definition needs no permission.
    pub fn is_listed(&self, host: &str, port: u16) -> bool {
        let with_port = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let names = |entry: &String| {
            let entry = entry.to_lowercase();
            entry == "*" || entry.trim_matches(['[', ']']) == host || entry == with_port
        };
        self.is_trusted || self.rules.http_allowed.iter().any(names)
    }
}

/// The error for an address that only `http.allowed` opens.
pub fn not_public(host: &str, port: u16) -> Error {
    Error::denied(format!("a statement typed at run time may not reach '{host}'")).hint(format!(
        "it is no public address: list '{host}:{port}' in http.allowed (watershed.toml), or define \
         this in a file under 'sql'"
    ))
}

/// Whether an address is one of the Internet: not of this machine, this network, or this house.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    // RFC 6890 and its registry: this network, shared (CGNAT), IETF, benchmarks, reserved.
    let special = a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240;
    !(special
        || ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation())
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        // Only 2000::/3 is given out; of it Teredo, ORCHID and documentation are special.
        [0x2001, 0..0x200, ..] | [0x2001, 0xdb8, ..] => false,
        // 6to4 and NAT64 carry an address of the old kind.
        [0x2002, high, low, ..] => is_public_v4(v4(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(v4(high, low)),
        [0, 0, 0, 0, 0, 0xffff, high, low] => is_public_v4(v4(high, low)),
        _ => s[0] & 0xe000 == 0x2000,
    }
}

/// The path with links and dots resolved as the system does; its end need not be there yet.
fn resolved(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path)
        .map_err(|e| Error::io(format!("resolving '{}'", path.display()), e))?;
    let mut now = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                now.pop();
            }
            Component::CurDir => {}
            part => now.push(part),
        }
        // What a link to nowhere stands for can't be known; what is not there is no link.
        if now.symlink_metadata().is_ok() {
            now = now
                .canonicalize()
                .map_err(|e| Error::io(format!("resolving '{}'", now.display()), e))?;
        }
    }
    Ok(now)
}

#[cfg(test)]
#[path = "outside_tests.rs"]
mod tests;
