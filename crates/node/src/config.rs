//! The node's folder: one configuration file, four key files, one database.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tacit_crypto::{SealKey, SealPublic, SigningKey, Statement};
use tacit_data::Sources;
use tacit_governance::{PartyCard, PartyRole};
use tacit_net::keyfile;
use tacit_receipts::KeyRole;
use tacit_types::{Code, Fault, Name, NodeId, UnixMillis};

use crate::align::AlignConfig;
use crate::files::{io_fault, write_whole};
use crate::key_change::Changes;
use crate::online::OnlineConfig;
use crate::witness::WitnessConfig;

/// The configuration file's name.
pub const CONFIG_FILE: &str = "node.toml";
/// Attempts that a node runs at a time, unless it says otherwise.
pub const SLOTS_DEFAULT: u32 = 4;
/// The most attempts that a node may run at a time.
pub const SLOTS_MAX: u32 = 256;

/// What stands in `node.toml`. Unknown keys are refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The party's name, as it was invited.
    pub name: Name,
    /// What the party is enrolled as: `node`, `operator` or `regulator`.
    pub role: String,
    /// The UDP address to listen on, such as `0.0.0.0:7402`.
    #[serde(default = "listen_default")]
    pub listen: String,
    /// The address that other nodes dial, such as `tacit.bank-a.example:7402`.
    #[serde(default)]
    pub public: String,
    /// Attempts at a time.
    #[serde(default = "slots_default")]
    pub slots: u32,
    /// The file of the site's own policy, in the node's folder unless it is named whole; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The coordinator.
    pub coordinator: CoordinatorPin,
    /// Where calls for scores are taken; nowhere when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<OnlineConfig>,
    /// Whether the node keeps a copy of the log.
    #[serde(default = "mirror_default", skip_serializing_if = "is_default")]
    pub mirror: bool,
    /// Where others ask for cosignatures; nowhere when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<WitnessConfig>,
    /// What this node was certified for, by whom and until when (认证).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
    /// What lists of keys may take of this machine.
    #[serde(default, skip_serializing_if = "AlignConfig::is_default")]
    pub align: AlignConfig,
    /// Databases behind local names. They hold passwords, so they are read and never written.
    #[serde(default, skip_serializing)]
    pub sources: Sources,
}

/// Certificates that a node may name.
pub const CERTIFICATES_MAX: usize = 32;
/// Bytes of each word of a certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 256;

/// A certificate that the organisation holds; the document stays with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Who gave it.
    pub issuer: String,
    /// What it is for.
    pub scope: String,
    /// Until when, exclusive: a date such as `2027-03-31`.
    pub until: String,
}

/// What the node pins of its coordinator and the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoordinatorPin {
    /// Where it listens.
    pub address: String,
    /// Its key.
    pub fingerprint: String,
    /// The log's origin.
    pub origin: String,
    /// The verifier key of checkpoints.
    pub log_key: String,
}

fn listen_default() -> String {
    "0.0.0.0:7402".into()
}

fn mirror_default() -> bool {
    true
}

// why: serde hands a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_default(mirror: &bool) -> bool {
    *mirror
}

fn slots_default() -> u32 {
    SLOTS_DEFAULT
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// `config.absent`; `config.malformed` naming file, line and key.
    pub fn read(home: &Path) -> Result<Self, Fault> {
        let path = home.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path).map_err(|e| {
            let code = if e.kind() == std::io::ErrorKind::NotFound { Code::ConfigAbsent } else { Code::IoFailed };
            Fault::new(code, format!("{}: {e}", path.display()))
        })?;
        Self::parse(&text).map_err(|f| Fault::new(f.code, format!("{}: {}", path.display(), f.what)))
    }

    /// Parses and checks a configuration's text.
    ///
    /// # Errors
    /// `config.malformed` naming line and key.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let malformed = |what: String| Fault::new(Code::ConfigMalformed, what);
        let config: Self = toml::from_str(text).map_err(|e| malformed(e.to_string().trim().to_owned()))?;
        PartyRole::parse(&config.role).map_err(|f| malformed(f.what))?;
        if config.slots == 0 || config.slots > SLOTS_MAX {
            return Err(malformed(format!("slots is 1 to {SLOTS_MAX}")));
        }
        config.listen.parse::<std::net::SocketAddr>().map_err(|_| malformed(format!("listen: `{}`", config.listen)))?;
        config.online.as_ref().map(OnlineConfig::check).transpose()?;
        config.witness.as_ref().map(WitnessConfig::check).transpose()?;
        config.coordinator_id()?;
        if config.certificates.len() > CERTIFICATES_MAX {
            return Err(malformed(format!("more than {CERTIFICATES_MAX} certificates")));
        }
        let words = |c: &Certificate| [&c.issuer, &c.scope, &c.until].map(String::len);
        if config.certificates.iter().flat_map(words).any(|bytes| bytes == 0 || bytes > CERTIFICATE_BYTES_MAX) {
            return Err(malformed(format!("certificates: each word has 1 to {CERTIFICATE_BYTES_MAX} bytes")));
        }
        config.align.check()?;
        config.sources.check()?;
        Ok(config)
    }

    /// Writes it into a folder, whole or not at all.
    ///
    /// # Errors
    /// `store.full`, `io.failed`.
    pub fn write(&self, home: &Path) -> Result<(), Fault> {
        let text = toml::to_string(self).map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
        write_whole(&home.join(CONFIG_FILE), text.as_bytes())
    }

    /// The coordinator's key.
    ///
    /// # Errors
    /// `config.malformed`.
    pub fn coordinator_id(&self) -> Result<NodeId, Fault> {
        NodeId::from_hex(&self.coordinator.fingerprint)
            .map_err(|_| Fault::new(Code::ConfigMalformed, "coordinator.fingerprint is 64 hex digits"))
    }

    /// The role.
    ///
    /// # Errors
    /// `config.malformed`.
    pub fn role(&self) -> Result<PartyRole, Fault> {
        PartyRole::parse(&self.role).map_err(|f| Fault::new(Code::ConfigMalformed, f.what))
    }
}

/// A party's keys.
pub struct Keys {
    /// Signs contracts and the party's card.
    pub root: SigningKey,
    /// TLS, protocol messages, admissions, attestations.
    pub node: SigningKey,
    /// Opens results.
    pub seal: SealKey,
    /// Cosigns checkpoints.
    pub witness: SigningKey,
    /// The node's id: the first key that it had.
    pub node_id: NodeId,
    /// The witness's id: the first key that it had.
    pub witness_id: NodeId,
}

/// Key files by name.
const KEY_FILES: [&str; 4] = ["root.key", "node.key", "seal.key", "witness.key"];

/// What shows that a folder is a coordinator's, whose root key is no party's.
const COORDINATOR_FILES: [&str; 2] = ["coordinator.toml", "log.key"];

impl Keys {
    /// Makes the keys that a folder lacks: all of them, or those that somebody who was interrupted did not come to.
    ///
    /// # Errors
    /// `config.exists` when the folder is a coordinator's; those of the file system and of [`Keys::read`].
    pub fn create(home: &Path) -> Result<Self, Fault> {
        let folder = |e: std::io::Error| io_fault(home, &e);
        std::fs::create_dir_all(home).map_err(folder)?;
        if let Some(file) = COORDINATOR_FILES.iter().find(|f| home.join(f).exists()) {
            return Err(Fault::new(Code::ConfigExists, home.join(file).display().to_string()));
        }
        let mut rng = crate::os_rng()?;
        let seeds = [
            SigningKey::generate(&mut rng).to_seed(),
            SigningKey::generate(&mut rng).to_seed(),
            SealKey::generate(&mut rng).to_bytes(),
            SigningKey::generate(&mut rng).to_seed(),
        ];
        for (file, seed) in KEY_FILES.iter().zip(&seeds) {
            match keyfile::write_new(&home.join(file), seed) {
                Err(fault) if fault.code == Code::ConfigExists => {}
                written => written?,
            }
        }
        Self::read(home)
    }

    /// Reads the keys of a folder.
    ///
    /// # Errors
    /// `config.absent`, `config.key_permissions`, `config.malformed`.
    pub fn read(home: &Path) -> Result<Self, Fault> {
        // First of all: a change of a key that was cut off is ended.
        let changes = Changes::read(home)?;
        let path = |i: usize| -> PathBuf { home.join(KEY_FILES[i]) };
        let seal = keyfile::read(&path(2))?;
        let (node, witness) = (keyfile::read_signing(&path(1))?, keyfile::read_signing(&path(3))?);
        Ok(Self {
            node_id: changes.id(KeyRole::Node, &node.id())?,
            witness_id: changes.id(KeyRole::Witness, &witness.id())?,
            root: keyfile::read_signing(&path(0))?,
            node,
            seal: SealKey::from_bytes(&seal)
                .ok_or_else(|| Fault::new(Code::ConfigMalformed, format!("{}: not a scalar", path(2).display())))?,
            witness,
        })
    }

    /// The party's card, signed by its root key.
    pub fn card(&self, name: &Name, role: PartyRole, at: UnixMillis) -> Statement<PartyCard> {
        let card = PartyCard {
            version: 1,
            name: name.clone(),
            root: self.root.id(),
            node: self.node_id,
            seal: self.seal_public(),
            witness: self.witness_id,
            role,
            issued_at: at,
        };
        Statement::sign(&self.root, name.as_str(), at, None, card)
    }

    /// The key to which results are sealed.
    pub fn seal_public(&self) -> SealPublic {
        self.seal.public()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_have_their_limits() {
        let pin =
            format!("address = \"[::1]:1\"\nfingerprint = \"{}\"\norigin = \"o\"\nlog_key = \"k\"", "0".repeat(64));
        let read = |n: usize, bytes: usize| {
            let one = format!(
                "[[certificates]]\nissuer = \"{}\"\nscope = \"s\"\nuntil = \"2027-03-31\"\n",
                "i".repeat(bytes)
            );
            Config::parse(&format!("name = \"a\"\nrole = \"node\"\n{}[coordinator]\n{pin}", one.repeat(n)))
        };
        assert_eq!(read(CERTIFICATES_MAX, CERTIFICATE_BYTES_MAX).unwrap().certificates.len(), CERTIFICATES_MAX);
        for (n, bytes) in [(CERTIFICATES_MAX + 1, 1), (1, CERTIFICATE_BYTES_MAX + 1), (1, 0)] {
            assert_eq!(read(n, bytes).unwrap_err().code, Code::ConfigMalformed, "{n} {bytes}");
        }
    }
}
