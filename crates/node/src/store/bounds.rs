//! What keeps the database from growing with what others send.
//!
//! A row of an admitted job is for ever: quota and spent ids are counted by it, and the contract that
//! the owner signed bounds how many there are. A refusal is kept until the refused job can begin no
//! more. Records of a protocol are kept while its attempt runs: after it, or after a crash, nothing
//! reads them, because no attempt is resumed.

use super::*;

/// Refused jobs that are kept at once. Beyond, a refusal is answered and not kept.
pub const REFUSED_ROWS_MAX: i64 = 1024;
/// Jobs that may be open at once: neither ended nor long expired. Beyond, none is admitted.
pub const OPEN_ROWS_MAX: i64 = 4096;
/// Rows of the egress ledger that tell jobs apart. Beyond, the oldest are added up by peer and kind.
pub const EGRESS_ROWS_MAX: i64 = 100_000;
/// How long after its expiry a job still counts, in milliseconds: clocks differ, and the longest attempt takes as long.
pub const EXPIRED_KEPT_MS: u64 = 86_400_000;
/// Reports that are read at once for delivery.
const REPORTS_AT_ONCE: i64 = 64;
/// Records that are asked for at once.
const OWED_AT_ONCE: i64 = 64;

impl Tx<'_> {
    /// Whether one more refusal is kept. Makes room first, by what has expired.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn keeps_refusal(&mut self, now: UnixMillis) -> Result<bool> {
        sqlx::query("DELETE FROM jobs WHERE contract IS NULL AND expires < ?")
            .bind(now.0.saturating_sub(EXPIRED_KEPT_MS) as i64)
            .execute(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        let kept = self.count("SELECT count(*) FROM jobs WHERE contract IS NULL", None).await?;
        Ok(kept < REFUSED_ROWS_MAX)
    }

    /// Whether one more job may be open.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn takes_job(&mut self, now: UnixMillis) -> Result<bool> {
        let oldest = now.0.saturating_sub(EXPIRED_KEPT_MS) as i64;
        let open = self
            .count("SELECT count(*) FROM jobs WHERE open = 1 AND contract IS NOT NULL AND expires >= ?", Some(oldest))
            .await?;
        Ok(open < OPEN_ROWS_MAX)
    }

    async fn count(&mut self, sql: &'static str, bound: Option<i64>) -> Result<i64> {
        let query = sqlx::query_scalar(sql);
        let query = bound.into_iter().fold(query, |query, n| query.bind(n));
        query.fetch_one(&mut *self.0).await.map_err(|e| fault(&e))
    }

    /// Drops what protocols have recorded for a job: its attempt is over.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_records(&mut self, id: &JobId) -> Result<()> {
        sqlx::query("DELETE FROM protocol_records WHERE job = ?")
            .bind(id.0.as_slice())
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// Adds the oldest rows of the egress ledger up when there are more than [`EGRESS_ROWS_MAX`]. No byte
    /// is forgotten, only for which job it left.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn fold_egress(&mut self) -> Result<()> {
        // Rows leave from the oldest on, so that their numbers are without large gaps.
        let newest = self.count("SELECT COALESCE(max(rowid), 0) FROM egress", None).await?;
        let oldest = self.count("SELECT COALESCE(min(rowid), 0) FROM egress", None).await?;
        if newest - oldest < EGRESS_ROWS_MAX {
            return Ok(());
        }
        let until = newest - EGRESS_ROWS_MAX / 2;
        for sql in [
            "INSERT INTO egress_before (peer, kind, bytes) \
             SELECT peer, kind, sum(bytes) FROM egress WHERE rowid <= ? GROUP BY peer, kind \
             ON CONFLICT (peer, kind) DO UPDATE SET bytes = bytes + excluded.bytes",
            "DELETE FROM egress WHERE rowid <= ?",
        ] {
            sqlx::query(sql).bind(until).execute(&mut *self.0).await.map_err(|e| fault(&e))?;
        }
        Ok(())
    }
}

impl Store {
    /// Ids of jobs that have not ended here, oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn open_ids(&self) -> Result<Vec<JobId>> {
        self.ids("SELECT id FROM jobs WHERE open = 1 ORDER BY seen_at", i64::MAX).await
    }

    /// Ids of open jobs whose report waits, oldest first, some at a time.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn unreported(&self) -> Result<Vec<JobId>> {
        self.ids("SELECT id FROM jobs WHERE reported = 0 AND open = 1 ORDER BY seen_at LIMIT ?", REPORTS_AT_ONCE).await
    }

    /// Ids of jobs that have ended here without this node's attestation, though it ended the last attempt well; oldest
    /// first, some at a time.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn owed(&self) -> Result<Vec<JobId>> {
        self.ids("SELECT id FROM jobs WHERE owed = 1 ORDER BY seen_at LIMIT ?", OWED_AT_ONCE).await
    }

    async fn ids(&self, sql: &'static str, limit: i64) -> Result<Vec<JobId>> {
        let query = sqlx::query_scalar::<_, Vec<u8>>(sql);
        let query = if sql.contains('?') { query.bind(limit) } else { query };
        let rows = query.fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        rows.iter().map(|bytes| id32(bytes, "a job's id").map(JobId)).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// SQLite itself ends the transaction that meets a full disk. The next one begins all the same.
    #[tokio::test]
    async fn a_full_disk_passes() {
        let folder = std::env::temp_dir().join(format!("tacit-store-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let store = Store::open(&folder.join("node.db")).await.unwrap();
        store.set_meta("a", b"kept").await.unwrap();
        sqlx::query("PRAGMA max_page_count = 1").execute(&store.pool).await.unwrap();
        let full = store.set_meta("b", &vec![7; 1 << 20]).await.unwrap_err();
        assert_eq!(full.code, Code::StoreFull, "{full}");
        // The limit went with the connection.
        store.set_meta("b", &vec![7; 1 << 20]).await.unwrap();
        assert_eq!(store.meta("a").await.unwrap().as_deref(), Some(&b"kept"[..]));
        assert!(store.failed.borrow().is_none(), "a full disk is no reason to end");
        store.close().await;
        std::fs::remove_dir_all(&folder).unwrap();
    }

    pub(in super::super) fn job() -> tacit_engine::WorkerJob {
        let finished = tacit_engine::Finished::Ok {
            package: None,
            survivors: vec![tacit_types::Seat(0), tacit_types::Seat(1)],
            cells_in: 4,
            payload_bytes: 0,
            cells_out: 1,
            cells_suppressed: 0,
            opened: vec![("counts".into(), 2)],
        };
        tacit_engine::WorkerJob {
            bytes: vec![0, 255, 0, 39].into(),
            answer: vec![7; 40].into(),
            admitted: true,
            attempt: 2,
            began: UnixMillis(9),
            input_sent: true,
            finished: Some(finished),
            saw: Default::default(),
            reported: true,
            release: Some(vec![0, 1, 200].into()),
            attested: None,
            receipt: None,
            terminal: None,
            kept: None,
            untold: false,
            owed: false,
            each: Vec::new(),
        }
    }

    /// A database of before, made from one of today: the state of a job without what has come to stand at its end.
    #[tokio::test]
    async fn a_store_of_before_is_taken_over() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("node.db");
        let store = Store::open(&path).await.unwrap();
        let (id, open) = (JobId([3; 32]), job());
        let mut tx = store.begin().await.unwrap();
        let contract = Charge { contract: ContractId([4; 32]), rows: 0 };
        tx.insert_job(&id, &open, Some(contract), UnixMillis(99), UnixMillis(9)).await.unwrap();
        tx.commit().await.unwrap();
        let new = wire::encode(&open);
        let (before, added) = new.split_at(new.len() - 11);
        assert_eq!(added, [0; 11], "nothing, no, no, and an empty list");
        for sql in [
            "DROP TABLE orders",
            "DROP TABLE row_sets",
            "DROP TABLE row_sets_asked",
            "DROP TABLE rows_accepted",
            "DROP TABLE party_rotations",
            "DROP TABLE alignment_peers",
            "DROP TABLE alignment_marks",
            "DROP TABLE promises",
            "DROP TABLE recounted",
            "DROP TABLE memos_due",
            "DROP TABLE memos",
            "DROP TABLE memos_lacking",
            "DROP TABLE asserted",
            "DROP TABLE links",
            "DROP INDEX jobs_owed",
            "ALTER TABLE jobs DROP COLUMN owed",
            "DROP INDEX jobs_dataset",
            "DROP INDEX jobs_question",
            "ALTER TABLE jobs DROP COLUMN dataset",
            "ALTER TABLE jobs DROP COLUMN epsilon_micro",
            "ALTER TABLE jobs DROP COLUMN delta_femto",
            "ALTER TABLE jobs DROP COLUMN question",
            "DELETE FROM _sqlx_migrations WHERE version >= 9",
        ] {
            sqlx::query(sql).execute(&store.pool).await.unwrap();
        }
        sqlx::query("UPDATE jobs SET state = ?").bind(before).execute(&store.pool).await.unwrap();
        assert!(store.job(&id).await.is_err(), "it is of another form");
        store.close().await;
        let store = Store::open(&path).await.unwrap();
        assert_eq!(store.job(&id).await.unwrap(), Some(open));
        // What was under way goes on: its record is asked for when it ends unattested.
        let lost = Terminal::Failed { code: Code::JobPeerLost, party: None, step: None, hint: String::new() };
        assert!(store.owed().await.unwrap().is_empty());
        assert!(store.close_job(&id, lost).await.unwrap());
        assert_eq!(store.owed().await.unwrap(), [id]);
        let mut tx = store.begin().await.unwrap();
        let mut job = tx.job(&id).await.unwrap().unwrap();
        job.forgive();
        tx.put_job(&id, &job).await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.owed().await.unwrap().is_empty());
        store.close().await;
    }

    /// However many records are owed, a look takes some.
    #[tokio::test]
    async fn records_that_are_owed_are_asked_for_some_at_a_time() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::open(&folder.path().join("node.db")).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        for n in 0..=OWED_AT_ONCE as u8 {
            let (id, mut job) = (JobId([n; 32]), job());
            tx.insert_job(&id, &job, None, UnixMillis(99), UnixMillis(u64::from(n))).await.unwrap();
            job.close(Terminal::Expired);
            tx.put_job(&id, &job).await.unwrap();
        }
        tx.commit().await.unwrap();
        let owed = store.owed().await.unwrap();
        assert_eq!((owed.len(), owed[0]), (OWED_AT_ONCE as usize, JobId([0; 32])));
        store.close().await;
    }
}
