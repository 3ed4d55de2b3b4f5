//! What this node was told about the use of its data and notes in the log, and what of that a restored database lacks.

use tacit_governance::Order;
use tacit_receipts::memo::MEMOS_MAX;
use tacit_types::Hash;

use super::*;

/// What is taken from the queue, or given to the log, in one go.
const MEMOS_AT_ONCE: i64 = 64;
/// How long a memo of which the coordinator says that the log has it may not be met there.
pub const MEMO_LATE_MS: u64 = 600_000;

/// Something that is to be noted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueRow {
    /// Its place in the queue.
    pub id: i64,
    /// What it is.
    pub due: Due,
}

/// What is to be noted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Due {
    /// A statement that was taken in.
    Order(Vec<u8>),
    /// A contract that the owner has revoked.
    Revoked(ContractId),
    /// A contract of which there are new signatures: it may take the place of another, or be rejected.
    Contract(ContractId),
}

impl Due {
    fn row(&self) -> (&'static str, &[u8]) {
        match self {
            Due::Order(statement) => ("order", statement),
            Due::Revoked(contract) => ("revoked", &contract.0),
            Due::Contract(contract) => ("contract", &contract.0),
        }
    }
}

/// A memo that is not in the log yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoRow {
    /// Its number.
    pub number: u64,
    /// Its tag.
    pub tag: Hash,
    /// What it carries.
    pub sealed: Option<Vec<u8>>,
    /// When the coordinator first said that the log has it.
    pub said: Option<UnixMillis>,
}

/// What the log shows that this node was told, and the database does not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LackingRow {
    /// The memo's number.
    pub number: u64,
    /// Its tag; `None` for a number that the log leaves out.
    pub tag: Option<Hash>,
    /// What it says, where only a contract is missing.
    pub told: Option<Vec<u8>>,
    /// When the owner said that it need not be known, and why.
    pub accepted: Option<(UnixMillis, String)>,
}

impl Tx<'_> {
    /// Puts something into the queue of what is noted.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn memo_due(&mut self, due: &Due) -> Result<()> {
        let (what, bytes) = due.row();
        sqlx::query("INSERT INTO memos_due (what, bytes) VALUES (?, ?)")
            .bind(what)
            .bind(bytes)
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// Takes something from the queue.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn memo_done(&mut self, id: i64) -> Result<()> {
        sqlx::query("DELETE FROM memos_due WHERE id = ?")
            .bind(id)
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// Whether there is a memo with a tag, in the log or on its way.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn has_memo(&mut self, tag: &Hash) -> Result<bool> {
        let n: i64 = sqlx::query_scalar("SELECT count(*) FROM memos WHERE tag = ?")
            .bind(tag.0.as_slice())
            .fetch_one(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        Ok(n > 0)
    }

    /// Gives a new memo the next number that is free. A tag that is there already is no news.
    ///
    /// # Errors
    /// `log.full` past [`MEMOS_MAX`]; those of the database.
    pub async fn put_memo(&mut self, tag: &Hash, sealed: Option<&[u8]>) -> Result<()> {
        if self.has_memo(tag).await? {
            return Ok(());
        }
        let free = self.free_number().await?;
        if free.unsigned_abs() > MEMOS_MAX {
            return Err(Fault::new(
                Code::LogFull,
                format!("the log has {MEMOS_MAX} memos of this node and takes no more"),
            ));
        }
        self.insert_memo(free, tag, sealed).await
    }

    async fn insert_memo(&mut self, number: i64, tag: &Hash, sealed: Option<&[u8]>) -> Result<()> {
        sqlx::query("INSERT INTO memos (number, tag, sealed, said, logged) VALUES (?, ?, ?, NULL, 0)")
            .bind(number)
            .bind(tag.0.as_slice())
            .bind(sealed)
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// The least number that no memo has: it is the one that the coordinator takes next.
    async fn free_number(&mut self) -> Result<i64> {
        let sql = "SELECT n FROM (SELECT 0 AS n UNION ALL SELECT number FROM memos) AS known \
                   WHERE NOT EXISTS (SELECT 1 FROM memos WHERE number = known.n + 1) ORDER BY n LIMIT 1";
        let before: i64 = sqlx::query_scalar(sql).fetch_one(&mut *self.0).await.map_err(|e| fault(&e))?;
        Ok(before.saturating_add(1))
    }

    /// Numbers memos that are not in the log anew where numbers before them are free: the coordinator takes none after a hole.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn close_ranks(&mut self) -> Result<()> {
        let waiting: Vec<i64> = sqlx::query_scalar("SELECT number FROM memos WHERE logged = 0 ORDER BY number")
            .fetch_all(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        for number in waiting {
            let free = self.free_number().await?;
            if free >= number {
                continue;
            }
            sqlx::query("UPDATE memos SET number = ?, said = NULL WHERE number = ?")
                .bind(free)
                .bind(number)
                .execute(&mut *self.0)
                .await
                .map_err(|e| fault(&e))?;
        }
        Ok(())
    }

    /// Notes that the coordinator says that the log has a memo. It counts as noted once it was met there.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn memo_said(&mut self, row: &MemoRow, at: UnixMillis) -> Result<()> {
        sqlx::query("UPDATE memos SET said = coalesce(said, ?) WHERE number = ? AND tag = ? AND logged = 0")
            .bind(at.0 as i64)
            .bind(row.number as i64)
            .bind(row.tag.0.as_slice())
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// Has a memo that the log does not take as it is carry its tag alone.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn memo_bare(&mut self, row: &MemoRow) -> Result<()> {
        sqlx::query("UPDATE memos SET sealed = NULL WHERE number = ? AND tag = ? AND logged = 0")
            .bind(row.number as i64)
            .bind(row.tag.0.as_slice())
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// Notes memos that were met in the log, under a root that was verified. Another one that was on its way under the same number
    /// comes after the rest. Of a number below them that is neither there nor on its way nobody here knows what it says.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn memos_met(&mut self, met: &[(u64, Hash)]) -> Result<()> {
        for (number, tag) in met {
            let number = i64::try_from(*number).unwrap_or(i64::MAX);
            let news = !self.has_memo(tag).await?;
            let other: Option<(Vec<u8>, Option<Vec<u8>>)> =
                sqlx::query_as("SELECT tag, sealed FROM memos WHERE number = ? AND tag <> ? AND logged = 0")
                    .bind(number)
                    .bind(tag.0.as_slice())
                    .fetch_optional(&mut *self.0)
                    .await
                    .map_err(|e| fault(&e))?;
            for sql in [
                "DELETE FROM memos WHERE number = ?1 OR (tag = ?2 AND logged = 0)",
                "INSERT INTO memos (number, tag, sealed, said, logged) VALUES (?1, ?2, NULL, NULL, 1)",
            ] {
                sqlx::query(sql)
                    .bind(number)
                    .bind(tag.0.as_slice())
                    .execute(&mut *self.0)
                    .await
                    .map_err(|e| fault(&e))?;
            }
            if news {
                // It is the one that was left out, not one that was written since to stand in its place.
                sqlx::query("DELETE FROM memos_lacking WHERE number = ? AND tag IS NULL")
                    .bind(number)
                    .execute(&mut *self.0)
                    .await
                    .map_err(|e| fault(&e))?;
            }
            if let Some((tag, sealed)) = other {
                let last: i64 = sqlx::query_scalar("SELECT max(number) FROM memos")
                    .fetch_one(&mut *self.0)
                    .await
                    .map_err(|e| fault(&e))?;
                let tag = Hash(id32(&tag, "a memo's tag")?);
                self.insert_memo(last.saturating_add(1), &tag, sealed.as_deref()).await?;
            }
        }
        if met.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "WITH RECURSIVE most(n) AS (SELECT coalesce(max(number), 0) FROM memos WHERE logged = 1), \
             every(n) AS (SELECT 1 UNION ALL SELECT every.n + 1 FROM every, most WHERE every.n < most.n) \
             INSERT OR IGNORE INTO memos_lacking (number) SELECT every.n FROM every, most \
             WHERE every.n <= most.n AND NOT EXISTS (SELECT 1 FROM memos WHERE number = every.n)",
        )
        .execute(&mut *self.0)
        .await
        .map(|_| ())
        .map_err(|e| fault(&e))
    }

    /// Notes that something of which the log has a memo is not here.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_lacking(&mut self, number: u64, tag: &Hash, told: Option<&[u8]>) -> Result<()> {
        sqlx::query("INSERT OR IGNORE INTO memos_lacking (tag, number, told) VALUES (?, ?, ?)")
            .bind(tag.0.as_slice())
            .bind(i64::try_from(number).unwrap_or(i64::MAX))
            .bind(told)
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// Notes that it is here. Whether it was not.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn not_lacking(&mut self, tag: &Hash) -> Result<bool> {
        let done = sqlx::query("DELETE FROM memos_lacking WHERE tag = ?")
            .bind(tag.0.as_slice())
            .execute(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        Ok(done.rows_affected() > 0)
    }

    /// Takes in again what this node was told before: what is not later than what is kept was told before that.
    ///
    /// # Errors
    /// `args.invalid` past [`ORDERS_MAX`]; those of the database.
    pub async fn put_order_again(&mut self, order: &Order, at: UnixMillis) -> Result<()> {
        match self.kept_number(order).await? {
            Some(kept) if kept >= orders::number(order) => Ok(()),
            _ => self.put_order(order, at).await,
        }
    }
}

impl Store {
    /// Takes a statement in as [`Store::put_order`] does, and one that the log shows to have been told before also where a
    /// later one is here.
    ///
    /// # Errors
    /// Those of [`Store::put_order`].
    pub async fn put_told(&self, order: &Order, tag: &Hash, at: UnixMillis) -> Result<()> {
        let mut tx = self.begin().await?;
        match tx.not_lacking(tag).await? {
            true => tx.put_order_again(order, at).await?,
            false => tx.put_order(order, at).await?,
        }
        tx.commit().await
    }

    /// What is to be noted, oldest first, some at a time.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn memos_due(&self) -> Result<Vec<DueRow>> {
        let sql = "SELECT id, what, bytes FROM memos_due ORDER BY id LIMIT ?";
        let rows: Vec<(i64, String, Vec<u8>)> =
            sqlx::query_as(sql).bind(MEMOS_AT_ONCE).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        let row = |(id, what, bytes): (i64, String, Vec<u8>)| {
            let contract = |bytes: &[u8]| id32(bytes, "what is to be noted").map(ContractId);
            let due = match what.as_str() {
                "order" => Due::Order(bytes),
                "revoked" => Due::Revoked(contract(&bytes)?),
                "contract" => Due::Contract(contract(&bytes)?),
                _ => return Err(corrupt("what is to be noted")),
            };
            Ok(DueRow { id, due })
        };
        rows.into_iter().map(row).collect()
    }

    /// Memos that were not met in the log, some at a time: first those that the coordinator has not taken, in their order.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn memos_unlogged(&self) -> Result<Vec<MemoRow>> {
        let sql =
            "SELECT number, tag, sealed, said FROM memos WHERE logged = 0 ORDER BY said IS NOT NULL, number LIMIT ?";
        let rows: Vec<RawMemo> =
            sqlx::query_as(sql).bind(MEMOS_AT_ONCE).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        rows.into_iter().map(memo_row).collect()
    }

    /// Memos of which the coordinator said [`MEMO_LATE_MS`] ago that the log has them, and which were not met there.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn memos_withheld(&self, now: UnixMillis) -> Result<Vec<MemoRow>> {
        let sql = "SELECT number, tag, sealed, said FROM memos WHERE logged = 0 AND said < ? ORDER BY number LIMIT ?";
        let before = now.0.saturating_sub(MEMO_LATE_MS) as i64;
        let rows: Vec<RawMemo> =
            sqlx::query_as(sql).bind(before).bind(MEMOS_AT_ONCE).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        rows.into_iter().map(memo_row).collect()
    }

    /// How much of what this node was told, or may have been told with a new signature, is not in the log.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn memos_waiting(&self) -> Result<u64> {
        let sql = "SELECT (SELECT count(*) FROM memos_due) + (SELECT count(*) FROM memos WHERE logged = 0)";
        let n: i64 = sqlx::query_scalar(sql).fetch_one(&self.pool).await.map_err(|e| fault(&e))?;
        Ok(n.unsigned_abs())
    }

    /// Whether something waits for a memo, and the log takes no more of this node.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn memos_full(&self) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM memos_due) AND (SELECT count(*) FROM memos) >= ?";
        let most = i64::try_from(MEMOS_MAX).unwrap_or(i64::MAX);
        sqlx::query_scalar(sql).bind(most).fetch_one(&self.pool).await.map_err(|e| fault(&e))
    }

    /// What the log shows that this node was told and the database does not have, by the memos' numbers.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn lacking(&self) -> Result<Vec<LackingRow>> {
        type Raw = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>, Option<String>);
        let sql = "SELECT number, tag, told, accepted_at, reason FROM memos_lacking ORDER BY number";
        let rows: Vec<Raw> = sqlx::query_as(sql).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        let row = |(number, tag, told, at, reason): Raw| {
            let accepted = at.map(|at| (UnixMillis(at.unsigned_abs()), reason.unwrap_or_default()));
            let tag = tag.map(|tag| id32(&tag, "what is lacking").map(Hash)).transpose()?;
            Ok(LackingRow { number: number.unsigned_abs(), tag, told, accepted })
        };
        rows.into_iter().map(row).collect()
    }

    /// Has jobs admitted although something is lacking, as far as it is lacking now: all of it, or the memos of one number.
    ///
    /// # Errors
    /// `args.invalid` for a number under which nothing is lacking; those of the database.
    pub async fn accept_lacking(&self, number: Option<u64>, reason: &str, now: UnixMillis) -> Result<()> {
        if let Some(number) = number
            && !self.lacking().await?.iter().any(|row| row.number == number && row.accepted.is_none())
        {
            return Err(Fault::new(Code::ArgsInvalid, format!("nothing is lacking under number {number}")));
        }
        sqlx::query(
            "UPDATE memos_lacking SET accepted_at = ?1, reason = ?2 \
             WHERE accepted_at IS NULL AND (?3 IS NULL OR number = ?3)",
        )
        .bind(now.0 as i64)
        .bind(reason)
        .bind(number.map(|number| i64::try_from(number).unwrap_or(i64::MAX)))
        .execute(&self.pool)
        .await
        .map(|_| ())
        .map_err(|e| self.note(&e))
    }
}

type RawMemo = (i64, Vec<u8>, Option<Vec<u8>>, Option<i64>);

fn memo_row((number, tag, sealed, said): RawMemo) -> Result<MemoRow> {
    let (number, tag) = (number.unsigned_abs(), Hash(id32(&tag, "a memo's tag")?));
    Ok(MemoRow { number, tag, sealed, said: said.map(|at| UnixMillis(at.unsigned_abs())) })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(folder: &tempfile::TempDir) -> Store {
        Store::open(&folder.path().join("node.db")).await.unwrap()
    }

    fn tag(n: u8) -> Hash {
        Hash([n; 32])
    }

    async fn put(store: &Store, tags: impl IntoIterator<Item = u8>) {
        let mut tx = store.begin().await.unwrap();
        for n in tags {
            tx.put_memo(&tag(n), Some(&[n])).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn met(store: &Store, memos: &[(u64, u8)]) {
        let memos: Vec<_> = memos.iter().map(|(number, n)| (*number, tag(*n))).collect();
        let mut tx = store.begin().await.unwrap();
        tx.memos_met(&memos).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// What waits for the log, closed up: numbers, and what of it.
    async fn waiting(store: &Store) -> Vec<(u64, u8)> {
        let mut tx = store.begin().await.unwrap();
        tx.close_ranks().await.unwrap();
        tx.commit().await.unwrap();
        let rows = store.memos_unlogged().await.unwrap();
        assert!(rows.iter().all(|row| row.sealed == Some(vec![row.tag.0[0]])));
        rows.into_iter().map(|row| (row.number, row.tag.0[0])).collect()
    }

    /// Memos are numbered in a row, once each; what the log has under a number takes that number, and no hole is left.
    #[tokio::test]
    async fn memos_are_numbered_in_a_row_and_the_log_has_the_last_word() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = open(&folder).await;
        put(&store, [1, 2, 2, 3, 4]).await;
        // Another copy of this node has noted something else meanwhile, and of what waits here the third.
        met(&store, &[(1, 1), (2, 9), (3, 3)]).await;
        assert_eq!(waiting(&store).await, [(4, 4), (5, 2)], "the coordinator takes 4 next");
        let mut tx = store.begin().await.unwrap();
        assert!(tx.has_memo(&tag(2)).await.unwrap() && !tx.has_memo(&tag(8)).await.unwrap());
        drop(tx);
        // It has all that waits, and in the order of the other copy: what comes next is next.
        met(&store, &[(4, 2), (5, 4)]).await;
        assert_eq!((waiting(&store).await, store.memos_waiting().await.unwrap()), (vec![], 0));
        put(&store, [5, 6, 7]).await;
        met(&store, &[(6, 6)]).await;
        assert_eq!(waiting(&store).await, [(7, 7), (8, 5)], "a hole would be refused for good");
        assert_eq!(store.lacking().await.unwrap(), []);
        let sql = "WITH RECURSIVE n(n) AS (SELECT 9 UNION ALL SELECT n + 1 FROM n WHERE n < ?) \
                   INSERT INTO memos SELECT n, randomblob(32), NULL, NULL, 1 FROM n";
        sqlx::query(sql).bind(MEMOS_MAX as i64 - 1).execute(&store.pool).await.unwrap();
        store.revoke(&ContractId([1; 32]), UnixMillis(9)).await.unwrap();
        assert!(!store.memos_full().await.unwrap());
        put(&store, [8, 7]).await;
        assert!(store.memos_full().await.unwrap());
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.put_memo(&tag(10), None).await.unwrap_err().code, Code::LogFull, "one past the most");
    }

    /// What the coordinator says is noted, and what counts is what was met: until then a memo is offered, and named when it is late.
    #[tokio::test]
    async fn a_memo_that_was_only_said_to_be_in_the_log_goes_on_waiting() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = open(&folder).await;
        put(&store, [1, 2]).await;
        let row = store.memos_unlogged().await.unwrap().remove(0);
        for at in [1_000, 2_000] {
            let mut tx = store.begin().await.unwrap();
            tx.memo_said(&row, UnixMillis(at)).await.unwrap();
            tx.commit().await.unwrap();
        }
        let said: Vec<_> =
            store.memos_unlogged().await.unwrap().into_iter().map(|row| (row.number, row.said)).collect();
        assert_eq!(said, [(2, None), (1, Some(UnixMillis(1_000)))], "what was not taken comes first");
        assert_eq!(store.memos_waiting().await.unwrap(), 2);
        let late = async |at| store.memos_withheld(UnixMillis(at)).await.unwrap().len();
        assert_eq!((late(1_000 + MEMO_LATE_MS).await, late(1_001 + MEMO_LATE_MS).await), (0, 1));
        met(&store, &[(1, 1)]).await;
        assert_eq!((store.memos_waiting().await.unwrap(), late(u64::MAX >> 2).await), (1, 0));
        let row = store.memos_unlogged().await.unwrap().remove(0);
        let mut tx = store.begin().await.unwrap();
        tx.memo_bare(&row).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.memos_unlogged().await.unwrap()[0].sealed, None);
    }

    /// A number that the log leaves out is lacking where nobody here knows what it says, and stays so until it is met or accepted.
    #[tokio::test]
    async fn a_number_that_the_log_leaves_out_is_lacking() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = open(&folder).await;
        put(&store, [1, 2]).await;
        met(&store, &[(1, 1), (4, 4)]).await;
        let numbers = async || -> Vec<_> {
            let rows = store.lacking().await.unwrap();
            rows.into_iter().map(|row| (row.number, row.tag, row.accepted.is_some())).collect()
        };
        assert_eq!(numbers().await, [(3, None, false)], "what the second says is here");
        met(&store, &[(6, 6), (2, 2)]).await;
        met(&store, &[(6, 6)]).await;
        assert_eq!(numbers().await, [(3, None, false), (5, None, false)]);
        // What is noted since takes a number that is free, and is not what was left out.
        put(&store, [7]).await;
        met(&store, &[(3, 7)]).await;
        assert_eq!(numbers().await, [(3, None, false), (5, None, false)]);
        met(&store, &[(5, 5)]).await;
        assert_eq!(numbers().await, [(3, None, false)], "that came after all");
        let refused = store.accept_lacking(Some(5), "it is lost", UnixMillis(7)).await;
        assert_eq!(refused.unwrap_err().code, Code::ArgsInvalid);
        store.accept_lacking(Some(3), "it is lost", UnixMillis(7)).await.unwrap();
        assert_eq!(numbers().await, [(3, None, true)]);
    }

    #[tokio::test]
    async fn what_is_lacking_stays_until_it_is_here_or_accepted() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = open(&folder).await;
        let mut tx = store.begin().await.unwrap();
        for n in [4, 3, 5] {
            tx.put_lacking(n, &tag(n as u8), Some(b"told")).await.unwrap();
        }
        tx.put_lacking(3, &tag(3), None).await.unwrap();
        assert!(tx.not_lacking(&tag(4)).await.unwrap() && !tx.not_lacking(&tag(4)).await.unwrap());
        tx.commit().await.unwrap();
        let row = |n: u8, accepted: Option<&str>| LackingRow {
            number: u64::from(n),
            tag: Some(tag(n)),
            told: Some(b"told".to_vec()),
            accepted: accepted.map(|reason| (UnixMillis(7), reason.into())),
        };
        assert_eq!(store.lacking().await.unwrap(), [row(3, None), row(5, None)]);
        store.accept_lacking(Some(5), "it is lost", UnixMillis(7)).await.unwrap();
        assert_eq!(store.lacking().await.unwrap(), [row(3, None), row(5, Some("it is lost"))], "one alone");
        store.accept_lacking(None, "this too", UnixMillis(7)).await.unwrap();
        store.accept_lacking(None, "later", UnixMillis(8)).await.unwrap();
        assert_eq!(store.lacking().await.unwrap(), [row(3, Some("this too")), row(5, Some("it is lost"))]);
    }

    /// Memos of before are taken over with their numbers, without a hole that nobody could fill.
    #[tokio::test]
    async fn memos_of_a_store_of_before_are_taken_over() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = open(&folder).await;
        for sql in [
            "DROP TABLE memos_due",
            "DROP TABLE memos",
            "DROP TABLE memos_lacking",
            "DELETE FROM _sqlx_migrations WHERE version = 22",
            "CREATE TABLE memos_due (id INTEGER PRIMARY KEY, what TEXT NOT NULL, bytes BLOB NOT NULL) STRICT",
            "CREATE TABLE memos (number INTEGER PRIMARY KEY, tag BLOB NOT NULL UNIQUE, sealed BLOB, logged INTEGER NOT NULL) STRICT",
            "CREATE TABLE memos_lacking (tag BLOB PRIMARY KEY, number INTEGER NOT NULL, told BLOB, accepted_at INTEGER, \
             reason TEXT) STRICT",
            "INSERT INTO memos VALUES (1, x'01', NULL, 1), (3, x'03', NULL, 1)",
        ] {
            sqlx::query(sql).execute(&store.pool).await.unwrap();
        }
        for (number, n) in [(4, 4u8), (6, 6)] {
            let row = sqlx::query("INSERT INTO memos VALUES (?, ?, ?, 0)").bind(number).bind([n; 32].as_slice());
            row.bind([n].as_slice()).execute(&store.pool).await.unwrap();
        }
        let lacking = sqlx::query("INSERT INTO memos_lacking VALUES (?, 3, NULL, NULL, NULL)");
        lacking.bind([3; 32].as_slice()).execute(&store.pool).await.unwrap();
        store.close().await;
        let store = open(&folder).await;
        assert_eq!(store.lacking().await.unwrap()[0].tag, Some(tag(3)));
        assert_eq!(waiting(&store).await, [(4, 4), (5, 6)]);
        met(&store, &[(4, 4)]).await;
        assert_eq!(store.lacking().await.unwrap().len(), 1, "what was marked before is left out by nobody");
    }

    /// What a database had before it knew of memos is noted too.
    #[tokio::test]
    async fn what_a_store_of_before_was_told_is_due() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("node.db");
        let store = Store::open(&path).await.unwrap();
        for sql in [
            "DROP TABLE memos_due",
            "DROP TABLE memos",
            "DROP TABLE memos_lacking",
            "DROP TABLE links",
            "DELETE FROM _sqlx_migrations WHERE version >= 21",
            "INSERT INTO orders VALUES ('list', x'01', 'a', 1, x'0203', 5)",
            "INSERT INTO revocations VALUES (zeroblob(32), 6)",
            "INSERT INTO contract_signatures VALUES (zeroblob(32), x'01', x'05'), (zeroblob(32), x'02', x'06')",
        ] {
            sqlx::query(sql).execute(&store.pool).await.unwrap();
        }
        store.close().await;
        let store = Store::open(&path).await.unwrap();
        let due: Vec<Due> = store.memos_due().await.unwrap().into_iter().map(|row| row.due).collect();
        let contract = ContractId([0; 32]);
        assert_eq!(due, [Due::Order(vec![2, 3]), Due::Revoked(contract), Due::Contract(contract)]);
        store.revoke(&contract, UnixMillis(9)).await.unwrap();
        assert_eq!(store.memos_due().await.unwrap().len(), 3, "once revoked is once noted");
        store.revoke(&ContractId([1; 32]), UnixMillis(9)).await.unwrap();
        assert_eq!(store.memos_due().await.unwrap()[3].due, Due::Revoked(ContractId([1; 32])));
    }
}
