//! Promises of the coordinator whose receipts were not seen yet.

use tacit_types::Hash;

use super::*;

/// Promises that a node keeps. Beyond, it attests, and takes no more promises until some are kept.
pub const PROMISE_ROWS_MAX: i64 = 4096;

/// What has become of a promise whose receipt is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromiseStanding {
    /// Nothing shows that it was not kept.
    Open,
    /// Witnesses have seen the log without the receipt after the deadline.
    Unkept,
    /// The same, and the owner goes on with this coordinator.
    Forgiven,
}

impl PromiseStanding {
    const ALL: [Self; 3] = [Self::Open, Self::Unkept, Self::Forgiven];

    /// Its stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Unkept => "unkept",
            Self::Forgiven => "forgiven",
        }
    }

    const fn number(self) -> i64 {
        self as i64
    }
}

/// A promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromiseRow {
    /// The digest of the record.
    pub usage: Hash,
    /// Its job.
    pub job: JobId,
    /// By when the receipt is to be in a witnessed checkpoint.
    pub deadline: UnixMillis,
    /// Leaves of the log that were there before the receipt.
    pub seen: u64,
    /// What has become of it.
    pub standing: PromiseStanding,
    /// The signed promise.
    pub statement: Vec<u8>,
}

impl Tx<'_> {
    /// Keeps a promise. Of two for one record the first counts.
    ///
    /// # Errors
    /// `job.busy` when [`PROMISE_ROWS_MAX`] are kept; those of the database.
    pub async fn put_promise(&mut self, row: &PromiseRow) -> Result<()> {
        let kept: i64 =
            sqlx::query_scalar("SELECT count(*) FROM promises").fetch_one(&mut *self.0).await.map_err(|e| fault(&e))?;
        if kept >= PROMISE_ROWS_MAX {
            return Err(Fault::new(Code::JobBusy, format!("{kept} promises of the coordinator are open")));
        }
        let sql = "INSERT OR IGNORE INTO promises (usage, job, deadline, seen, standing, statement) \
                   VALUES (?, ?, ?, ?, ?, ?)";
        sqlx::query(sql)
            .bind(row.usage.0.as_slice())
            .bind(row.job.0.as_slice())
            .bind(i64::try_from(row.deadline.0).unwrap_or(i64::MAX))
            .bind(i64::try_from(row.seen).unwrap_or(i64::MAX))
            .bind(row.standing.number())
            .bind(&row.statement)
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// Forgets a promise: the receipt is in the log.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn promise_kept(&mut self, usage: &Hash) -> Result<()> {
        sqlx::query("DELETE FROM promises WHERE usage = ?")
            .bind(usage.0.as_slice())
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// Notes what has become of a promise.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn promise_is(&mut self, usage: &Hash, standing: PromiseStanding) -> Result<()> {
        sqlx::query("UPDATE promises SET standing = ? WHERE usage = ?")
            .bind(standing.number())
            .bind(usage.0.as_slice())
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// The record of the oldest promise that was not kept and is not forgiven.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn unkept(&mut self) -> Result<Option<Hash>> {
        let found: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT usage FROM promises WHERE standing = 1 ORDER BY deadline LIMIT 1")
                .fetch_optional(&mut *self.0)
                .await
                .map_err(|e| fault(&e))?;
        found.map(|usage| Ok(Hash(id32(&usage, "the record of a promise")?))).transpose()
    }
}

impl Store {
    /// All promises whose receipts were not seen, by their deadlines.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn promises(&self) -> Result<Vec<PromiseRow>> {
        let sql = "SELECT usage, job, deadline, seen, standing, statement FROM promises ORDER BY deadline, usage";
        let rows = sqlx::query(sql).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        let row = |row: &sqlx::sqlite::SqliteRow| {
            let standing = row.get::<i64, _>(4);
            let standing = PromiseStanding::ALL.into_iter().find(|s| s.number() == standing);
            Ok(PromiseRow {
                usage: Hash(id32(&row.get::<Vec<u8>, _>(0), "the record of a promise")?),
                job: JobId(id32(&row.get::<Vec<u8>, _>(1), "the job of a promise")?),
                deadline: UnixMillis(row.get::<i64, _>(2).unsigned_abs()),
                seen: row.get::<i64, _>(3).unsigned_abs(),
                standing: standing.ok_or_else(|| corrupt("the standing of a promise"))?,
                statement: row.get(5),
            })
        };
        rows.iter().map(row).collect()
    }

    /// Goes on with a coordinator that did not keep a promise. `false` when there is no such unkept promise.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forgive_promise(&self, usage: &Hash) -> Result<bool> {
        let done = sqlx::query("UPDATE promises SET standing = 2 WHERE usage = ? AND standing = 1")
            .bind(usage.0.as_slice())
            .execute(&self.pool)
            .await
            .map_err(|e| self.note(&e))?;
        Ok(done.rows_affected() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: u64, deadline: u64) -> PromiseRow {
        let mut usage = [0; 32];
        usage[..8].copy_from_slice(&n.to_be_bytes());
        PromiseRow {
            usage: Hash(usage),
            job: JobId([7; 32]),
            deadline: UnixMillis(deadline),
            seen: n,
            standing: PromiseStanding::Open,
            statement: vec![1, 2, 3],
        }
    }

    #[tokio::test]
    async fn promises_are_bounded_the_first_counts_and_an_unkept_one_is_held_until_it_is_forgiven() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("node.db")).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.put_promise(&row(0, 90)).await.unwrap();
        // What comes second for the same record moves no deadline.
        tx.put_promise(&row(0, 99)).await.unwrap();
        for n in 1..PROMISE_ROWS_MAX.unsigned_abs() {
            tx.put_promise(&row(n, 100 + n)).await.unwrap();
        }
        assert_eq!(tx.put_promise(&row(PROMISE_ROWS_MAX.unsigned_abs(), 1)).await.unwrap_err().code, Code::JobBusy);
        assert_eq!(tx.unkept().await.unwrap(), None);
        tx.promise_is(&row(5, 0).usage, PromiseStanding::Unkept).await.unwrap();
        tx.promise_is(&row(3, 0).usage, PromiseStanding::Unkept).await.unwrap();
        assert_eq!(tx.unkept().await.unwrap(), Some(row(3, 0).usage), "the one that was due first");
        tx.promise_kept(&row(3, 0).usage).await.unwrap();
        tx.commit().await.unwrap();
        let all = store.promises().await.unwrap();
        assert_eq!((all.len() as i64, &all[0]), (PROMISE_ROWS_MAX - 1, &row(0, 90)));
        assert!(!store.forgive_promise(&row(0, 0).usage).await.unwrap(), "it is only open");
        assert!(store.forgive_promise(&row(5, 0).usage).await.unwrap());
        assert!(!store.forgive_promise(&row(5, 0).usage).await.unwrap());
        assert_eq!(store.begin().await.unwrap().unkept().await.unwrap(), None);
        store.close().await;
    }
}
