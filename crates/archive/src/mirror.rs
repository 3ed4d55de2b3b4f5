//! A copy of a log that someone else keeps. It takes only leaves that lead to a head the log signed, never goes back, and
//! signs what it holds with a key of its own.

use std::path::Path;

use tacit_crypto::SigningKey;
use tacit_receipts::log::APPEND_MAX;
use tacit_receipts::tiles::CHECKPOINT_PATH;
use tacit_receipts::{Checkpoint, KeyKind, Log, LogChain, SignedCheckpoint, TileRead, VerifierKey};
use tacit_types::{Code, Fault, UnixMillis};

use crate::files::{Folder, io_fault, write_durable};

/// Where a mirror's own signature over the head that it holds is.
pub const MIRRORED_PATH: &str = "checkpoint.mirror";

/// The name under which a party's mirror signs: not the one of its witness, which vouches for less.
pub fn mirror_name(party: &str, origin: &str) -> String {
    format!("{party}.mirror.{}", origin.split('/').next().unwrap_or(origin))
}

/// A copy of a log in a folder.
#[derive(Debug)]
pub struct Mirror {
    folder: Folder,
    keys: LogChain,
    log: Log,
    sealed: Option<SignedCheckpoint>,
}

impl Mirror {
    /// Opens a copy where it was last sealed, or begins one.
    ///
    /// # Errors
    /// `log.malformed`, `log.signature`, `log.corrupt` when the files do not have the root of the head; `io.failed`.
    pub fn open(folder: &Path, origin: &str, keys: &LogChain) -> Result<Self, Fault> {
        std::fs::create_dir_all(folder).map_err(|e| io_fault(folder, &e))?;
        let folder = Folder::new(folder.to_owned());
        let (log, sealed) = match folder.read(CHECKPOINT_PATH) {
            None => (Log::create(origin)?, None),
            Some(note) => {
                let (signed, _) = keys.open(&note)?;
                if signed.checkpoint().origin != origin {
                    let what = format!("{} holds the log {:?}", folder.path().display(), signed.checkpoint().origin);
                    return Err(Fault::new(Code::LogUnknown, what));
                }
                (Log::resume(&folder, signed.checkpoint(), UnixMillis(0))?, Some(signed))
            }
        };
        Ok(Self { folder, keys: keys.clone(), log, sealed })
    }

    /// Follows the log to its next key.
    pub fn rekey(&mut self, keys: &LogChain) {
        self.keys = keys.clone();
    }

    /// Leaves that are here, sealed or not.
    pub fn size(&self) -> u64 {
        self.log.size()
    }

    /// The head that it was last sealed with.
    pub fn sealed(&self) -> Option<&SignedCheckpoint> {
        self.sealed.as_ref()
    }

    /// Its files.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Opens a head of the log, and refuses one that goes back behind what is sealed here.
    ///
    /// # Errors
    /// `log.malformed`, `log.signature`, `log.unknown`; `log.rollback`; `log.fork` for another root at the same size.
    pub fn admit(&self, note: &[u8]) -> Result<Checkpoint, Fault> {
        let signed = self.keys.open(note)?.0;
        let head = signed.checkpoint();
        if head.origin != self.log.checkpoint().origin {
            return Err(Fault::new(Code::LogUnknown, format!("a head of the log {:?}", head.origin)));
        }
        let Some(held) = self.sealed.as_ref().map(SignedCheckpoint::checkpoint) else { return Ok(head.clone()) };
        if head.size < held.size {
            let what = format!("a head of {} leaves; {} are mirrored", head.size, held.size);
            return Err(Fault::new(Code::LogRollback, what));
        }
        if head.size == held.size && head.root != held.root {
            return Err(Fault::new(Code::LogFork, format!("another root at {} leaves than is mirrored", held.size)));
        }
        Ok(head.clone())
    }

    /// Takes the next leaves, in order. They count once a head seals them.
    ///
    /// # Errors
    /// `receipt.too_large`, `store.full`, `io.failed`.
    pub fn append(&mut self, leaves: &[Vec<u8>]) -> Result<(), Fault> {
        for leaves in leaves.chunks(APPEND_MAX) {
            // The same leaf may stand twice in a log that is not honest; a mirror holds what there is.
            let mut plan = self.log.plan_exactly(leaves)?;
            let files: Vec<(String, Vec<u8>)> =
                core::mem::take(&mut plan.writes).into_iter().map(|f| (f.path, f.bytes)).collect();
            self.folder.write_all(&files)?;
            self.log.commit(plan)?;
        }
        Ok(())
    }

    /// Seals what is here with the head that covers exactly this, and signs it.
    ///
    /// # Errors
    /// Those of [`Self::admit`]; `log.corrupt` when the leaves have another root than the head: then nothing is sealed, and
    /// the copy is as it was. Which of the two is wrong does not show: one flipped bit in a leaf looks like another history.
    pub fn seal(&mut self, note: &[u8], (name, signer): (&str, &SigningKey), at: UnixMillis) -> Result<(), Fault> {
        let head = self.admit(note)?;
        if self.log.checkpoint() != head {
            let what = format!("the {} leaves that were handed out do not have the root of their head", head.size);
            self.forget()?;
            return Err(Fault::new(Code::LogCorrupt, what));
        }
        let signed = self.keys.open(note)?.0;
        let own = VerifierKey::new(name, KeyKind::Cosignature, signer.id())?;
        let line = own.sign(signer, signed.note().text(), at)?;
        write_durable(&self.folder.path().join(CHECKPOINT_PATH), note)?;
        let mirrored = format!("{}\n{line}\n", signed.note().text());
        write_durable(&self.folder.path().join(MIRRORED_PATH), mirrored.as_bytes())?;
        self.sealed = Some(signed);
        Ok(())
    }

    /// Goes back to what is sealed.
    fn forget(&mut self) -> Result<(), Fault> {
        self.log = match &self.sealed {
            None => Log::create(&self.log.checkpoint().origin)?,
            Some(sealed) => Log::resume(&self.folder, sealed.checkpoint(), UnixMillis(0))?,
        };
        Ok(())
    }
}
