//! What the log shows that this node's jobs took, and its database did not know.

pub use tacit_engine::recount::Recounted;
use tacit_receipts::Peaks;
use tacit_types::Hash;

use super::*;

/// How far the log was looked through for this node's own jobs.
const LOOKED: &str = "recounted";
/// When this database was found to be from before what the node has signed.
const BEHIND: &str = "behind_at";

impl Tx<'_> {
    /// Counts a job. A repeat changes nothing.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_recounted(&mut self, row: &Recounted) -> Result<()> {
        let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        sqlx::query(
            "INSERT OR IGNORE INTO recounted (job, contract, scored_rows, dataset, epsilon_micro, delta_femto, question) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(row.job.0.as_slice())
        .bind(row.contract.0.as_slice())
        .bind(whole(row.rows))
        .bind(row.dataset.map(|id| id.0.to_vec()))
        .bind(whole(row.cost.epsilon_micro))
        .bind(whole(row.cost.delta_femto))
        .bind(row.question.map(|hash| hash.0.to_vec()))
        .execute(&mut *self.0)
        .await
        .map(|_| ())
        .map_err(|e| fault(&e))
    }

    /// Notes what a job asked that was counted without it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn recounted_asked(&mut self, job: &JobId, question: &Hash) -> Result<()> {
        sqlx::query("UPDATE recounted SET question = ?2 WHERE job = ?1 AND question IS NULL")
            .bind(job.0.as_slice())
            .bind(question.0.as_slice())
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// Whether a job was counted so: its id is used.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn recounted(&mut self, job: &JobId) -> Result<bool> {
        let n: i64 = sqlx::query_scalar("SELECT count(*) FROM recounted WHERE job = ?")
            .bind(job.0.as_slice())
            .fetch_one(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        Ok(n > 0)
    }

    /// Notes that this database is from before what the node has signed.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn is_behind(&mut self, now: UnixMillis) -> Result<()> {
        self.set_meta(BEHIND, &wire::encode(&now)).await
    }

    /// Notes how far the log was looked through.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_looked(&mut self, peaks: &Peaks) -> Result<()> {
        let hashes: Vec<[u8; 32]> = peaks.hashes().iter().map(|hash| hash.0).collect();
        self.set_meta(LOOKED, &wire::encode(&(peaks.size(), hashes))).await
    }
}

impl Store {
    /// How far the log was looked through.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn looked(&self) -> Result<Peaks> {
        let Some(bytes) = self.meta(LOOKED).await? else { return Ok(Peaks::default()) };
        let read = wire::decode::<(u64, Vec<[u8; 32]>)>(&bytes).ok();
        let peaks = read.and_then(|(size, hashes)| Peaks::new(size, hashes.into_iter().map(Hash).collect()));
        peaks.ok_or_else(|| corrupt("how far the log was looked through"))
    }

    /// When this database was last found to be from before what the node has signed, and how many jobs were counted from
    /// the log since it was made.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn was_behind(&self) -> Result<Option<(UnixMillis, u64)>> {
        let Some(bytes) = self.meta(BEHIND).await? else { return Ok(None) };
        let at = wire::decode::<UnixMillis>(&bytes).map_err(|e| corrupt(&format!("when it was behind: {e}")))?;
        let jobs: i64 = sqlx::query_scalar("SELECT count(DISTINCT job) FROM recounted")
            .fetch_one(&self.pool)
            .await
            .map_err(|e| fault(&e))?;
        Ok(Some((at, jobs.unsigned_abs())))
    }
}

#[cfg(test)]
mod tests {
    use tacit_governance::PrivacyCost;
    use tacit_receipts::merkle::leaf_hash;

    use super::*;

    const COST: PrivacyCost = PrivacyCost { epsilon_micro: 500_000, delta_femto: 7 };

    /// What is counted from the log counts beside the jobs that are here, once, and after a restart.
    #[tokio::test]
    async fn what_the_log_shows_counts_once_beside_what_is_here() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("node.db");
        let store = Store::open(&path).await.unwrap();
        let (contract, dataset) = (ContractId([4; 32]), DatasetVersionId([5; 32]));
        let row = |job: u8, rows, dataset, question: Option<u8>| Recounted {
            job: JobId([job; 32]),
            contract,
            rows,
            dataset,
            cost: COST,
            question: question.map(|n| Hash([n; 32])),
        };
        let mut tx = store.begin().await.unwrap();
        let known = super::super::bounds::tests::job();
        let charge = Charge { contract, rows: 10 };
        tx.insert_job(&JobId([1; 32]), &known, Some(charge), UnixMillis(99), UnixMillis(9)).await.unwrap();
        let noisy = Noisy { dataset: Some(dataset), cost: COST, question: Hash([1; 32]) };
        tx.charge(&JobId([1; 32]), &noisy).await.unwrap();
        for _ in 0..2 {
            tx.put_recounted(&row(2, 5, Some(dataset), Some(2))).await.unwrap();
            tx.put_recounted(&row(3, 0, None, None)).await.unwrap();
        }
        tx.recounted_asked(&JobId([3; 32]), &Hash([4; 32])).await.unwrap();
        tx.recounted_asked(&JobId([2; 32]), &Hash([5; 32])).await.unwrap();
        tx.is_behind(UnixMillis(77)).await.unwrap();
        tx.commit().await.unwrap();
        store.close().await;
        let store = Store::open(&path).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        assert_eq!((tx.jobs_used(&contract).await.unwrap(), tx.rows_used(&contract).await.unwrap()), (3, 15));
        assert_eq!(tx.jobs_used(&ContractId([9; 32])).await.unwrap(), 0);
        assert_eq!(tx.privacy_spent(&dataset).await.unwrap(), COST.and(COST), "what has no dataset cost none");
        assert_eq!(tx.asked(&Hash([1; 32])).await.unwrap(), Some(JobId([1; 32])));
        assert_eq!(tx.asked(&Hash([2; 32])).await.unwrap(), Some(JobId([2; 32])));
        assert_eq!(tx.asked(&Hash([3; 32])).await.unwrap(), None);
        assert_eq!(tx.asked(&Hash([4; 32])).await.unwrap(), Some(JobId([3; 32])), "shown later");
        assert_eq!(tx.asked(&Hash([5; 32])).await.unwrap(), None, "what it asked stays");
        let used = [1, 2, 3].map(|n| JobId([n; 32]));
        let mut counted = Vec::new();
        for job in &used {
            counted.push(tx.recounted(job).await.unwrap());
        }
        assert_eq!(counted, [false, true, true]);
        drop(tx);
        let spent = store.spent().await.unwrap();
        assert_eq!(spent.iter().map(|row| (row.jobs, row.cost)).collect::<Vec<_>>(), [(2, COST.and(COST))]);
        assert_eq!(store.was_behind().await.unwrap(), Some((UnixMillis(77), 2)));
    }

    #[tokio::test]
    async fn how_far_it_was_looked_is_kept() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::open(&folder.path().join("node.db")).await.unwrap();
        let mut peaks = Peaks::default();
        assert_eq!(store.looked().await.unwrap(), peaks);
        assert_eq!(store.was_behind().await.unwrap(), None);
        (0..7).for_each(|n| peaks.push(leaf_hash(&[n])));
        let mut tx = store.begin().await.unwrap();
        tx.set_looked(&peaks).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.looked().await.unwrap(), peaks);
        store.set_meta(LOOKED, &wire::encode(&(7u64, vec![[1u8; 32]]))).await.unwrap();
        assert_eq!(store.looked().await.unwrap_err().code, Code::StoreCorrupt);
    }
}
