//! Sealed bytes that are too large for a message: attachments of jobs and results. They lie in files named by their
//! hash until nobody asks for them any more. The coordinator can open none of them.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tacit_archive::files::io_fault;
use tacit_crypto::sha256;
use tacit_engine::api::{DEPOSIT_BYTES_MAX, DEPOSIT_CHUNK_BYTES_MAX};
use tacit_types::{Code, Fault, Hash, NodeId};

use crate::limits::{DEPOSIT_IDLE, DEPOSIT_KEEP, DEPOSITS_PER_PARTY_BYTES_MAX};

/// Ending of files that are not whole yet.
const PART: &str = "part";

/// What lies in the folder: for each whole item who brought it and its bytes, and for each that is on its way.
#[derive(Default)]
struct Index {
    whole: BTreeMap<Hash, (NodeId, u64)>,
    parts: BTreeMap<(Hash, NodeId), Part>,
}

/// An item on its way: the bytes that are here, of those that its bringer has announced.
#[derive(Clone, Copy)]
struct Part {
    have: u64,
    total: u64,
}

/// The folder.
pub(crate) struct Depot {
    folder: PathBuf,
    index: Mutex<Index>,
}

fn invalid(what: String) -> Fault {
    Fault::new(Code::ArgsInvalid, what)
}

impl Depot {
    /// Opens the folder, drops what was never finished, and learns what is there.
    ///
    /// # Errors
    /// `store.full`, `io.failed`.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, Fault> {
        std::fs::create_dir_all(&folder).map_err(|e| io_fault(&folder, &e))?;
        let mut index = Index::default();
        for entry in std::fs::read_dir(&folder).map_err(|e| io_fault(&folder, &e))? {
            let entry = entry.map_err(|e| io_fault(&folder, &e))?;
            let path = entry.path();
            match (parse(&path), entry.metadata()) {
                (Some((hash, party)), Ok(meta)) => {
                    index.whole.insert(hash, (party, meta.len()));
                }
                _ => {
                    // why: a part of a process that died; its bringer begins again.
                    let _ = std::fs::remove_file(&path);
                }
            }
        }
        Ok(Self { folder, index: Mutex::new(index) })
    }

    fn path(&self, hash: &Hash, party: &NodeId) -> PathBuf {
        self.folder.join(format!("{hash}.{party}"))
    }

    fn part(&self, hash: &Hash, party: &NodeId) -> PathBuf {
        self.path(hash, party).with_extension(format!("{party}.{PART}"))
    }

    /// Takes a piece of an item. Gives how many of its bytes are here; a piece that does not follow changes nothing,
    /// so a bringer that lost an answer asks with any piece and goes on from there.
    ///
    /// # Errors
    /// `args.invalid` for an item or piece over its limit, or bytes that have another hash; `job.busy` when the
    /// party has brought as much as it may; `store.full`.
    pub(crate) fn put(&self, party: NodeId, hash: Hash, total: u64, offset: u64, bytes: &[u8]) -> Result<u64, Fault> {
        if total == 0 || total > DEPOSIT_BYTES_MAX || bytes.len() > DEPOSIT_CHUNK_BYTES_MAX {
            return Err(invalid(format!(
                "{total} bytes in pieces of {}, at most {DEPOSIT_BYTES_MAX} in pieces of {DEPOSIT_CHUNK_BYTES_MAX}",
                bytes.len()
            )));
        }
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = index.whole.get(&hash) {
            return Ok(*bytes);
        }
        let begun = index.parts.get(&(hash, party)).copied();
        let have = begun.map_or(0, |part| part.have);
        if offset != have || bytes.is_empty() {
            return Ok(have);
        }
        if let Some(begun) = begun.filter(|begun| begun.total != total) {
            return Err(invalid(format!("{total} bytes; it was begun as one of {}", begun.total)));
        }
        if have + bytes.len() as u64 > total {
            return Err(invalid(format!("{} bytes of {total}", have + bytes.len() as u64)));
        }
        if have == 0 {
            self.make_room(&mut index, party, total)?;
        }
        let (path, part) = (self.path(&hash, &party), self.part(&hash, &party));
        let mut options = OpenOptions::new();
        let options = if have == 0 { options.write(true).create(true).truncate(true) } else { options.append(true) };
        let mut file = options.open(&part).map_err(|e| io_fault(&part, &e))?;
        let written = file.write_all(bytes).map_err(|e| io_fault(&part, &e));
        if let Err(fault) = written {
            index.parts.remove(&(hash, party));
            // why: begun again from the start; what is left is overwritten then.
            let _ = std::fs::remove_file(&part);
            return Err(fault);
        }
        let have = have + bytes.len() as u64;
        if have < total {
            index.parts.insert((hash, party), Part { have, total });
            return Ok(have);
        }
        index.parts.remove(&(hash, party));
        let whole = std::fs::read(&part).map_err(|e| io_fault(&part, &e))?;
        if sha256(&whole) != hash {
            let _ = std::fs::remove_file(&part);
            return Err(invalid(format!("the bytes do not have the hash {}", hash.short())));
        }
        file.sync_all().and_then(|()| std::fs::rename(&part, &path)).map_err(|e| io_fault(&path, &e))?;
        File::open(&self.folder).and_then(|f| f.sync_all()).map_err(|e| io_fault(&self.folder, &e))?;
        index.whole.insert(hash, (party, total));
        Ok(have)
    }

    /// Drops what is old, then says whether the party may bring so much more.
    fn make_room(&self, index: &mut Index, party: NodeId, total: u64) -> Result<(), Fault> {
        let now = SystemTime::now();
        let dropped = |path: PathBuf, keep: Duration| {
            let age = std::fs::metadata(&path).and_then(|m| m.modified()).map(|t| now.duration_since(t));
            matches!(age, Ok(Ok(age)) if age > keep) && std::fs::remove_file(&path).is_ok()
        };
        index.whole.retain(|hash, (by, _)| !dropped(self.path(hash, by), DEPOSIT_KEEP));
        // Of a bringer that died: what it brings again is sealed anew, with another hash.
        index.parts.retain(|(hash, by), _| !dropped(self.part(hash, by), DEPOSIT_IDLE));
        let held = index.whole.values().filter(|(by, _)| *by == party).map(|(_, bytes)| bytes).sum::<u64>();
        let coming = index.parts.iter().filter(|((_, by), _)| *by == party).map(|(_, part)| part.total).sum::<u64>();
        if held + coming + total > DEPOSITS_PER_PARTY_BYTES_MAX {
            let days = DEPOSIT_KEEP.as_secs() / Duration::from_secs(86_400).as_secs();
            let what = format!("{held} bytes of this party are here; each is kept for {days} days");
            return Err(Fault::new(Code::JobBusy, what));
        }
        Ok(())
    }

    /// A piece of an item from `offset` on, and how many bytes it has in all.
    ///
    /// # Errors
    /// `job.unknown` when it is not here, `io.failed`.
    pub(crate) fn get(&self, hash: &Hash, offset: u64) -> Result<(u64, Vec<u8>), Fault> {
        let found = self.index.lock().unwrap_or_else(PoisonError::into_inner).whole.get(hash).copied();
        let Some((party, total)) = found else {
            return Err(Fault::new(Code::JobUnknown, format!("nothing of the hash {} is kept here", hash.short())));
        };
        let path = self.path(hash, &party);
        let mut piece = Vec::new();
        let read = File::open(&path).and_then(|mut file| {
            file.seek(SeekFrom::Start(offset.min(total)))?;
            file.take(DEPOSIT_CHUNK_BYTES_MAX as u64).read_to_end(&mut piece)
        });
        read.map_err(|e| io_fault(&path, &e))?;
        Ok((total, piece))
    }

    /// A whole item.
    ///
    /// # Errors
    /// `job.unknown` when it is not here, `io.failed`.
    pub(crate) fn whole(&self, hash: &Hash) -> Result<Vec<u8>, Fault> {
        let mut all = Vec::new();
        loop {
            let (total, piece) = self.get(hash, all.len() as u64)?;
            all.extend_from_slice(&piece);
            if piece.is_empty() || all.len() as u64 >= total {
                return Ok(all);
            }
        }
    }

    /// The length of a whole item that is here.
    pub(crate) fn bytes(&self, hash: &Hash) -> Option<u64> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner).whole.get(hash).map(|(_, bytes)| *bytes)
    }

    /// Whether all these are here.
    pub(crate) fn missing(&self, hashes: impl IntoIterator<Item = Hash>) -> Option<Hash> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        hashes.into_iter().find(|hash| !index.whole.contains_key(hash))
    }
}

/// The hash and the bringer in a whole item's name.
fn parse(path: &Path) -> Option<(Hash, NodeId)> {
    let (hash, party) = path.file_name()?.to_str()?.split_once('.')?;
    Some((Hash::from_hex(hash).ok()?, NodeId::from_hex(party).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId([1; 32]);
    const B: NodeId = NodeId([2; 32]);

    fn depot() -> (tempfile::TempDir, Depot) {
        let folder = tempfile::tempdir().unwrap();
        let depot = Depot::open(folder.path().join("depot")).unwrap();
        (folder, depot)
    }

    fn put_all(depot: &Depot, party: NodeId, bytes: &[u8]) -> Result<Hash, Fault> {
        let hash = sha256(bytes);
        let mut at = 0;
        while at < bytes.len() as u64 {
            let end = bytes.len().min(at as usize + DEPOSIT_CHUNK_BYTES_MAX);
            at = depot.put(party, hash, bytes.len() as u64, at, &bytes[at as usize..end])?;
        }
        Ok(hash)
    }

    fn get_all(depot: &Depot, hash: &Hash) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let (total, piece) = depot.get(hash, all.len() as u64).unwrap();
            all.extend_from_slice(&piece);
            if all.len() as u64 == total {
                return all;
            }
        }
    }

    fn bytes(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i * i / 7) as u8).collect()
    }

    #[test]
    fn what_is_brought_in_pieces_is_fetched_in_pieces_also_after_a_restart() {
        let (folder, depot) = depot();
        let large = bytes(2 * DEPOSIT_CHUNK_BYTES_MAX + 77);
        let hash = put_all(&depot, A, &large).unwrap();
        assert_eq!(get_all(&depot, &hash), large);
        // Again, by another, at no cost.
        assert_eq!(depot.put(B, hash, large.len() as u64, 0, &large[..9]).unwrap(), large.len() as u64);
        let again = Depot::open(folder.path().join("depot")).unwrap();
        assert_eq!(get_all(&again, &hash), large);
        assert_eq!(again.missing([hash, Hash([9; 32])]), Some(Hash([9; 32])));
        assert_eq!(depot.get(&hash, u64::MAX).unwrap().1, Vec::<u8>::new());
    }

    #[test]
    fn pieces_out_of_turn_and_unfinished_items_leave_nothing() {
        let (folder, depot) = depot();
        let all = bytes(1000);
        let hash = sha256(&all);
        assert_eq!(depot.put(A, hash, 1000, 500, &all[500..]).unwrap(), 0);
        assert_eq!(depot.put(A, hash, 1000, 0, &all[..400]).unwrap(), 400);
        assert_eq!(depot.put(A, hash, 1000, 0, &all[..400]).unwrap(), 400, "a repeat after a lost answer");
        // Two bring the same at once; neither spoils the other.
        assert_eq!(depot.put(B, hash, 1000, 0, &all[..100]).unwrap(), 100);
        assert_eq!(depot.get(&hash, 0).unwrap_err().code, Code::JobUnknown);
        assert_eq!(depot.put(A, hash, 1000, 400, &all[400..]).unwrap(), 1000);
        assert_eq!(get_all(&depot, &hash), all);
        drop(depot);
        let again = Depot::open(folder.path().join("depot")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("depot")).unwrap().count(), 1, "the part is gone");
        assert_eq!(get_all(&again, &hash), all);
    }

    #[test]
    fn wrong_bytes_and_what_is_over_a_limit_are_refused() {
        let (folder, depot) = depot();
        assert_eq!(depot.put(A, Hash([3; 32]), 4, 0, b"abcd").unwrap_err().code, Code::ArgsInvalid);
        assert_eq!(std::fs::read_dir(folder.path().join("depot")).unwrap().count(), 0);
        let too_long = vec![0; DEPOSIT_CHUNK_BYTES_MAX + 1];
        let hash = sha256(&too_long);
        assert_eq!(depot.put(A, hash, too_long.len() as u64, 0, &too_long).unwrap_err().code, Code::ArgsInvalid);
        assert_eq!(depot.put(A, hash, DEPOSIT_BYTES_MAX + 1, 0, b"a").unwrap_err().code, Code::ArgsInvalid);
        assert_eq!(depot.put(A, hash, 0, 0, b"").unwrap_err().code, Code::ArgsInvalid);
        assert_eq!(depot.put(A, hash, 3, 0, b"abcd").unwrap_err().code, Code::ArgsInvalid);
        // Items on their way count with what they were announced as, which stays.
        let ways = DEPOSITS_PER_PARTY_BYTES_MAX / DEPOSIT_BYTES_MAX;
        for i in 0..ways {
            depot.put(A, Hash([i as u8 + 10; 32]), DEPOSIT_BYTES_MAX, 0, b"a").unwrap();
        }
        assert_eq!(depot.put(A, Hash([10; 32]), 100, 1, b"a").unwrap_err().code, Code::ArgsInvalid);
        assert_eq!(depot.put(A, Hash([99; 32]), 100, 0, b"a").unwrap_err().code, Code::JobBusy);
        assert!(depot.put(B, Hash([99; 32]), 100, 0, b"a").is_ok(), "another party has its own room");
        // One whose bringer is gone makes room.
        let part = depot.part(&Hash([10; 32]), &A);
        let age = |by: Duration| File::options().write(true).open(&part).unwrap().set_modified(SystemTime::now() - by);
        age(DEPOSIT_IDLE - Duration::from_secs(60)).unwrap();
        assert_eq!(depot.put(A, Hash([99; 32]), 100, 0, b"a").unwrap_err().code, Code::JobBusy);
        age(DEPOSIT_IDLE + Duration::from_secs(60)).unwrap();
        assert_eq!(depot.put(A, Hash([99; 32]), 100, 0, b"a").unwrap(), 1);
        assert!(!part.exists());
        assert_eq!(depot.put(A, Hash([10; 32]), DEPOSIT_BYTES_MAX, 1, b"a").unwrap(), 0, "it begins again");
    }
}
