//! The databases that a node's configuration names.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tacit_types::{Code, Fault, Name};
use zeroize::Zeroizing;

/// A database password. It has no `Debug`, no `Clone` and no `Serialize`, and is wiped when dropped.
#[derive(Deserialize)]
#[serde(from = "String")]
pub struct Password(Zeroizing<String>);

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl Password {
    /// Wraps a password.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one call that sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// How to reach one PostgreSQL database, as under `[sources.NAME]` in the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// A host name, an address, or the absolute path of the folder that holds the server's socket.
    pub host: String,
    /// TCP port, or the number in the socket's file name.
    #[serde(default = "default_port")]
    pub port: u16,
    /// The role; one with SELECT on the registered tables and nothing else is enough.
    pub user: String,
    /// The database.
    pub database: String,
    /// The password itself; at most one of the three forms.
    pub password: Option<Password>,
    /// A file that holds the password on its first line.
    pub password_file: Option<PathBuf>,
    /// An environment variable that holds the password.
    pub password_env: Option<String>,
    /// Allows a host that is not this machine. The connection is not encrypted, so rows would cross the
    /// owner's own network in the clear; a local tunnel is the better way.
    #[serde(default)]
    pub plaintext_network: bool,
    /// Seconds to wait for a connection.
    #[serde(default = "default_connect_seconds")]
    pub connect_seconds: u16,
    /// Seconds after which the server ends a statement.
    #[serde(default = "default_statement_seconds")]
    pub statement_seconds: u32,
}

fn default_port() -> u16 {
    5432
}

fn default_connect_seconds() -> u16 {
    10
}

fn default_statement_seconds() -> u32 {
    600
}

/// Bytes read of a password file.
const PASSWORD_BYTES_MAX: u64 = 4096;

impl PostgresConfig {
    /// Checks what can be checked without connecting.
    ///
    /// # Errors
    /// `config.malformed` for a host on a network without `plaintext_network`, more than one form of
    /// password, or a time of zero.
    pub fn check(&self, name: &Name) -> Result<(), Fault> {
        let malformed = |why: &str| Err(Fault::new(Code::ConfigMalformed, format!("[sources.{name}]: {why}")));
        if !self.is_local() && !self.plaintext_network {
            return malformed(
                "the host is another machine and the connection is not encrypted: use a local tunnel or socket, or \
                 set plaintext_network = true",
            );
        }
        let forms = [self.password.is_some(), self.password_file.is_some(), self.password_env.is_some()];
        if forms.iter().filter(|given| **given).count() > 1 {
            return malformed("give one of password, password_file and password_env");
        }
        if self.connect_seconds == 0 || self.statement_seconds == 0 {
            return malformed("connect_seconds and statement_seconds are at least 1");
        }
        Ok(())
    }

    /// Whether the host is a socket's folder or this machine.
    fn is_local(&self) -> bool {
        self.host.starts_with('/')
            || self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// The parameters for the client.
    ///
    /// # Errors
    /// Those of [`PostgresConfig::check`]; `config.malformed` when the password's file or variable is absent.
    pub(crate) fn client(&self, name: &Name) -> Result<tokio_postgres::Config, Fault> {
        self.check(name)?;
        let mut config = tokio_postgres::Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .user(&self.user)
            .dbname(&self.database)
            .application_name("tacit")
            .ssl_mode(tokio_postgres::config::SslMode::Disable)
            .connect_timeout(Duration::from_secs(self.connect_seconds.into()));
        if let Some(password) = self.secret(name)? {
            config.password(password.as_bytes());
        }
        Ok(config)
    }

    fn secret(&self, name: &Name) -> Result<Option<Zeroizing<String>>, Fault> {
        use std::io::Read;
        let malformed = |why: String| Fault::new(Code::ConfigMalformed, format!("[sources.{name}]: {why}"));
        if let Some(password) = &self.password {
            return Ok(Some(Zeroizing::new(password.expose().to_owned())));
        }
        if let Some(path) = &self.password_file {
            let mut text = Zeroizing::new(String::new());
            std::fs::File::open(path)
                .and_then(|f| f.take(PASSWORD_BYTES_MAX).read_to_string(&mut text))
                .map_err(|e| malformed(format!("password_file {}: {}", path.display(), e.kind())))?;
            return Ok(Some(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())));
        }
        match &self.password_env {
            Some(variable) => std::env::var(variable)
                .map(|text| Some(Zeroizing::new(text)))
                .map_err(|_| malformed(format!("password_env: the variable {variable} is not set"))),
            None => Ok(None),
        }
    }
}

/// Without the password.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// The databases of a node by local name: the table `[sources]` of its configuration. Cheap to clone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "BTreeMap<Name, PostgresConfig>")]
pub struct Sources(Arc<BTreeMap<Name, Arc<PostgresConfig>>>);

impl From<BTreeMap<Name, PostgresConfig>> for Sources {
    fn from(map: BTreeMap<Name, PostgresConfig>) -> Self {
        Self(Arc::new(map.into_iter().map(|(name, config)| (name, Arc::new(config))).collect()))
    }
}

impl Sources {
    /// Checks every entry, as a node does when it starts.
    ///
    /// # Errors
    /// Those of [`PostgresConfig::check`].
    pub fn check(&self) -> Result<(), Fault> {
        self.0.iter().try_for_each(|(name, config)| config.check(name))
    }

    /// The database of that name.
    ///
    /// # Errors
    /// `data.source_unknown` when the configuration has none.
    pub(crate) fn get(&self, name: &Name) -> Result<Arc<PostgresConfig>, Fault> {
        self.0.get(name).cloned().ok_or_else(|| Fault::new(Code::DataSourceUnknown, name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(text: &str) -> Result<Sources, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_password_is_never_printed() {
        let s = sources("[ehr]\nhost = 'localhost'\nuser = 'u'\ndatabase = 'd'\npassword = 'hunter2'").unwrap();
        s.check().unwrap();
        assert!(!format!("{s:?}").contains("hunter2"));
        let name = Name::new("ehr").unwrap();
        let client = s.get(&name).unwrap().client(&name).unwrap();
        assert_eq!(client.get_password(), Some(&b"hunter2"[..]));
        assert!(!format!("{client:?}").contains("hunter2"));
        assert_eq!(s.get(&Name::new("other").unwrap()).unwrap_err().code, Code::DataSourceUnknown);
    }

    #[test]
    fn a_password_comes_from_a_file_or_a_variable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "s3cret\nsecond line\n").unwrap();
        let name = Name::new("ehr").unwrap();
        let with = |line: &str| {
            let text = format!("[ehr]\nhost = '/run/postgresql'\nuser = 'u'\ndatabase = 'd'\n{line}");
            sources(&text).unwrap().get(&name).unwrap().client(&name)
        };
        let line = format!("password_file = '{}'", path.display());
        assert_eq!(with(&line).unwrap().get_password(), Some(&b"s3cret"[..]));
        assert_eq!(
            with("password_env = 'PATH'").unwrap().get_password(),
            std::env::var("PATH").ok().as_deref().map(str::as_bytes)
        );
        assert_eq!(with("").unwrap().get_password(), None);
        for bad in [
            "password_file = '/absent'",
            "password_env = 'TACIT_ABSENT'",
            "password = 'a'\npassword_env = 'PATH'",
            "statement_seconds = 0",
        ] {
            assert_eq!(with(bad).unwrap_err().code, Code::ConfigMalformed, "{bad}");
        }
    }

    #[test]
    fn a_host_on_a_network_has_to_be_allowed_and_unknown_keys_are_refused() {
        let at = |host: &str, more: &str| {
            sources(&format!("[ehr]\nhost = '{host}'\nuser = 'u'\ndatabase = 'd'\n{more}")).unwrap().check()
        };
        for local in ["localhost", "127.0.0.1", "::1", "/run/postgresql"] {
            at(local, "").unwrap();
        }
        for remote in ["db.hospital.example", "10.0.0.7", "localhost.example"] {
            assert_eq!(at(remote, "").unwrap_err().code, Code::ConfigMalformed, "{remote}");
            at(remote, "plaintext_network = true").unwrap();
        }
        assert!(sources("[ehr]\nhost = 'h'\nuser = 'u'\ndatabase = 'd'\nurl = 'x'").is_err());
    }
}
