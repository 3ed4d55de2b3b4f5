//! What a node lends to searches in a cache: a folder of each series, which outlives jobs, and at the holder a count of the
//! queries that it has answered, by who asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tacit_crypto::agree::derive;
use tacit_governance::{LookupFacts, LookupTerms, Meter, Metered};
use tacit_jobs::align::{LookupDesk, Spend, newest_epoch};
use tacit_types::{Code, Fault, NodeId, UnixMillis};

use super::expire::GRACE_MS;
use super::{Files, create, folder, io, sync_folder};

/// The folder of caches and counts.
const CACHES: &str = "lookup";
/// Bytes of one count: when, and how many queries.
const COUNT_BYTES: usize = 16;
pub(super) const DAY_MS: u64 = 86_400_000;

/// Two jobs at once are counted one after the other.
static COUNTING: Mutex<()> = Mutex::new(());

/// The folder of a series' caches.
pub(super) fn series(home: &Path, name: &str) -> PathBuf {
    folder(home).join(CACHES).join(name)
}

/// How long a series' caches are of use. They lie beside its folder, because what is in there is the protocol's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ends {
    /// Milliseconds of an epoch.
    lasts: u64,
    /// The end of the last contract under which it was searched.
    contract: u64,
    /// The last search.
    used: u64,
}

impl Ends {
    fn path(all: &Path, series: &str) -> PathBuf {
        all.join(format!("{series}.ends"))
    }

    fn read(path: &Path) -> Option<Self> {
        let bytes = fs::read(path).ok()?;
        let (numbers, rest) = bytes.as_chunks::<8>();
        let [lasts, contract, used] = numbers else { return None };
        let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
        rest.is_empty().then(|| Self { lasts: number(lasts), contract: number(contract), used: number(used) })
    }

    /// Durable when this returns; the end of the latest contract counts.
    fn note(self, path: &Path) -> Result<(), Fault> {
        let contract = Self::read(path).map_or(self.contract, |before| before.contract.max(self.contract));
        let bytes = [self.lasts, contract, self.used].map(u64::to_be_bytes).concat();
        replace(path, &bytes).map_err(|e| io(path, &e))?;
        path.parent().map_or(Ok(()), sync_folder)
    }

    /// Whether nobody can search any more what is of this epoch.
    fn are_over(self, epoch: Option<u64>, now: UnixMillis) -> bool {
        let epoch = epoch.unwrap_or(0).saturating_add(self.lasts);
        let last = epoch.min(self.contract).max(self.used);
        now.0 >= last.saturating_add(GRACE_MS)
    }
}

/// Removes the caches whose epoch or contract has ended: tags of all of a holder's keys. One that cannot be removed keeps no
/// other.
///
/// # Errors
/// The first of those of the disk.
pub(super) fn expire(home: &Path, now: UnixMillis) -> Result<(), Fault> {
    let all = folder(home).join(CACHES);
    let entries = match fs::read_dir(&all) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|e| io(&all, &e))?,
    };
    let (mut any, mut done) = (false, Ok(()));
    for entry in entries {
        let series = match entry {
            Ok(entry) => entry.path(),
            Err(e) => return done.and(Err(io(&all, &e))),
        };
        let name = series.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        let path = Ends::path(&all, &name);
        let Some(ends) = Ends::read(&path).filter(|_| series.is_dir()) else { continue };
        let mut files = Files { folder: series.clone(), open: Default::default() };
        if !ends.are_over(files.epoch(), now) {
            continue;
        }
        any = true;
        match fs::remove_dir_all(&series).and_then(|()| fs::remove_file(&path)) {
            Ok(()) => tracing::info!(series = name, "a cache of keys was removed: its epoch or its contract is over"),
            Err(e) => done = done.and(Err(io(&series, &e))),
        }
    }
    done.and(if any { sync_folder(&all) } else { Ok(()) })
}

impl Files {
    /// The newest cache's, without making a file that is not there.
    fn epoch(&mut self) -> Option<u64> {
        let any = fs::read_dir(&self.folder).is_ok_and(|mut files| files.next().is_some());
        any.then(|| newest_epoch(self)).flatten()
    }
}

/// Puts a small file in place of another of that name.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let part = path.with_extension("part");
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)
}

/// What is lent to a search. `terms` are those of the contract under which this owner has admitted the job, with its end.
///
/// # Errors
/// `refused.alignment` at a holder whose contract has no terms of searches; those of the disk.
pub(super) fn desk(
    home: &Path,
    facts: &LookupFacts,
    (terms, until): (Option<LookupTerms>, UnixMillis),
    own: &NodeId,
    secret: &[u8; 32],
    now: UnixMillis,
) -> Result<LookupDesk, Fault> {
    let all = folder(home).join(CACHES);
    let series = all.join(facts.series.to_string());
    create(&series)?;
    let ends = Ends { lasts: u64::from(facts.epoch_days) * DAY_MS, contract: until.0, used: now.0 };
    ends.note(&Ends::path(&all, &facts.series.to_string()))?;
    let spend = (*own != facts.asker)
        .then(|| {
            let none = || Fault::new(Code::RefusedAlignment, "the contract has no terms of searches in a cache");
            let terms = terms.ok_or_else(none)?;
            Ok::<_, Fault>(Box::new(asked(home, &facts.asker, &terms, now)) as Box<dyn Spend>)
        })
        .transpose()?;
    Ok(LookupDesk {
        shelf: Box::new(Files { folder: series, open: Default::default() }),
        key: derive(b"tacit-lookup/1/node", secret, &[&facts.series.0]),
        now,
        spend,
    })
}

/// What was counted of one who asks here.
fn asked(home: &Path, asker: &NodeId, terms: &LookupTerms, now: UnixMillis) -> Counts {
    let path = folder(home).join(CACHES).join(format!("{asker}.asked"));
    Counts { path, what: "queries", most: terms.queries, days: terms.days, now }
}

/// What is left here of the queries of one who asks. Nothing is counted.
///
/// # Errors
/// Those of the disk.
pub(super) fn meter(home: &Path, facts: &LookupFacts, terms: &LookupTerms, now: UnixMillis) -> Result<Meter, Fault> {
    asked(home, &facts.asker, terms, now).meter(Metered::Queries, facts.queries)
}

/// What was counted of one who asks, each attempt's with its time.
pub(super) struct Counts {
    pub path: PathBuf,
    /// What is counted.
    pub what: &'static str,
    /// How many of it are allowed in any `days` days.
    pub most: u64,
    pub days: u32,
    pub now: UnixMillis,
}

impl Counts {
    /// What was counted in the terms' days, and when the first of it was.
    fn used(&self, counts: &[(u64, u64)]) -> (u64, Option<u64>) {
        let period = u64::from(self.days) * DAY_MS;
        let recent = counts.iter().filter(|(at, _)| at.saturating_add(period) > self.now.0);
        let (used, first) =
            (recent.clone().fold(0u64, |sum, (_, n)| sum.saturating_add(*n)), recent.map(|(at, _)| *at));
        (used, first.min())
    }

    /// The limit as it stands.
    pub fn meter(&self, what: Metered, takes: u64) -> Result<Meter, Fault> {
        let (used, first) = self.used(&self.read()?);
        let until = first.map(|at| UnixMillis(at).plus(u64::from(self.days) * DAY_MS));
        Ok(Meter { what, limit: self.most, used, takes, until })
    }

    /// What was counted and is still of any use.
    fn read(&self) -> Result<Vec<(u64, u64)>, Fault> {
        let bytes = match fs::read(&self.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            bytes => bytes.map_err(|e| io(&self.path, &e))?,
        };
        let (counts, rest) = bytes.as_chunks::<COUNT_BYTES>();
        if !rest.is_empty() {
            let what = format!("{}: the count of {}", self.path.display(), self.what);
            return Err(Fault::new(Code::StoreCorrupt, what));
        }
        let numbers = |count: &[u8; COUNT_BYTES]| {
            let both = u128::from_be_bytes(*count);
            ((both >> 64) as u64, both as u64)
        };
        Ok(counts.iter().map(numbers).collect())
    }

    fn write(&self, counts: &[(u64, u64)]) -> std::io::Result<()> {
        let bytes: Vec<u8> = counts.iter().flat_map(|(at, n)| [at.to_be_bytes(), n.to_be_bytes()].concat()).collect();
        replace(&self.path, &bytes)
    }

    /// What counts now, if there is room for more.
    fn with_room(&self, queries: u64) -> Result<Vec<(u64, u64)>, Fault> {
        let mut counts = self.read()?;
        let long = u64::from(tacit_governance::align::REPEAT_DAYS_MAX) * DAY_MS;
        counts.retain(|(at, _)| at.saturating_add(long) > self.now.0);
        let (used, _) = self.used(&counts);
        if used.saturating_add(queries) > self.most {
            let Self { what, most, days, .. } = self;
            let what = format!(
                "{used} of {most} {what} in {days} days are used, also those of attempts that were cut off; {queries} more \
                 were asked for"
            );
            return Err(Fault::new(Code::RefusedAlignment, what));
        }
        Ok(counts)
    }

    /// Whether there is room for more. Nothing is counted.
    ///
    /// # Errors
    /// `refused.alignment` where there is none; those of the disk.
    pub fn fits(&self, queries: u64) -> Result<(), Fault> {
        self.with_room(queries).map(drop)
    }
}

impl Spend for Counts {
    fn spend(&mut self, queries: u64) -> Result<(), Fault> {
        let _one = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = self.with_room(queries)?;
        counts.push((self.now.0, queries));
        self.write(&counts).map_err(|e| io(&self.path, &e))?;
        self.path.parent().map_or(Ok(()), sync_folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_counted_over_days_and_one_past_the_budget_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let spend = |day: u64, hour: u64, queries: u64| {
            let now = UnixMillis((100 + day) * DAY_MS + hour * 3_600_000);
            let path = folder.path().join("who.asked");
            let mut counts = Counts { path, what: "queries", most: 250, days: 2, now };
            counts.spend(queries).map_err(|f| f.code)
        };
        let refused = Err(Code::RefusedAlignment);
        assert_eq!(spend(0, 0, 100), Ok(()));
        assert_eq!(spend(0, 9, 100), Ok(()));
        assert_eq!(spend(1, 0, 51), refused);
        assert_eq!(spend(1, 0, 50), Ok(()));
        assert_eq!(spend(1, 23, 1), refused);
        // What is used of it, and when the first of that is free again, is told without being counted.
        let left = |day: u64| {
            let now = UnixMillis((100 + day) * DAY_MS);
            let path = folder.path().join("who.asked");
            let counts = Counts { path, what: "queries", most: 250, days: 2, now };
            let meter = counts.meter(Metered::Queries, 60).unwrap();
            (meter.used, meter.after(), meter.until.map(|t| (t.0 - 100 * DAY_MS) / 3_600_000))
        };
        assert_eq!((left(1), left(1)), ((250, None, Some(48)), (250, None, Some(48))));
        assert_eq!((left(2), left(4)), ((150, Some(40), Some(57)), (0, Some(190), None)));
        // The first hundred is two days old, the second not yet.
        assert_eq!(spend(2, 0, 101), refused);
        assert_eq!(spend(2, 0, 100), Ok(()));
        assert_eq!(spend(2, 8, 1), refused);
        assert_eq!(spend(2, 9, 100), Ok(()));
        // A file that was cut is no empty one.
        let path = folder.path().join("who.asked");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(spend(50, 0, 1), Err(Code::StoreCorrupt));
    }

    #[test]
    fn caches_go_a_day_after_their_epoch_their_contract_and_their_last_search() {
        let ends = Ends { lasts: 30 * DAY_MS, contract: 100 * DAY_MS, used: 0 };
        let over = |ends: Ends, epoch: Option<u64>, at: u64| {
            let now = at * DAY_MS;
            (ends.are_over(epoch, UnixMillis(now - 1)), ends.are_over(epoch, UnixMillis(now)))
        };
        let once = (false, true);
        assert_eq!(over(ends, Some(10 * DAY_MS), 41), once, "the epoch's end");
        assert_eq!(over(ends, Some(90 * DAY_MS), 101), once, "the contract's");
        assert_eq!(
            over(Ends { used: 60 * DAY_MS, ..ends }, Some(10 * DAY_MS), 61),
            once,
            "a search makes another cache"
        );
        assert_eq!(over(ends, None, 31), once, "none came");
    }

    #[test]
    fn folders_of_caches_that_are_over_are_removed_and_counts_stay() {
        let home = tempfile::tempdir().unwrap();
        let day = |n: u64| UnixMillis(n * DAY_MS);
        let facts = |n: u8| LookupFacts {
            asker: NodeId([1; 32]),
            queries: 5,
            epoch_days: 10,
            series: tacit_types::Hash([n; 32]),
        };
        let terms = LookupTerms { per_job: 5, queries: 9, days: 9, epoch_days: 10 };
        let lend = |series: u8, contract: u64, now: u64| {
            let until = (Some(terms), day(contract));
            let desk = desk(home.path(), &facts(series), until, &NodeId([2; 32]), &[0; 32], day(now));
            let mut desk = desk.unwrap();
            // No cache: a list that was on its way.
            desk.shelf.write(20, 0, b"tags").unwrap();
            desk.spend.unwrap().spend(1).unwrap();
        };
        lend(1, 50, 5);
        lend(2, 90, 20);
        // Under a later contract as well.
        lend(3, 15, 5);
        lend(3, 60, 14);
        let there = |now: u64| {
            expire(home.path(), day(now)).unwrap();
            let all = folder(home.path()).join(CACHES);
            let folders = [1, 2, 3].map(|n| all.join(tacit_types::Hash([n; 32]).to_string()));
            assert!(all.join(format!("{}.asked", NodeId([1; 32]))).is_file());
            folders.map(|f| {
                assert_eq!(f.is_dir(), Ends::path(&all, f.file_name().unwrap().to_str().unwrap()).is_file());
                f.is_dir()
            })
        };
        assert_eq!(there(5), [true; 3]);
        assert_eq!(there(10), [true; 3]);
        // Without an epoch a series ends ten days after the beginning of time, or a day after its last search.
        assert_eq!(there(14), [false, true, true]);
        assert_eq!(there(15), [false, true, false]);
        assert_eq!(there(21), [false; 3]);
        assert_eq!(there(22), [false; 3], "again");
    }
}
