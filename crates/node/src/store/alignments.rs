//! Which jobs brought lists of keys together, with whom and when. Who is met in one set of owners and in another is met twice: what
//! a star of three shows of a pair is what an alignment of the pair shows.

use tacit_governance::RepeatTerms;
use tacit_governance::align::REPEAT_DAYS_MAX;
use tacit_types::{Hash, NodeId};

use super::*;

const DAY_MS: u64 = 86_400_000;

/// Who brings lists together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct With {
    /// All of them, as one, the same whatever the contract.
    pub owners: Hash,
    /// Those but the node's own party.
    pub others: Vec<NodeId>,
}

/// A job that met one of the same parties.
struct Met {
    job: JobId,
    at: UnixMillis,
    /// Which; `None` in a job from before peers were written down one by one: all.
    peer: Option<NodeId>,
}

/// The times of the jobs that met a party, oldest first.
fn times(met: &[Met], peer: &NodeId) -> Vec<UnixMillis> {
    met.iter().filter(|m| m.peer.is_none_or(|p| p == *peer)).map(|m| m.at).collect()
}

impl Store {
    /// Counts a job among those that met one of the same parties, once however often it is tried, and notes by which marks its
    /// dataset is known. What is counted is durable when this returns. Gives when it was counted first, the other jobs of the terms' days, with their times, and those that are too
    /// old to be remembered.
    ///
    /// # Errors
    /// `refused.alignment` when the terms do not allow another, with the time when they do; those of the database.
    pub async fn count_alignment(
        &self,
        job: &JobId,
        (with, marks): (&With, &[Hash]),
        terms: Option<&RepeatTerms>,
        now: UnixMillis,
    ) -> Result<Counted> {
        let mut tx = self.begin().await?;
        let gone = old(&mut tx, Some(job), now).await?;
        let met = tx.met(Some(job), with, terms.map_or(0, |t| t.days), now).await?;
        // A job that is counted goes on, whatever was counted since.
        let counted = sqlx::query_scalar::<_, i64>("SELECT at FROM alignments WHERE job = ?").bind(job.0.as_slice());
        let counted = counted.fetch_optional(&mut *tx.0).await.map_err(|e| fault(&e))?;
        if let Some(terms) = terms.filter(|_| counted.is_none()) {
            let runs = terms.runs as usize;
            let next = with.others.iter().filter_map(|peer| {
                let times = times(&met, peer);
                times.len().checked_sub(runs).and_then(|n| times.get(n).copied())
            });
            if let Some(first) = next.max() {
                let next = first.plus(u64::from(terms.days) * DAY_MS);
                let what = format!(
                    "the contract allows {} alignments with the same owner in any {} days, and so many were made; the next one \
                     from {next} on",
                    terms.runs, terms.days
                );
                return Err(Fault::new(Code::RefusedAlignment, what));
            }
        }
        tx.recount_alignment(job, with, now).await?;
        tx.mark_alignment(job, marks).await?;
        let mut jobs: Vec<(JobId, UnixMillis)> = met.iter().map(|m| (m.job, m.at)).collect();
        jobs.dedup();
        let mut others = Vec::with_capacity(jobs.len());
        for (job, at) in jobs {
            others.push(Past { job, at, marks: tx.alignment_marks(&job).await? });
        }
        tx.commit().await?;
        let at = counted.map_or(now, |at| UnixMillis(at.unsigned_abs()));
        Ok(Counted { at, others, gone })
    }

    /// How many jobs that met the same party count in the terms' days, and when the first of them was: of the party that was met
    /// most often.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn alignments_used(
        &self,
        with: &With,
        terms: &RepeatTerms,
        now: UnixMillis,
    ) -> Result<(u64, Option<UnixMillis>)> {
        let mut tx = self.begin().await?;
        let met = tx.met(None, with, terms.days, now).await?;
        let most = with.others.iter().map(|peer| times(&met, peer)).max_by_key(Vec::len).unwrap_or_default();
        Ok((most.len() as u64, most.first().copied()))
    }

    /// Forgets the jobs that are too old to be remembered, and says which they were.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_alignments(&self, now: UnixMillis) -> Result<Vec<JobId>> {
        let mut tx = self.begin().await?;
        let gone = old(&mut tx, None, now).await?;
        tx.commit().await?;
        Ok(gone)
    }
}

impl Tx<'_> {
    /// Counts a job of before, at a time; one that is counted stays as it is.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn recount_alignment(&mut self, job: &JobId, with: &With, at: UnixMillis) -> Result<()> {
        sqlx::query("INSERT OR IGNORE INTO alignments (job, owners, at) VALUES (?, ?, ?)")
            .bind(job.0.as_slice())
            .bind(with.owners.0.as_slice())
            .bind(i64::try_from(at.0).unwrap_or(i64::MAX))
            .execute(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        for peer in &with.others {
            sqlx::query("INSERT OR IGNORE INTO alignment_peers (job, peer) VALUES (?, ?)")
                .bind(job.0.as_slice())
                .bind(peer.0.as_slice())
                .execute(&mut *self.0)
                .await
                .map_err(|e| fault(&e))?;
        }
        Ok(())
    }

    /// Notes by which marks a counted job's dataset is known.
    async fn mark_alignment(&mut self, job: &JobId, marks: &[Hash]) -> Result<()> {
        for mark in marks {
            sqlx::query("INSERT OR IGNORE INTO alignment_marks (job, mark) VALUES (?, ?)")
                .bind(job.0.as_slice())
                .bind(mark.0.as_slice())
                .execute(&mut *self.0)
                .await
                .map_err(|e| fault(&e))?;
        }
        Ok(())
    }

    /// The marks of a counted job's dataset; none where it was counted by a node of before.
    async fn alignment_marks(&mut self, job: &JobId) -> Result<Vec<Hash>> {
        let marks = sqlx::query_scalar::<_, Vec<u8>>("SELECT mark FROM alignment_marks WHERE job = ?")
            .bind(job.0.as_slice())
            .fetch_all(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        marks.iter().map(|mark| id32(mark, "a mark of an alignment").map(Hash)).collect()
    }

    /// The jobs but this one that met one of the same parties in the last `days`, oldest first, a row for each party.
    async fn met(&mut self, but: Option<&JobId>, with: &With, days: u32, now: UnixMillis) -> Result<Vec<Met>> {
        let since = now.0.saturating_sub(u64::from(days) * DAY_MS);
        // No job is called nothing.
        let but = but.map_or(&[][..], |job| job.0.as_slice());
        let sql = "SELECT a.job, a.at, a.owners, p.peer FROM alignments a LEFT JOIN alignment_peers p ON p.job = a.job \
                   WHERE a.at > ? AND a.job != ? ORDER BY a.at, a.job";
        let rows = sqlx::query(sql)
            .bind(i64::try_from(since).unwrap_or(i64::MAX))
            .bind(but)
            .fetch_all(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        let mut met = Vec::new();
        for row in &rows {
            let peer = row.get::<Option<Vec<u8>>, _>(3).map(|peer| id32(&peer, "a peer of an alignment").map(NodeId));
            let peer = peer.transpose()?;
            let same = match peer {
                Some(peer) => with.others.contains(&peer),
                None => row.get::<Vec<u8>, _>(2) == with.owners.0,
            };
            if same {
                let job = JobId(id32(&row.get::<Vec<u8>, _>(0), "an alignment's job")?);
                met.push(Met { job, at: UnixMillis(row.get::<i64, _>(1).unsigned_abs()), peer });
            }
        }
        Ok(met)
    }
}

/// Forgets the jobs, but for this one, that no contract's days reach back to.
async fn old(tx: &mut Tx<'_>, but: Option<&JobId>, now: UnixMillis) -> Result<Vec<JobId>> {
    let before = now.0.saturating_sub(u64::from(REPEAT_DAYS_MAX) * DAY_MS);
    // No job is called nothing.
    let but = but.map_or(&[][..], |job| job.0.as_slice());
    let gone = sqlx::query_scalar::<_, Vec<u8>>("DELETE FROM alignments WHERE at < ? AND job != ? RETURNING job")
        .bind(before as i64)
        .bind(but)
        .fetch_all(&mut *tx.0)
        .await
        .map_err(|e| fault(&e))?;
    gone.iter().map(|job| id32(job, "an alignment's job").map(JobId)).collect()
}

/// What stands beside a job that was counted.
#[derive(Debug)]
pub struct Counted {
    /// When the job was counted first.
    pub at: UnixMillis,
    /// The other jobs of the same owners within the terms' days, oldest first.
    pub others: Vec<Past>,
    /// Jobs that were forgotten just now.
    pub gone: Vec<JobId>,
}

/// A job that was counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Past {
    /// The job.
    pub job: JobId,
    /// When it was counted first.
    pub at: UnixMillis,
    /// By what its dataset is known; nothing where that is not known.
    pub marks: Vec<Hash>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_in_any_days_and_a_job_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.db");
        let mut store = Store::open(&path).await.unwrap();
        let terms = RepeatTerms { runs: 2, days: 10, change_min: 3, keys: None };
        let with = |owners: u8, others: &[u8]| With {
            owners: Hash([owners; 32]),
            others: others.iter().map(|n| NodeId([*n; 32])).collect(),
        };
        let (ours, others) = (with(1, &[7]), with(2, &[8]));
        let day = |n: u64| UnixMillis(1_700_000_000_000 + n * DAY_MS);
        let jobs = |counted: Counted| -> Vec<u8> { counted.others.iter().map(|past| past.job.0[0]).collect() };
        let count = async |store: &Store, job: u8, with: &With, at| {
            store.count_alignment(&JobId([job; 32]), (with, &[]), Some(&terms), at).await
        };
        assert_eq!(jobs(count(&store, 1, &ours, day(0)).await.unwrap()), [0; 0]);
        assert_eq!(jobs(count(&store, 2, &ours, day(4)).await.unwrap()), [1]);
        let used = async |days, at| store.alignments_used(&ours, &RepeatTerms { days, ..terms }, at).await.unwrap();
        assert_eq!(used(10, day(4)).await, (2, Some(day(0))));
        assert_eq!(used(4, day(4)).await, (1, Some(day(4))), "the first is over");
        assert_eq!(used(10, day(14)).await, (0, None));
        // A job that is tried again is the same, a third one is too many, and other owners have their own.
        assert_eq!(jobs(count(&store, 2, &ours, day(5)).await.unwrap()), [1]);
        let refused = count(&store, 3, &ours, day(5)).await.unwrap_err();
        assert_eq!(refused.code, Code::RefusedAlignment);
        assert!(refused.what.contains(&day(10).to_string()), "{refused}");
        assert_eq!(jobs(count(&store, 4, &others, day(5)).await.unwrap()), [0; 0]);
        // What was refused is not counted; what was counted outlives the process.
        store.close().await;
        store = Store::open(&path).await.unwrap();
        assert_eq!(count(&store, 3, &ours, UnixMillis(day(10).0 - 1)).await.unwrap_err().code, Code::RefusedAlignment);
        assert_eq!(jobs(count(&store, 3, &ours, day(10)).await.unwrap()), [2]);
        // Without terms a job is counted and none refused.
        store.count_alignment(&JobId([5; 32]), (&ours, &[]), None, day(10)).await.unwrap();
        assert_eq!(count(&store, 6, &ours, day(13)).await.unwrap_err().code, Code::RefusedAlignment);
        // A job has the marks of all of its attempts, and others see them.
        let (mark, other) = (Hash([4; 32]), Hash([5; 32]));
        for marks in [[mark], [mark], [other]] {
            store.count_alignment(&JobId([5; 32]), (&ours, &marks), None, day(11)).await.unwrap();
        }
        let seen = store.count_alignment(&JobId([3; 32]), (&ours, &[]), Some(&terms), day(11)).await.unwrap().others;
        let past = |job: u8, at, marks| Past { job: JobId([job; 32]), at, marks };
        assert_eq!(seen, [past(2, day(4), vec![]), past(5, day(10), vec![mark, other])]);
        // What nobody can ask about any more is forgotten.
        let late = day(5 + u64::from(REPEAT_DAYS_MAX)).plus(1);
        let counted = count(&store, 7, &ours, late).await.unwrap();
        assert_eq!(counted.gone.len(), 3, "jobs 1, 2 and 4");
        // Also where nobody aligns any more: jobs 3 and 5 on the day after, and 7 a year later.
        let year = u64::from(REPEAT_DAYS_MAX);
        assert_eq!(store.forget_alignments(day(10 + year)).await.unwrap(), []);
        assert_eq!(store.forget_alignments(day(10 + year).plus(1)).await.unwrap().len(), 2);
        assert_eq!(store.forget_alignments(day(11 + 2 * year)).await.unwrap(), [JobId([7; 32])]);
        store.close().await;
    }

    /// What three find shows of two of them what these find alone.
    #[tokio::test]
    async fn a_party_is_counted_in_whatever_company_it_is_met() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("node.db")).await.unwrap();
        let terms = RepeatTerms { runs: 2, days: 10, change_min: 3, keys: None };
        let day = |n: u64| UnixMillis(1_700_000_000_000 + n * DAY_MS);
        let with = |owners: u8, others: &[u8]| With {
            owners: Hash([owners; 32]),
            others: others.iter().map(|n| NodeId([*n; 32])).collect(),
        };
        let (two, three, others) = (with(1, &[7]), with(2, &[7, 8]), with(3, &[8, 9]));
        let count = async |job: u8, with: &With, at| {
            let counted = store.count_alignment(&JobId([job; 32]), (with, &[]), Some(&terms), at).await?;
            Ok(counted.others.iter().map(|past| past.job.0[0]).collect())
        };
        assert_eq!(count(1, &two, day(0)).await, Ok(vec![]));
        assert_eq!(count(2, &three, day(1)).await, Ok(vec![1]));
        assert_eq!(store.alignments_used(&two, &terms, day(2)).await, Ok((2, Some(day(0)))));
        let full: Result<Vec<u8>> = count(3, &two, day(2)).await;
        assert_eq!(full.map_err(|f| f.code), Err(Code::RefusedAlignment), "seven was met twice");
        assert_eq!(count(4, &others, day(2)).await, Ok(vec![2]), "eight once, in other company");
        assert_eq!(count(2, &three, day(2)).await, Ok(vec![1, 4]), "it was counted, and is tried again");
        let full: Result<Vec<u8>> = count(5, &three, day(3)).await;
        assert!(full.unwrap_err().what.contains(&day(11).to_string()), "both were met twice; the later day counts");
        // A job from before peers were written down met all of its owners.
        sqlx::query("DELETE FROM alignment_peers").execute(&store.pool).await.unwrap();
        assert_eq!(store.alignments_used(&two, &terms, day(2)).await, Ok((1, Some(day(0)))));
        assert_eq!(count(6, &three, day(4)).await, Ok(vec![2]));
        store.close().await;
    }
}
