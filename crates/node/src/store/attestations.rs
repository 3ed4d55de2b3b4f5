//! Attestations on their way to the log. What was signed is kept until it is there, whatever became of the
//! job's own row: the next one in the chain names it.

use super::*;

/// Attestations that are handed in at once.
const HANDED_IN_AT_ONCE: i64 = 64;

/// An attestation that was not seen in the log yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationRow {
    /// The job.
    pub job: JobId,
    /// The statement's id.
    pub id: StatementId,
    /// The signed statement.
    pub statement: Vec<u8>,
}

impl Tx<'_> {
    /// Moves the issuer's chain on by an attestation, and keeps it until it is in the log.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_attestation(&mut self, seq: u64, row: &AttestationRow) -> Result<()> {
        self.set_chain(seq, row.id).await?;
        sqlx::query("INSERT INTO attestations (seq, job, id, statement) VALUES (?, ?, ?, ?)")
            .bind(i64::try_from(seq).unwrap_or(i64::MAX))
            .bind(row.job.0.as_slice())
            .bind(row.id.0.as_slice())
            .bind(&row.statement)
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// Forgets an attestation: it is in the log.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn attestation_logged(&mut self, id: &StatementId) -> Result<()> {
        sqlx::query("DELETE FROM attestations WHERE id = ?")
            .bind(id.0.as_slice())
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }
}

impl Store {
    /// How many attestations were not seen in the log yet.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn unlogged(&self) -> Result<u64> {
        let n: i64 = sqlx::query_scalar("SELECT count(*) FROM attestations")
            .fetch_one(&self.pool)
            .await
            .map_err(|e| fault(&e))?;
        Ok(n.unsigned_abs())
    }

    /// Attestations of jobs that are not open here any more, oldest first, some at a time. Those of open jobs
    /// are still asked for.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn late_attestations(&self) -> Result<Vec<AttestationRow>> {
        let sql = "SELECT a.job, a.id, a.statement FROM attestations a LEFT JOIN jobs j ON j.id = a.job \
                   WHERE j.open IS NULL OR j.open = 0 ORDER BY a.seq LIMIT ?";
        let rows = sqlx::query(sql).bind(HANDED_IN_AT_ONCE).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        let row = |row: sqlx::sqlite::SqliteRow| {
            Ok(AttestationRow {
                job: JobId(id32(&row.get::<Vec<u8>, _>(0), "an attestation's job")?),
                id: StatementId(id32(&row.get::<Vec<u8>, _>(1), "an attestation's id")?),
                statement: row.get(2),
            })
        };
        rows.into_iter().map(row).collect()
    }
}
