//! The limit of a contract on different keys, held at its owner's node: where it gets a list of them, before a row is read
//! for it and before anything of the attempt leaves; and in a window before each batch of calls is answered.

use tacit_governance::{Contract, DistinctTerms, JobSpec, Meter, Metered, SignedContract};
use tacit_jobs::score::keys::Wanted;
use tacit_jobs::score::online::host::{Say, said};
use tacit_types::wire::Blob;
use tacit_types::{ContractId, Fault, JobId, NodeId, UnixMillis};
use tokio::sync::mpsc;

use crate::store::{Limit, Store};

/// The terms of a contract on different keys, where it has some.
pub(crate) fn terms(contract: &Contract) -> Option<DistinctTerms> {
    contract.scoring.and_then(|s| s.distinct)
}

/// A contract that limits different keys, for one recipient.
struct Limited {
    id: ContractId,
    contract: Contract,
    distinct: DistinctTerms,
    spec: JobSpec,
}

impl Limited {
    /// Of the contract that a job was admitted under, if it does.
    async fn of(store: &Store, job: &JobId, spec: &JobSpec) -> Result<Option<Self>, Fault> {
        let Some(id) = store.job(job).await?.as_ref().and_then(crate::serve::admitted_under) else { return Ok(None) };
        let contracts = store.contracts().await?;
        let Some(contract) = contracts.iter().find(|c| c.id() == id).map(|c| c.body()) else { return Ok(None) };
        let (contract, spec) = (contract.clone(), spec.clone());
        Ok(terms(&contract).map(|distinct| Self { id, contract, distinct, spec }))
    }

    /// The limit as it stands now.
    fn at(&self, now: UnixMillis) -> Limit {
        let period = self.distinct.period((self.contract.valid_from, self.contract.valid_until), now);
        Limit { contract: self.id, recipient: self.spec.recipient, period, keys: self.distinct.keys }
    }
}

/// The limit of a contract on different keys at a time, for the recipient of a job; none where it has none.
pub(crate) fn limit(contract: &SignedContract, spec: &JobSpec, at: UnixMillis) -> Option<Limit> {
    let distinct = terms(contract.body())?;
    Some(Limited { id: contract.id(), contract: contract.body().clone(), distinct, spec: spec.clone() }.at(at))
}

/// How many different keys the recipient of a job may still ask about here, where its contract limits them and this owner
/// brings rows. The job takes as many as its list or window has rows at the most.
///
/// # Errors
/// Those of the database.
pub(crate) async fn meter(
    store: &Store,
    id: &ContractId,
    contract: &Contract,
    spec: &JobSpec,
    owner: &NodeId,
    now: UnixMillis,
) -> Result<Option<Meter>, Fault> {
    let (Some(distinct), Some(_)) = (terms(contract), spec.provider(owner)) else { return Ok(None) };
    let plan = tacit_jobs::kind(&spec.kind).and_then(|kind| kind.plan(&spec.params, &tacit_jobs::Parts::of(spec)));
    let Some(score) = plan.ok().and_then(|plan| plan.facts(owner).score) else { return Ok(None) };
    let limited = Limited { id: *id, contract: contract.clone(), distinct, spec: spec.clone() };
    let limit = limited.at(now);
    let used = store.asked(&limit).await?;
    let until = Some(limit.period.until);
    Ok(Some(Meter { what: Metered::Keys, limit: limit.keys, used, takes: score.rows, until }))
}

/// Counts the keys of a job's list.
///
/// # Errors
/// `refused.distinct` when the limit does not allow them; `refused.parameters` for what is no list; those of the database.
pub(crate) async fn list(store: &Store, job: &JobId, spec: &JobSpec, list: &[u8]) -> Result<(), Fault> {
    let Some(limited) = Limited::of(store, job, spec).await? else { return Ok(()) };
    let wanted = Wanted::decode_any(list)?;
    let now = crate::now();
    store.ask(&limited.at(now), wanted.distinct(), now).await
}

/// Counts the keys of a window's calls, a batch after the other, apart from the machine that waits for none of it.
pub(crate) struct Counter {
    batches: mpsc::UnboundedSender<Vec<Blob>>,
    counted: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Counter {
    /// For a window whose contract limits different keys; it ends with the value.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn new(store: &Store, job: &JobId, spec: &JobSpec) -> Result<Option<Self>, Fault> {
        let Some(limited) = Limited::of(store, job, spec).await? else { return Ok(None) };
        // A machine has no more than a window's batches under way, so that neither queue grows beyond them.
        let (batches, mut waiting) = mpsc::unbounded_channel::<Vec<Blob>>();
        let (sender, counted) = mpsc::unbounded_channel();
        let (store, job) = (store.clone(), *job);
        tokio::spawn(async move {
            while let Some(keys) = waiting.recv().await {
                let now = crate::now();
                let counted = store.ask(&limited.at(now), keys.iter().map(|k| k.0.as_slice()), now).await;
                if let Err(fault) = &counted {
                    tracing::info!(job = %job.short(), %fault, "a call is not answered");
                }
                let outcome = counted.map_err(|fault| fault.code);
                if sender.send(said(&Say::Counted { outcome })).is_err() {
                    break;
                }
            }
        });
        Ok(Some(Self { batches, counted }))
    }

    /// Takes the keys of the next batch.
    pub fn count(&self, keys: Vec<Blob>) {
        let _ = self.batches.send(keys);
    }

    /// What the seat is told of the next batch.
    pub async fn next(&mut self) -> Vec<u8> {
        match self.counted.recv().await {
            Some(bytes) => bytes,
            None => std::future::pending().await,
        }
    }
}
