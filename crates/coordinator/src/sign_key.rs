//! The key with which the coordinator signs what it says in the log, receipts before all: `root.key`, until `sign.key` takes its
//! place by a change that the key of before signs. The coordinator stays who it is: its id is the root key, to which everybody
//! connects and which trust files name.

use std::path::Path;

use tacit_archive::files::{io_fault, rename_durable, write_durable};
use tacit_crypto::{SigningKey, Statement};
use tacit_net::keyfile;
use tacit_receipts::keys::{self, PARTY_KEYS_MAX};
use tacit_receipts::rotation::OVERLAP_MILLIS_MAX;
use tacit_receipts::tiles::CHECKPOINT_PATH;
use tacit_receipts::{KeyHistory, KeyRole, PartyRotation};
use tacit_types::{Code, Fault, NodeId, UnixMillis};

use crate::clock::Clock;
use crate::config::Config;
use crate::home::{Home, os_rng};

/// The key that signs now, and the signed changes that lead to it.
pub(crate) struct Signer {
    pub key: SigningKey,
    pub changes: Vec<Statement<PartyRotation>>,
    keys: KeyHistory,
}

impl Signer {
    /// Reads the key of a home that this process has locked, and ends a change that was cut off after it was signed.
    ///
    /// # Errors
    /// Those of key files; `config.malformed` when the changes do not lead to the key that is here.
    pub fn load(paths: &Home, origin: &str, root: &SigningKey) -> Result<Self, Fault> {
        let file = paths.sign_rotations();
        let wrong = |what: &str| Fault::new(Code::ConfigMalformed, format!("{}: {what}", file.display()));
        let changes = match std::fs::read(&file) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            read => {
                let bytes = read.map_err(|e| io_fault(&file, &e))?;
                keys::from_file(&bytes, PARTY_KEYS_MAX).map_err(|f| wrong(&f.what))?
            }
        };
        let mut keys = KeyHistory::new(origin);
        let id = (KeyRole::Coordinator, root.id());
        for change in &changes {
            keys.follow(change, None, &|role, key| (role, *key) == id).map_err(|f| wrong(&f.what))?;
        }
        let Some(last) = changes.last() else { return Ok(Self { key: root.share(), changes, keys }) };
        finish(paths, last.body())?;
        let key = keyfile::read_signing(&paths.sign_key())?;
        if keys.newest(id.0, &id.1) != key.id() {
            return Err(wrong("it does not end with the key of sign.key"));
        }
        Ok(Self { key, changes, keys })
    }
}

/// Puts the key of a signed change in its place, from wherever it was cut off. What the key of before has signed stays good; it
/// signs nothing more.
fn finish(paths: &Home, last: &PartyRotation) -> Result<(), Fault> {
    let next = paths.sign_key_next();
    let holds = next.exists() && keyfile::read_signing(&next).is_ok_and(|key| key.id() == last.new);
    if holds { rename_durable(&next, &paths.sign_key()) } else { Ok(()) }
}

/// What became of the key that signs receipts.
#[derive(Clone, Debug)]
pub struct SignRotated {
    /// The key that goes.
    pub old: NodeId,
    /// The key that comes.
    pub new: NodeId,
    /// From when on the new one signs.
    pub from: UnixMillis,
    /// Until when what the old one signed before may still come.
    pub until: UnixMillis,
}

/// Gives the coordinator of a home whose daemon does not run the next key for receipts. The old key signs the change, which the
/// daemon puts into the log before anything that the new one signs.
///
/// # Errors
/// `args.invalid` for an overlap over [`OVERLAP_MILLIS_MAX`]; `receipt.key_rotation` while the overlap of the change before
/// lasts, and before the log has begun; `store.locked` while a daemon serves the home; those of configuration and key files.
pub fn rotate_sign_key(home: &Path, overlap_ms: u64) -> Result<SignRotated, Fault> {
    if overlap_ms > OVERLAP_MILLIS_MAX {
        let what = format!("an overlap of {overlap_ms} ms; {OVERLAP_MILLIS_MAX} are allowed");
        return Err(Fault::new(Code::ArgsInvalid, what));
    }
    let paths = Home::new(home);
    let config = Config::read(&paths.config())?;
    let _lock = paths.lock()?;
    if !paths.log().join(CHECKPOINT_PATH).exists() {
        // Its first leaves are signed with the first key.
        return Err(Fault::new(Code::ReceiptKeyRotation, "the log has not begun"));
    }
    let root = keyfile::read_signing(&paths.root_key())?;
    let mut signer = Signer::load(&paths, &config.origin, &root)?;
    // What a change that was never signed left behind is nobody's key.
    let next = paths.sign_key_next();
    match std::fs::remove_file(&next) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io_fault(&next, &e)),
        _ => {}
    }
    let new = SigningKey::generate(&mut os_rng()?);
    let from = Clock::system().now();
    let (id, until) = ((KeyRole::Coordinator, root.id()), from.plus(overlap_ms));
    let change = PartyRotation::sign(&config.origin, id, (&signer.key, &new), (from, until));
    signer.keys.follow(&change, None, &|role, key| (role, *key) == id)?;
    keyfile::write_new(&next, &new.to_seed())?;
    let all = signer.changes.iter().chain([&change]).map(Statement::bytes);
    // From here on it is done, whatever happens: the next start ends what is left.
    write_durable(&paths.sign_rotations(), &keys::to_file(all))?;
    finish(&paths, change.body())?;
    Ok(SignRotated { old: signer.key.id(), new: new.id(), from, until })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::{InitOptions, init};

    const ORIGIN: &str = "log.example/usage/2026";

    fn home() -> (tempfile::TempDir, Home, SigningKey) {
        let home = tempfile::TempDir::new().unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        init(home.path(), InitOptions { listen, public: None, origin: ORIGIN.into() }).unwrap();
        let paths = Home::new(home.path());
        let root = keyfile::read_signing(&paths.root_key()).unwrap();
        (home, paths, root)
    }

    fn load(paths: &Home, root: &SigningKey) -> Result<NodeId, Code> {
        Signer::load(paths, ORIGIN, root).map(|signer| signer.key.id()).map_err(|fault| fault.code)
    }

    #[test]
    fn the_key_changes_once_the_log_has_begun_and_an_overlap_is_over() {
        let (home, paths, root) = home();
        assert_eq!(load(&paths, &root), Ok(root.id()));
        let rotate = |ms| rotate_sign_key(home.path(), ms).map_err(|fault| fault.code);
        assert_eq!(rotate(0).unwrap_err(), Code::ReceiptKeyRotation, "nothing is in the log");
        std::fs::write(paths.log().join(CHECKPOINT_PATH), "").unwrap();
        assert_eq!(rotate(OVERLAP_MILLIS_MAX + 1).unwrap_err(), Code::ArgsInvalid);
        let first = rotate(0).unwrap();
        assert_eq!((first.old, load(&paths, &root)), (root.id(), Ok(first.new)));
        std::thread::sleep(std::time::Duration::from_millis(5));
        let second = rotate(OVERLAP_MILLIS_MAX).unwrap();
        assert_eq!((second.old, load(&paths, &root)), (first.new, Ok(second.new)));
        assert_eq!(rotate(0).unwrap_err(), Code::ReceiptKeyRotation, "the overlap lasts");
        let _held = paths.lock().unwrap();
        assert_eq!(rotate(0).unwrap_err(), Code::StoreLocked);
    }

    #[test]
    fn a_change_that_was_cut_off_goes_on_and_another_key_is_refused() {
        let (home, paths, root) = home();
        std::fs::write(paths.log().join(CHECKPOINT_PATH), "").unwrap();
        let change = rotate_sign_key(home.path(), 0).unwrap();
        // As after a kill between the signed change and the key's place.
        std::fs::rename(paths.sign_key(), paths.sign_key_next()).unwrap();
        assert_eq!(load(&paths, &root), Ok(change.new));
        std::fs::remove_file(paths.sign_key()).unwrap();
        keyfile::write_new(&paths.sign_key(), &SigningKey::generate(&mut os_rng().unwrap()).to_seed()).unwrap();
        assert_eq!(load(&paths, &root), Err(Code::ConfigMalformed));
        std::fs::write(paths.sign_rotations(), "junk").unwrap();
        assert_eq!(load(&paths, &root), Err(Code::ConfigMalformed));
    }
}
