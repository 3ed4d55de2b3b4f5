//! Going on after a stop, a kill included.

use std::io::ErrorKind;

use tacit_archive::files::io_fault;
use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::money::Money;
use tacit_receipts::tiles::{CHECKPOINT_PATH, TILE_WIDTH};
use tacit_receipts::{Leaf, Log, SignedCheckpoint, TileRead, TileReader};
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
    // A database that is lost, or older than the files, does not know when the last append was. Its leaves do.
    let (known, at) = stored.as_ref().map_or((0, UnixMillis(0)), |(head, at)| (head.checkpoint().size, *at));
    let (folder, from) = (parts.folder.clone(), checkpoint.clone());
    let log = blocking(move || {
        let at = if known < from.size { newest_time(&folder, from.size)?.max(at) } else { at };
        Log::resume(&folder, &from, at)
    })
    .await?;
    enter_leaves(parts, &log, &head, log.at()).await?;
    let keys_event = parts.store.keys_event().await?;
    Ok(Resumed { log, head, published, keys_event })
}

/// When the newest leaf was signed that the log's own clock gave its time: what a party signed has the party's.
///
/// # Errors
/// `log.corrupt` when a bundle of leaves cannot be read.
fn newest_time(files: &dyn TileRead, size: u64) -> Result<UnixMillis, Fault> {
    let reader = TileReader::new(files, size);
    for index in (0..size.div_ceil(TILE_WIDTH)).rev() {
        let leaves = reader.entries(index)?;
        if let Some(at) = leaves.iter().rev().find_map(|leaf| own_time(leaf)) {
            return Ok(at);
        }
    }
    Ok(UnixMillis(0))
}

/// The time of a leaf that only the coordinator signs.
fn own_time(leaf: &[u8]) -> Option<UnixMillis> {
    match Leaf::read(leaf).ok()? {
        Leaf::Receipt(receipt) => Some(receipt.envelope().issued_at),
        Leaf::KeyEvent(event) => Some(event.envelope().issued_at),
        Leaf::Genesis(genesis) => Some(genesis.envelope().issued_at),
        Leaf::Money(envelope, money) => {
            matches!(money.as_ref(), Money::Charge(_) | Money::Settlement(_)).then_some(envelope.issued_at)
        }
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_crypto::{Secret, SigningKey, Statement};
    use tacit_receipts::{Edge, Genesis, Memo};

    /// The newest time is of the newest leaf that the log's own clock dated, whatever parties' clocks say.
    #[test]
    fn the_time_of_the_last_append_is_read_from_the_leaves() {
        let home = tempfile::TempDir::new().unwrap();
        let folder = tacit_archive::Folder::new(home.path().to_owned());
        let key = SigningKey::from_seed(&Secret::new([1; 32]));
        let origin = "log.example/usage/2026";
        let genesis = |at| {
            let body = Genesis { version: 1, origin: origin.into(), policy: "x".into(), continues: None };
            Statement::sign(&key, origin, UnixMillis(at), None, body).bytes().to_vec()
        };
        let memo = |number: u64| {
            let body = Memo { version: 1, origin: origin.into(), number, tag: Hash([7; 32]), sealed: None };
            Statement::sign(&key, origin, UnixMillis(90_000), None, body).bytes().to_vec()
        };
        assert_eq!(newest_time(&folder, 0).unwrap(), UnixMillis(0));
        // The memos fill more than the newest bundle.
        let leaves: Vec<Vec<u8>> = [genesis(10_000), genesis(20_000)].into_iter().chain((1..300).map(memo)).collect();
        let files = Edge::default().append(&leaves).unwrap();
        folder.write_all(&files.into_iter().map(|file| (file.path, file.bytes)).collect::<Vec<_>>()).unwrap();
        assert_eq!(newest_time(&folder, leaves.len() as u64).unwrap(), UnixMillis(20_000));
        std::fs::remove_file(home.path().join(tacit_receipts::tiles::entries_path(0, 256))).unwrap();
        assert_eq!(newest_time(&folder, leaves.len() as u64).unwrap_err().code, Code::LogCorrupt);
    }
}
