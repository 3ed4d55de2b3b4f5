//! The coordinator's side of the log as a pure state. An append is planned, its files are written
//! by the caller in order, the checkpoint last, and only then is it committed: the state in memory
//! is never ahead of the disk.

use std::collections::BTreeMap;

use tacit_types::{Code, Fault, Hash, UnixMillis};

use crate::checkpoint::Checkpoint;
use crate::merkle::{TREE_SIZE_MAX, leaf_hash, root};
use crate::note::check_name;
use crate::tiles::{Edge, File, TileRead, TileReader};

/// Leaves of one append.
pub const APPEND_MAX: usize = 4096;

/// One file to write; an existing file of that path has the same bytes.
pub type Write = File;

/// A log that only grows, in size and in time.
#[derive(Clone, Debug)]
pub struct Log {
    origin: String,
    edge: Edge,
    root: Hash,
    at: UnixMillis,
}

/// A planned append. Write `writes` in order, make them durable, then sign and publish
/// `checkpoint`, then give the plan to [`Log::commit`].
#[derive(Clone, Debug)]
#[must_use = "write the files, publish the checkpoint, then commit"]
pub struct Plan {
    base: u64,
    next: Log,
    /// Files to write, bundles and tiles.
    pub writes: Vec<Write>,
    /// The head after the append.
    pub checkpoint: Checkpoint,
    /// The place of each entry that was given, in its order.
    pub indices: Vec<u64>,
}

impl Log {
    /// A log without leaves.
    ///
    /// # Errors
    /// `log.malformed` for an unusable origin.
    pub fn create(origin: &str) -> Result<Self, Fault> {
        check_name(origin)?;
        let edge = Edge::default();
        Ok(Self { origin: origin.to_owned(), edge, root: crate::merkle::empty_root(), at: UnixMillis(0) })
    }

    /// Goes on from files and the last checkpoint that was made durable, at the time of the last
    /// append.
    ///
    /// # Errors
    /// `log.corrupt` when the files do not have the checkpoint's root: a log that does not fit its
    /// checkpoint must not be signed.
    pub fn resume(files: &dyn TileRead, checkpoint: &Checkpoint, at: UnixMillis) -> Result<Self, Fault> {
        let edge = Edge::load(files, checkpoint.size)?;
        let found = root(&TileReader::new(files, checkpoint.size), checkpoint.size)?;
        if found != checkpoint.root {
            let what = format!("the files of {} leaves have root {}", checkpoint.size, found.short());
            return Err(Fault::new(Code::LogCorrupt, what));
        }
        Ok(Self { origin: checkpoint.origin.clone(), edge, root: checkpoint.root, at })
    }

    /// Leaves.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The head.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { origin: self.origin.clone(), size: self.size(), root: self.root }
    }

    /// When the last append was.
    pub fn at(&self) -> UnixMillis {
        self.at
    }

    /// Refuses to go on when someone has seen more of this log than it has: an old state was
    /// restored. `seen` is the largest size that a witness, mirror or party reports, and its root.
    ///
    /// # Errors
    /// `log.rollback`; `log.fork` when the size is the same and the root another.
    pub fn check_seen(&self, size: u64, root: &Hash) -> Result<(), Fault> {
        if size > self.size() {
            let what = format!("a checkpoint of {size} leaves was seen; here are {}", self.size());
            return Err(Fault::new(Code::LogRollback, what));
        }
        if size == self.size() && *root != self.root {
            return Err(Fault::new(Code::LogFork, format!("another root was seen at {size} leaves")));
        }
        Ok(())
    }

    /// Plans the append of entries. An entry whose leaf hash `known` has a place for, or that is in
    /// the list twice, gets the place that it has: same entry in, same leaf out.
    ///
    /// # Errors
    /// `log.clock` when `now` is behind the last append, `receipt.too_large` for an entry over the
    /// limit, for more than [`APPEND_MAX`] entries or for a full log.
    pub fn plan(
        &self,
        entries: &[Vec<u8>],
        known: &dyn Fn(&Hash) -> Option<u64>,
        now: UnixMillis,
    ) -> Result<Plan, Fault> {
        if now < self.at {
            return Err(Fault::new(Code::LogClock, format!("it is {now}; the last append was at {}", self.at)));
        }
        if entries.len() > APPEND_MAX || self.size() > TREE_SIZE_MAX - APPEND_MAX as u64 {
            return Err(Fault::new(Code::ReceiptTooLarge, format!("{} entries in one append", entries.len())));
        }
        let mut fresh: BTreeMap<Hash, u64> = BTreeMap::new();
        let mut leaves = Vec::new();
        let mut indices = Vec::new();
        for entry in entries {
            let hash = leaf_hash(entry);
            // A place beyond the log is of an append that was never published.
            let place = known(&hash).filter(|place| *place < self.size()).or_else(|| fresh.get(&hash).copied());
            indices.push(place.unwrap_or_else(|| {
                let place = self.size() + leaves.len() as u64;
                fresh.insert(hash, place);
                leaves.push(entry.clone());
                place
            }));
        }
        self.planned(&leaves, indices, now)
    }

    /// Plans the append of leaves as they are, equal ones each for itself: those of a log that is copied.
    ///
    /// # Errors
    /// `receipt.too_large` for a leaf over the limit or for more than [`APPEND_MAX`] leaves.
    pub fn plan_exactly(&self, leaves: &[Vec<u8>]) -> Result<Plan, Fault> {
        if leaves.len() > APPEND_MAX || self.size() > TREE_SIZE_MAX - APPEND_MAX as u64 {
            return Err(Fault::new(Code::ReceiptTooLarge, format!("{} leaves in one append", leaves.len())));
        }
        let indices = (self.size()..).take(leaves.len()).collect();
        self.planned(leaves, indices, self.at)
    }

    fn planned(&self, leaves: &[Vec<u8>], indices: Vec<u64>, now: UnixMillis) -> Result<Plan, Fault> {
        let mut next = self.clone();
        let writes = next.edge.append(leaves)?;
        next.root = next.edge.root();
        next.at = now;
        Ok(Plan { base: self.size(), checkpoint: next.checkpoint(), next, writes, indices })
    }

    /// Takes over a plan whose files and checkpoint are durable.
    ///
    /// # Errors
    /// `log.rollback` when another plan was committed in between.
    pub fn commit(&mut self, plan: Plan) -> Result<(), Fault> {
        if plan.base != self.size() || plan.next.origin != self.origin || plan.next.at < self.at {
            let what = format!("a plan from {} leaves; the log has {}", plan.base, self.size());
            return Err(Fault::new(Code::LogRollback, what));
        }
        *self = plan.next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{MemTree, consistency_proof, verify_consistency};
    use tacit_types::limits::LEAF_BYTES_MAX;

    #[derive(Default, Clone)]
    struct Disk(BTreeMap<String, Vec<u8>>);

    impl TileRead for Disk {
        fn read(&self, path: &str) -> Option<Vec<u8>> {
            self.0.get(path).cloned()
        }
    }

    fn write(disk: &mut Disk, plan: &Plan) {
        disk.0.extend(plan.writes.iter().map(|w| (w.path.clone(), w.bytes.clone())));
    }

    fn entries(range: core::ops::Range<u64>) -> Vec<Vec<u8>> {
        range.map(|i| format!("entry {i}").into_bytes()).collect()
    }

    fn nothing(_: &Hash) -> Option<u64> {
        None
    }

    #[test]
    fn the_log_grows_and_resumes_at_every_size() {
        let (mut log, mut disk, mut memory) =
            (Log::create("l.example/u").unwrap(), Disk::default(), MemTree::default());
        let mut heads = vec![log.checkpoint()];
        for (i, (from, to)) in [(0, 2), (2, 2), (2, 255), (255, 256), (256, 700), (700, 701)].into_iter().enumerate() {
            let plan = log.plan(&entries(from..to), &nothing, UnixMillis(i as u64)).unwrap();
            assert_eq!(plan.indices, (from..to).collect::<Vec<_>>());
            write(&mut disk, &plan);
            log.commit(plan).unwrap();
            entries(from..to).iter().for_each(|e| memory.push(leaf_hash(e)));
            assert_eq!(log.checkpoint().root, memory.root());
            let resumed = Log::resume(&disk, &log.checkpoint(), log.at()).unwrap();
            assert_eq!(resumed.checkpoint(), log.checkpoint());
            heads.push(log.checkpoint());
        }
        let reader = TileReader::new(&disk, log.size());
        for head in &heads {
            let proof = consistency_proof(&reader, head.size, log.size()).unwrap();
            verify_consistency(head.size, log.size(), &proof, &head.root, &log.checkpoint().root).unwrap();
        }
    }

    #[test]
    fn the_same_entry_gets_the_same_leaf() {
        let mut log = Log::create("l.example/u").unwrap();
        let plan = log.plan(&entries(0..3), &nothing, UnixMillis(1)).unwrap();
        log.commit(plan).unwrap();
        let hash = leaf_hash(b"entry 1");
        let known = |h: &Hash| (*h == hash).then_some(1);
        let again = [b"entry 9".to_vec(), b"entry 1".to_vec(), b"entry 9".to_vec()];
        let plan = log.plan(&again, &known, UnixMillis(1)).unwrap();
        assert_eq!((plan.indices.as_slice(), plan.checkpoint.size), (&[3, 1, 3][..], 4));
        // A map that is ahead of the log, after a crash between its write and the checkpoint's.
        for place in [3, 17] {
            let ahead = |h: &Hash| (*h == hash).then_some(place);
            let plan = log.plan(&again[1..2], &ahead, UnixMillis(1)).unwrap();
            assert_eq!((plan.indices.as_slice(), plan.checkpoint.size), (&[3][..], 4));
        }
    }

    #[test]
    fn it_never_goes_back() {
        let mut log = Log::create("l.example/u").unwrap();
        let first = log.plan(&entries(0..3), &nothing, UnixMillis(50)).unwrap();
        let second = log.plan(&entries(3..5), &nothing, UnixMillis(60)).unwrap();
        log.commit(first).unwrap();
        assert_eq!(log.commit(second).unwrap_err().code, Code::LogRollback);
        // Plans of one size, but of another log or of an earlier time.
        let mut other = Log::create("l.example/other").unwrap();
        other.commit(other.plan(&entries(0..3), &nothing, UnixMillis(50)).unwrap()).unwrap();
        let foreign = other.plan(&entries(3..4), &nothing, UnixMillis(50)).unwrap();
        assert_eq!(log.commit(foreign).unwrap_err().code, Code::LogRollback);
        let early = log.plan(&[], &nothing, UnixMillis(50)).unwrap();
        log.commit(log.plan(&[], &nothing, UnixMillis(51)).unwrap()).unwrap();
        assert_eq!(log.commit(early).unwrap_err().code, Code::LogRollback);
        assert_eq!(log.plan(&entries(3..4), &nothing, UnixMillis(50)).unwrap_err().code, Code::LogClock);
        assert_eq!(log.check_seen(4, &Hash([0; 32])).unwrap_err().code, Code::LogRollback);
        assert_eq!(log.check_seen(3, &Hash([0; 32])).unwrap_err().code, Code::LogFork);
        log.check_seen(3, &log.checkpoint().root).unwrap();
        let big = vec![vec![0; LEAF_BYTES_MAX + 1]];
        assert_eq!(log.plan(&big, &nothing, UnixMillis(51)).unwrap_err().code, Code::ReceiptTooLarge);
        let many = vec![vec![0]; APPEND_MAX + 1];
        assert_eq!(log.plan(&many, &nothing, UnixMillis(51)).unwrap_err().code, Code::ReceiptTooLarge);
        assert!(log.plan(&many[1..], &nothing, UnixMillis(51)).is_ok());
    }

    #[test]
    fn a_damaged_log_is_not_resumed() {
        let (mut log, mut disk) = (Log::create("l.example/u").unwrap(), Disk::default());
        let plan = log.plan(&entries(0..300), &nothing, UnixMillis(1)).unwrap();
        write(&mut disk, &plan);
        log.commit(plan).unwrap();
        for path in ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"] {
            let mut damaged = disk.clone();
            damaged.0.get_mut(path).unwrap()[20] ^= 1;
            let resumed = Log::resume(&damaged, &log.checkpoint(), UnixMillis(1));
            // Level 0 below a full tile is not read to resume; `TileReader::check` covers it.
            assert_eq!(resumed.is_err(), path != "tile/0/000", "{path}");
        }
        let other = Checkpoint { root: Hash([0; 32]), ..log.checkpoint() };
        assert_eq!(Log::resume(&disk, &other, UnixMillis(1)).unwrap_err().code, Code::LogCorrupt);
    }
}
