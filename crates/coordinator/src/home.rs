//! The home folder: configuration, keys, database, log, and the lock that one daemon holds.

use std::fs::{File, OpenOptions, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tacit_archive::files::io_fault;
use tacit_crypto::{Rng, Secret, SigningKey};
use tacit_net::{Address, keyfile};
use tacit_types::{Code, Fault, NodeId};

use crate::config::{Config, check_origin};

/// What a new home is told.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// Where the daemon will listen, UDP.
    pub listen: SocketAddr,
    /// The address that invitations name; the listening address when absent.
    pub public: Option<Address>,
    /// The log's name, such as `tacit.local/usage/2026`.
    pub origin: String,
}

/// A home that was made.
#[derive(Clone, Debug)]
pub struct Initialised {
    /// The coordinator's key, to be compared out of band.
    pub fingerprint: NodeId,
    /// The key that signs checkpoints.
    pub log_key: NodeId,
    /// The configuration file.
    pub config: PathBuf,
}

/// What shows that a folder is a party's, whose root key is no coordinator's.
const PARTY_FILES: [&str; 2] = ["node.toml", "node.key"];

/// Makes a home: keys, configuration and an empty log folder. The configuration is written last, so
/// that a home without it was not finished, and is by the next call; nothing that exists is overwritten.
///
/// # Errors
/// `config.exists`, `args.invalid` for an unusable origin, `store.full`, `io.failed`.
pub fn init(home: &Path, options: InitOptions) -> Result<Initialised, Fault> {
    let paths = Home::new(home);
    check_origin(&options.origin).map_err(|f| Fault::new(Code::ArgsInvalid, format!("origin: {}", f.what)))?;
    if paths.config().exists() {
        return Err(Fault::new(Code::ConfigExists, paths.config().display().to_string()));
    }
    if let Some(other) = PARTY_FILES.iter().map(|f| home.join(f)).find(|p| p.exists()) {
        return Err(Fault::new(Code::ConfigExists, format!("{}: this folder is a party's", other.display())));
    }
    make_folder(home)?;
    make_folder(&paths.log())?;
    let mut rng = os_rng()?;
    let mut key = |path: PathBuf| {
        let key = SigningKey::generate(&mut rng);
        match keyfile::write_new(&path, &key.to_seed()) {
            Err(fault) if fault.code == Code::ConfigExists => keyfile::read_signing(&path).map(|key| key.id()),
            written => written.map(|()| key.id()),
        }
    };
    let (fingerprint, log_key) = (key(paths.root_key())?, key(paths.log_key())?);
    // A debug-quoted string of these values is a TOML basic string: no control character passes the checks.
    let mut text = format!("listen = \"{}\"\norigin = {:?}\n", options.listen, options.origin);
    if let Some(public) = &options.public {
        text.push_str(&format!("public = \"{public}\"\n"));
    }
    Config::parse("coordinator.toml", &text)?;
    tacit_archive::files::write_durable(&paths.config(), text.as_bytes())?;
    Ok(Initialised { fingerprint, log_key, config: paths.config() })
}

fn make_folder(path: &Path) -> Result<(), Fault> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path).map_err(|e| io_fault(path, &e))
}

/// A generator seeded by the operating system.
///
/// # Errors
/// `internal` when there is no randomness.
pub(crate) fn os_rng() -> Result<Rng, Fault> {
    let mut seed = [0u8; 32];
    getrandom::fill(&mut seed).map_err(|e| Fault::new(Code::Internal, format!("randomness: {e}")))?;
    Ok(Rng::from_seed(&Secret::new(seed)))
}

/// The paths of a home.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

impl Home {
    pub(crate) fn new(home: &Path) -> Self {
        Self(home.to_owned())
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("coordinator.toml")
    }

    pub(crate) fn root_key(&self) -> PathBuf {
        self.0.join("root.key")
    }

    pub(crate) fn log_key(&self) -> PathBuf {
        self.0.join("log.key")
    }

    /// The key that comes, while it is made.
    pub(crate) fn log_key_next(&self) -> PathBuf {
        self.0.join("log.key.next")
    }

    /// The key of before, while it still signs.
    pub(crate) fn log_key_before(&self) -> PathBuf {
        self.0.join("log.key.before")
    }

    /// The signed changes of the log's key.
    pub(crate) fn log_rotations(&self) -> PathBuf {
        self.0.join("log.rotations")
    }

    /// The key that signs receipts, once it is another than the root key.
    pub(crate) fn sign_key(&self) -> PathBuf {
        self.0.join("sign.key")
    }

    /// The key that comes, while it is made.
    pub(crate) fn sign_key_next(&self) -> PathBuf {
        self.0.join("sign.key.next")
    }

    /// The signed changes of the key that signs receipts.
    pub(crate) fn sign_rotations(&self) -> PathBuf {
        self.0.join("sign.rotations")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("coordinator.db")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(crate) fn depot(&self) -> PathBuf {
        self.0.join("depot")
    }

    /// Takes the folder for this process until the file is dropped, a kill included.
    pub(crate) fn lock(&self) -> Result<File, Fault> {
        let path = self.0.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|e| io_fault(&path, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Fault::new(Code::StoreLocked, path.display().to_string())),
            Err(TryLockError::Error(e)) => Err(io_fault(&path, &e)),
        }
    }
}
