//! What was found for a dataset version that no job may use any more leaves the disk: the catalogue keeps the version's
//! name, job and day, and nothing that is derived from a key.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use tacit_types::{Fault, JobId, UnixMillis};

use super::{folder, found, io, sync_folder};
use crate::datasets;
use crate::store::Store;

/// How long after its last day: a job that was admitted before may still read it.
pub(super) const GRACE_MS: u64 = 86_400_000;

/// Removes the found keys of versions that have expired and that no other version is made of, caches whose epoch or
/// contract is over, and lists that nobody is held to any more.
///
/// # Errors
/// Those of the database and of the disk.
pub(crate) async fn expire(store: &Store, home: &Path, now: UnixMillis) -> Result<(), Fault> {
    if !folder(home).exists() {
        return Ok(());
    }
    super::lookup::expire(home, now)?;
    super::offered::expire(store, home, now).await?;
    let mut versions = Vec::new();
    for row in store.datasets().await? {
        let found_by: Vec<JobId> = datasets::kept(&row)?.aligned.iter().map(|f| f.job).collect();
        if let Some(aligned) = datasets::descriptor(&row)?.aligned {
            versions.push((aligned.expires, found_by));
        }
    }
    remove(home, &over(&versions, now))
}

/// The jobs that found keys for expired versions alone: an alignment of what was aligned rests on both.
fn over(versions: &[(UnixMillis, Vec<JobId>)], now: UnixMillis) -> BTreeSet<JobId> {
    let (gone, good): (Vec<_>, Vec<_>) = versions.iter().partition(|(expires, _)| now >= expires.plus(GRACE_MS));
    let jobs = |all: Vec<&(UnixMillis, Vec<JobId>)>| all.iter().flat_map(|(_, jobs)| jobs.clone()).collect();
    let (gone, good): (BTreeSet<JobId>, BTreeSet<JobId>) = (jobs(gone), jobs(good));
    gone.difference(&good).copied().collect()
}

fn remove(home: &Path, jobs: &BTreeSet<JobId>) -> Result<(), Fault> {
    let mut any = false;
    for job in jobs {
        let path = found(home, job);
        match fs::remove_file(&path) {
            Ok(()) => {
                any = true;
                tracing::info!(job = %job.short(), "what an alignment found was removed: its last day is over");
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(io(&path, &e)),
        }
    }
    if any { sync_folder(&folder(home)) } else { Ok(()) }
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
}
