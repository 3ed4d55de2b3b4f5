//! Going on after a stop, a kill included.

use std::io::ErrorKind;

use tacit_archive::files::io_fault;
use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::tiles::CHECKPOINT_PATH;
use tacit_receipts::{Log, SignedCheckpoint, TileReader};
use tacit_types::{Code, Fault, Hash, UnixMillis};

use super::{Parts, append::job_of, blocking};
use crate::store::{Change, LeafRow};

/// Leaves that are entered at a time.
const TOGETHER: u64 = 1024;

/// What was found.
pub(super) struct Resumed {
    pub log: Log,
    /// With the log's signature alone: each start asks the witnesses again, so that a state that was
    /// restored from an old copy shows before anything is signed over it.
    pub head: SignedCheckpoint,
    pub published: Option<SignedCheckpoint>,
    pub keys_event: Option<Hash>,
}

/// Finds the newest head in database and file, resumes the log at it, and enters leaves that only
/// the files have.
pub(super) async fn resume(parts: &Parts) -> Result<Resumed, Fault> {
    let keys = &parts.keys;
    let path = parts.folder.path().join(CHECKPOINT_PATH);
    let published = match std::fs::read(&path) {
        Ok(bytes) => {
            let named = |f: Fault| Fault::new(Code::LogCorrupt, format!("{}: {}", path.display(), f.what));
            Some(keys.chain.open(&bytes).map_err(named)?.0)
        }
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(io_fault(&path, &e)),
    };
    let stored = match parts.store.head().await? {
        Some((note, at)) => {
            let named = |f: Fault| Fault::new(Code::StoreCorrupt, format!("the log's head: {}", f.what));
            Some((keys.chain.open(&note).map_err(named)?.0, at))
        }
        None => None,
    };
    let at = stored.as_ref().map_or(UnixMillis(0), |(_, at)| *at);
    let newest = match (&published, &stored) {
        (None, None) => {
            let log = Log::create(keys.verifier.name())?;
            let head = keys.sign(&log.checkpoint(), parts.clock.now())?;
            return Ok(Resumed { log, head, published: None, keys_event: None });
        }
        (Some(file), None) => file,
        (None, Some((head, _))) => head,
        (Some(file), Some((head, _))) => {
            let (a, b) = (file.checkpoint(), head.checkpoint());
            if a.size == b.size && a.root != b.root {
                let what = format!("{} and the database show two logs of {} leaves", path.display(), a.size);
                return Err(Fault::new(Code::LogFork, what));
            }
            if a.size > b.size { file } else { head }
        }
    };
    let checkpoint = newest.checkpoint().clone();
    if checkpoint.origin != keys.verifier.name() {
        let what = format!("the log here is {}, the configuration names {}", checkpoint.origin, keys.verifier.name());
        return Err(Fault::new(Code::ConfigMalformed, what));
    }
    let head = keys.sign(&checkpoint, parts.clock.now())?;
    let (folder, from) = (parts.folder.clone(), checkpoint.clone());
    let log = blocking(move || Log::resume(&folder, &from, at)).await?;
    enter_leaves(parts, &log, &head, at).await?;
    let keys_event = parts.store.keys_event().await?;
    Ok(Resumed { log, head, published, keys_event })
}

/// Gives a row to every leaf that has none: an older database beside newer files.
async fn enter_leaves(parts: &Parts, log: &Log, head: &SignedCheckpoint, at: UnixMillis) -> Result<(), Fault> {
    let (mut known, size) = (parts.store.leaves().await?, log.size());
    if known > size {
        let what = format!("the database knows {known} leaves, the newest head covers {size}");
        return Err(Fault::new(Code::StoreCorrupt, what));
    }
    if known < size {
        tracing::warn!(known, size, "the database is behind the log's files; entering the leaves");
    }
    while known < size {
        let (folder, from, to) = (parts.folder.clone(), known, size.min(known + TOGETHER));
        let leaves = blocking(move || {
            let reader = TileReader::new(&folder, size);
            (from..to).map(|place| reader.leaf(place).map(|leaf| (place, leaf))).collect::<Result<Vec<_>, _>>()
        })
        .await?;
        let row = |(place, leaf): &(u64, Vec<u8>)| LeafRow { place: *place, hash: leaf_hash(leaf), job: job_of(leaf) };
        crate::party_keys::enter(&parts.store, leaves.iter().map(|(_, leaf)| leaf.as_slice())).await?;
        let rows = leaves.iter().map(row).collect();
        let change = Change::Append { leaves: rows, head: head.to_bytes(), at, keys: None };
        parts.store.write(change).await?;
        known = to;
    }
    Ok(())
}
