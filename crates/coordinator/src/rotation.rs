//! The keys with which the log has signed: the one of now, the one of before while its overlap lasts, and the signed
//! changes between all of them.

use std::path::Path;

use tacit_archive::files::{io_fault, rename_durable, write_durable};
use tacit_crypto::{SigningKey, Statement};
use tacit_net::keyfile;
use tacit_receipts::rotation::{self, LOG_KEYS_MAX, OVERLAP_MILLIS_MAX};
use tacit_receipts::{KeyKind, KeyRotation, LogChain, VerifierKey};
use tacit_types::{Code, Fault, UnixMillis};

use crate::clock::Clock;
use crate::config::Config;
use crate::home::{Home, os_rng};

/// The key of before.
pub(crate) struct Before {
    pub key: SigningKey,
    pub verifier: VerifierKey,
    /// Until when it signs as well.
    pub until: UnixMillis,
}

/// Every key of the log that this home knows.
pub(crate) struct LogSigners {
    pub key: SigningKey,
    pub verifier: VerifierKey,
    pub before: Option<Before>,
    /// All keys, in their order.
    pub chain: LogChain,
    /// The signed changes, in their order.
    pub rotations: Vec<Vec<u8>>,
}

impl LogSigners {
    /// Reads the keys of a home that this process has locked, and ends a change that was cut off after it was signed.
    ///
    /// # Errors
    /// Those of key files; `config.malformed` when the changes do not lead to the key that is here.
    pub fn load(paths: &Home, origin: &str) -> Result<Self, Fault> {
        let rotations = read(paths)?;
        let last = rotations.last().map(|bytes| statement(paths, bytes)).transpose()?;
        if let Some(last) = &last {
            finish(paths, last.body())?;
        }
        let key = keyfile::read_signing(&paths.log_key())?;
        let verifier = VerifierKey::new(origin, KeyKind::Ed25519, key.id())?;
        let mut chain = LogChain::from(verifier.clone());
        let file = paths.log_rotations();
        let wrong = |what: &str| Fault::new(Code::ConfigMalformed, format!("{}: {what}", file.display()));
        chain.take(rotations.iter().map(Vec::as_slice)).map_err(|f| wrong(&f.what))?;
        if *chain.newest() != verifier {
            return Err(wrong("it does not end with the key of log.key"));
        }
        let mut before = None;
        if let (Some(last), true) = (last, paths.log_key_before().exists()) {
            let key = keyfile::read_signing(&paths.log_key_before())?;
            let verifier = VerifierKey::new(origin, KeyKind::Ed25519, key.id())?;
            before = Some(Before { key, verifier, until: last.body().until });
        }
        Ok(Self { key, verifier, before, chain, rotations })
    }

    /// Removes the key of before once its time is over: what is not there cannot be stolen.
    ///
    /// # Errors
    /// `io.failed`.
    pub fn retire(&mut self, paths: &Home, now: UnixMillis) -> Result<(), Fault> {
        if self.before.as_ref().is_some_and(|before| before.until < now) {
            let path = paths.log_key_before();
            std::fs::remove_file(&path).map_err(|e| io_fault(&path, &e))?;
            tracing::info!("the log's key of before is retired and removed");
            self.before = None;
        }
        Ok(())
    }
}

fn read(paths: &Home) -> Result<Vec<Vec<u8>>, Fault> {
    let path = paths.log_rotations();
    let bytes = match std::fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|e| io_fault(&path, &e))?,
    };
    rotation::from_file(&bytes)
        .map_err(|f| Fault::new(Code::ConfigMalformed, format!("{}: {}", path.display(), f.what)))
}

fn statement(paths: &Home, bytes: &[u8]) -> Result<Statement<KeyRotation>, Fault> {
    Statement::verify(bytes)
        .map_err(|e| Fault::new(Code::ConfigMalformed, format!("{}: {e}", paths.log_rotations().display())))
}

/// Puts the files of a signed change in their places, from wherever it was cut off.
fn finish(paths: &Home, last: &KeyRotation) -> Result<(), Fault> {
    let [now, next, before] = [paths.log_key(), paths.log_key_next(), paths.log_key_before()];
    let holds = |path: &Path, id| path.exists() && keyfile::read_signing(path).is_ok_and(|key| key.id() == id);
    if !holds(&next, last.new) {
        return Ok(());
    }
    if holds(&now, last.old) {
        rename_durable(&now, &before)?;
    }
    rename_durable(&next, &now)
}

/// What became of the log's key.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The key that goes.
    pub old: VerifierKey,
    /// The key that comes.
    pub new: VerifierKey,
    /// From when on the new one holds.
    pub from: UnixMillis,
    /// Until when the old one signs as well.
    pub until: UnixMillis,
}

/// Gives the log of a home whose daemon does not run its next key. The old key signs the change, which the daemon puts
/// into the log when it starts; until the overlap is over both sign.
///
/// # Errors
/// `args.invalid` for an overlap over [`OVERLAP_MILLIS_MAX`]; `log.key_rotation` while the overlap of the change before
/// lasts; `store.locked` while a daemon serves the home; those of configuration and key files.
pub fn rotate_log_key(home: &Path, overlap_ms: u64) -> Result<Rotated, Fault> {
    if overlap_ms > OVERLAP_MILLIS_MAX {
        let what = format!("an overlap of {overlap_ms} ms; {OVERLAP_MILLIS_MAX} are allowed");
        return Err(Fault::new(Code::ArgsInvalid, what));
    }
    let paths = Home::new(home);
    let config = Config::read(&paths.config())?;
    let _lock = paths.lock()?;
    let now = Clock::system().now();
    let mut signers = LogSigners::load(&paths, &config.origin)?;
    signers.retire(&paths, now)?;
    if let Some(before) = &signers.before {
        let what = format!("the key of before signs until {}", before.until);
        return Err(Fault::new(Code::LogKeyRotation, what));
    }
    if signers.rotations.len() + 1 >= LOG_KEYS_MAX {
        return Err(Fault::new(Code::LogKeyRotation, "the log has had as many keys as it may; begin a new log"));
    }
    // What a change that was never signed left behind is nobody's key.
    let next = paths.log_key_next();
    match std::fs::remove_file(&next) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io_fault(&next, &e)),
        _ => {}
    }
    let new = SigningKey::generate(&mut os_rng()?);
    keyfile::write_new(&next, &new.to_seed())?;
    let until = now.plus(overlap_ms);
    let signed = KeyRotation::sign(&config.origin, (&signers.key, &new), (now, until));
    signers.rotations.push(signed.bytes().to_vec());
    // From here on it is done, whatever happens: the next start ends what is left.
    write_durable(&paths.log_rotations(), &rotation::to_file(&signers.rotations))?;
    finish(&paths, signed.body())?;
    let new = VerifierKey::new(&config.origin, KeyKind::Ed25519, new.id())?;
    Ok(Rotated { old: signers.verifier, new, from: now, until })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::{InitOptions, init};

    const ORIGIN: &str = "log.example/usage/2026";

    fn home() -> (tempfile::TempDir, Home) {
        let home = tempfile::TempDir::new().unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        init(home.path(), InitOptions { listen, public: None, origin: ORIGIN.into() }).unwrap();
        let paths = Home::new(home.path());
        (home, paths)
    }

    fn load(paths: &Home) -> LogSigners {
        LogSigners::load(paths, ORIGIN).unwrap()
    }

    #[test]
    fn a_change_keeps_both_keys_until_its_overlap_is_over() {
        let (home, paths) = home();
        let first = load(&paths).verifier;
        let done = rotate_log_key(home.path(), 60_000).unwrap();
        let mut now = load(&paths);
        assert_eq!((&done.old, &done.new), (&first, &now.verifier));
        assert_eq!(now.chain.keys().map(|k| k.key.clone()).collect::<Vec<_>>(), [first.clone(), done.new]);
        let before = now.before.as_ref().unwrap();
        assert_eq!((&before.verifier, before.until), (&first, done.until));
        let refused = rotate_log_key(home.path(), 0).unwrap_err();
        assert_eq!(refused.code, Code::LogKeyRotation, "{refused}");
        now.retire(&paths, done.until).unwrap();
        assert!(now.before.is_some(), "the last moment counts");
        now.retire(&paths, done.until.plus(1)).unwrap();
        assert!(now.before.is_none() && load(&paths).before.is_none() && !paths.log_key_before().exists());
        rotate_log_key(home.path(), 0).unwrap();
        assert_eq!(load(&paths).chain.keys().count(), 3);
        let over = rotate_log_key(home.path(), OVERLAP_MILLIS_MAX + 1).unwrap_err();
        assert_eq!(over.code, Code::ArgsInvalid);
    }

    #[test]
    fn a_change_that_was_cut_off_anywhere_has_happened_or_has_not() {
        let (home, paths) = home();
        let old = keyfile::read_signing(&paths.log_key()).unwrap();
        // Before it was signed.
        let stray = SigningKey::generate(&mut os_rng().unwrap());
        keyfile::write_new(&paths.log_key_next(), &stray.to_seed()).unwrap();
        assert_eq!(load(&paths).key.id(), old.id());
        let done = rotate_log_key(home.path(), 60_000).unwrap();
        assert_ne!(done.new.key(), stray.id());
        let [now, next, before] = [paths.log_key(), paths.log_key_next(), paths.log_key_before()];
        // After it was signed: no file moved, one moved.
        std::fs::rename(&now, &next).unwrap();
        std::fs::rename(&before, &now).unwrap();
        assert_eq!(load(&paths).verifier, done.new);
        assert!(before.exists() && !next.exists());
        std::fs::rename(&now, &next).unwrap();
        let again = load(&paths);
        assert_eq!((again.verifier, again.before.unwrap().key.id()), (done.new, old.id()));
    }

    #[test]
    fn changes_that_lead_elsewhere_are_refused() {
        let (home, paths) = home();
        rotate_log_key(home.path(), 60_000).unwrap();
        std::fs::copy(paths.log_key_before(), paths.log_key()).unwrap();
        assert_eq!(LogSigners::load(&paths, ORIGIN).err().unwrap().code, Code::ConfigMalformed);
        std::fs::write(paths.log_rotations(), b"junk").unwrap();
        assert_eq!(LogSigners::load(&paths, ORIGIN).err().unwrap().code, Code::ConfigMalformed);
    }
}
