//! What a node remembers of the lists that it brought together with others', so that a contract's limit on repeated
//! alignments holds: how many there were, and that two lists are the same or differ by a group of keys, never by a person.
//! Lists under a contract without such a limit are remembered too: one under a contract that has it is compared with them.
//!
//! A list is kept as 63 bits of each key's hash, which is as private as the rows: enough that two keys of a list of 2^24 look
//! alike with a probability of 2^-16, in which case a difference counts one less. A count by groups offers each group as a list
//! of its own, after the whole one and in the same file: whoever moves one person to another group asks about that person.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tacit_crypto::Transcript;
use tacit_data::Registration;
use tacit_governance::align::REPEAT_DAYS_MAX;
use tacit_governance::{JobSpec, Meter, Metered, RepeatTerms};
use tacit_jobs::align::{Offered, Spend};
use tacit_types::{Code, DatasetVersionId, Fault, Hash, JobId, NodeId, UnixMillis};

use super::lookup::{Counts, DAY_MS};
use super::{create, folder, io, open, sync_folder};
use crate::datasets;
use crate::store::{DatasetRow, Past, Store, With};

/// The folder of remembered lists.
const LISTS: &str = "offered";
/// Begins a list.
const MAGIC: [u8; 8] = *b"tcoffer1";
/// Bytes before the keys: what it is, the digest of the key's schema, which attempt brought it, how many keys.
const HEADER_BYTES: usize = 48;
/// The low bits of the last eight bytes of a header, which are the number of keys. Above them is the attempt.
const COUNT_BITS: u32 = 48;

/// What was decided in this process: two jobs at once are decided one after the other, and the second is held to the list of
/// the first, though it was counted before that was there.
static DECIDED: Mutex<Vec<Decided>> = Mutex::new(Vec::new());

/// A job whose lists may be offered, with their file.
#[derive(Clone)]
struct Decided {
    job: JobId,
    at: UnixMillis,
    others: Vec<NodeId>,
    /// By what its dataset is known.
    marks: Vec<Hash>,
    path: PathBuf,
}

/// By what an owner's dataset is known whatever a version of it is called: its name here, the place where it lies, and what was
/// in it when it was registered; and the same of each that has one of these in common with it, and of those that have with
/// them. So a file that is registered again under another name is the same dataset, as is a copy of it, a later version, a
/// view, and what an alignment leaves of it.
///
/// # Errors
/// Those of the database; `data.unknown` for a version that is not registered here.
pub(crate) async fn marks(store: &Store, dataset: &DatasetVersionId) -> Result<Vec<Hash>, Fault> {
    let mark =
        |what: &str, bytes: &[u8]| Transcript::new("tacit-align/1/mark").bytes(what.as_bytes()).bytes(bytes).finish();
    let own = |row: &DatasetRow| -> Result<[Hash; 3], Fault> {
        let (kept, descriptor) = (datasets::kept(row)?, datasets::descriptor(row)?);
        let Registration { name, source, .. } = &kept.registration;
        let place = serde_json::to_vec(source).map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
        Ok([mark("name", name.as_str().as_bytes()), mark("place", &place), mark("content", &descriptor.commitment.0)])
    };
    let mut marks = own(&datasets::find(store, dataset).await?)?.to_vec();
    let mut others = store.datasets().await?.iter().map(own).collect::<Result<Vec<_>, Fault>>()?;
    loop {
        let (met, left): (Vec<_>, Vec<_>) = others.into_iter().partition(|all| all.iter().any(|m| marks.contains(m)));
        if met.is_empty() {
            break;
        }
        marks.extend(met.into_iter().flatten());
        marks.sort_unstable();
        marks.dedup();
        others = left;
    }
    Ok(marks)
}

/// Whether two lists may be of one dataset: their marks meet, or those of one are not known.
fn akin(marks: &[Hash], others: &[Hash]) -> bool {
    marks.is_empty() || others.is_empty() || marks.iter().any(|mark| others.contains(mark))
}

impl Decided {
    fn past(&self) -> Earlier {
        (self.path.clone(), Past { job: self.job, at: self.at, marks: self.marks.clone() })
    }
}

fn list(home: &Path, job: &JobId) -> PathBuf {
    folder(home).join(LISTS).join(format!("{job}.list"))
}

/// Who brings lists together with a party.
pub(crate) fn with(spec: &JobSpec, own: &NodeId) -> With {
    let mut owners: Vec<_> = spec.providers.iter().map(|p| p.owner).collect();
    owners.sort_unstable();
    let start = Transcript::new("tacit-align/1/owners");
    let hash = owners.iter().fold(start, |all, owner| all.fixed(&owner.0)).finish();
    owners.retain(|owner| owner != own);
    With { owners: hash, others: owners }
}

/// Counts a job, before anything is read for it.
///
/// # Errors
/// `refused.alignment` when the contract allows no further one yet; those of the database.
pub(super) async fn count(
    store: &Store,
    home: &Path,
    job: &JobId,
    terms: Option<RepeatTerms>,
    (spec, own): (&JobSpec, &NodeId),
    now: UnixMillis,
) -> Result<Option<Box<dyn Offered>>, Fault> {
    let marks = match spec.provider(own) {
        Some(provider) => marks(store, &provider.dataset).await?,
        None => Vec::new(),
    };
    Ok(Some(Box::new(counted(store, home, job, terms, (with(spec, own), marks), now).await?)))
}

async fn counted(
    store: &Store,
    home: &Path,
    job: &JobId,
    terms: Option<RepeatTerms>,
    (with, marks): (With, Vec<Hash>),
    now: UnixMillis,
) -> Result<Ledger, Fault> {
    let counted = store.count_alignment(job, (&with, &marks), terms.as_ref(), now).await?;
    counted.gone.iter().for_each(|gone| forget(home, gone));
    create(&folder(home).join(LISTS))?;
    let earlier = counted.others.into_iter().map(|past| (list(home, &past.job), past)).collect();
    let counts = brought(home, &with, terms.as_ref(), now);
    let own = Decided { job: *job, at: counted.at, others: with.others, marks, path: list(home, job) };
    Ledger::new(own, terms, earlier, counts, now)
}

/// Forgets a job's lists.
fn forget(home: &Path, job: &JobId) {
    let path = list(home, job);
    DECIDED.lock().unwrap_or_else(PoisonError::into_inner).retain(|decided| decided.path != path);
    // What a process that was killed had begun to write goes too.
    let _ = fs::remove_file(path.with_extension("part"));
    let _ = fs::remove_file(path);
}

/// What was counted of the keys that the other owners have brought: for each of them, and for all as they are, by which it was
/// counted before. Where a contract does not limit them they are counted for those that do.
fn brought(home: &Path, with: &With, terms: Option<&RepeatTerms>, now: UnixMillis) -> Vec<Counts> {
    let most = terms.and_then(|terms| terms.keys).unwrap_or(u64::MAX);
    let days = terms.map_or(REPEAT_DAYS_MAX, |terms| terms.days);
    let names = with.others.iter().map(ToString::to_string).chain([with.owners.to_string()]);
    let path = |name| folder(home).join(LISTS).join(format!("{name}.keys"));
    names.map(|name| Counts { path: path(name), what: "keys of the other owners", most, days, now }).collect()
}

/// What is left here of the limits on repeated alignments, of a job whose others bring so many keys each at the least, where
/// they are counted. Nothing is counted.
///
/// # Errors
/// Those of the database and of the disk.
pub(super) async fn meters(
    store: &Store,
    home: &Path,
    terms: &RepeatTerms,
    (spec, own, keys_min): (&JobSpec, &NodeId, Option<u64>),
    now: UnixMillis,
) -> Result<Vec<Meter>, Fault> {
    let with = with(spec, own);
    let (used, first) = store.alignments_used(&with, terms, now).await?;
    let until = first.map(|at| at.plus(u64::from(terms.days) * DAY_MS));
    let runs = Meter { what: Metered::Runs, limit: u64::from(terms.runs), used, takes: 1, until };
    let Some(takes) = keys_min.filter(|_| terms.keys.is_some()) else { return Ok(vec![runs]) };
    let takes = takes.saturating_mul(with.others.len() as u64);
    let counts = brought(home, &with, Some(terms), now).into_iter();
    let keys = counts.map(|counts| counts.meter(Metered::OthersKeys, takes)).collect::<Result<Vec<Meter>, Fault>>()?;
    Ok(core::iter::once(runs).chain(keys.into_iter().max_by_key(|meter| meter.used)).collect())
}

/// Forgets the lists that no contract can hold a later one to.
///
/// # Errors
/// Those of the database.
pub(super) async fn expire(store: &Store, home: &Path, now: UnixMillis) -> Result<(), Fault> {
    store.forget_alignments(now).await?.iter().for_each(|gone| forget(home, gone));
    Ok(())
}

/// The lists of a job on their way to be remembered.
struct Ledger {
    own: Decided,
    part: Part,
    file: BufWriter<File>,
    /// Where each list begins, and its keys.
    lists: Vec<(u64, u64)>,
    terms: Option<RepeatTerms>,
    now: UnixMillis,
    /// The jobs that were counted before, with their lists where they have come to have any.
    earlier: Vec<Earlier>,
    /// What the other owners bring.
    counts: Vec<Counts>,
}

/// The file of a job's lists, and the job.
type Earlier = (PathBuf, Past);

/// What an earlier attempt of a job has left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// The same lists.
    Same,
    /// Others, and the number of the attempt after them.
    Others(u16),
}

impl Ledger {
    fn new(
        own: Decided,
        terms: Option<RepeatTerms>,
        earlier: Vec<Earlier>,
        counts: Vec<Counts>,
        now: UnixMillis,
    ) -> Result<Self, Fault> {
        let part = own.path.with_extension("part");
        let file = open(&part)?;
        file.set_len(0).map_err(|e| io(&part, &e))?;
        let (file, part) = (BufWriter::new(file), Part(part));
        let mut ledger = Self { own, part, file, lists: Vec::new(), terms, now, earlier, counts };
        ledger.next()?;
        Ok(ledger)
    }

    fn write_headers(&mut self, form: Hash, attempt: u16) -> std::io::Result<()> {
        self.file.flush()?;
        self.lists.iter().try_for_each(|(at, keys)| {
            let keys = u64::from(attempt) << COUNT_BITS | keys;
            let header = [&MAGIC[..], &form.0, &keys.to_be_bytes()].concat();
            self.file.get_ref().write_all_at(&header, *at)
        })
    }

    fn before(&self, form: Hash) -> Result<Before, Fault> {
        let (before, own) = (&self.own.path, &self.part.0);
        let attempts = match attempts(before) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Before::Nothing),
            attempts => attempts.map_err(|e| io(before, &e))?,
        };
        let is_same = |lists: &[u64]| -> std::io::Result<bool> {
            let mut same = lists.len() == self.lists.len();
            for (at, (now, _)) in lists.iter().zip(&self.lists) {
                let (earlier, now) = (Keys::open(before, *at)?, Keys::open(own, *now)?);
                same = same && earlier.form == form && difference(now, earlier, 1)? == 0;
            }
            Ok(same)
        };
        let mut same = false;
        for (_, lists) in &attempts {
            same |= is_same(lists).map_err(|e| io(before, &e))?;
        }
        // Without terms those of several attempts may stand there.
        if same && (self.terms.is_none() || attempts.len() == 1) {
            return Ok(Before::Same);
        }
        let newest = attempts.iter().map(|(attempt, _)| *attempt).max().unwrap_or(0);
        Ok(Before::Others(newest.saturating_add(1)))
    }

    /// The jobs that a list is compared with: those that were counted before, and those that were not and are decided.
    fn compared(&self, terms: &RepeatTerms, decided: &[Decided]) -> Vec<Earlier> {
        let since = self.now.0.saturating_sub(u64::from(terms.days) * DAY_MS);
        let here = |path: &Path| path.parent() == self.own.path.parent() && path != self.own.path;
        let meets = |others: &[NodeId]| others.iter().any(|other| self.own.others.contains(other));
        let known = |path: &Path| self.earlier.iter().any(|(earlier, _)| earlier == path);
        let since = decided.iter().filter(|d| here(&d.path) && d.at.0 > since && meets(&d.others) && !known(&d.path));
        self.earlier.iter().cloned().chain(since.map(Decided::past)).collect()
    }

    fn decide(&self, terms: &RepeatTerms, form: Hash, decided: &[Decided]) -> Result<(), Fault> {
        for (path, Past { job, at, marks }) in &self.compared(terms, decided) {
            // A job that ended before it had its list offered nothing.
            let attempts = match attempts(path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                attempts => attempts.map_err(|e| io(path, &e))?,
            };
            let refuse = |what: &str| {
                let other = format!("job {} of {at}", job.short());
                Err(Fault::new(Code::RefusedAlignment, what.replace("{}", &other)))
            };
            let pairs = attempts.iter().flat_map(|(_, lists)| self.lists.iter().map(move |(own, _)| (own, lists)));
            for (own, others) in pairs {
                let (mut same, mut near) = (false, false);
                for at in others {
                    let other = Keys::open(path, *at).map_err(|e| io(path, &e))?;
                    // Keys of two forms cannot be compared: of one dataset nobody can tell how it has changed, and of two
                    // there is nothing to tell.
                    if other.form != form && akin(&self.own.marks, marks) {
                        return refuse(
                            "the key is of another form than in {}, so that nobody can tell how the list has changed",
                        );
                    }
                    if other.form != form {
                        continue;
                    }
                    let own = Keys::open(&self.part.0, *own).map_err(|e| io(&self.part.0, &e))?;
                    let changed = difference(own, other, terms.change_min).map_err(|e| io(path, &e))?;
                    same |= changed == 0;
                    near |= (1..terms.change_min).contains(&changed);
                }
                // Whoever had that attempt's answers has this list's too, however near another of its lists is.
                if near && !same {
                    return refuse(&format!(
                        "this list, or a group of it, differs from one of {{}} by fewer than {} keys, though not by none: two \
                         answers would tell of single persons",
                        terms.change_min
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Ledger {
    /// Makes the lists durable, before those of an earlier attempt where these were others: there may have been answers to both.
    fn keep(&mut self, before: Before) -> std::io::Result<()> {
        if matches!(before, Before::Others(_)) {
            std::io::copy(&mut File::open(&self.own.path)?, self.file.get_mut())?;
        }
        self.file.get_ref().sync_all()?;
        fs::rename(&self.part.0, &self.own.path)
    }
}

impl Offered for Ledger {
    fn put(&mut self, key: &[u8; 32]) -> Result<(), Fault> {
        if let Some((_, keys)) = self.lists.last_mut() {
            *keys += 1; // proof: a list has far fewer than 2^64 keys.
        }
        self.file.write_all(&tag(key).to_be_bytes()).map_err(|e| io(&self.part.0, &e))
    }

    fn next(&mut self) -> Result<(), Fault> {
        self.lists.push((self.lists.last().map_or(0, |(at, keys)| after(*at, *keys)), 0));
        self.file.write_all(&[0; HEADER_BYTES]).map_err(|e| io(&self.part.0, &e))
    }

    fn done(&mut self, form: Hash) -> Result<(), Fault> {
        self.write_headers(form, 0).map_err(|e| io(&self.part.0, &e))?;
        let mut decided = DECIDED.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.before(form)?;
        if let Some(terms) = &self.terms {
            // Another attempt of the job brings the same lists: whoever had the answer to the others may have kept it.
            if matches!(before, Before::Others(_)) {
                let what = "the list has changed since an earlier attempt of this job, which others may have had an answer to; submit the \
                            job anew";
                return Err(Fault::new(Code::RefusedAlignment, what));
            }
            self.decide(terms, form, &decided)?;
        }
        if let Before::Others(attempt) = before {
            self.write_headers(form, attempt).map_err(|e| io(&self.part.0, &e))?;
        }
        if before != Before::Same {
            self.keep(before).map_err(|e| io(&self.part.0, &e))?;
            self.own.path.parent().map_or(Ok(()), sync_folder)?;
        }
        if !decided.iter().any(|d| d.path == self.own.path) {
            decided.push(self.own.clone());
        }
        Ok(())
    }

    fn others(&mut self, keys: u64) -> Result<(), Fault> {
        // What one of them has no room for is counted for none.
        self.counts.iter().try_for_each(|counts| counts.fits(keys))?;
        self.counts.iter_mut().try_for_each(|counts| counts.spend(keys))
    }
}

/// Where a list ends that begins there and has so many keys.
fn after(at: u64, keys: u64) -> u64 {
    keys.saturating_mul(8).saturating_add(at.saturating_add(HEADER_BYTES as u64))
}

/// Nothing of a list that was not offered stays.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What is kept of a key. The order of lists is by the last bit, then by the rest.
fn tag(key: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, .., last] = *key;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) & !1 | u64::from(last & 1)
}

/// The keys of a remembered list, in order.
struct Keys {
    form: Hash,
    attempt: u16,
    left: u64,
    file: BufReader<File>,
}

impl Keys {
    /// Where the lists of a file begin.
    fn lists(path: &Path) -> std::io::Result<Vec<u64>> {
        let (end, mut at, mut lists) = (fs::metadata(path)?.len(), 0, Vec::new());
        while at < end {
            lists.push(at);
            at = after(at, Self::open(path, at)?.left);
        }
        Ok(lists)
    }

    /// The list that begins there.
    fn open(path: &Path, at: u64) -> std::io::Result<Self> {
        let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
        file.seek(SeekFrom::Start(at))?;
        let (mut magic, mut form, mut keys) = ([0; 8], [0; 32], [0; 8]);
        file.read_exact(&mut magic)?;
        file.read_exact(&mut form)?;
        file.read_exact(&mut keys)?;
        if magic != MAGIC {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "no list of keys"));
        }
        let [high, low, ..] = keys;
        let (attempt, left) = (u16::from_be_bytes([high, low]), u64::from_be_bytes(keys) & ((1 << COUNT_BITS) - 1));
        Ok(Self { form: Hash(form), attempt, left, file })
    }

    fn next(&mut self) -> std::io::Result<Option<(u64, u64)>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut bytes = [0; 8];
        self.file.read_exact(&mut bytes)?;
        let tag = u64::from_be_bytes(bytes);
        Ok(Some((tag & 1, tag)))
    }
}

/// The lists of a file by the attempts that brought them: where each begins.
fn attempts(path: &Path) -> std::io::Result<Vec<(u16, Vec<u64>)>> {
    let mut all: Vec<(u16, Vec<u64>)> = Vec::new();
    for at in Keys::lists(path)? {
        let attempt = Keys::open(path, at)?.attempt;
        match all.last_mut() {
            Some((last, lists)) if *last == attempt => lists.push(at),
            _ => all.push((attempt, vec![at])),
        }
    }
    Ok(all)
}

/// Keys that one list has and the other has not, at most `enough`.
fn difference(mut a: Keys, mut b: Keys, enough: u64) -> std::io::Result<u64> {
    let (mut left, mut right, mut found) = (a.next()?, b.next()?, 0);
    while found < enough {
        match (left, right) {
            (None, None) => break,
            (Some(x), Some(y)) if x == y => (left, right) = (a.next()?, b.next()?),
            (Some(x), Some(y)) if x > y => {
                right = b.next()?;
                found += 1;
            }
            (None, Some(_)) => {
                right = b.next()?;
                found += 1;
            }
            (Some(_), _) => {
                left = a.next()?;
                found += 1;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
