//! What a node lends to jobs that bring keys together, and what it keeps of them: lists in files, threads, the state of an
//! exchange that was interrupted, and the keys that were found, which make a dataset version of their own.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use tacit_crypto::{Secret, Statement, Transcript, agree::derive, sha256};
use tacit_engine::WorkerJob;
use tacit_governance::{AlignFacts, Aligned, Contract, DatasetDescriptor, JobSpec, Meter, Shown};
use tacit_jobs::align::{
    Desk, FoundKeys, KEPT_BYTES, Keep, Kept, KeyPart, Records, STATE_LABEL, Selection, Storage, Workers,
};
use tacit_types::{Code, Columns, DatasetVersionId, Fault, Hash, JobId, LocalQuery, Name, NodeId, UnixMillis};

use crate::config::Keys;
use crate::datasets::{self, Kept as Registered};
use crate::store::{DatasetRow, Store, Tx};

mod config;
mod expire;
pub mod found;
mod lookup;
mod offered;
mod spine;
pub(crate) use self::offered::with;
pub(crate) use self::spine::SpineFile;

pub use self::config::{
    ALIGN_LIST_KEYS_MAX, ALIGN_LIST_KEYS_MIN, ALIGN_MEMORY_MB_DEFAULT, ALIGN_MEMORY_MB_MAX, ALIGN_MEMORY_MB_MIN,
    AlignConfig,
};
pub(crate) use self::expire::expire;
pub use self::expire::nothing_overdue;

/// The folder of all this, in the node's.
const FOLDER: &str = "align";
/// Bytes of a file that are hashed at a time.
const HASHED_BYTES: usize = 1 << 20;
/// Begins a file of found keys.
const MAGIC: [u8; 8] = *b"tcalign1";
/// Bytes before the records: what it is, records, bytes of each, rows.
const HEADER_BYTES: usize = 32;
/// What the version of an aligned dataset is called after the one whose rows it has.
pub(crate) const SUFFIX: &str = "-aligned";

/// How the rows of an aligned version are found among those of its source.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// The job.
    pub job: JobId,
    /// The view that was aligned.
    pub view: String,
    /// The key: agreed name, steps, this owner's column.
    pub key: Vec<(String, Vec<String>, String)>,
    /// Keys that were found.
    pub keys: u64,
}

fn io(path: &Path, error: &std::io::Error) -> Fault {
    let code = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::StoreFull,
        _ => Code::StoreFailed,
    };
    Fault::new(code, format!("{}: {error}", path.display()))
}

fn folder(home: &Path) -> PathBuf {
    home.join(FOLDER)
}

fn work(home: &Path, job: &JobId) -> PathBuf {
    folder(home).join(job.to_string())
}

fn found(home: &Path, job: &JobId) -> PathBuf {
    folder(home).join(format!("{job}.keys"))
}

fn create(path: &Path) -> Result<(), Fault> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| io(path, &e))
}

fn sync_folder(path: &Path) -> Result<(), Fault> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|e| io(path, &e))
}

fn open(path: &Path) -> Result<File, Fault> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(0o600).open(path).map_err(|e| io(path, &e))
}

/// Numbered files in a folder.
struct Files {
    folder: PathBuf,
    open: BTreeMap<u32, File>,
}

impl Files {
    fn path(&self, file: u32) -> PathBuf {
        self.folder.join(format!("{file}.list"))
    }

    fn file(&mut self, file: u32) -> Result<&File, Fault> {
        let path = self.path(file);
        Ok(match self.open.entry(file) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(free) => free.insert(open(&path)?),
        })
    }
}

impl Storage for Files {
    fn write(&mut self, file: u32, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let path = self.path(file);
        self.file(file)?.write_all_at(bytes, offset).map_err(|e| io(&path, &e))
    }

    fn read(&mut self, file: u32, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        let path = self.path(file);
        self.file(file)?.read_exact_at(out, offset).map_err(|e| io(&path, &e))
    }

    fn remove(&mut self, file: u32) -> Result<(), Fault> {
        self.open.remove(&file);
        let path = self.path(file);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(io(&path, &e)),
            _ => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), Fault> {
        for (number, file) in &self.open {
            file.sync_data().map_err(|e| io(&self.path(*number), &e))?;
        }
        sync_folder(&self.folder)
    }

    fn taken_up(&mut self, batches: u64) {
        tracing::info!(folder = %self.folder.display(), batches, "an exchange of an earlier attempt goes on");
    }

    fn sorting(&mut self, runs: u64) {
        tracing::info!(folder = %self.folder.display(), runs, "a list longer than [align] memory_mb is sorted in files");
    }
}

/// The cores of this machine, for as long as a batch takes.
struct Threads(usize);

impl Workers for Threads {
    fn run(&self, count: usize, piece: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                piece(number);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.0.min(count) {
                scope.spawn(work);
            }
            work();
        });
    }
}

/// Found keys on their way into a file, which has its name only when they are all there.
struct Shelf {
    part: PathBuf,
    whole: PathBuf,
    file: std::io::BufWriter<File>,
}

impl Shelf {
    fn new(home: &Path, job: &JobId) -> Result<Self, Fault> {
        let part = work(home, job).join("keys.part");
        let file = open(&part)?;
        file.set_len(0).map_err(|e| io(&part, &e))?;
        let mut file = std::io::BufWriter::new(file);
        file.write_all(&[0; HEADER_BYTES]).map_err(|e| io(&part, &e))?;
        Ok(Self { part, whole: found(home, job), file })
    }
}

impl Keep for Shelf {
    fn put(&mut self, record: &[u8]) -> Result<(), Fault> {
        self.file.write_all(record).map_err(|e| io(&self.part, &e))
    }

    fn done(&mut self, kept: Kept) -> Result<(), Fault> {
        let numbers = [kept.records, kept.width as u64, kept.rows].map(u64::to_be_bytes);
        let header = [&MAGIC, &numbers[0], &numbers[1], &numbers[2]].map(|part| &part[..]).concat();
        let written = self.file.flush().and_then(|()| {
            self.file.get_ref().write_all_at(&header, 0)?;
            self.file.get_ref().sync_all()?;
            fs::rename(&self.part, &self.whole)
        });
        written.map_err(|e| io(&self.part, &e))?;
        self.whole.parent().map_or(Ok(()), sync_folder)
    }
}

/// What this node lends to a job. Lists of an earlier attempt are there as long as its state is.
///
/// # Errors
/// `refused.alignment` where the contract allows no further alignment yet; those of the database and of the disk.
pub(crate) async fn desk(
    store: &Store,
    (home, config): (&Path, AlignConfig),
    own: &NodeId,
    job: &JobId,
    spec: &JobSpec,
    facts: &AlignFacts,
) -> Result<Desk, Fault> {
    create(&folder(home))?;
    let contract = store.job(job).await?.as_ref().and_then(crate::serve::admitted_under);
    let contracts = store.contracts().await?;
    let contract = contract.and_then(|id| contracts.iter().find(|c| c.id() == id)).map(|c| c.body());
    let terms = contract.and_then(|c| c.alignment.as_ref());
    let now = crate::now();
    let repeat = terms.and_then(|a| a.repeats(facts.lookup.is_some()));
    let offered = offered::count(store, home, job, repeat, (spec, own), now).await?;
    let secret = own_key(store).await?;
    let until = contract.map_or(UnixMillis(u64::MAX), |c| c.valid_until);
    let search = |facts| lookup::desk(home, facts, (terms.and_then(|a| a.lookup), until), own, &secret, now);
    let lookup = facts.lookup.as_ref().map(search).transpose()?;
    let folder = work(home, job);
    let state = fs::read(folder.join("state")).ok();
    if state.is_none() {
        clear(&folder)?;
    }
    create(&folder)?;
    Ok(Desk {
        job: *job,
        storage: Box::new(Files { folder, open: BTreeMap::new() }),
        workers: Arc::new(Threads(std::thread::available_parallelism().map_or(1, usize::from))),
        memory: config.memory(),
        keys_max: config.keys_max,
        key: derive(b"tacit-align/1/node", &secret, &[&job.0]),
        state,
        offered,
        lookup,
        // Of the contract that admitted it: what else a job names is nobody's word but who signed the job.
        shown: Shown::under(terms),
        sole: spec.contracts.len() == 1,
        keep: Box::new(Shelf::new(home, job)?),
    })
}

/// What is left here of what a contract allows of alignments and searches, for a job that is planned. Nothing is counted.
///
/// # Errors
/// Those of the database and of the disk.
pub(crate) async fn meters(
    store: &Store,
    home: &Path,
    own: &NodeId,
    (contract, spec): (&Contract, &JobSpec),
    now: UnixMillis,
) -> Result<Vec<Meter>, Fault> {
    let plan = tacit_jobs::kind(&spec.kind).and_then(|kind| kind.plan(&spec.params, &tacit_jobs::Parts::of(spec)));
    let facts = plan.ok().and_then(|plan| plan.aligns());
    let (Some(facts), Some(terms), Some(_)) = (facts, &contract.alignment, spec.provider(own)) else {
        return Ok(Vec::new());
    };
    let mut all = match &terms.repeats(facts.lookup.is_some()) {
        Some(repeat) => {
            // In a search keys are counted as queries, by who answers them.
            let counted = facts.lookup.is_none().then_some(facts.keys_min);
            offered::meters(store, home, repeat, (spec, own, counted), now).await?
        }
        None => Vec::new(),
    };
    if let (Some(search), Some(terms)) = (facts.lookup.filter(|search| search.asker != *own), &terms.lookup) {
        all.push(lookup::meter(home, &search, terms, now)?);
    }
    Ok(all)
}

/// One secret for all exchanges of a node, made once, kept in its database.
async fn own_key(store: &Store) -> Result<[u8; 32], Fault> {
    let mut tx = store.begin().await?;
    if let Some(key) = tx.meta("align_key").await? {
        return key.try_into().map_err(|_| Fault::new(Code::StoreCorrupt, "the key of exchanges"));
    }
    let key: Secret<[u8; 32]> = Secret::new(crate::os_rng()?.bytes());
    tx.set_meta("align_key", key.expose_secret()).await?;
    tx.commit().await?;
    Ok(*key.expose_secret())
}

/// Whether a record is the state of an exchange, which outlives its attempt.
pub(crate) fn is_state(record: &[u8]) -> bool {
    record.starts_with(STATE_LABEL)
}

/// Makes a state durable in place of the one before.
pub(crate) fn put_state(home: &Path, job: &JobId, record: &[u8]) -> Result<(), Fault> {
    let folder = work(home, job);
    let (part, whole) = (folder.join("state.part"), folder.join("state"));
    let written = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
        file.write_all(record)?;
        file.sync_all()?;
        fs::rename(&part, &whole)
    };
    written().map_err(|e| io(&part, &e))?;
    sync_folder(&folder)
}

/// Whether keys that a job found are there.
pub(crate) fn found_is_there(home: &Path, job: &JobId) -> bool {
    found(home, job).exists()
}

/// Whether lists of a job's exchange are there.
pub(crate) fn work_is_there(home: &Path, job: &JobId) -> bool {
    work(home, job).exists()
}

/// Whether a cache of that series is there.
pub(crate) fn cache_is_there(home: &Path, series: &str) -> bool {
    lookup::series(home, series).exists()
}

/// Removes keys that a job found, for good.
///
/// # Errors
/// Those of the disk.
pub(crate) fn remove_found(home: &Path, job: &JobId) -> Result<(), Fault> {
    let path = found(home, job);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(io(&path, &e)),
        _ => {}
    }
    sync_folder(&folder(home))
}

/// Removes the lists of a job's exchange, for good.
///
/// # Errors
/// Those of the disk.
pub(crate) fn remove_work(home: &Path, job: &JobId) -> Result<(), Fault> {
    clear(&work(home, job))?;
    sync_folder(&folder(home))
}

/// Removes a cache, for good.
///
/// # Errors
/// Those of the disk.
pub(crate) fn remove_cache(home: &Path, series: &str) -> Result<(), Fault> {
    clear(&lookup::series(home, series))?;
    sync_folder(&folder(home))
}

fn clear(folder: &Path) -> Result<(), Fault> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(io(folder, &e)),
        _ => Ok(()),
    }
}

/// Forgets what an ended job leaves behind: its lists and its state, and what it found where it did not succeed.
pub(crate) fn forget(home: &Path, job: &JobId, succeeded: bool) {
    if !folder(home).exists() {
        return;
    }
    if let Err(fault) = clear(&work(home, job)) {
        tracing::error!(%fault, job = %job.short(), "the lists of a job that has ended could not be removed");
    }
    if !succeeded {
        let _ = fs::remove_file(found(home, job));
    }
}

/// The header of a file of found keys.
fn header(bytes: &[u8]) -> Option<Kept> {
    let (numbers, rest) = bytes.first_chunk::<HEADER_BYTES>()?.strip_prefix(&MAGIC)?.as_chunks::<8>();
    let [records, width, rows] = numbers else { return None };
    let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
    rest.is_empty().then(|| Kept { records: number(records), width: number(width) as usize, rows: number(rows) })
}

/// What an alignment kept, in its file.
struct KeptFile {
    path: PathBuf,
    file: File,
    kept: Kept,
}

impl KeptFile {
    /// The file of what a job found.
    ///
    /// # Errors
    /// `store.corrupt` when it is gone, or has no header or another length than that says.
    fn open(path: PathBuf) -> Result<Self, Fault> {
        let corrupt = |what: &str| Fault::new(Code::StoreCorrupt, format!("{}: {what}", path.display()));
        let file = File::open(&path).map_err(|e| corrupt(&e.to_string()))?;
        let mut head = [0; HEADER_BYTES];
        let read = file.read_exact_at(&mut head, 0).ok().and_then(|()| header(&head));
        let kept = read.ok_or_else(|| corrupt("no keys of an alignment"))?;
        let bytes = file.metadata().map_err(|e| corrupt(&e.to_string()))?.len();
        let whole = (kept.width as u64).checked_mul(kept.records).and_then(|n| n.checked_add(HEADER_BYTES as u64));
        if whole != Some(bytes) {
            return Err(corrupt("another number of keys than were found"));
        }
        Ok(Self { path, file, kept })
    }

    /// As [`KeptFile::open`], where each record has so many bytes.
    fn of(home: &Path, found_by: &Found, width: usize) -> Result<Self, Fault> {
        let kept = Self::open(found(home, &found_by.job))?;
        if kept.kept.width == width {
            return Ok(kept);
        }
        Err(Fault::new(Code::StoreCorrupt, format!("{}: of another kind", kept.path.display())))
    }

    fn bytes_at(&self, at: u64, out: &mut [u8]) -> Result<(), Fault> {
        let corrupt = |e: std::io::Error| Fault::new(Code::StoreCorrupt, format!("{}: {e}", self.path.display()));
        self.file.read_exact_at(out, HEADER_BYTES as u64 + at).map_err(corrupt)
    }

    /// Bytes of the records.
    fn len(&self) -> u64 {
        self.kept.records * self.kept.width as u64 // proof: `open` has multiplied them.
    }

    /// A hash of everything in it, read a piece at a time.
    fn hash(&self) -> Result<Hash, Fault> {
        let numbers = [self.kept.records, self.kept.width as u64, self.kept.rows];
        let mut hash = numbers.iter().fold(Transcript::new("tacit-align/1/found"), |all, n| all.u64(*n));
        let (mut at, mut piece) = (0, vec![0; HASHED_BYTES]);
        while at < self.len() {
            let left = usize::try_from(self.len() - at).unwrap_or(HASHED_BYTES);
            piece.truncate(left);
            self.bytes_at(at, &mut piece)?;
            hash = hash.bytes(&piece);
            at += piece.len() as u64;
        }
        Ok(hash.finish())
    }
}

impl Records for KeptFile {
    fn bytes(&self) -> u64 {
        self.len()
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), Fault> {
        self.bytes_at(at, out)
    }
}

/// The agreed key, and this owner's columns of it.
fn key_of(found_by: &Found) -> (Vec<KeyPart>, Vec<String>) {
    let part = |(name, steps, _): &(String, Vec<String>, String)| KeyPart { name: name.clone(), steps: steps.clone() };
    let parts = found_by.key.iter().map(part).collect();
    (parts, found_by.key.iter().map(|(_, _, column)| column.clone()).collect())
}

/// The rows of an aligned version among those of its source.
///
/// # Errors
/// `store.corrupt` when the found keys are gone or changed in length, or are ids: these have no selection of rows.
pub(crate) fn selection(home: &Path, found_by: &Found) -> Result<Selection, Fault> {
    let (parts, columns) = key_of(found_by);
    Selection::new(&parts, &columns, Box::new(KeptFile::of(home, found_by, KEPT_BYTES)?))
}

/// The keys that an alignment found, of a version that it left, as the rows of a job with room for so many.
///
/// # Errors
/// `refused.dataset` for a version of another alignment; those of [`FoundKeys::new`].
pub(crate) fn found_keys(home: &Path, all: &[Found], job: &JobId, room: u64) -> Result<FoundKeys, Fault> {
    let Some(last) = all.last().filter(|last| last.job == *job) else {
        let what = format!("the version has no keys of alignment {}", job.short());
        return Err(Fault::new(Code::RefusedDataset, what));
    };
    let (parts, columns) = key_of(last);
    FoundKeys::new(&parts, &columns, &KeptFile::of(home, last, KEPT_BYTES)?, room)
}

/// Puts what a job has found into the catalogue, as a version of its own, once its receipt is in the log. Nothing where it
/// found nothing, or is there already.
pub(crate) async fn catalogue(
    tx: &mut Tx<'_>,
    keys: &Keys,
    home: &Path,
    id: &JobId,
    job: &WorkerJob,
    now: UnixMillis,
) -> Result<(), Fault> {
    let path = found(home, id);
    if !path.exists() {
        return Ok(());
    }
    let parsed = job.job()?;
    let Some((base, row)) = made(tx, keys, id, parsed.body(), &path, now).await? else { return Ok(()) };
    tracing::info!(job = %id.short(), base = %base.short(), dataset = %row.name, version = row.version, "aligned");
    tx.put_dataset(&row).await
}

async fn made(
    tx: &mut Tx<'_>,
    keys: &Keys,
    id: &JobId,
    spec: &JobSpec,
    path: &Path,
    now: UnixMillis,
) -> Result<Option<(DatasetVersionId, DatasetRow)>, Fault> {
    let owner = keys.root.id();
    let plan = tacit_jobs::kind(&spec.kind)?.plan(&spec.params, &tacit_jobs::Parts::of(spec))?;
    let (Some(params), Some(provider)) = (plan.kept(), spec.provider(&owner)) else { return Ok(None) };
    let corrupt = |what: &str| Fault::new(Code::StoreCorrupt, format!("what job {} found: {what}", id.short()));
    let file = KeptFile::open(path.to_owned())?;
    let kept = file.kept;
    let all = tx.datasets().await?;
    let source = all.iter().find(|d| d.id == provider.dataset).ok_or_else(|| corrupt("its dataset is gone"))?;
    let mut registered: Registered = datasets::kept(source)?;
    if all.iter().filter_map(|d| datasets::kept(d).ok()).any(|k| k.aligned.iter().any(|f| f.job == *id)) {
        return Ok(None);
    }
    let columns = params.columns(&owner).unwrap_or_default();
    let key = params.key.iter().zip(columns).map(|(p, c)| (p.name.clone(), p.steps.clone(), c.clone())).collect();
    registered.aligned.push(Found { job: *id, view: provider.view.clone(), key, keys: kept.records });
    let before = datasets::descriptor(source)?;
    let name = aligned_name(&before.name)?;
    let version = all.iter().filter(|d| d.name == name.as_str()).map(|d| d.version).max().unwrap_or(0) + 1;
    let mut parties: Vec<_> = spec.providers.iter().map(|p| p.owner).collect();
    parties.sort_unstable();
    let expires = now.plus(u64::from(params.keep_days) * 86_400_000);
    let salt: [u8; 32] = crate::os_rng()?.bytes();
    let descriptor = DatasetDescriptor {
        format: 1,
        owner,
        name: name.clone(),
        version,
        columns: before.columns,
        // Of the source: what an alignment finds is not for everyone who reads a catalogue.
        row_bucket: before.row_bucket,
        commitment: Transcript::new("tacit-align/1/commitment")
            .fixed(&before.commitment.0)
            .fixed(&salt)
            .fixed(&file.hash()?.0)
            .finish(),
        views: vec![name.to_string()],
        terms: before.terms,
        aligned: Some(Aligned { job: *id, parties, level: params.level, base: provider.dataset, expires }),
    };
    let signed = Statement::sign(&keys.root, name.as_str(), now, None, descriptor);
    let registration = serde_json::to_string(&registered).map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
    let row = DatasetRow {
        name: name.to_string(),
        version,
        id: DatasetVersionId(sha256(signed.bytes()).0),
        registration,
        descriptor: signed.bytes().to_vec(),
        rows: kept.rows,
        added_at: now,
    };
    Ok(Some((provider.dataset, row)))
}

/// The name of what was aligned: that of its source with a suffix, once.
fn aligned_name(source: &Name) -> Result<Name, Fault> {
    let stem = source.as_str().strip_suffix(SUFFIX).unwrap_or(source.as_str());
    let room = tacit_types::limits::NAME_LEN_MAX - SUFFIX.len();
    let stem: String = stem.chars().take(room).collect();
    Name::new(&format!("{stem}{SUFFIX}"))
}

/// The rows that alignments leave of a dataset version, on their way to a job.
pub(crate) struct Narrowed {
    selections: Vec<Selection>,
    added: Vec<String>,
}

impl Narrowed {
    /// Has the query read what the alignments need, of the view that was aligned.
    ///
    /// # Errors
    /// `store.corrupt` when what an alignment found is gone.
    pub(crate) fn new(home: &Path, all: &[Found], query: &mut LocalQuery) -> Result<Self, Fault> {
        if let Some(first) = all.first() {
            query.view.clone_from(&first.view);
        }
        let selections = all.iter().map(|found| selection(home, found)).collect::<Result<Vec<_>, _>>()?;
        let added = selections.iter().flat_map(|s| s.widen(query)).collect();
        Ok(Self { selections, added })
    }

    /// The rows that are left of a batch.
    ///
    /// # Errors
    /// Those of [`Selection::take`].
    pub(crate) fn take(&self, mut batch: Columns) -> Result<Columns, Fault> {
        for (i, selection) in self.selections.iter().enumerate() {
            let last = i + 1 == self.selections.len();
            batch = selection.take(&batch, if last { &self.added } else { &[] })?;
        }
        Ok(batch)
    }
}

/// Computes for longer than a task should, where the runtime has other threads for other tasks.
pub(crate) fn apart<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current().map(|h| h.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
