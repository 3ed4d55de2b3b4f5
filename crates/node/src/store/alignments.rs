//! Which jobs brought lists of keys together, with whom and when.

use tacit_governance::RepeatTerms;
use tacit_governance::align::REPEAT_DAYS_MAX;
use tacit_types::Hash;

use super::*;

const DAY_MS: u64 = 86_400_000;

impl Store {
    /// Counts a job among those of its owners, once however often it is tried. What is counted is durable when this returns.
    /// Gives the other jobs of the terms' days, with their times, and those that are too old to be remembered.
    ///
    /// # Errors
    /// `refused.alignment` when the terms do not allow another, with the time when they do; those of the database.
    pub async fn count_alignment(
        &self,
        job: &JobId,
        owners: &Hash,
        terms: Option<&RepeatTerms>,
        now: UnixMillis,
    ) -> Result<Counted> {
        let mut tx = self.begin().await?;
        let gone = old(&mut tx, Some(job), now).await?;
        let since = terms.map_or(now.0, |t| now.0.saturating_sub(u64::from(t.days) * DAY_MS));
        let rows = sqlx::query("SELECT job, at FROM alignments WHERE owners = ? AND at > ? AND job != ? ORDER BY at")
            .bind(owners.0.as_slice())
            .bind(since as i64)
            .bind(job.0.as_slice())
            .fetch_all(&mut *tx.0)
            .await
            .map_err(|e| fault(&e))?;
        let mut others = Vec::with_capacity(rows.len());
        for row in &rows {
            let job = JobId(id32(&row.get::<Vec<u8>, _>(0), "an alignment's job")?);
            others.push((job, UnixMillis(row.get::<i64, _>(1).unsigned_abs())));
        }
        if let Some(terms) = terms
            && others.len() >= terms.runs as usize
            && let Some((_, first)) = others.get(others.len() - terms.runs as usize)
        {
            let next = first.plus(u64::from(terms.days) * DAY_MS);
            let what = format!(
                "the contract allows {} alignments of the same owners in any {} days, and so many were made; the next one \
                 from {next} on",
                terms.runs, terms.days
            );
            return Err(Fault::new(Code::RefusedAlignment, what));
        }
        sqlx::query("INSERT OR IGNORE INTO alignments (job, owners, at) VALUES (?, ?, ?)")
            .bind(job.0.as_slice())
            .bind(owners.0.as_slice())
            .bind(now.0 as i64)
            .execute(&mut *tx.0)
            .await
            .map_err(|e| fault(&e))?;
        tx.commit().await?;
        Ok(Counted { others, gone })
    }

    /// How many jobs of the same owners count in the terms' days, and when the first of them was.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn alignments_used(
        &self,
        owners: &Hash,
        terms: &RepeatTerms,
        now: UnixMillis,
    ) -> Result<(u64, Option<UnixMillis>)> {
        let since = now.0.saturating_sub(u64::from(terms.days) * DAY_MS);
        let sql = "SELECT count(*), min(at) FROM alignments WHERE owners = ? AND at > ?";
        let (used, first): (i64, Option<i64>) = sqlx::query_as(sql)
            .bind(owners.0.as_slice())
            .bind(since as i64)
            .fetch_one(&self.pool)
            .await
            .map_err(|e| fault(&e))?;
        Ok((used.unsigned_abs(), first.map(|at| UnixMillis(at.unsigned_abs()))))
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
    pub async fn recount_alignment(&mut self, job: &JobId, owners: &Hash, at: UnixMillis) -> Result<()> {
        sqlx::query("INSERT OR IGNORE INTO alignments (job, owners, at) VALUES (?, ?, ?)")
            .bind(job.0.as_slice())
            .bind(owners.0.as_slice())
            .bind(i64::try_from(at.0).unwrap_or(i64::MAX))
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
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
    /// The other jobs of the same owners within the terms' days, oldest first.
    pub others: Vec<(JobId, UnixMillis)>,
    /// Jobs that were forgotten just now.
    pub gone: Vec<JobId>,
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
        let (ours, others) = (Hash([1; 32]), Hash([2; 32]));
        let day = |n: u64| UnixMillis(1_700_000_000_000 + n * DAY_MS);
        let jobs = |counted: Counted| -> Vec<u8> { counted.others.iter().map(|(job, _)| job.0[0]).collect() };
        let count = async |store: &Store, job: u8, owners: &Hash, at| {
            store.count_alignment(&JobId([job; 32]), owners, Some(&terms), at).await
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
        store.count_alignment(&JobId([5; 32]), &ours, None, day(10)).await.unwrap();
        assert_eq!(count(&store, 6, &ours, day(13)).await.unwrap_err().code, Code::RefusedAlignment);
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
}
