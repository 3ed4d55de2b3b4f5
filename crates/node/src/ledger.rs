//! What the owner's store knows for a decision, read in one transaction.

use tacit_crypto::Statement;
use tacit_engine::{PricePlans, Worker};
use tacit_governance::{
    DatasetDescriptor, JobSpec, Judgement, Ledger, PrivacyLedger, SignedContract, SitePolicy, lifecycle,
};
use tacit_jobs::review;
use tacit_receipts::KeyHistory;
use tacit_types::{Code, ContractId, DatasetVersionId, Fault, NodeId, UnixMillis};

use crate::store::{Store, Tx};

/// Whose store it is.
#[derive(Clone, Copy)]
pub struct Whose<'a> {
    /// The owner's root key.
    pub owner: NodeId,
    /// The pinned coordinator.
    pub coordinator: NodeId,
    /// The keys that parties have had.
    pub keys: &'a KeyHistory,
    /// The site's own policy.
    pub site: Option<&'a (dyn SitePolicy + Sync)>,
}

/// Decides over what the store knows and the signatures that came with the request. They are kept, with the transaction, where
/// this owner has signed too: of other contracts anybody can make as many as there is room for.
///
/// # Errors
/// Those of the database and of merging signatures.
pub(crate) async fn with<T>(
    tx: &mut Tx<'_>,
    whose: Whose<'_>,
    spec: &JobSpec,
    (offered, plans): (Vec<SignedContract>, PricePlans),
    consumed: bool,
    now: UnixMillis,
    decide: impl FnOnce(&Ledger<'_>) -> T,
) -> Result<T, Fault> {
    let mut contracts: Vec<SignedContract> = tx.contracts().await?;
    for contract in offered {
        let known = match contracts.iter_mut().find(|c| c.id() == contract.id()) {
            Some(known) => {
                known.merge(&contract)?;
                known
            }
            None => contracts.push_mut(contract),
        };
        if known.signed_by(&whose.owner) {
            tx.put_contract(known).await?;
        }
    }
    let revoked = tx.revoked().await?;
    let orders = tx.orders().await?;
    let high_water = tx.high_water(now).await?;
    let unkept = tx.unkept().await?;
    let mut used: Vec<(ContractId, u64, u64)> = Vec::new();
    for contract in &spec.contracts {
        // A new version begins with what was used of those in whose place it stands.
        let before = contracts.iter().find(|c| c.id() == *contract).map(|c| lifecycle::versions_before(c, &contracts));
        let before = before.iter().flatten().map(|c| c.id());
        let (mut jobs, mut rows) = (0u64, 0u64);
        for id in core::iter::once(*contract).chain(before) {
            jobs = jobs.saturating_add(tx.jobs_used(&id).await?);
            rows = rows.saturating_add(tx.rows_used(&id).await?);
        }
        used.push((*contract, jobs, rows));
    }
    let models = if spec.models.is_empty() { Vec::new() } else { tx.models().await? };
    let (dataset, spent) = match spec.provider(&whose.owner) {
        Some(provider) => (tx.descriptor(&provider.dataset).await?, Some(tx.privacy_spent(&provider.dataset).await?)),
        None => (None, None),
    };
    let sources = sources(tx, dataset.as_ref()).await?;
    let asked = tx.asked(&spec.question()).await?;
    let of = |id: &ContractId| used.iter().find(|(c, _, _)| c == id);
    let jobs_used = |id: &ContractId| of(id).map_or(u64::MAX, |(_, jobs, _)| *jobs);
    let rows_used = |id: &ContractId| of(id).map_or(u64::MAX, |(_, _, rows)| *rows);
    Ok(decide(&Ledger {
        owner: whose.owner,
        contracts: &contracts,
        revoked: &revoked,
        dataset: dataset.as_ref(),
        sources: &sources,
        models: &models,
        orders: &orders,
        jobs_used: &jobs_used,
        rows_used: &rows_used,
        privacy: PrivacyLedger { spent: &|_| spent.unwrap_or_default(), asked: &|_| asked },
        consumed,
        priced: &|contract, terms| plans.signed(contract, terms),
        speaker: &|key| whose.keys.speaker(key, now),
        unkept,
        high_water,
        coordinator: whose.coordinator,
        site: whose.site.map(|site| site as &dyn SitePolicy),
    }))
}

/// Begins a transaction for a decision on a kind of job. Where a review is kept, the kind's test vectors were run before, once in a
/// process: they take up to a second, in which nobody else is to wait for the database or for the runtime's threads.
///
/// # Errors
/// Those of the database.
pub(crate) async fn begin<'a>(store: &'a Store, kind: &str) -> Result<Tx<'a>, Fault> {
    let mut tx = store.begin().await?;
    if review::is_run(kind) || !tx.has_reviews().await? {
        return Ok(tx);
    }
    drop(tx);
    let kind = kind.to_owned();
    let run = tokio::task::spawn_blocking(move || review::runs(&kind));
    run.await.map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
    store.begin().await
}

/// The versions that a dataset was aligned from, the nearest first. A version names the hash of the one before it, so that they end.
///
/// # Errors
/// Those of the database.
pub async fn sources(tx: &mut Tx<'_>, dataset: Option<&DatasetDescriptor>) -> Result<Vec<DatasetVersionId>, Fault> {
    let mut sources = Vec::new();
    let mut next = dataset.and_then(|d| d.aligned.as_ref()).map(|a| a.base);
    while let Some(base) = next {
        sources.push(base);
        next = tx.descriptor(&base).await?.and_then(|d| d.aligned).map(|a| a.base);
    }
    Ok(sources)
}

/// What this owner's node would say to a job now. Nothing is consumed, kept or told to anybody: the transaction is dropped.
/// A job that was decided on here before is judged as if it came now for the first time.
///
/// # Errors
/// Those of the database.
pub async fn test(
    store: &Store,
    whose: Whose<'_>,
    job: &Statement<JobSpec>,
    offered: (Vec<SignedContract>, PricePlans),
    now: UnixMillis,
) -> Result<Judgement, Fault> {
    let mut tx = begin(store, &job.body().kind).await?;
    with(&mut tx, whose, job.body(), offered, false, now, |ledger| Worker::judge(job, ledger, now)).await
}
