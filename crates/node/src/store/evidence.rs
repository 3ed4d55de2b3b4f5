//! Evidence against parties that broke a protocol. It is kept until the owner takes it away: a receipt has its hash alone.

use tacit_engine::evidence::{EVIDENCE_KEPT_BYTES_MAX, conviction, encode};
use tacit_protocol::Blame;
use tacit_types::{Attempt, Hash};

use super::*;

/// Pieces of evidence that a node keeps. Beyond, it keeps no more, and says so in its log.
pub const EVIDENCE_ROWS_MAX: i64 = 1024;

/// One piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceRow {
    /// The job.
    pub job: JobId,
    /// Its attempt.
    pub attempt: Attempt,
    /// SHA-256 of the evidence, as a receipt has it.
    pub hash: Hash,
    /// The seat that it convicts.
    pub seat: u16,
    /// The word of what it did.
    pub offence: String,
    /// When it was seen.
    pub at: UnixMillis,
    /// The evidence.
    pub blame: Vec<u8>,
}

impl Tx<'_> {
    /// Keeps evidence of an attempt, each piece once.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_evidence(
        &mut self,
        job: &JobId,
        attempt: Attempt,
        blames: &[Blame],
        at: UnixMillis,
    ) -> Result<()> {
        for blame in blames {
            let bytes = encode(blame);
            let Some(named) = conviction(blame) else { continue };
            if bytes.len() > EVIDENCE_KEPT_BYTES_MAX {
                tracing::error!(job = %job.short(), bytes = bytes.len(), "evidence is not kept: it is too long");
                continue;
            }
            let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM evidence")
                .fetch_one(&mut *self.0)
                .await
                .map_err(|e| fault(&e))?;
            if kept >= EVIDENCE_ROWS_MAX {
                tracing::error!(job = %job.short(), kept, "evidence is not kept: there is too much of it already");
                return Ok(());
            }
            sqlx::query(
                "INSERT OR IGNORE INTO evidence (job, attempt, hash, seat, offence, at, blame) VALUES (?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(job.0.as_slice())
            .bind(i64::from(attempt.0))
            .bind(named.evidence.0.as_slice())
            .bind(i64::from(named.seat.0))
            .bind(named.offence)
            .bind(i64::try_from(at.0).unwrap_or(i64::MAX))
            .bind(bytes)
            .execute(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        }
        Ok(())
    }
}

impl Store {
    /// All evidence, oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn evidence(&self) -> Result<Vec<EvidenceRow>> {
        let sql = "SELECT job, attempt, hash, seat, offence, at, blame FROM evidence ORDER BY id";
        let rows = sqlx::query(sql).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        let row = |row: &sqlx::sqlite::SqliteRow| {
            Ok(EvidenceRow {
                job: JobId(id32(&row.get::<Vec<u8>, _>(0), "the job of evidence")?),
                attempt: Attempt(u32::try_from(row.get::<i64, _>(1)).map_err(|_| corrupt("the attempt of evidence"))?),
                hash: Hash(id32(&row.get::<Vec<u8>, _>(2), "the hash of evidence")?),
                seat: u16::try_from(row.get::<i64, _>(3)).map_err(|_| corrupt("the seat of evidence"))?,
                offence: row.get(4),
                at: UnixMillis(row.get::<i64, _>(5).unsigned_abs()),
                blame: row.get(6),
            })
        };
        rows.iter().map(row).collect()
    }
}
