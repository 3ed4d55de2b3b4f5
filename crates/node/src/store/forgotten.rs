//! Rows that exact questions asked about and that a restored database has forgotten. Jobs are counted from the log, and their rows
//! cannot be: until the owner accepts that, exact questions over the same dataset are not answered.

use tacit_governance::SignedContract;

use super::*;
use crate::datasets;

const DAY_MS: u64 = 86_400_000;

/// What is forgotten of a dataset.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Forgotten {
    /// Jobs that only the log shows, under contracts that hold exact questions apart over this dataset. Which rows they asked
    /// about, if they did, nobody knows.
    pub jobs: u64,
    /// How many of them the owner accepts, when, and why.
    pub accepted: Option<(u64, UnixMillis, String)>,
}

impl Forgotten {
    /// Whether exact questions wait for the owner's word.
    pub fn waits(&self) -> bool {
        self.jobs > self.accepted.as_ref().map_or(0, |(jobs, ..)| *jobs)
    }
}

impl Store {
    /// What is forgotten of a dataset of this owner, by its local name.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forgotten(&self, owner: &NodeId, name: &str, now: UnixMillis) -> Result<Forgotten> {
        let accepted: Option<(i64, i64, String)> =
            sqlx::query_as("SELECT jobs, at, reason FROM rows_accepted WHERE dataset = ?")
                .bind(name)
                .fetch_optional(&self.pool)
                .await
                .map_err(|e| fault(&e))?;
        let accepted = accepted.map(|(jobs, at, reason)| (jobs.unsigned_abs(), UnixMillis(at.unsigned_abs()), reason));
        // What was asked so long ago would be forgotten in any case.
        let recent = |at: &UnixMillis| at.plus(ROW_SETS_DAYS * DAY_MS) >= now;
        let behind = self.was_behind().await?.filter(|(at, _)| recent(at));
        let jobs = match behind {
            Some(_) => self.lost_jobs(owner, name).await?,
            None => 0,
        };
        Ok(Forgotten { jobs, accepted })
    }

    /// Jobs counted from the log under contracts with a term on exact answers over a dataset, or that are not known any more.
    async fn lost_jobs(&self, owner: &NodeId, name: &str) -> Result<u64> {
        let known = self.datasets().await?;
        let local = |id: &DatasetVersionId| -> Result<Option<String>> {
            let row = known.iter().find(|row| row.id == *id);
            row.map(|row| datasets::kept(row).map(|kept| kept.registration.name.to_string())).transpose()
        };
        // A version that is not there any more may have been of this name.
        let over = |contract: &SignedContract| -> Result<bool> {
            let own = contract.body().datasets.iter().filter(|grant| grant.owner == *owner);
            let names = own.map(|grant| local(&grant.dataset)).collect::<Result<Vec<_>>>()?;
            let over = names.into_iter().any(|found| found.is_none_or(|found| found == name));
            Ok(over && contract.body().exact.is_some())
        };
        let contracts = self.contracts().await?;
        let counted: Vec<(Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT job, contract FROM recounted").fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        let mut jobs = BTreeSet::new();
        for (job, contract) in counted {
            // A contract that was signed after the backup may have been over any dataset, on any terms.
            let known = contracts.iter().find(|c| c.id().0.as_slice() == contract.as_slice());
            if known.map_or(Ok(true), &over)? {
                jobs.insert(job);
            }
        }
        Ok(jobs.len() as u64)
    }

    /// Has exact questions over a dataset answered again, as far as what is forgotten now goes.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn accept_forgotten(
        &self,
        owner: &NodeId,
        name: &str,
        reason: &str,
        now: UnixMillis,
    ) -> Result<Forgotten> {
        let jobs = self.forgotten(owner, name, now).await?.jobs;
        sqlx::query(
            "INSERT INTO rows_accepted (dataset, jobs, at, reason) VALUES (?, ?, ?, ?) ON CONFLICT (dataset) \
             DO UPDATE SET jobs = excluded.jobs, at = excluded.at, reason = excluded.reason",
        )
        .bind(name)
        .bind(i64::try_from(jobs).unwrap_or(i64::MAX))
        .bind(now.0 as i64)
        .bind(reason)
        .execute(&self.pool)
        .await
        .map_err(|e| self.note(&e))?;
        self.forgotten(owner, name, now).await
    }
}
