//! How many different keys a recipient has asked about in a period of a contract. No key is kept: a key is a hash under a
//! secret of the period, cut to [`TAG_BYTES`].

use tacit_crypto::{SealPublic, Transcript};
use tacit_governance::Period;

use super::*;

/// Bytes that are kept of a key. Two keys in a million look alike with a probability below 2^-88.
const TAG_BYTES: usize = 16;
/// Keys that are written by one statement.
const AT_ONCE: usize = 8192;
/// How long the keys of a period that is over are kept, in milliseconds: clocks differ.
const KEPT_MS: u64 = 3_600_000;

/// A limit on different keys, as it stands now.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The contract.
    pub contract: ContractId,
    /// Who gets the results.
    pub recipient: SealPublic,
    /// The period.
    pub period: Period,
    /// Different keys in it.
    pub keys: u64,
}

/// What a key is kept as.
fn tag(secret: &[u8; 32], key: &[u8]) -> [u8; TAG_BYTES] {
    let hash = Transcript::new("tacit-node/1/asked key").fixed(secret).bytes(key).finish();
    core::array::from_fn(|i| hash.0.get(i).copied().unwrap_or(0))
}

/// What keys are kept as, in the order of the table, so that neighbours are written together.
fn tags(secret: &[u8; 32], keys: &[&[u8]]) -> Vec<[u8; TAG_BYTES]> {
    let mut tags: Vec<[u8; TAG_BYTES]> = keys.iter().map(|key| tag(secret, key)).collect();
    tags.sort_unstable();
    tags
}

impl Store {
    /// Counts keys that a recipient asks about, all or none of them: one that was asked for before in the period is not
    /// counted again. What is counted is durable when this returns. For lists and for single calls alike.
    ///
    /// # Errors
    /// `refused.distinct` when there would be more than the limit allows, with what is left and when the period ends; those
    /// of the database.
    pub async fn ask<'k>(
        &self,
        limit: &Limit,
        keys: impl IntoIterator<Item = &'k [u8]>,
        now: UnixMillis,
    ) -> Result<()> {
        let keys: Vec<&[u8]> = keys.into_iter().collect();
        // A call about keys of before writes nothing.
        if keys.len() <= AT_ONCE && self.all_asked(limit, &keys).await? {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let (period, secret, before) = tx.asked_period(limit, now).await?;
        let tags = tags(&secret, &keys);
        let mut new = 0;
        for some in tags.chunks(AT_ONCE) {
            new += tx.put_tags(period, some).await?;
        }
        if before.saturating_add(new) > limit.keys {
            let left = limit.keys.saturating_sub(before);
            let what = format!(
                "more different keys than are left in this period: {left} of {} until {}",
                limit.keys, limit.period.until
            );
            return Err(Fault::new(Code::RefusedDistinct, what));
        }
        sqlx::query("UPDATE asked_periods SET keys = ? WHERE id = ?")
            .bind((before + new) as i64)
            .bind(period)
            .execute(&mut *tx.0)
            .await
            .map_err(|e| fault(&e))?;
        tx.commit().await
    }

    /// Whether all of these keys were counted in the period before.
    async fn all_asked(&self, limit: &Limit, keys: &[&[u8]]) -> Result<bool> {
        let sql = "SELECT id, secret FROM asked_periods WHERE contract = ? AND recipient = ? AND number = ?";
        let query = sqlx::query(sql)
            .bind(limit.contract.0.as_slice())
            .bind(limit.recipient.0.as_slice())
            .bind(limit.period.number as i64);
        let Some(row) = query.fetch_optional(&self.pool).await.map_err(|e| fault(&e))? else { return Ok(false) };
        let (period, secret) = (row.get::<i64, _>(0), id32(&row.get::<Vec<u8>, _>(1), "a period's secret")?);
        let tags = tags(&secret, keys);
        let known: i64 = sqlx::query_scalar(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1) \
             SELECT count(*) FROM n JOIN asked_keys ON period = ?2 AND tag = substr(?3, i * ?4 + 1, ?4) WHERE ?1 > 0",
        )
        .bind(tags.len() as i64)
        .bind(period)
        .bind(tags.as_flattened())
        .bind(TAG_BYTES as i64)
        .fetch_one(&self.pool)
        .await
        .map_err(|e| fault(&e))?;
        Ok(known.unsigned_abs() == tags.len() as u64)
    }

    /// Different keys that were asked for in a period, and have been counted here.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn asked(&self, limit: &Limit) -> Result<u64> {
        let sql = "SELECT keys FROM asked_periods WHERE contract = ? AND recipient = ? AND number = ?";
        let query = sqlx::query_scalar::<_, i64>(sql)
            .bind(limit.contract.0.as_slice())
            .bind(limit.recipient.0.as_slice())
            .bind(limit.period.number as i64);
        query.fetch_optional(&self.pool).await.map(|n| n.unwrap_or(0).unsigned_abs()).map_err(|e| fault(&e))
    }
}

impl Tx<'_> {
    /// Counts keys of which only the number is known, as if each were a new one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn ask_unknown(&mut self, limit: &Limit, keys: u64, now: UnixMillis) -> Result<()> {
        let (period, _, before) = self.asked_period(limit, now).await?;
        sqlx::query("UPDATE asked_periods SET keys = ? WHERE id = ?")
            .bind(i64::try_from(before.saturating_add(keys)).unwrap_or(i64::MAX))
            .bind(period)
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// The row of a period, its secret and the keys in it, made when there is none. Forgets periods that are over.
    async fn asked_period(&mut self, limit: &Limit, now: UnixMillis) -> Result<(i64, [u8; 32], u64)> {
        sqlx::query("DELETE FROM asked_periods WHERE until < ?")
            .bind(now.0.saturating_sub(KEPT_MS) as i64)
            .execute(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        let secret: [u8; 32] = crate::os_rng()?.bytes();
        sqlx::query(
            "INSERT OR IGNORE INTO asked_periods (contract, recipient, number, until, secret, keys) VALUES (?, ?, ?, ?, ?, 0)",
        )
        .bind(limit.contract.0.as_slice())
        .bind(limit.recipient.0.as_slice())
        .bind(limit.period.number as i64)
        .bind(limit.period.until.0 as i64)
        .bind(secret.as_slice())
        .execute(&mut *self.0)
        .await
        .map_err(|e| fault(&e))?;
        let sql = "SELECT id, secret, keys FROM asked_periods WHERE contract = ? AND recipient = ? AND number = ?";
        let row = sqlx::query(sql)
            .bind(limit.contract.0.as_slice())
            .bind(limit.recipient.0.as_slice())
            .bind(limit.period.number as i64)
            .fetch_one(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        let secret = id32(&row.get::<Vec<u8>, _>(1), "a period's secret")?;
        Ok((row.get(0), secret, row.get::<i64, _>(2).unsigned_abs()))
    }

    /// Keeps tags; gives how many of them are new.
    async fn put_tags(&mut self, period: i64, tags: &[[u8; TAG_BYTES]]) -> Result<u64> {
        sqlx::query(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1) \
             INSERT OR IGNORE INTO asked_keys (period, tag) SELECT ?2, substr(?3, i * ?4 + 1, ?4) FROM n WHERE ?1 > 0",
        )
        .bind(tags.len() as i64)
        .bind(period)
        .bind(tags.as_flattened())
        .bind(TAG_BYTES as i64)
        .execute(&mut *self.0)
        .await
        .map(|done| done.rows_affected())
        .map_err(|e| fault(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    /// An empty folder, gone with the value.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tacit-asked-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn limit(number: u64, keys: u64) -> Limit {
        let period = Period { number, until: UnixMillis((number + 1) * DAY) };
        Limit { contract: ContractId([1; 32]), recipient: SealPublic([2; 32]), period, keys }
    }

    async fn ask(store: &Store, limit: &Limit, keys: &[&str]) -> Result<()> {
        let now = UnixMillis(limit.period.until.0 - 1);
        store.ask(limit, keys.iter().map(|key| key.as_bytes()), now).await
    }

    #[tokio::test]
    async fn a_key_counts_once_in_a_period_and_one_past_the_limit_is_refused() {
        let folder = Folder::new("limit");
        let path = folder.0.join("node.db");
        let store = Store::open(&path).await.unwrap();
        let first = limit(0, 3);
        ask(&store, &first, &["a", "b"]).await.unwrap();
        ask(&store, &first, &["b", "a", "b"]).await.unwrap();
        assert_eq!(store.asked(&first).await.unwrap(), 2);
        // What is counted is found without a write; one new key is written.
        let written =
            async || -> i64 { sqlx::query_scalar("SELECT total_changes()").fetch_one(&store.pool).await.unwrap() };
        let before = written().await;
        ask(&store, &first, &["a", "b", "a"]).await.unwrap();
        assert_eq!(written().await, before);
        let refused = ask(&store, &first, &["a", "c", "d"]).await.unwrap_err();
        assert_eq!(refused.code, Code::RefusedDistinct);
        assert!(refused.what.contains("1 of 3 until 1970-01-02"), "{refused}");
        assert_eq!(store.asked(&first).await.unwrap(), 2, "all of a list or none");
        let before = written().await;
        ask(&store, &first, &["c", "a"]).await.unwrap();
        assert!(written().await > before);
        assert_eq!(ask(&store, &first, &["d"]).await.unwrap_err().code, Code::RefusedDistinct);

        store.close().await;
        let store = Store::open(&path).await.unwrap();
        assert_eq!(store.asked(&first).await.unwrap(), 3);
        ask(&store, &first, &["c", "b", "a"]).await.unwrap();
        // Another recipient, another contract and another period have their own.
        let others = [
            Limit { recipient: SealPublic([3; 32]), ..first },
            Limit { contract: ContractId([3; 32]), ..first },
            limit(1, 3),
        ];
        for other in others {
            ask(&store, &other, &["d", "e", "f"]).await.unwrap();
            assert_eq!(ask(&store, &other, &["a"]).await.unwrap_err().code, Code::RefusedDistinct);
        }
        // What is over is forgotten, keys and secret.
        ask(&store, &limit(3, 3), &["a"]).await.unwrap();
        let periods: i64 =
            sqlx::query_scalar("SELECT count(*) FROM asked_periods").fetch_one(&store.pool).await.unwrap();
        let keys: i64 = sqlx::query_scalar("SELECT count(*) FROM asked_keys").fetch_one(&store.pool).await.unwrap();
        assert_eq!((periods, keys), (1, 1));
        store.close().await;
    }

    #[tokio::test]
    async fn no_key_is_kept_and_a_long_list_is_counted_to_the_last() {
        let folder = Folder::new("list");
        let store = Store::open(&folder.0.join("node.db")).await.unwrap();
        let keys: Vec<String> = (0..2 * AT_ONCE + 5).map(|i| format!("C-{i:06}")).collect();
        let all: Vec<&str> = keys.iter().map(String::as_str).collect();
        let first = limit(0, keys.len() as u64);
        ask(&store, &first, &all).await.unwrap();
        ask(&store, &first, &all).await.unwrap();
        assert_eq!(store.asked(&first).await.unwrap(), keys.len() as u64);
        assert_eq!(ask(&store, &first, &["C-more"]).await.unwrap_err().code, Code::RefusedDistinct);
        ask(&store, &limit(0, 1 << 20), &[]).await.unwrap();
        store.close().await;
        for file in std::fs::read_dir(&folder.0).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(8).any(|w| w == b"C-000007"));
        }
    }
}
