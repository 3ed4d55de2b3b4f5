//! Checking a home at rest: every file of the log, the checkpoint, the database.

use std::collections::BTreeMap;
use std::path::Path;

use tacit_archive::Folder;
use tacit_archive::files::{TEMPORARY, io_fault};
use tacit_crypto::Statement;
use tacit_receipts::merkle::HashSource;
use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::tiles::{
    CHECKPOINT_PATH, TILE_WIDTH, beside_path, encode_bundle, entries_path, tile_path, width_of,
};
use tacit_receipts::{
    JointReceipt, KeyEvent, KeyHistory, Leaf, LogChain, MemTree, Quorum, SignedCheckpoint, TileRead, TileReader,
    VerifierKey,
};
use tacit_types::{Code, Fault, Hash, JobId, StatementId};

use crate::config::Config;
use crate::home::Home;
use crate::rotation::LogSigners;
use crate::store::{Fatal, Store, Whose};

/// What a check found in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FsckReport {
    /// Leaves of the log.
    pub leaves: u64,
    /// Receipts among them.
    pub receipts: u64,
    /// Files below `log/` that were compared, byte for byte.
    pub files: u64,
    /// Files of appends that were never signed: a kill left them, the next append replaces them.
    pub unsigned_files: u64,
    /// Cosignatures of the published checkpoint.
    pub cosignatures: u64,
    /// Jobs in the database.
    pub jobs: u64,
    /// Jobs that ended without a receipt, because no party attested.
    pub unreceipted: u64,
}

/// Checks the home of a daemon that does not run. Every file of the log is compared with what the
/// leaves make it, the checkpoint with its signatures and root, the database with the log.
///
/// # Errors
/// `log.corrupt` naming the first bad file or leaf, `store.corrupt` naming the first bad row,
/// `store.locked` while a daemon serves the home, `config.*`.
pub fn fsck(home: &Path) -> Result<FsckReport, Fault> {
    let paths = Home::new(home);
    let config = Config::read(&paths.config())?;
    let _lock = paths.lock()?;
    let keys = LogSigners::load(&paths, &config.origin)?.chain;
    let mut report = FsckReport::default();
    let folder = Folder::new(paths.log());
    // A thread of its own: the caller may be inside a runtime.
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|e| Fault::new(Code::IoFailed, e.to_string()))?;
            runtime.block_on(async {
                let (fatal, _reports) = Fatal::channel();
                let (store, writer) = Store::open(paths.database(), fatal).await?;
                let result = check(&store, &folder, &keys, &mut report).await;
                drop(store);
                writer.finish().await;
                result
            })
        });
        work.join().unwrap_or_else(|_| Err(Fault::new(Code::Internal, "the check failed")))
    })?;
    Ok(report)
}

async fn check(store: &Store, folder: &Folder, keys: &LogChain, report: &mut FsckReport) -> Result<(), Fault> {
    let signed = store.head().await?.map(|(note, _)| note);
    let signed = signed
        .map(|note| keys.open(&note).map(|(signed, _)| signed))
        .transpose()
        .map_err(|f| Fault::new(Code::StoreCorrupt, format!("the log's head: {}", f.what)))?;
    let published = checkpoint(folder, keys)?;
    let newest = [&signed, &published].into_iter().flatten().map(SignedCheckpoint::checkpoint);
    let newest = newest.max_by_key(|head| head.size).map(|head| (head.size, head.root));
    let log = match Leaves::read(folder, newest.map_or(0, |(size, _)| size), report) {
        Ok(log) => log,
        Err(fault) => return Err(located(folder, newest, fault)),
    };
    let size = log.tree.size();
    for head in [&signed, &published].into_iter().flatten().map(SignedCheckpoint::checkpoint) {
        let found = tacit_receipts::merkle::root(&log.tree, head.size)?;
        if found != head.root {
            let what = format!("{CHECKPOINT_PATH}: {} leaves have root {}", head.size, found.short());
            return Err(corrupt(what));
        }
    }
    if let Some(published) = &published {
        report.cosignatures = cosignatures(published, keys, log.quorum.as_ref())?;
    }
    files(folder, size, &log, report).map_err(|fault| located(folder, newest, fault))?;
    database(store, folder, &log, size, report).await
}

/// Adds to a fault which bit of which file was flipped, where one flip explains it.
fn located(folder: &Folder, head: Option<(u64, Hash)>, fault: Fault) -> Fault {
    let Some((size, root)) = head.filter(|_| fault.code == Code::LogCorrupt) else { return fault };
    let found = (0..size.div_ceil(TILE_WIDTH)).flat_map(|index| tacit_archive::examine(folder, (size, root), index));
    match found.into_iter().find(|damage| damage.flipped.is_some()) {
        Some(damage) => Fault::new(fault.code, format!("{}; {damage}", fault.what)),
        None => fault,
    }
}

fn corrupt(what: impl Into<String>) -> Fault {
    Fault::new(Code::LogCorrupt, what)
}

fn checkpoint(folder: &Folder, keys: &LogChain) -> Result<Option<SignedCheckpoint>, Fault> {
    let Some(bytes) = folder.read(CHECKPOINT_PATH) else { return Ok(None) };
    let (open, _) = keys.open(&bytes).map_err(|f| corrupt(format!("{CHECKPOINT_PATH}: {}", f.what)))?;
    // One head, one form: a byte that no parser minds was altered all the same.
    if open.to_bytes() == bytes { Ok(Some(open)) } else { Err(corrupt(format!("{CHECKPOINT_PATH}: not as written"))) }
}

/// Every line beside the log's own, which must hold, must be a witness's of the newest key event, and hold.
fn cosignatures(published: &SignedCheckpoint, keys: &LogChain, quorum: Option<&Quorum>) -> Result<u64, Fault> {
    let Some(quorum) = quorum else { return Ok(0) };
    let bad = |what: String| Err(corrupt(format!("{CHECKPOINT_PATH}: {what}")));
    let (note, held) = (published.note(), quorum.count(published.note()));
    let own = keys.keys().filter(|held| note.signatures().iter().any(|line| held.key.owns(line)));
    if let Some(broken) = own.clone().find(|held| note.check(&held.key).is_err()) {
        return bad(format!("a signature of {} does not hold", broken.key.name()));
    }
    let lines = note.signatures().len().saturating_sub(own.count());
    if held.by.len() < quorum.threshold() {
        return bad(format!("{} cosignatures hold, {} are needed", held.by.len(), quorum.threshold()));
    }
    if held.by.len() < lines {
        // A witness that enrolled after the key event may have signed too; its line cannot be judged
        // here, one of a known witness can.
        if let Some(broken) = quorum.witnesses().iter().find(|w| note.check(w).is_err()) {
            return bad(format!("the cosignature of {} does not hold", broken.name()));
        }
    }
    Ok(held.by.len() as u64)
}

/// What the leaves say.
struct Leaves {
    tree: MemTree,
    /// Place and leaf hash of each receipt's job.
    receipts: BTreeMap<JobId, u64>,
    /// The witnesses of the newest key event.
    quorum: Option<Quorum>,
    /// The keys that parties and witnesses have had.
    keys: KeyHistory,
    /// Attestations that stand beside the log.
    beside: Vec<StatementId>,
}

impl Leaves {
    /// Reads every leaf and compares it with its hash in the tile.
    fn read(folder: &Folder, size: u64, report: &mut FsckReport) -> Result<Self, Fault> {
        let reader = TileReader::new(folder, size);
        let mut this = Self {
            tree: MemTree::default(),
            receipts: BTreeMap::new(),
            quorum: None,
            keys: KeyHistory::default(),
            beside: Vec::new(),
        };
        for bundle in 0..size.div_ceil(TILE_WIDTH) {
            let hashes = reader.tile(0, bundle)?;
            for (i, leaf) in (bundle * TILE_WIDTH..).zip(reader.entries(bundle)?) {
                let hash = leaf_hash(&leaf);
                let known = hashes.get((i % TILE_WIDTH) as usize);
                // A leaf is signed, so it says itself whether it or the tile was altered.
                let read = Leaf::read(&leaf).map_err(|f| {
                    let path = entries_path(bundle, width_of(size, 0, bundle));
                    corrupt(format!("{path}: leaf {i}: {}", f.what))
                })?;
                if known != Some(&hash) {
                    let path = tile_path(0, bundle, width_of(size, 0, bundle));
                    return Err(corrupt(format!("{path}: the hash of leaf {i} is not that of the leaf")));
                }
                this.tree.push(hash);
                this.take(i, read)?;
            }
        }
        if let Some(quorum) = &mut this.quorum {
            quorum.follow(&this.keys);
        }
        report.leaves = size;
        report.receipts = this.receipts.len() as u64;
        Ok(this)
    }

    fn take(&mut self, place: u64, leaf: Leaf) -> Result<(), Fault> {
        match leaf {
            Leaf::Receipt(receipt) => self.take_receipt(place, &receipt),
            Leaf::KeyEvent(event) => {
                self.quorum = Some(quorum(event.body())?);
                Ok(())
            }
            Leaf::Genesis(genesis) => {
                self.keys = KeyHistory::new(&genesis.body().origin);
                Ok(())
            }
            // What does not follow is for who verifies the log.
            Leaf::PartyRotation(change) => {
                let _ = self.keys.follow_any(&change, Some(place));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn take_receipt(&mut self, place: u64, receipt: &Statement<JointReceipt>) -> Result<(), Fault> {
        let hashes = receipt.body().attestations.iter().filter_map(|a| <[u8; 32]>::try_from(a.as_slice()).ok());
        self.beside.extend(hashes.map(StatementId));
        let job = receipt.body().record.job;
        match self.receipts.insert(job, place) {
            None => Ok(()),
            Some(first) => Err(corrupt(format!("leaf {place}: job {} has a receipt at leaf {first}", job.short()))),
        }
    }
}

fn quorum(event: &KeyEvent) -> Result<Quorum, Fault> {
    let keys = event.witnesses.iter().map(|text| VerifierKey::parse(text)).collect::<Result<Vec<_>, _>>()?;
    Quorum::new(keys, event.quorum as usize)
}

/// Compares every file below the log with what the leaves make it, partial ones of former sizes
/// included.
fn files(folder: &Folder, size: u64, log: &Leaves, report: &mut FsckReport) -> Result<(), Fault> {
    let mut expected = Expected { folder, size, log, bundle: None };
    for path in walk(folder.path(), "")? {
        match expected.matches(&path)? {
            Some(true) => report.files += 1,
            Some(false) => return Err(corrupt(format!("{path} does not fit the leaves"))),
            None => report.unsigned_files += 1,
        }
    }
    for id in &log.beside {
        let path = beside_path(id);
        match folder.read(&path) {
            Some(bytes) if tacit_crypto::sha256(&bytes).0 == id.0 => report.files += 1,
            Some(_) => return Err(corrupt(format!("{path} has another hash than its name"))),
            None => return Err(corrupt(format!("{path} is missing"))),
        }
    }
    Ok(())
}

struct Expected<'a> {
    folder: &'a Folder,
    size: u64,
    log: &'a Leaves,
    /// The leaves of the bundle that was read last.
    bundle: Option<(u64, Vec<Vec<u8>>)>,
}

impl Expected<'_> {
    /// Whether a file is as it must be; `None` for a file that no signed head covers.
    fn matches(&mut self, path: &str) -> Result<Option<bool>, Fault> {
        let Some((level, index, width)) = parse(path) else {
            // Checkpoint, trust file and attestations are checked on their own.
            let own = !path.starts_with("tile/") && !path.ends_with(TEMPORARY);
            return Ok(own.then_some(true));
        };
        if width > width_of(self.size, level.unwrap_or(0), index) {
            return Ok(None);
        }
        let Some(found) = self.folder.read(path) else { return Err(corrupt(format!("{path} cannot be read"))) };
        let expected = match level {
            None => {
                if self.bundle.as_ref().is_none_or(|(held, _)| *held != index) {
                    self.bundle = Some((index, TileReader::new(self.folder, self.size).entries(index)?));
                }
                let leaves = self.bundle.as_ref().map_or(&[][..], |(_, leaves)| leaves.as_slice());
                encode_bundle(leaves.get(..width as usize).unwrap_or_default())?
            }
            Some(level) => {
                let first = index * TILE_WIDTH;
                let hash = |i: u64| self.log.tree.subtree(level * 8, i);
                let hashes: Option<Vec<Hash>> = (first..first + width).map(hash).collect();
                hashes.unwrap_or_default().iter().flat_map(|h| h.0).collect()
            }
        };
        Ok(Some(found == expected))
    }
}

/// The level (none for leaves), number and width of a tile's path.
fn parse(path: &str) -> Option<(Option<u8>, u64, u64)> {
    let rest = path.strip_prefix("tile/")?;
    let (level, rest) = rest.split_once('/')?;
    let level = if level == "entries" { None } else { Some(level.parse().ok()?) };
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, width.parse().ok()?),
        None => (rest, TILE_WIDTH),
    };
    let digits = number.split('/').map(|part| part.trim_start_matches('x')).collect::<String>();
    let index = digits.parse().ok()?;
    let again = match level {
        None => entries_path(index, width),
        Some(level) => tile_path(level, index, width),
    };
    (again == path).then_some((level, index, width))
}

/// Files below a folder, in order, as paths with `/`.
fn walk(root: &Path, below: &str) -> Result<Vec<String>, Fault> {
    let folder = root.join(below);
    let failed = |e: std::io::Error| io_fault(&folder, &e);
    let mut entries = std::fs::read_dir(&folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.file_type().map_err(failed)?.is_dir() {
            found.extend(walk(root, &path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

/// Rows of leaves and jobs against the log.
async fn database(
    store: &Store,
    folder: &Folder,
    log: &Leaves,
    size: u64,
    report: &mut FsckReport,
) -> Result<(), Fault> {
    const TOGETHER: u32 = 1000;
    let wrong = |what: String| Err(Fault::new(Code::StoreCorrupt, what));
    let mut next = 0;
    loop {
        let rows = store.leaf_rows(next, TOGETHER).await?;
        for row in &rows {
            let receipt = row.job.map(|job| log.receipts.get(&job) == Some(&row.place));
            if row.place != next || log.tree.subtree(0, next) != Some(row.hash) || receipt == Some(false) {
                return wrong(format!("the row of leaf {} differs from the log", row.place));
            }
            next += 1;
        }
        if rows.is_empty() {
            break;
        }
    }
    if next > size {
        return wrong(format!("rows of {next} leaves, a log of {size}"));
    }
    let reader = TileReader::new(folder, size);
    let mut before = None;
    loop {
        let ids = store.job_ids(&Whose::Everybody, before, TOGETHER).await?;
        let Some(last) = ids.last() else { return Ok(()) };
        before = Some(*last);
        for id in ids {
            let Some(job) = store.job(&id).await? else { continue };
            report.jobs += 1;
            match job.receipt() {
                Some((place, leaf, _)) if log.receipts.get(&id) != Some(place) || reader.leaf(*place)? != leaf.0 => {
                    return wrong(format!("job {} holds another receipt than the log at leaf {place}", id.short()));
                }
                Some(_) => {}
                None if job.has_ended() => report.unreceipted += 1,
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_written() {
        for (level, index, width) in [(None, 0, 3), (None, 1_234_067, 256), (Some(0), 0, 256), (Some(2), 999, 1)] {
            let path = match level {
                None => entries_path(index, width),
                Some(level) => tile_path(level, index, width),
            };
            assert_eq!(parse(&path), Some((level, index, width)), "{path}");
        }
        for other in ["checkpoint", "tile/0/0", "tile/x/000", "tile/0/000.p/03", "tile/0/000.tmp", "tile/0/x000"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
