//! What this node asserts of its own part in an attempt, from the vote for its result until it is attested.

use tacit_types::Attempt;

use super::*;

/// Counts that nobody else can check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssertedRow {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// Rows that the local query read of its source; none without a query.
    pub rows_scanned: Option<u64>,
    /// Milliseconds of processor time.
    pub cpu_ms: u64,
    /// The most bytes of intermediate results of the local query; none without a query.
    pub memory_bytes: Option<u64>,
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Tx<'_> {
    /// Keeps what was counted of an attempt, in place of what was counted of one before.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_asserted(&mut self, row: &AssertedRow) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO asserted (job, attempt, rows_scanned, cpu_ms, memory_bytes) \
                   VALUES (?, ?, ?, ?, ?)";
        sqlx::query(sql)
            .bind(row.job.0.as_slice())
            .bind(i64::from(row.attempt.0))
            .bind(row.rows_scanned.map(number))
            .bind(number(row.cpu_ms))
            .bind(row.memory_bytes.map(number))
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// What was counted of this very attempt.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn asserted(&mut self, job: &JobId, attempt: Attempt) -> Result<Option<AssertedRow>> {
        let sql = "SELECT rows_scanned, cpu_ms, memory_bytes FROM asserted WHERE job = ? AND attempt = ?";
        let query = sqlx::query(sql).bind(job.0.as_slice()).bind(i64::from(attempt.0));
        let row = query.fetch_optional(&mut *self.0).await.map_err(|e| fault(&e))?;
        Ok(row.map(|row| AssertedRow {
            job: *job,
            attempt,
            rows_scanned: row.get::<Option<i64>, _>(0).map(i64::unsigned_abs),
            cpu_ms: row.get::<i64, _>(1).unsigned_abs(),
            memory_bytes: row.get::<Option<i64>, _>(2).map(i64::unsigned_abs),
        }))
    }

    /// Drops what was counted of a job: another attempt begins, or it is attested.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_asserted(&mut self, job: &JobId) -> Result<()> {
        let query = sqlx::query("DELETE FROM asserted WHERE job = ?").bind(job.0.as_slice());
        query.execute(&mut *self.0).await.map(|_| ()).map_err(|e| fault(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn counts_are_of_one_attempt_and_outlast_a_restart() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("node.db");
        let store = Store::open(&path).await.unwrap();
        let job = JobId([7; 32]);
        let row = |attempt, rows_scanned| AssertedRow {
            job,
            attempt: Attempt(attempt),
            rows_scanned,
            cpu_ms: 12,
            memory_bytes: rows_scanned.map(|rows| rows * 3),
        };
        let mut tx = store.begin().await.unwrap();
        tx.put_asserted(&row(1, Some(8))).await.unwrap();
        tx.commit().await.unwrap();
        store.close().await;
        let store = Store::open(&path).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.asserted(&job, Attempt(1)).await.unwrap(), Some(row(1, Some(8))));
        assert_eq!(tx.asserted(&job, Attempt(2)).await.unwrap(), None, "another attempt has its own");
        tx.put_asserted(&row(2, None)).await.unwrap();
        assert_eq!(tx.asserted(&job, Attempt(1)).await.unwrap(), None);
        assert_eq!(tx.asserted(&job, Attempt(2)).await.unwrap(), Some(row(2, None)));
        tx.forget_asserted(&job).await.unwrap();
        assert_eq!(tx.asserted(&job, Attempt(2)).await.unwrap(), None);
        tx.commit().await.unwrap();
        store.close().await;
    }
}
