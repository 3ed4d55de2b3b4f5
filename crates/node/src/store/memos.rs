//! What this node was told about the use of its data and notes in the log, and what of that a restored database lacks.

use tacit_governance::Order;
use tacit_receipts::memo::MEMOS_MAX;
use tacit_types::Hash;

use super::*;

/// What is taken from the queue, or given to the log, in one go.
const MEMOS_AT_ONCE: i64 = 64;

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
}

/// What the log shows that this node was told, and the database does not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LackingRow {
    /// The memo's number.
    pub number: u64,
    /// Its tag.
    pub tag: Hash,
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

    /// Gives a new memo the next number. A tag that is there already is no news.
    ///
    /// # Errors
    /// `args.invalid` past [`MEMOS_MAX`]; those of the database.
    pub async fn put_memo(&mut self, tag: &Hash, sealed: Option<&[u8]>) -> Result<()> {
        if self.has_memo(tag).await? {
            return Ok(());
        }
        let last: i64 = sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM memos")
            .fetch_one(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        if last.unsigned_abs() >= MEMOS_MAX {
            return Err(Fault::new(Code::ArgsInvalid, format!("{MEMOS_MAX} memos are in this log; it takes no more")));
        }
        sqlx::query("INSERT INTO memos (number, tag, sealed, logged) VALUES (?, ?, ?, 0)")
            .bind(last.saturating_add(1))
            .bind(tag.0.as_slice())
            .bind(sealed)
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// Notes that the log has a memo. Another one of this number that was on its way is numbered anew.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn memo_logged(&mut self, number: u64, tag: &Hash) -> Result<()> {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let other: Option<(Vec<u8>, Option<Vec<u8>>)> =
            sqlx::query_as("SELECT tag, sealed FROM memos WHERE number = ? AND tag <> ?")
                .bind(number)
                .bind(tag.0.as_slice())
                .fetch_optional(&mut *self.0)
                .await
                .map_err(|e| fault(&e))?;
        for sql in ["DELETE FROM memos WHERE number = ?1 OR tag = ?2", "INSERT INTO memos VALUES (?1, ?2, NULL, 1)"] {
            sqlx::query(sql).bind(number).bind(tag.0.as_slice()).execute(&mut *self.0).await.map_err(|e| fault(&e))?;
        }
        match other {
            Some((tag, sealed)) => self.put_memo(&Hash(id32(&tag, "a memo's tag")?), sealed.as_deref()).await,
            None => Ok(()),
        }
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

    /// Memos that are not in the log, in their order, some at a time.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn memos_unlogged(&self) -> Result<Vec<MemoRow>> {
        let sql = "SELECT number, tag, sealed FROM memos WHERE logged = 0 ORDER BY number LIMIT ?";
        let rows: Vec<(i64, Vec<u8>, Option<Vec<u8>>)> =
            sqlx::query_as(sql).bind(MEMOS_AT_ONCE).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        let row = |(number, tag, sealed): (i64, Vec<u8>, Option<Vec<u8>>)| {
            Ok(MemoRow { number: number.unsigned_abs(), tag: Hash(id32(&tag, "a memo's tag")?), sealed })
        };
        rows.into_iter().map(row).collect()
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

    /// What the log shows that this node was told and the database does not have, by the memos' numbers.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn lacking(&self) -> Result<Vec<LackingRow>> {
        type Raw = (i64, Vec<u8>, Option<Vec<u8>>, Option<i64>, Option<String>);
        let sql = "SELECT number, tag, told, accepted_at, reason FROM memos_lacking ORDER BY number";
        let rows: Vec<Raw> = sqlx::query_as(sql).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        let row = |(number, tag, told, at, reason): Raw| {
            let accepted = at.map(|at| (UnixMillis(at.unsigned_abs()), reason.unwrap_or_default()));
            let tag = Hash(id32(&tag, "what is lacking")?);
            Ok(LackingRow { number: number.unsigned_abs(), tag, told, accepted })
        };
        rows.into_iter().map(row).collect()
    }

    /// Has jobs admitted although something is lacking, as far as it is lacking now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn accept_lacking(&self, reason: &str, now: UnixMillis) -> Result<()> {
        sqlx::query("UPDATE memos_lacking SET accepted_at = ?, reason = ? WHERE accepted_at IS NULL")
            .bind(now.0 as i64)
            .bind(reason)
            .execute(&self.pool)
            .await
            .map(|_| ())
            .map_err(|e| self.note(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memos are numbered in a row, once each; what the log has under a number takes that number.
    #[tokio::test]
    async fn memos_are_numbered_in_a_row_and_the_log_has_the_last_word() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::open(&folder.path().join("node.db")).await.unwrap();
        let tag = |n: u8| Hash([n; 32]);
        let mut tx = store.begin().await.unwrap();
        for n in [1, 2, 2, 3] {
            tx.put_memo(&tag(n), Some(&[n])).await.unwrap();
        }
        tx.memo_logged(1, &tag(1)).await.unwrap();
        // Another copy of this node has noted something else meanwhile.
        tx.memo_logged(2, &tag(9)).await.unwrap();
        assert!(tx.has_memo(&tag(2)).await.unwrap() && !tx.has_memo(&tag(8)).await.unwrap());
        tx.commit().await.unwrap();
        let rows = store.memos_unlogged().await.unwrap();
        let rows: Vec<_> = rows.into_iter().map(|row| (row.number, row.tag, row.sealed)).collect();
        assert_eq!(rows, [(3, tag(3), Some(vec![3])), (4, tag(2), Some(vec![2]))]);
        assert_eq!(store.memos_waiting().await.unwrap(), 2);
        let mut tx = store.begin().await.unwrap();
        tx.memo_logged(MEMOS_MAX, &tag(7)).await.unwrap();
        assert_eq!(tx.put_memo(&tag(8), None).await.unwrap_err().code, Code::ArgsInvalid, "one past the most");
        tx.put_memo(&tag(7), None).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_lacking_stays_until_it_is_here_or_accepted() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::open(&folder.path().join("node.db")).await.unwrap();
        let tag = |n: u8| Hash([n; 32]);
        let mut tx = store.begin().await.unwrap();
        tx.put_lacking(4, &tag(4), None).await.unwrap();
        tx.put_lacking(3, &tag(3), Some(b"told")).await.unwrap();
        tx.put_lacking(3, &tag(3), None).await.unwrap();
        assert!(tx.not_lacking(&tag(4)).await.unwrap() && !tx.not_lacking(&tag(4)).await.unwrap());
        tx.commit().await.unwrap();
        let row = |accepted| LackingRow { number: 3, tag: tag(3), told: Some(b"told".to_vec()), accepted };
        assert_eq!(store.lacking().await.unwrap(), [row(None)]);
        store.accept_lacking("it is lost", UnixMillis(7)).await.unwrap();
        store.accept_lacking("later", UnixMillis(8)).await.unwrap();
        assert_eq!(store.lacking().await.unwrap(), [row(Some((UnixMillis(7), "it is lost".into())))]);
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
            "DELETE FROM _sqlx_migrations WHERE version = 21",
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
