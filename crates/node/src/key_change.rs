//! The keys with which this party's node and witness sign, and how one gives way to the next.
//!
//! A change is made in steps, each whole on disk before the next, and what was cut off goes on with the same new key:
//!
//! 1. `node.key.next` holds the key that comes, `node.key.change` the change that the key that goes has signed.
//! 2. The coordinator has put the change into its log.
//! 3. `key.changes` has it as well. From here on it is done: `node.key` becomes `node.key.before`, the next key `node.key`.
//!
//! The key of before is removed when its overlap is over. For a witness the files begin with `witness.key`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tacit_archive::files::{io_fault, rename_durable, write_durable};
use tacit_crypto::{SigningKey, Statement};
use tacit_net::keyfile;
use tacit_receipts::keys::{self, PARTY_KEYS_MAX};
use tacit_receipts::rotation::OVERLAP_MILLIS_MAX;
use tacit_receipts::{KeyHistory, KeyRole, PartyRotation};
use tacit_types::{Code, Fault, NodeId, UnixMillis};

/// The changes of this party's keys that the log has, in their order.
const CHANGES_FILE: &str = "key.changes";
/// Held while a change is made.
const LOCK_FILE: &str = "key.lock";
/// Changes of one party's keys: of its node and of its witness.
const CHANGES_MAX: usize = 2 * (PARTY_KEYS_MAX - 1);

/// The files of one role.
struct Files {
    now: PathBuf,
    next: PathBuf,
    change: PathBuf,
    before: PathBuf,
}

impl Files {
    fn of(home: &Path, role: KeyRole) -> Self {
        let file = |end: &str| home.join(format!("{}.key{end}", role.word()));
        Self { now: file(""), next: file(".next"), change: file(".change"), before: file(".before") }
    }
}

/// The changes of this party's keys, and what they lead to.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    all: Vec<Statement<PartyRotation>>,
    keys: KeyHistory,
}

impl Changes {
    /// Reads the changes of a folder, and ends one that was cut off once it was done.
    ///
    /// # Errors
    /// `config.malformed` for changes that do not follow; `io.failed`.
    pub fn read(home: &Path) -> Result<Self, Fault> {
        let path = home.join(CHANGES_FILE);
        let malformed = |what: String| Fault::new(Code::ConfigMalformed, format!("{}: {what}", path.display()));
        let Some(bytes) = read(&path)? else { return Ok(Self::default()) };
        let mut changes = Self::default();
        for change in keys::from_file(&bytes, CHANGES_MAX).map_err(|f| malformed(f.what))? {
            changes.push(change).map_err(|f| malformed(f.what))?;
        }
        for role in [KeyRole::Node, KeyRole::Witness] {
            if let Some(last) = changes.last(role) {
                finish(&Files::of(home, role), last)?;
            }
        }
        Ok(changes)
    }

    fn push(&mut self, change: Statement<PartyRotation>) -> Result<(), Fault> {
        if self.all.is_empty() {
            self.keys = KeyHistory::new(&change.body().origin);
        }
        let (role, id) = (change.body().role, change.body().id);
        if self.last(role).is_some_and(|last| last.id != id) {
            return Err(Fault::new(Code::ReceiptKeyRotation, "it is another party's"));
        }
        self.keys.follow_any(&change, None)?;
        self.all.push(change);
        Ok(())
    }

    fn last(&self, role: KeyRole) -> Option<&PartyRotation> {
        self.all.iter().rev().map(Statement::body).find(|body| body.role == role)
    }

    /// The id that a key speaks for in a role: the first key there was.
    ///
    /// # Errors
    /// `config.malformed` when the changes lead to another key.
    pub fn id(&self, role: KeyRole, key: &NodeId) -> Result<NodeId, Fault> {
        match self.last(role) {
            None => Ok(*key),
            Some(last) if last.new == *key => Ok(last.id),
            Some(_) => {
                let what = format!("{CHANGES_FILE} does not end with the key of {}.key", role.word());
                Err(Fault::new(Code::ConfigMalformed, what))
            }
        }
    }

    /// The last change of a role: since when its key holds, and until when the one of before does.
    pub fn newest(&self, role: KeyRole) -> Option<(UnixMillis, UnixMillis)> {
        self.last(role).map(|last| (last.from, last.until))
    }

    fn to_bytes(&self) -> Vec<u8> {
        keys::to_file(self.all.iter().map(Statement::bytes))
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Fault> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_fault(path, &e)),
    }
}

fn remove(path: &Path) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_fault(path, &e)),
        _ => Ok(()),
    }
}

fn holds(path: &Path, id: NodeId) -> bool {
    path.exists() && keyfile::read_signing(path).is_ok_and(|key| key.id() == id)
}

/// Puts the files of a change that is done in their places, from wherever it was cut off. There is a key at every moment.
fn finish(files: &Files, last: &PartyRotation) -> Result<(), Fault> {
    if holds(&files.next, last.new) {
        if holds(&files.now, last.old) {
            remove(&files.before)?;
            fs::hard_link(&files.now, &files.before).map_err(|e| io_fault(&files.before, &e))?;
        }
        rename_durable(&files.next, &files.now)?;
    }
    Ok(())
}

/// Removes keys of before whose overlap is over, and whose change this node has found in the log: what is not there cannot be
/// stolen. A coordinator that said it had logged a change and did not leaves a key with which it can be handed in again.
///
/// # Errors
/// Those of [`Changes::read`].
pub fn retire(home: &Path, logged: &KeyHistory, now: UnixMillis) -> Result<(), Fault> {
    let changes = Changes::read(home)?;
    for role in [KeyRole::Node, KeyRole::Witness] {
        if changes.last(role).is_some_and(|last| last.until < now && logged.id_of(role, &last.new) == last.id) {
            remove(&Files::of(home, role).before)?;
        }
    }
    Ok(())
}

/// A change that is signed and that the log may have or not.
pub struct Prepared {
    home: PathBuf,
    /// The signed change.
    pub statement: Statement<PartyRotation>,
    /// The key that goes.
    pub old: SigningKey,
    /// The key that comes.
    pub new: SigningKey,
    _lock: File,
}

/// Has the key of a role name its successor. One that was named before and is not done yet is the same again.
///
/// # Errors
/// `args.invalid` for an overlap over [`OVERLAP_MILLIS_MAX`]; `receipt.key_rotation` while the overlap of the change before
/// lasts; `store.locked` while another change is made; those of key files.
pub fn prepare(home: &Path, role: KeyRole, origin: &str, overlap_ms: u64, now: UnixMillis) -> Result<Prepared, Fault> {
    if overlap_ms > OVERLAP_MILLIS_MAX {
        let what = format!("an overlap of {overlap_ms} ms; {OVERLAP_MILLIS_MAX} are allowed");
        return Err(Fault::new(Code::ArgsInvalid, what));
    }
    let lock = lock(home)?;
    let (changes, files) = (Changes::read(home)?, Files::of(home, role));
    let old = keyfile::read_signing(&files.now)?;
    let id = changes.id(role, &old.id())?;
    let prepared = |statement, old, new| Prepared { home: home.to_owned(), statement, old, new, _lock: lock };
    if let Some(statement) = under_way(&files)?.filter(|change| change.body().old == old.id()) {
        let new = keyfile::read_signing(&files.next)?;
        if statement.body().new == new.id() && statement.body().origin == origin {
            return Ok(prepared(statement, old, new));
        }
    }
    if let Some((_, until)) = changes.newest(role).filter(|(_, until)| now <= *until) {
        let what = format!("the {} key of before holds until {until}", role.word());
        return Err(Fault::new(Code::ReceiptKeyRotation, what));
    }
    remove(&files.before)?;
    if !files.next.exists() {
        keyfile::write_new(&files.next, &SigningKey::generate(&mut crate::os_rng()?).to_seed())?;
    }
    let new = keyfile::read_signing(&files.next)?;
    let statement = PartyRotation::sign(origin, (role, id), (&old, &new), (now, now.plus(overlap_ms)));
    let mut longer = changes;
    longer.push(statement.clone())?;
    write_durable(&files.change, statement.bytes())?;
    Ok(prepared(statement, old, new))
}

fn under_way(files: &Files) -> Result<Option<Statement<PartyRotation>>, Fault> {
    let Some(bytes) = read(&files.change)? else { return Ok(None) };
    // why: what cannot be read was never handed to anybody, and is written anew.
    Ok(Statement::verify(&bytes).ok())
}

/// Whether a change of a role was signed and is not done.
///
/// # Errors
/// Those of [`Changes::read`].
pub fn is_under_way(home: &Path, role: KeyRole) -> Result<bool, Fault> {
    let files = Files::of(home, role);
    let now = keyfile::read_signing(&files.now)?.id();
    Ok(under_way(&files)?.is_some_and(|change| change.body().old == now))
}

impl Prepared {
    /// Takes the signature back, for a change that the log does not have and will not take: it is signed anew with the same key.
    ///
    /// # Errors
    /// `io.failed`.
    pub fn withdraw(self) -> Result<(), Fault> {
        remove(&Files::of(&self.home, self.statement.body().role).change)
    }

    /// Ends the change, once the log has it.
    ///
    /// # Errors
    /// `io.failed`, `store.full`: then the same command goes on.
    pub fn done(self) -> Result<(), Fault> {
        let mut changes = Changes::read(&self.home)?;
        let files = Files::of(&self.home, self.statement.body().role);
        changes.push(self.statement.clone())?;
        write_durable(&self.home.join(CHANGES_FILE), &changes.to_bytes())?;
        finish(&files, self.statement.body())?;
        remove(&files.change)
    }
}

fn lock(home: &Path) -> Result<File, Fault> {
    let path = home.join(LOCK_FILE);
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|e| io_fault(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Fault::new(Code::StoreLocked, path.display().to_string())),
        Err(fs::TryLockError::Error(e)) => Err(io_fault(&path, &e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Keys;

    const ORIGIN: &str = "log.example/usage/2026";
    const HOUR: u64 = 3_600_000;
    const T0: UnixMillis = UnixMillis(1_800_000_000_000);

    fn home() -> (tempfile::TempDir, NodeId) {
        let home = tempfile::TempDir::new().unwrap();
        let id = Keys::create(home.path()).unwrap().node.id();
        (home, id)
    }

    fn begin(home: &Path, now: UnixMillis) -> Result<Prepared, Fault> {
        prepare(home, KeyRole::Node, ORIGIN, HOUR, now)
    }

    fn at(home: &Path, name: &str) -> bool {
        home.join(name).exists()
    }

    #[test]
    fn a_change_keeps_the_id_and_the_key_of_before_for_its_overlap() {
        let (home, id) = home();
        let home = home.path();
        let prepared = begin(home, T0).unwrap();
        let new = prepared.new.id();
        assert_eq!(Keys::read(home).unwrap().node.id(), id, "nothing has changed before the log has it");
        assert_eq!(begin(home, T0).err().unwrap().code, Code::StoreLocked, "one at a time");
        let change = prepared.statement.clone();
        prepared.done().unwrap();
        let keys = Keys::read(home).unwrap();
        assert_eq!((keys.node.id(), keys.node_id), (new, id));
        assert_eq!((keys.witness.id(), keys.witness.id()), (keys.witness_id, keys.witness_id));
        assert!(at(home, "node.key.before") && !at(home, "node.key.next") && !at(home, "node.key.change"));
        let end = T0.plus(HOUR);
        assert_eq!(begin(home, end).err().unwrap().code, Code::ReceiptKeyRotation, "the overlap before it lasts");
        let mut logged = KeyHistory::new(ORIGIN);
        retire(home, &logged, end.plus(1)).unwrap();
        assert!(at(home, "node.key.before"), "the log has nothing of it");
        logged.follow(&change, None, &|_, key| *key == id).unwrap();
        retire(home, &logged, end).unwrap();
        assert!(at(home, "node.key.before"), "the last moment counts");
        retire(home, &logged, end.plus(1)).unwrap();
        assert!(!at(home, "node.key.before"));
        begin(home, end.plus(1)).unwrap().done().unwrap();
        let third = Keys::read(home).unwrap();
        assert_eq!(third.node_id, id);
        assert!(third.node.id() != new && third.node.id() != id);
        let over = prepare(home, KeyRole::Node, ORIGIN, OVERLAP_MILLIS_MAX + 1, T0).err().unwrap();
        assert_eq!(over.code, Code::ArgsInvalid);
        drop(prepare(home, KeyRole::Witness, ORIGIN, OVERLAP_MILLIS_MAX, T0).unwrap());
    }

    #[test]
    fn what_was_cut_off_goes_on_with_the_same_key() {
        let (home, id) = home();
        let home = home.path();
        // After the key was made, and before the change was signed.
        let first = begin(home, T0).unwrap();
        let new = first.new.id();
        first.withdraw().unwrap();
        assert_eq!(begin(home, T0.plus(5)).unwrap().statement.body().from, T0.plus(5));
        // After it was signed: the very same again, whatever time it is.
        let again = begin(home, T0.plus(9 * HOUR)).unwrap();
        assert_eq!((again.new.id(), again.statement.body().from), (new, T0.plus(5)));
        assert!(is_under_way(home, KeyRole::Node).unwrap() && !is_under_way(home, KeyRole::Witness).unwrap());
        // After it was done: no file moved, the old key kept, all moved and the change still there.
        let [now, next, before] = ["node.key", "node.key.next", "node.key.before"].map(|name| home.join(name));
        let change = again.statement.bytes().to_vec();
        again.done().unwrap();
        fs::rename(&now, &next).unwrap();
        fs::rename(&before, &now).unwrap();
        for kept in [false, true] {
            if kept {
                fs::rename(&now, &next).unwrap();
                fs::copy(&before, &now).unwrap();
            }
            let keys = Keys::read(home).unwrap();
            assert_eq!((keys.node.id(), keys.node_id), (new, id));
            assert!(holds(&before, id) && !next.exists());
        }
        fs::write(home.join("node.key.change"), change).unwrap();
        assert!(!is_under_way(home, KeyRole::Node).unwrap());
        assert_eq!(begin(home, T0).err().unwrap().code, Code::ReceiptKeyRotation);
        let next = begin(home, T0.plus(9 * HOUR)).unwrap();
        assert_eq!(next.statement.body().old, new);
    }

    #[test]
    fn changes_that_lead_elsewhere_are_refused() {
        let (home, _) = home();
        let home = home.path();
        begin(home, T0).unwrap().done().unwrap();
        fs::copy(home.join("node.key.before"), home.join("node.key")).unwrap();
        assert_eq!(Keys::read(home).err().unwrap().code, Code::ConfigMalformed);
        let file = home.join(CHANGES_FILE);
        let one = Changes::read(home).unwrap().all.remove(0);
        let many = core::iter::repeat_n(one.bytes(), CHANGES_MAX + 1);
        fs::write(&file, keys::to_file(many)).unwrap();
        let fault = Changes::read(home).unwrap_err();
        assert!(fault.code == Code::ConfigMalformed && fault.what.contains("127 of them"), "{fault}");
        fs::write(&file, b"junk").unwrap();
        assert_eq!(Keys::read(home).err().unwrap().code, Code::ConfigMalformed);
    }
}
