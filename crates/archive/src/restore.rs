//! A damaged or lost log from the copies that others keep. The result is never smaller than any head that the log signed
//! and that is known here: who restores an old state would sign a second history.

use std::path::PathBuf;

use tacit_receipts::merkle::{MemTree, leaf_hash, root};
use tacit_receipts::tiles::{CHECKPOINT_PATH, TILE_WIDTH};
use tacit_receipts::{Checkpoint, Edge, LogChain, SignedCheckpoint, TileRead, TileReader};
use tacit_types::{Code, Fault};

use crate::check::examine;
use crate::files::{Folder, write_durable};

/// Leaves that are written at a time: whole tiles.
const TOGETHER: u64 = 8 * TILE_WIDTH;

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// Leaves of the log now.
    pub size: u64,
    /// Leaves that came from a copy.
    pub from_copies: u64,
    /// Files that were written anew.
    pub written: Vec<String>,
}

/// A folder with a log in it, and the newest head in it that the log signed.
struct Copy {
    folder: Folder,
    head: Checkpoint,
}

/// Restores `own` to the newest of the heads in it, in `signed` and in the copies.
///
/// # Errors
/// `log.fork` when two heads of the log are of different histories; `log.corrupt` when the leaves of the newest head are
/// nowhere whole: then nothing was written; `log.malformed`, `log.signature`, `log.unknown` for a copy of another log;
/// `store.full`, `io.failed`.
pub fn restore(
    own: &Folder,
    signed: Option<&SignedCheckpoint>,
    copies: &[PathBuf],
    origin: &str,
    keys: &LogChain,
) -> Result<Restored, Fault> {
    let mut heads: Vec<(Checkpoint, Option<Vec<u8>>)> =
        signed.map(|s| (s.checkpoint().clone(), None)).into_iter().collect();
    // A checkpoint that cannot be read is damage like any other.
    let published = own.read(CHECKPOINT_PATH).and_then(|note| Some((keys.open(&note).ok()?.0, note)));
    heads.extend(published.map(|(open, note)| (open.checkpoint().clone(), Some(note))));
    let mut sources = Vec::new();
    for path in copies {
        let folder = Folder::new(path.clone());
        let missing = || Fault::new(Code::LogMalformed, format!("{}: no {CHECKPOINT_PATH}", path.display()));
        let note = folder.read(CHECKPOINT_PATH).ok_or_else(missing)?;
        let named = |f: Fault| Fault::new(f.code, format!("{}: {}", path.display(), f.what));
        let head = keys.open(&note).map_err(named)?.0.checkpoint().clone();
        heads.push((head.clone(), Some(note)));
        sources.push(Copy { folder, head });
    }
    if let Some((other, _)) = heads.iter().find(|(head, _)| head.origin != origin) {
        return Err(Fault::new(Code::LogUnknown, format!("a copy of the log {:?}", other.origin)));
    }
    let Some(target) = heads.iter().map(|(head, _)| head).max_by_key(|head| head.size).cloned() else {
        return Err(Fault::new(Code::LogCorrupt, "no head that the log signed is here or in a copy"));
    };
    sources.sort_by_key(|copy| core::cmp::Reverse(copy.head.size));
    let (from, tree) = pick(own, &sources, &target)?;
    for (head, _) in &heads {
        if root(&tree, head.size)? != head.root {
            let what = format!("two heads that the log signed are of different histories, one of {} leaves", head.size);
            return Err(Fault::new(Code::LogFork, what));
        }
    }
    let written = write(own, from, &target)?;
    let note = heads.iter().filter(|(head, _)| *head == target).find_map(|(_, note)| note.clone());
    let held = own.read(CHECKPOINT_PATH);
    let mut restored = Restored { size: target.size, from_copies: from.map_or(0, |copy| copy.head.size), written };
    if let Some(note) = note.filter(|note| held.as_ref() != Some(note)) {
        write_durable(&own.path().join(CHECKPOINT_PATH), &note)?;
        restored.written.push(CHECKPOINT_PATH.into());
    }
    Ok(restored)
}

/// The copy, if one is needed, whose leaves with those of the folder itself lead to the head.
fn pick<'a>(own: &Folder, copies: &'a [Copy], target: &Checkpoint) -> Result<(Option<&'a Copy>, MemTree), Fault> {
    let mut why = Vec::new();
    for copy in core::iter::once(None).chain(copies.iter().map(Some)) {
        match tree(own, copy, target) {
            Ok(tree) if tree.root() == target.root => return Ok((copy, tree)),
            Ok(_) => why.push("another root".to_owned()),
            Err(fault) => why.push(fault.what),
        }
    }
    let what = format!("the leaves of the head of {} are nowhere whole: {}", target.size, why.join("; "));
    Err(Fault::new(Code::LogCorrupt, what))
}

/// The tree of the leaves of a copy and, behind its end, of the folder itself.
fn tree(own: &Folder, copy: Option<&Copy>, target: &Checkpoint) -> Result<MemTree, Fault> {
    let mut tree = MemTree::default();
    each(own, copy, target, &mut |leaves| {
        leaves.iter().for_each(|leaf| tree.push(leaf_hash(leaf)));
        Ok(())
    })?;
    Ok(tree)
}

fn each(
    own: &Folder,
    copy: Option<&Copy>,
    target: &Checkpoint,
    take: &mut dyn FnMut(Vec<Vec<u8>>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut at = 0;
    while at < target.size {
        let copied = copy.filter(|copy| at < copy.head.size);
        let (reader, end) = match copied {
            Some(copy) => (TileReader::new(&copy.folder, copy.head.size), copy.head.size),
            None => (TileReader::new(own, target.size), target.size),
        };
        let bundle = match (copied, reader.entries(at / TILE_WIDTH)) {
            (_, Ok(bundle)) => bundle,
            // Of its own files one flipped bit can be taken back.
            (None, Err(fault)) => mended(own, target, at / TILE_WIDTH).ok_or(fault)?,
            (Some(_), Err(fault)) => return Err(fault),
        };
        let mut leaves: Vec<Vec<u8>> = bundle.into_iter().skip((at % TILE_WIDTH) as usize).collect();
        if copied.is_none() && leaves_differ(own, target, at, &leaves) {
            leaves = mended(own, target, at / TILE_WIDTH)
                .map_or(leaves, |bundle| bundle.into_iter().skip((at % TILE_WIDTH) as usize).collect());
        }
        leaves.truncate((end - at) as usize);
        if leaves.is_empty() {
            return Err(Fault::new(Code::LogCorrupt, format!("leaf {at} is in no file")));
        }
        at += leaves.len() as u64;
        take(leaves)?;
    }
    Ok(())
}

fn leaves_differ(own: &Folder, target: &Checkpoint, at: u64, leaves: &[Vec<u8>]) -> bool {
    let Ok(hashes) = TileReader::new(own, target.size).tile(0, at / TILE_WIDTH) else { return false };
    hashes.iter().skip((at % TILE_WIDTH) as usize).zip(leaves).any(|(hash, leaf)| leaf_hash(leaf) != *hash)
}

/// A bundle with one flipped bit as it was written.
fn mended(own: &Folder, target: &Checkpoint, index: u64) -> Option<Vec<Vec<u8>>> {
    let found = examine(own, (target.size, target.root), index);
    let good = found.into_iter().find(|damage| damage.path.starts_with("tile/entries/"))?.good?;
    let width = [tacit_receipts::tiles::width_of(target.size, 0, index), TILE_WIDTH];
    width.into_iter().find_map(|width| tacit_receipts::tiles::decode_bundle(&good, width).ok())
}

/// Writes every file of the log that is not as it must be, and takes those away that belong to no head.
fn write(own: &Folder, copy: Option<&Copy>, target: &Checkpoint) -> Result<Vec<String>, Fault> {
    let (mut edge, mut waiting, mut written) = (Edge::default(), Vec::new(), Vec::new());
    let mut flush = |edge: &mut Edge, leaves: &[Vec<u8>]| {
        let files = edge.append(leaves)?;
        let changed: Vec<(String, Vec<u8>)> = files
            .into_iter()
            .filter(|file| own.read(&file.path).as_ref() != Some(&file.bytes))
            .map(|file| (file.path, file.bytes))
            .collect();
        own.write_all(&changed)?;
        written.extend(changed.into_iter().map(|(path, _)| path));
        Ok::<(), Fault>(())
    };
    each(own, copy, target, &mut |leaves| {
        waiting.extend(leaves);
        while waiting.len() as u64 >= TOGETHER {
            let now: Vec<Vec<u8>> = waiting.drain(..TOGETHER as usize).collect();
            flush(&mut edge, &now)?;
        }
        Ok(())
    })?;
    flush(&mut edge, &waiting)?;
    Ok(written)
}
