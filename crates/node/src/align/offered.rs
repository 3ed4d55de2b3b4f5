//! What a node remembers of the lists that it brought together with others', so that a contract's limit on repeated
//! alignments holds: how many there were, and that two lists are the same or differ by a group of keys, never by a person.
//!
//! A list is kept as 63 bits of each key's hash, which is as private as the rows: enough that two keys of a list of 2^24 look
//! alike with a probability of 2^-16, in which case a difference counts one less. A count by groups offers each group as a list
//! of its own, after the whole one and in the same file: whoever moves one person to another group asks about that person.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tacit_governance::{JobSpec, Meter, Metered, RepeatTerms};
use tacit_jobs::align::{Offered, Spend};
use tacit_types::{Code, Fault, Hash, JobId, NodeId, UnixMillis};

use super::lookup::{Counts, DAY_MS};
use super::{create, folder, io, open, sync_folder};
use crate::store::{Store, With};

/// The folder of remembered lists.
const LISTS: &str = "offered";
/// Begins a list.
const MAGIC: [u8; 8] = *b"tcoffer1";
/// Bytes before the keys: what it is, the digest of the key's schema, how many keys.
const HEADER_BYTES: usize = 48;

/// Two jobs at once are decided one after the other.
static DECIDING: Mutex<()> = Mutex::new(());

fn list(home: &Path, job: &JobId) -> PathBuf {
    folder(home).join(LISTS).join(format!("{job}.list"))
}

/// Who brings lists together with a party.
pub(crate) fn with(spec: &JobSpec, own: &NodeId) -> With {
    let mut owners: Vec<_> = spec.providers.iter().map(|p| p.owner).collect();
    owners.sort_unstable();
    let start = tacit_crypto::Transcript::new("tacit-align/1/owners");
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
    let with = with(spec, own);
    let counted = store.count_alignment(job, &with, terms.as_ref(), now).await?;
    for gone in counted.gone {
        let _ = fs::remove_file(list(home, &gone));
    }
    let Some(terms) = terms else { return Ok(None) };
    create(&folder(home).join(LISTS))?;
    let others = counted.others.into_iter().map(|(job, at)| (job, at, list(home, &job))).collect();
    let counts = brought(home, &with, &terms, now);
    Ok(Some(Box::new(Ledger { counts, ..Ledger::new(list(home, job), terms, others)? })))
}

/// What was counted of the keys that the other owners have brought, where that is limited: for each of them, and for all as they
/// are, by which it was counted before.
fn brought(home: &Path, with: &With, terms: &RepeatTerms, now: UnixMillis) -> Vec<Counts> {
    let Some(most) = terms.keys else { return Vec::new() };
    let names = with.others.iter().map(ToString::to_string).chain([with.owners.to_string()]);
    let path = |name| folder(home).join(LISTS).join(format!("{name}.keys"));
    names
        .map(|name| Counts { path: path(name), what: "keys of the other owners", most, days: terms.days, now })
        .collect()
}

/// What is left here of the limits on repeated alignments. Nothing is counted.
///
/// # Errors
/// Those of the database and of the disk.
pub(super) async fn meters(
    store: &Store,
    home: &Path,
    terms: &RepeatTerms,
    (spec, own, keys_min): (&JobSpec, &NodeId, u64),
    now: UnixMillis,
) -> Result<Vec<Meter>, Fault> {
    let with = with(spec, own);
    let (used, first) = store.alignments_used(&with, terms, now).await?;
    let until = first.map(|at| at.plus(u64::from(terms.days) * DAY_MS));
    let runs = Meter { what: Metered::Runs, limit: u64::from(terms.runs), used, takes: 1, until };
    let takes = keys_min.saturating_mul(with.others.len() as u64);
    let keys = brought(home, &with, terms, now).into_iter().map(|counts| counts.meter(Metered::OthersKeys, takes));
    let keys = keys.collect::<Result<Vec<Meter>, Fault>>()?.into_iter().max_by_key(|meter| meter.used);
    Ok(core::iter::once(runs).chain(keys).collect())
}

/// Forgets the lists that no contract can hold a later one to.
///
/// # Errors
/// Those of the database.
pub(super) async fn expire(store: &Store, home: &Path, now: UnixMillis) -> Result<(), Fault> {
    for gone in store.forget_alignments(now).await? {
        let _ = fs::remove_file(list(home, &gone));
    }
    Ok(())
}

/// The lists of a job on their way to be remembered.
struct Ledger {
    part: Part,
    whole: PathBuf,
    file: BufWriter<File>,
    /// Where each list begins, and its keys.
    lists: Vec<(u64, u64)>,
    terms: RepeatTerms,
    others: Vec<(JobId, UnixMillis, PathBuf)>,
    /// What the other owners bring, where it is limited.
    counts: Vec<Counts>,
}

impl Ledger {
    fn new(whole: PathBuf, terms: RepeatTerms, others: Vec<(JobId, UnixMillis, PathBuf)>) -> Result<Self, Fault> {
        let part = whole.with_extension("part");
        let file = open(&part)?;
        file.set_len(0).map_err(|e| io(&part, &e))?;
        let (file, part) = (BufWriter::new(file), Part(part));
        let mut ledger = Self { part, whole, file, lists: Vec::new(), terms, others, counts: Vec::new() };
        ledger.next()?;
        Ok(ledger)
    }

    fn write_headers(&mut self, form: Hash) -> std::io::Result<()> {
        self.file.flush()?;
        self.lists.iter().try_for_each(|(at, keys)| {
            let header = [&MAGIC[..], &form.0, &keys.to_be_bytes()].concat();
            self.file.get_ref().write_all_at(&header, *at)
        })
    }

    /// Another attempt of the job brings the same lists: whoever had the answer to the others may have kept it.
    fn again(&self, form: Hash) -> Result<(), Fault> {
        let (before, own) = (&self.whole, &self.part.0);
        let lists = match Keys::lists(before) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            lists => lists.map_err(|e| io(before, &e))?,
        };
        let mut same = lists.len() == self.lists.len();
        for (at, (now, _)) in lists.iter().zip(&self.lists) {
            let keys = Keys::open(before, *at).and_then(|before| Ok((before, Keys::open(own, *now)?)));
            let (earlier, now) = keys.map_err(|e| io(before, &e))?;
            same = same && earlier.form == form && difference(now, earlier, 1).map_err(|e| io(before, &e))? == 0;
        }
        if same {
            return Ok(());
        }
        let what = "the list has changed since an earlier attempt of this job, which others may have had an answer to; submit the job anew";
        Err(Fault::new(Code::RefusedAlignment, what))
    }

    fn decide(&self, form: Hash) -> Result<(), Fault> {
        self.again(form)?;
        for (job, at, path) in &self.others {
            // A job that ended before it had its list offered nothing.
            let others = match Keys::lists(path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                others => others.map_err(|e| io(path, &e))?,
            };
            let refuse = |what: &str| {
                let other = format!("job {} of {at}", job.short());
                Err(Fault::new(Code::RefusedAlignment, what.replace("{}", &other)))
            };
            for (own, _) in &self.lists {
                let (mut same, mut near) = (false, false);
                for at in &others {
                    let other = Keys::open(path, *at).map_err(|e| io(path, &e))?;
                    if other.form != form {
                        return refuse(
                            "the key is of another form than in {}, so that nobody can tell how the list has changed",
                        );
                    }
                    let own = Keys::open(&self.part.0, *own).map_err(|e| io(&self.part.0, &e))?;
                    let changed = difference(own, other, self.terms.change_min).map_err(|e| io(path, &e))?;
                    same |= changed == 0;
                    near |= (1..self.terms.change_min).contains(&changed);
                }
                // Whoever had that job's answers has this list's too, however near another of its lists is.
                if near && !same {
                    return refuse(&format!(
                        "this list, or a group of it, differs from one of {{}} by fewer than {} keys, though not by none: two \
                         answers would tell of single persons",
                        self.terms.change_min
                    ));
                }
            }
        }
        Ok(())
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
        self.write_headers(form).map_err(|e| io(&self.part.0, &e))?;
        let _one = DECIDING.lock().unwrap_or_else(PoisonError::into_inner);
        self.decide(form)?;
        let durable = self.file.get_ref().sync_all().and_then(|()| fs::rename(&self.part.0, &self.whole));
        durable.map_err(|e| io(&self.part.0, &e))?;
        self.whole.parent().map_or(Ok(()), sync_folder)
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
        Ok(Self { form: Hash(form), left: u64::from_be_bytes(keys), file })
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
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn key(n: u64) -> [u8; 32] {
        tacit_crypto::sha256(&n.to_be_bytes()).0
    }

    /// Keys in the order that lists have.
    fn ordered(keys: impl IntoIterator<Item = u64>) -> Vec<[u8; 32]> {
        let mut all: Vec<_> = keys.into_iter().map(key).collect();
        all.sort_unstable_by_key(|k| (k[31] & 1, *k));
        all
    }

    struct Case {
        folder: tempfile::TempDir,
        done: Vec<(JobId, UnixMillis, PathBuf)>,
    }

    impl Case {
        fn offer(&mut self, keys: impl IntoIterator<Item = u64>, form: u8) -> Result<(), Fault> {
            self.offer_groups(keys, &[], form)
        }

        /// A list, with the groups of a count.
        fn offer_groups(
            &mut self,
            keys: impl IntoIterator<Item = u64>,
            groups: &[core::ops::Range<u64>],
            form: u8,
        ) -> Result<(), Fault> {
            let job = JobId([self.done.len() as u8 + 1; 32]);
            let path = self.folder.path().join(format!("{job}.list"));
            let terms = RepeatTerms { runs: 9, days: 9, change_min: 5, keys: None };
            let mut ledger = Ledger::new(path.clone(), terms, self.done.clone())?;
            ordered(keys).iter().try_for_each(|key| ledger.put(key))?;
            for group in groups {
                ledger.next()?;
                ordered(group.clone()).iter().try_for_each(|key| ledger.put(key))?;
            }
            ledger.done(Hash([form; 32]))?;
            self.done.push((job, UnixMillis(0), path));
            Ok(())
        }
    }

    #[test]
    fn a_list_is_the_same_or_differs_by_a_group_from_each_one_before() {
        let mut case = Case { folder: tempfile::tempdir().unwrap(), done: Vec::new() };
        let code = |r: Result<(), Fault>| r.map_err(|f| f.code);
        let refused = Err(Code::RefusedAlignment);
        case.offer(0..1000, 1).unwrap();
        assert_eq!(code(case.offer(0..1000, 1)), Ok(()), "the same");
        // One more, one less, one other, four in all; and the last in order, and the first.
        assert_eq!(code(case.offer(0..1001, 1)), refused);
        assert_eq!(code(case.offer(1..1000, 1)), refused);
        assert_eq!(code(case.offer((1..1000).chain([5000]), 1)), refused);
        assert_eq!(code(case.offer(2..1002, 1)), refused);
        assert_eq!(code(case.offer(0..1004, 1)), refused);
        assert_eq!(code(case.offer(0..1005, 1)), Ok(()), "five");
        // Far from the last one, and next to the first.
        assert_eq!(code(case.offer(0..999, 1)), refused);
        assert_eq!(code(case.offer(2000..2100, 1)), Ok(()), "another list altogether");
        // Another form of the same key would hide every difference.
        assert_eq!(code(case.offer(0..1000, 2)), refused);
        // What was refused was not remembered, and left nothing.
        assert_eq!(fs::read_dir(case.folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn groups_that_were_near_each_other_are_asked_about_again_and_moved_ones_are_not() {
        let mut case = Case { folder: tempfile::tempdir().unwrap(), done: Vec::new() };
        let mut offer = |groups: &[core::ops::Range<u64>]| case.offer_groups(0..300, groups, 1).map_err(|f| f.code);
        // Each near the others or the whole; they were answered together.
        let small = [0..3, 3..7, 7..300];
        assert_eq!(offer(&small), Ok(()));
        assert_eq!(offer(&small), Ok(()));
        assert_eq!(offer(&[0..4, 4..7, 7..300]), Err(Code::RefusedAlignment));
        assert_eq!(offer(&small), Ok(()));
    }

    /// The answer to the first attempt may have been kept by who made it fail.
    #[test]
    fn another_attempt_brings_the_same_lists() {
        let mut case = Case { folder: tempfile::tempdir().unwrap(), done: Vec::new() };
        case.offer_groups(0..1000, &[0..300, 300..1000], 1).unwrap();
        let (_, _, path) = case.done[0].clone();
        let terms = RepeatTerms { runs: 9, days: 9, change_min: 5, keys: None };
        let again = |keys: core::ops::Range<u64>, groups: &[core::ops::Range<u64>], form| {
            let mut ledger = Ledger::new(path.clone(), terms, Vec::new()).unwrap();
            ordered(keys).iter().try_for_each(|key| ledger.put(key)).unwrap();
            for group in groups {
                ledger.next().unwrap();
                ordered(group.clone()).iter().try_for_each(|key| ledger.put(key)).unwrap();
            }
            ledger.done(Hash([form; 32])).map_err(|f| f.code)
        };
        let refused = Err(Code::RefusedAlignment);
        assert_eq!(again(0..1000, &[0..300, 300..1000], 1), Ok(()));
        assert_eq!(again(0..999, &[0..300, 300..1000], 1), refused);
        assert_eq!(again(0..2000, &[0..300, 300..1000], 1), refused, "also by as many as another job may");
        assert_eq!(again(0..1000, &[0..299, 299..1000], 1), refused);
        assert_eq!(again(0..1000, &[], 1), refused);
        assert_eq!(again(0..1000, &[0..300, 300..1000, 900..1000], 1), refused);
        assert_eq!(again(0..1000, &[0..300, 300..1000], 2), refused);
        assert_eq!(again(0..1000, &[0..300, 300..1000], 1), Ok(()), "what was refused left no trace");
    }

    #[test]
    fn who_changes_one_key_at_a_time_gets_no_two_answers_that_differ_by_fewer_than_a_group() {
        let mut case = Case { folder: tempfile::tempdir().unwrap(), done: Vec::new() };
        let (mut list, mut taken) = ((0..300u64).collect::<BTreeSet<_>>(), Vec::<BTreeSet<u64>>::new());
        for step in 0..120u64 {
            // By turns: one key less, one more, one other, the same again; now and then back to the list before.
            let before = list.clone();
            let some = *list.iter().nth((step * 37 % 200) as usize).unwrap();
            match if step % 20 == 19 { 4 } else { step % 4 } {
                0 => _ = list.remove(&some),
                1 => _ = list.insert(1000 + step),
                2 => _ = list.remove(&some) && list.insert(2000 + step),
                3 => {}
                _ => list = taken.last().cloned().unwrap_or(before),
            }
            if case.offer(list.iter().copied(), 1).is_ok() {
                for other in &taken {
                    let apart = list.symmetric_difference(other).count();
                    assert!(apart == 0 || apart >= 5, "step {step}: {apart} apart");
                }
                taken.push(list.clone());
            } else {
                let near = |other: &BTreeSet<u64>| (1..5).contains(&list.symmetric_difference(other).count());
                assert!(taken.iter().any(near), "step {step} was refused without a reason");
            }
        }
        let different: BTreeSet<_> = taken.iter().collect();
        assert!(different.len() >= 2 && different.len() <= 1 + 2 * 120 / 5, "{}", different.len());
    }

    #[test]
    fn whoever_moves_a_person_from_group_to_group_asks_about_that_person() {
        let mut case = Case { folder: tempfile::tempdir().unwrap(), done: Vec::new() };
        let code = |r: Result<(), Fault>| r.map_err(|f| f.code);
        let refused = Err(Code::RefusedAlignment);
        case.offer_groups(0..300, &[0..100, 100..200, 200..300], 1).unwrap();
        assert_eq!(code(case.offer_groups(0..300, &[0..100, 100..200, 200..300], 1)), Ok(()), "the same");
        assert_eq!(code(case.offer_groups(0..300, &[200..300, 0..100, 100..200], 1)), Ok(()), "in another order");
        // The list is the same, and one, two or four of its keys are in another group.
        assert_eq!(code(case.offer_groups(0..300, &[0..100, 100..201, 201..300], 1)), refused);
        assert_eq!(code(case.offer_groups(0..300, &[0..98, 98..200, 200..300], 1)), refused);
        assert_eq!(code(case.offer_groups(0..300, &[0..100, 100..196, 196..300], 1)), refused);
        assert_eq!(code(case.offer_groups(0..300, &[0..100, 100..205, 205..300], 1)), Ok(()), "five");
        // A list that is nearly a group of before, and a group that is nearly a list of before.
        assert_eq!(code(case.offer(0..99, 1)), refused);
        assert_eq!(code(case.offer_groups(0..900, &[0..299, 299..900], 1)), refused);
        assert_eq!(code(case.offer_groups(0..900, &[0..400, 400..900], 1)), Ok(()));
        assert_eq!(code(case.offer(400..901, 1)), refused);
        // A list without groups, and one as a node kept it before there were any, is a file of one.
        case.offer(5000..5100, 1).unwrap();
        let (_, _, path) = case.done.last().unwrap();
        assert_eq!(Keys::lists(path).unwrap(), [0]);
        assert_eq!(Keys::lists(&case.done[0].2).unwrap(), [0, 2448, 3296, 4144]);
        // What ends in the middle of a header is no list.
        fs::write(path, &fs::read(&case.done[0].2).unwrap()[..2460]).unwrap();
        assert_eq!(code(case.offer(9000..9100, 1)), Err(Code::StoreFailed));
    }

    #[test]
    fn a_difference_is_found_wherever_it_is() {
        let mut case = Case { folder: tempfile::tempdir().unwrap(), done: Vec::new() };
        case.offer(0..64, 1).unwrap();
        for gone in 0..64 {
            assert!(case.offer((0..64).filter(|n| *n != gone), 1).is_err(), "without {gone}");
            assert!(case.offer((0..64).map(|n| if n == gone { 99 } else { n }), 1).is_err(), "another for {gone}");
        }
    }
}
