//! What noisy releases have cost each dataset, and which questions have their answer.

use tacit_governance::PrivacyCost;
use tacit_types::Hash;

use super::*;

/// Dataset, contract, jobs, and the sums of epsilon and delta.
type Row = (Vec<u8>, Vec<u8>, i64, i64, i64);

/// What a noisy release takes from the budget of a dataset version. It is taken when the job is admitted, in the same
/// transaction, and never given back.
#[derive(Clone, Copy, Debug)]
pub struct Noisy {
    /// The version; none where this owner has no data in the job.
    pub dataset: Option<DatasetVersionId>,
    /// The cost.
    pub cost: PrivacyCost,
    /// What the job asks.
    pub question: Hash,
}

/// What a dataset version has spent under one contract.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpentRow {
    /// The version.
    pub dataset: DatasetVersionId,
    /// The contract.
    pub contract: ContractId,
    /// Jobs.
    pub jobs: u64,
    /// What they cost together.
    pub cost: PrivacyCost,
}

impl Store {
    /// What every dataset version has spent, by contract.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn spent(&self) -> Result<Vec<SpentRow>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT dataset, contract, count(*), sum(epsilon_micro), sum(delta_femto) FROM \
             (SELECT dataset, contract, epsilon_micro, delta_femto FROM jobs \
             UNION ALL SELECT dataset, contract, epsilon_micro, delta_femto FROM recounted) WHERE dataset IS NOT NULL AND contract IS NOT NULL GROUP BY dataset, contract ORDER BY dataset, contract",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(|e| fault(&e))?;
        let row = |(dataset, contract, jobs, epsilon, delta): &Row| {
            Ok(SpentRow {
                dataset: DatasetVersionId(id32(dataset, "a dataset that was charged")?),
                contract: ContractId(id32(contract, "a contract that was used")?),
                jobs: jobs.unsigned_abs(),
                cost: PrivacyCost { epsilon_micro: epsilon.unsigned_abs(), delta_femto: delta.unsigned_abs() },
            })
        };
        rows.iter().map(row).collect()
    }
}

impl Tx<'_> {
    /// Charges a job that was just taken in.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn charge(&mut self, job: &JobId, noisy: &Noisy) -> Result<()> {
        let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        sqlx::query("UPDATE jobs SET dataset = ?, epsilon_micro = ?, delta_femto = ?, question = ? WHERE id = ?")
            .bind(noisy.dataset.map(|id| id.0.to_vec()))
            .bind(whole(noisy.cost.epsilon_micro))
            .bind(whole(noisy.cost.delta_femto))
            .bind(noisy.question.0.as_slice())
            .bind(job.0.as_slice())
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// What a dataset version has spent, under all contracts.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn privacy_spent(&mut self, dataset: &DatasetVersionId) -> Result<PrivacyCost> {
        let sql = "SELECT epsilon_micro, delta_femto FROM jobs WHERE dataset = ?1 \
                   UNION ALL SELECT epsilon_micro, delta_femto FROM recounted WHERE dataset = ?1";
        let rows: Vec<(i64, i64)> =
            sqlx::query_as(sql).bind(dataset.0.as_slice()).fetch_all(&mut *self.0).await.map_err(|e| fault(&e))?;
        let cost = |(epsilon, delta): &(i64, i64)| PrivacyCost {
            epsilon_micro: epsilon.unsigned_abs(),
            delta_femto: delta.unsigned_abs(),
        };
        Ok(rows.iter().map(cost).fold(PrivacyCost::default(), PrivacyCost::and))
    }

    /// The job that asks the same and runs, or has its answer.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn asked(&mut self, question: &Hash) -> Result<Option<JobId>> {
        let sql =
            "SELECT id FROM jobs WHERE question = ?1 UNION ALL SELECT job FROM recounted WHERE question = ?1 LIMIT 1";
        let id: Option<Vec<u8>> = sqlx::query_scalar(sql)
            .bind(question.0.as_slice())
            .fetch_optional(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        id.map(|bytes| id32(&bytes, "a job's id").map(JobId)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: PrivacyCost = PrivacyCost { epsilon_micro: 500_000, delta_femto: 7 };

    fn noisy(dataset: u8, question: u8) -> Noisy {
        Noisy { dataset: Some(DatasetVersionId([dataset; 32])), cost: COST, question: Hash([question; 32]) }
    }

    /// What was charged stays when a job fails and after a restart; a question without an answer can be asked again.
    #[tokio::test]
    async fn charges_are_final_and_only_answers_stand() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("node.db");
        let store = Store::open(&path).await.unwrap();
        let terminal = [Terminal::Succeeded, Terminal::Cancelled];
        for (n, dataset) in [(1, 1), (2, 1), (3, 2)] {
            let mut tx = store.begin().await.unwrap();
            let contract = Charge { contract: ContractId([dataset; 32]), rows: 0 };
            tx.insert_job(
                &JobId([n; 32]),
                &super::super::bounds::tests::job(),
                Some(contract),
                UnixMillis(99),
                UnixMillis(9),
            )
            .await
            .unwrap();
            tx.charge(&JobId([n; 32]), &noisy(dataset, n)).await.unwrap();
            tx.commit().await.unwrap();
        }
        let asked = async |store: &Store, n: u8| store.begin().await.unwrap().asked(&Hash([n; 32])).await.unwrap();
        assert_eq!(asked(&store, 2).await, Some(JobId([2; 32])), "it runs");
        for (n, terminal) in (1..).zip(terminal) {
            assert!(store.close_job(&JobId([n; 32]), terminal).await.unwrap());
        }
        store.close().await;
        let store = Store::open(&path).await.unwrap();
        assert_eq!(asked(&store, 1).await, Some(JobId([1; 32])), "it has its answer");
        assert_eq!((asked(&store, 2).await, asked(&store, 9).await), (None, None));
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.privacy_spent(&DatasetVersionId([1; 32])).await.unwrap(), COST.and(COST));
        assert_eq!(tx.privacy_spent(&DatasetVersionId([2; 32])).await.unwrap(), COST);
        assert_eq!(tx.privacy_spent(&DatasetVersionId([3; 32])).await.unwrap(), PrivacyCost::default());
        drop(tx);
        let rows = store.spent().await.unwrap();
        assert_eq!(rows.iter().map(|r| (r.jobs, r.cost)).collect::<Vec<_>>(), [(2, COST.and(COST)), (1, COST)]);
    }
}
