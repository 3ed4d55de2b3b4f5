//! What was found for a dataset version that no job may use any more leaves the disk: the catalogue keeps the version's
//! name, job and day, and nothing that is derived from a key.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use tacit_types::{Code, Fault, JobId, UnixMillis};

use super::{folder, found, io, sync_folder};
use crate::datasets;
use crate::store::{DatasetRow, Store};

/// How long after its last day: a job that was admitted before may still read it.
pub(super) const GRACE_MS: u64 = 86_400_000;

/// How long after that they are missed, if they are still there: the node may have been away.
const OVERDUE_MS: u64 = 86_400_000;

/// From when on no job may use a version, and the jobs that found keys for it.
type Version = (UnixMillis, Vec<JobId>);

/// Removes the found keys of versions that have expired and that no other version is made of, caches whose epoch or
/// contract is over, and lists that nobody is held to any more. What cannot be read or removed keeps nothing of the others.
///
/// # Errors
/// The first of those of the database and of the disk; `store.corrupt` for a version that cannot be read.
pub(crate) async fn expire(store: &Store, home: &Path, now: UnixMillis) -> Result<(), Fault> {
    if !folder(home).exists() {
        return Ok(());
    }
    let caches = super::lookup::expire(home, now);
    let lists = super::offered::expire(store, home, now).await;
    let found = match versions(store).await {
        Ok((versions, unread)) => remove(home, &over(&versions, now)).and(unread),
        Err(fault) => Err(fault),
    };
    caches.and(lists).and(found)
}

/// Whether everything that [`expire`] removes is gone a day after it was to be.
///
/// # Errors
/// Those of the database; `store.corrupt` for a version that cannot be read; `store.failed` for found keys that are still
/// there.
pub async fn nothing_overdue(store: &Store, home: &Path, now: UnixMillis) -> Result<(), Fault> {
    let (versions, unread) = versions(store).await?;
    unread?;
    let due = over(&versions, UnixMillis(now.0.saturating_sub(OVERDUE_MS)));
    match due.iter().filter(|job| found(home, job).exists()).count() {
        0 => Ok(()),
        left => Err(Fault::new(Code::StoreFailed, format!("what {left} alignments found is there after its last day"))),
    }
}

/// The aligned versions, and what keeps the first of those that cannot be read from it.
async fn versions(store: &Store) -> Result<(Vec<Version>, Result<(), Fault>), Fault> {
    let (mut versions, mut unread) = (Vec::new(), Ok(()));
    for row in store.datasets().await? {
        let (version, read) = version(&row);
        versions.extend(version);
        unread = unread.and(read);
    }
    Ok((versions, unread))
}

/// An aligned version, as far as it can be read: its descriptor, which is signed, says until when it is good and which job
/// found its last keys.
fn version(row: &DatasetRow) -> (Option<Version>, Result<(), Fault>) {
    let aligned = match datasets::descriptor(row) {
        Ok(descriptor) => descriptor.aligned,
        Err(fault) => return (None, Err(fault)),
    };
    let Some(aligned) = aligned else { return (None, Ok(())) };
    match datasets::kept(row) {
        Ok(kept) => (Some((aligned.expires, kept.aligned.iter().map(|f| f.job).collect())), Ok(())),
        Err(fault) => (Some((aligned.expires, vec![aligned.job])), Err(fault)),
    }
}

/// The jobs that found keys for expired versions alone: an alignment of what was aligned rests on both.
fn over(versions: &[Version], now: UnixMillis) -> BTreeSet<JobId> {
    let (gone, good): (Vec<_>, Vec<_>) = versions.iter().partition(|(expires, _)| now >= expires.plus(GRACE_MS));
    let jobs = |all: Vec<&Version>| all.iter().flat_map(|(_, jobs)| jobs.clone()).collect();
    let (gone, good): (BTreeSet<JobId>, BTreeSet<JobId>) = (jobs(gone), jobs(good));
    gone.difference(&good).copied().collect()
}

fn remove(home: &Path, jobs: &BTreeSet<JobId>) -> Result<(), Fault> {
    let (mut any, mut all) = (false, Ok(()));
    for job in jobs {
        let path = found(home, job);
        match fs::remove_file(&path) {
            Ok(()) => {
                any = true;
                tracing::info!(job = %job.short(), "what an alignment found was removed: its last day is over");
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => all = all.and(Err(io(&path, &e))),
        }
    }
    all.and(if any { sync_folder(&folder(home)) } else { Ok(()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_keys_go_a_day_after_the_last_version_that_is_made_of_them() {
        let home = tempfile::tempdir().unwrap();
        super::super::create(&folder(home.path())).unwrap();
        let jobs = [1u8, 2, 3].map(|n| JobId([n; 32]));
        jobs.iter().for_each(|job| fs::write(found(home.path(), job), b"keys").unwrap());
        let day = |n: u64| UnixMillis(n * GRACE_MS);
        // The second version is made of the first one's rows and lasts longer; the third stands alone.
        let versions = [(day(10), vec![jobs[0]]), (day(20), vec![jobs[0], jobs[1]]), (day(15), vec![jobs[2]])];
        let there = |at: UnixMillis| {
            remove(home.path(), &over(&versions, at)).unwrap();
            jobs.map(|job| found(home.path(), &job).exists())
        };
        assert_eq!(there(day(12)), [true; 3], "what a good version rests on stays");
        assert_eq!(there(UnixMillis(day(16).0 - 1)), [true; 3]);
        assert_eq!(there(day(16)), [true, true, false]);
        assert_eq!(there(UnixMillis(day(21).0 - 1)), [true, true, false]);
        assert_eq!(there(day(21)), [false; 3]);
        assert_eq!(there(day(22)), [false; 3], "again");
    }
    /// A version whose rows a job found, as a node keeps it.
    fn row(name: &str, job: JobId, expires: UnixMillis) -> DatasetRow {
        let key = tacit_crypto::SigningKey::from_seed(&tacit_crypto::Secret::new([1; 32]));
        let called = tacit_types::Name::new(name).unwrap();
        let source = tacit_data::Source::parse("/t.csv").unwrap();
        let kept = datasets::Kept {
            registration: tacit_data::Registration {
                name: called.clone(),
                source,
                columns: Vec::new(),
                views: Vec::new(),
            },
            consent: None,
            purposes: Default::default(),
            aligned: vec![super::super::Found { job, view: name.into(), key: Vec::new(), keys: 3 }],
            anonymity: None,
        };
        let aligned = tacit_governance::Aligned {
            job,
            parties: vec![key.id()],
            level: tacit_governance::AlignLevel::Both,
            base: tacit_types::DatasetVersionId([3; 32]),
            expires,
        };
        let descriptor = tacit_governance::DatasetDescriptor {
            format: 1,
            owner: key.id(),
            name: called,
            version: 1,
            columns: Vec::new(),
            row_bucket: 1000,
            commitment: tacit_types::Hash([0; 32]),
            views: vec![name.into()],
            aligned: Some(aligned),
            terms: None,
        };
        let signed = tacit_crypto::Statement::sign(&key, "data", UnixMillis(1), None, descriptor);
        DatasetRow {
            name: name.into(),
            version: 1,
            id: tacit_types::DatasetVersionId(tacit_crypto::sha256(signed.bytes()).0),
            registration: serde_json::to_string(&kept).unwrap(),
            descriptor: signed.bytes().to_vec(),
            rows: 3,
            added_at: UnixMillis(1),
        }
    }

    #[tokio::test]
    async fn a_version_that_cannot_be_read_keeps_nothing_of_the_others_and_is_told_of() {
        let home = tempfile::tempdir().unwrap();
        super::super::create(&folder(home.path())).unwrap();
        let store = Store::open(&home.path().join("node.db")).await.unwrap();
        let jobs = [1u8, 2, 3, 4].map(|n| JobId([n; 32]));
        jobs.iter().for_each(|job| fs::write(found(home.path(), job), b"keys").unwrap());
        let last = UnixMillis(10 * GRACE_MS);
        let mut rows =
            [("first", jobs[0]), ("second", jobs[1]), ("third", jobs[2])].map(|(name, job)| row(name, job, last));
        assert!(datasets::kept(&rows[0]).is_ok(), "{:?}", datasets::kept(&rows[0]).err());
        for row in &rows {
            store.put_dataset(row).await.unwrap();
        }
        let there = || jobs.map(|job| found(home.path(), &job).exists());
        let over = last.plus(GRACE_MS);
        expire(&store, home.path(), UnixMillis(over.0 - 1)).await.unwrap();
        assert_eq!(there(), [true; 4]);
        nothing_overdue(&store, home.path(), over.plus(OVERDUE_MS - 1)).await.unwrap();
        let late = nothing_overdue(&store, home.path(), over.plus(OVERDUE_MS)).await.unwrap_err();
        assert!(late.code == Code::StoreFailed && late.what.contains("what 3 alignments found"), "{late}");

        // Of the first the descriptor is no longer whole, of the second what is kept beside it.
        rows[0].descriptor[40] ^= 1;
        rows[1].registration = "{".into();
        let url = format!("sqlite://{}", home.path().join("node.db").display());
        let beside = sqlx::SqlitePool::connect(&url).await.unwrap();
        for damaged in &rows[..2] {
            let sql = "UPDATE datasets SET registration = ?, descriptor = ? WHERE name = ?";
            let bound = sqlx::query(sql).bind(&damaged.registration).bind(&damaged.descriptor).bind(&damaged.name);
            bound.execute(&beside).await.unwrap();
        }
        let fault = expire(&store, home.path(), over).await.unwrap_err();
        assert_eq!(fault.code, Code::StoreCorrupt, "{fault}");
        // Nobody can tell how long the first is good; the fourth job's keys are of no version.
        assert_eq!(there(), [true, false, false, true]);
        let told = nothing_overdue(&store, home.path(), over).await.unwrap_err();
        assert_eq!(told.code, Code::StoreCorrupt, "{told}");
    }
}
